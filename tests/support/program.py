"""What the tests of the program share: configurations to spoil, and one rehearsal of each program per run of the suite.

Rehearsals are the dear part of the suite, so everything that only looks at registrations shares them by name, between processes too.
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
from runner_platform.check.mock_run import rehearse

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.check.mock_run import Registration, Rehearsal

STACKS = ("dev", "prod")
ABSENT: Any = object()
"""Stands for a key that is to be removed."""
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


def put(values: dict[str, Any], path: str, value: Any) -> None:
    """Set, or with ABSENT remove, what stands at a dotted path."""
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
        return foundation.parse(values, "the file")
    return settings.parse(values, stack, "the file", *checks.CHECKS)


def complaints(values: dict[str, Any], stack: str = "dev") -> dict[str, str]:
    """Messages by path of everything that is wrong with a configuration, several at one path joined; empty where nothing is."""
    found: dict[str, str] = {}
    try:
        parsed(values, stack)
    except SettingsError as error:
        for problem in error.problems:
            found[problem.path] = " ".join([*filter(None, [found.get(problem.path)]), problem.message])
    return found


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
        for module in ("s3", "ec2", "eks", "iam", "kms", "ecr", "cloudwatch"):
            hasattr(getattr(pulumi_aws, module), "anything")  # a module is loaded when somebody looks into it


def rehearsal_of(stack: str, values: dict[str, Any] | None = None) -> Rehearsal:
    """What a stack's program registers with another configuration; without source positions, which cost a quarter of the time."""
    load_sdks()
    with mock.patch("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace):
        return rehearse(stack, values)


shared_folder: Path | None = None
"""Where the processes of one run leave rehearsals for each other; None where there is one process."""


@cache
def rehearsed(stack: str) -> Rehearsal:
    """What a stack's program registers, from its own file; one process rehearses it for all."""
    if shared_folder is None:
        return rehearsal_of(stack)
    with (shared_folder / f"rehearsed-{stack}").open("a+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        if known := file.read():
            found: Rehearsal = pickle.loads(known)  # noqa: S301  # written by this very run of the suite
            return found
        its = rehearsal_of(stack)
        file.write(pickle.dumps(its))
        return its


def policy(registration: Registration, key: str = "policy") -> dict[str, Any]:
    """A policy document of a registration."""
    document: dict[str, Any] = json.loads(registration.inputs[key])
    return document


def names_of(urns: tuple[str, ...]) -> set[str]:
    """Logical names of URNs."""
    return {urn.rpartition("::")[2] for urn in urns}


def size(document: dict[str, Any]) -> int:
    """Characters as IAM counts them: without white space."""
    return len("".join(json.dumps(document).split()))


def statements(document: dict[str, Any], effect: str) -> list[dict[str, Any]]:
    return [each for each in document["Statement"] if each["Effect"] == effect]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
