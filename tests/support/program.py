"""Shared by tests of the programs: configurations to change, and one mock run of every program per run of the suite.

Mock runs are the slow part of the suite, so all tests that only read resources share them by name, between processes too.
"""

from __future__ import annotations

import copy
import fcntl
import json
import pickle
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest import mock

import pulumi_aws
from pulumi.runtime.proto import source_pb2

from components.documents import checks
from config import foundation, load, settings
from config.errors import SettingsError
from config.partitions import partition_of
from runner_platform.check import policy_pack
from runner_platform.check.mock_run import run_program

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from access.resource import Resource
    from runner_platform.check.mock_run import MockRun
    from runner_platform.reports.findings import Finding

STACKS = ("dev", "prod")
"""Stacks with a cluster."""
ALL_STACKS = (*STACKS, "small")
"""The same, and the stack whose classes run on EC2."""
ABSENT: Any = object()
"""In place of a value: remove the key."""
TOKEN = "glrt-given-by-hand"  # fabricated


@cache
def _raw(stack: str) -> str:
    if stack == foundation.STACK:
        return json.dumps(load.raw_of(load.ROOT / "foundation/Pulumi.foundation.yaml", foundation.PROJECT))
    return json.dumps(load.raw_of(load.ROOT / f"Pulumi.{stack}.yaml", settings.PROJECT))


def raw(stack: str, **changes: Any) -> dict[str, Any]:
    """The configuration of a stack file, to be changed at will; keys are paths with `__` for dots."""
    values: dict[str, Any] = json.loads(_raw(stack))
    for path, value in changes.items():
        put(values, path.replace("__", "."), value)
    return values


def raw_in(region: str, stack: str = "prod") -> dict[str, Any]:
    """The configuration of a stack file as it would be in a region of another partition."""
    partition = partition_of(region)
    values: dict[str, Any] = json.loads(_raw(stack).replace("arn:aws:", f"arn:{partition}:"))
    values["organization"] |= {"region": region, "partition": partition}
    return values


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, or remove it with ABSENT."""
    *parents, last = path.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
    if value is ABSENT:
        del values[last]
    else:
        values[last] = copy.deepcopy(value)


def parsed(values: dict[str, Any], stack: str = "dev") -> Any:
    """Settings of a configuration, with every check that the program makes."""
    if stack == foundation.STACK:
        return foundation.parse(values, "the file", *checks.FOUNDATION_CHECKS)
    return settings.parse(values, stack, "the file", *checks.CHECKS)


def complaints(values: dict[str, Any], stack: str = "dev") -> dict[str, str]:
    """Messages of all problems of a configuration by path, several at one path joined."""
    messages: dict[str, str] = {}
    try:
        parsed(values, stack)
    except SettingsError as error:
        for problem in error.problems:
            messages[problem.path] = " ".join([*filter(None, [messages.get(problem.path)]), problem.message])
    return messages


def one_class(**changes: Any) -> dict[str, Any]:
    """Dev with the class `small` only: enough for most questions, and a quarter of the work."""
    values = raw("dev", **changes)
    values["runners"] = {"small": values["runners"]["small"]}
    return values


@cache
def load_sdks() -> None:
    """Import what the programs import; the SDK warns of its own deprecated classes then, which are not ours to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module in ("s3", "ec2", "eks", "iam", "kms", "ecr", "cloudwatch", "autoscaling", "ssm", "vpc", "ecs"):
            hasattr(getattr(pulumi_aws, module), "anything")  # a module is loaded when somebody looks into it


def mock_run_of(stack: str, values: dict[str, Any] | None = None) -> MockRun:
    """A mock run with another configuration; without source positions, which take a quarter of the time."""
    load_sdks()
    with mock.patch("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace):
        return run_program(stack, values)


shared_folder: Path | None = None
"""Folder through which the processes of one test run share mock runs; None with one process."""


@cache
def mock_run(stack: str) -> MockRun:
    """The mock run of a stack's own file; one process makes it for all."""
    if shared_folder is None:
        return mock_run_of(stack)
    with (shared_folder / f"mock-run-{stack}").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if content := file.read():
            shared: MockRun = pickle.loads(content)  # noqa: S301  # written by this very run of the suite
            return shared
        run = mock_run_of(stack)
        file.write(pickle.dumps(run))
        return run


def policy(resource: Resource, key: str = "policy") -> dict[str, Any]:
    """A policy document of a resource."""
    document: dict[str, Any] = json.loads(resource.inputs[key])
    return document


def names_of(urns: tuple[str, ...]) -> set[str]:
    """Logical names of URNs."""
    return {urn.rpartition("::")[2] for urn in urns}


def findings_of(stack: str, resources: Sequence[Resource], policies: Path = policy_pack.POLICIES) -> list[Finding]:
    """Findings of a policy pack that is started for this call."""
    with policy_pack.pack_for(stack, policies=policies) as pack:
        return policy_pack.evaluate(pack, resources)


def size(document: dict[str, Any]) -> int:
    """Characters as IAM counts them: without white space."""
    return len("".join(json.dumps(document).split()))


def statements(document: dict[str, Any], effect: str) -> list[dict[str, Any]]:
    return [statement for statement in document["Statement"] if statement["Effect"] == effect]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
