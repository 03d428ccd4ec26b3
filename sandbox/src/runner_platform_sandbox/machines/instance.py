"""Play an instance of a group for another program, such as `runner-platform prove`: `RUNNER_PLATFORM_MACHINES` of `sandbox env`.

Usage: `python -m runner_platform_sandbox.machines.instance ACCOUNT REGION GROUP`. Prints `{"endpoint": URL}`, the address of the
instance's metadata service, and goes on until standard input ends. A group that scales to zero and has no instance gets
one for this time, as a job would start it; the group's owner may scale it meanwhile.
"""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import boto3

from runner_platform_sandbox import state
from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.machines import machine
from runner_platform_sandbox.paths import Paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def main(arguments: Sequence[str]) -> int:
    """Serve until standard input ends; returns the exit code."""
    account, region, group = arguments
    current = state.read(Paths.from_environment())
    if current is None or not current.running:
        sys.stderr.write("the sandbox is not running; start it: `runner-platform sandbox start`\n")
        return 1
    address = f"http://127.0.0.1:{current.ports.aws}"
    try:
        with ExitStack() as opened:
            opened.enter_context(_an_instance(address, account, region, group))
            endpoint = opened.enter_context(machine.visit(AwsAdmin(address), account, region, group))
            print(json.dumps({"endpoint": endpoint}), flush=True)  # noqa: T201  # the answer
            sys.stdin.read()
    except SandboxError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


@contextmanager
def _an_instance(address: str, account: str, region: str, name: str) -> Iterator[None]:
    """Start an instance of a group that scales to zero and has none, and end it after the block."""
    client = boto3.client(
        "autoscaling",
        endpoint_url=address,
        region_name=region,
        aws_access_key_id=account,
        aws_secret_access_key="x",  # noqa: S106  # the sandbox takes any
    )
    group = next(iter(client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]), None)
    if group is None or group["MinSize"] or group["Instances"] or not group["MaxSize"]:
        yield
        return
    client.set_desired_capacity(AutoScalingGroupName=name, DesiredCapacity=1)
    try:
        yield
    finally:
        for instance in _instances(client, name):
            client.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)


def _instances(client: Any, name: str) -> list[str]:
    groups = client.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return [instance["InstanceId"] for group in groups for instance in group["Instances"]]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
