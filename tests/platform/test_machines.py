"""A stack without a cluster, in a sandbox of its own: deployed by the driver, proven, opened by hand, and taken down with a drain."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from config import load
from runner_platform_sandbox.organization import PROJECT
from tests.support import proving
from tests.support.machine_stack import small_stack

if TYPE_CHECKING:
    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif("small" not in load.stacks(), reason="there is no stack file Pulumi.small.yaml"),
]

SETTINGS = small_stack()
"""Names are those of the stack file: they do not depend on sizes."""


def platform(sandbox: Sandbox, command: str, *arguments: str, stack: str = "small") -> Completed:
    """Run `runner-platform` for a stack."""
    program = [sys.executable, "-m", "runner_platform", command, "--stack", stack, *arguments]
    return sandbox.run(program, sandbox.variables, PROJECT)


@pytest.fixture(scope="module")
def deployed(own: Sandbox) -> Sandbox:
    """The sandbox with the foundation and stack small; no person has touched it."""
    started = own.command("start")
    assert started.returncode == 0, started.stderr
    for stack in ("foundation", "small"):
        done = platform(own, "up", "--create", stack=stack)
        assert done.returncode == 0, done.stdout + done.stderr
    return own


def prove(sandbox: Sandbox, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code and the results of a proof."""
    done = platform(sandbox, "prove", "--json", *arguments)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_jobs_on_machines_get_their_roles_in_every_sdk_and_strangers_get_none(deployed: Sandbox) -> None:
    code, results = prove(deployed, "--all")
    assert [result for result in results if not result["ok"]] == []
    assert code == 0
    tried = {(result["class"], result["sdk"], result["way"]) for result in results if result["class"]}
    assert len(tried) == len(SETTINGS.runners) * 4 * 3, "every class by every SDK in every way"
    strangers = {result["service_account"] for result in results if result["class"] is None}
    for name in SETTINGS.runners:
        assert {f"machine/{name}, another container", f"machine/{name}, the machine itself"} <= strangers


def test_a_second_up_changes_nothing_although_jobs_scaled_a_group(deployed: Sandbox) -> None:
    with proving.sandbox_environment(deployed):
        client = boto3.Session(profile_name="platform-cicd").client("autoscaling")
        group = SETTINGS.names.worker_group("medium")
        client.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=2)
        done = platform(deployed, "up")
        assert "no changes" in done.stdout + done.stderr
        (description,) = client.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        assert description["DesiredCapacity"] == 2, "it belongs to the class's manager"


def test_a_machine_that_somebody_opened_is_found(deployed: Sandbox) -> None:
    template = SETTINGS.names.manager_group("small")
    with proving.sandbox_environment(deployed):
        client = boto3.Session(profile_name="platform-cicd").client("ec2")
        latest = {"LaunchTemplateName": template, "Versions": ["$Latest"]}
        (version,) = client.describe_launch_template_versions(**latest)["LaunchTemplateVersions"]
        data = version["LaunchTemplateData"]
        data["MetadataOptions"] |= {"HttpPutResponseHopLimit": 2}
        client.create_launch_template_version(LaunchTemplateName=template, LaunchTemplateData=data)
    code, results = prove(deployed)
    role = SETTINGS.names.role_arn(SETTINGS.platform_account.id, SETTINGS.names.manager_role("small"))
    wrong = {result["service_account"]: result["got"] for result in results if not result["ok"]}
    assert code == 1
    assert wrong["machine/small, another container"] == role, "any container of the machine is its manager"
    assert wrong["machine/small with the machine's credentials"].endswith("/runner-small-small")


def test_a_destroy_with_a_drain_leaves_only_what_is_said(deployed: Sandbox) -> None:
    done = platform(deployed, "destroy", "--drain")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no job runs any more" in done.stdout + done.stderr
    audit = platform(deployed, "audit")
    assert audit.returncode == 0, audit.stdout
    assert "0 should be gone" in audit.stdout + audit.stderr
