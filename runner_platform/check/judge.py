"""Judging a stack without an engine: start the pack, show it everything, collect what it says."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from config import foundation, load
from config import settings as platform
from runner_platform.check.findings import Finding, findings
from runner_platform.check.pack_process import PackProcess
from runner_platform.check.places import Places, stack_file
from runner_platform.check.shown import Shown, deployed, registered, requests
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform.check.mock_run import Registration

POLICIES = load.ROOT / "policies"
"""The pack of this checkout."""
CONFIGURATION = "config.json"
"""Thresholds of the pack, beside it; absent where the defaults are meant."""


def judge(
    stack: str,
    registrations: Sequence[Registration],
    *,
    values: Mapping[str, Any] | None = None,
    policies: Path = POLICIES,
) -> list[Finding]:
    """What the policies say of a mock run.

    Args:
        stack: `foundation`, or a stack of the platform.
        registrations: what the program registered.
        values: the stack's configuration, instead of its file.
        policies: folder of the pack.

    Raises:
        FailedError: the pack could not be run.
    """
    with pack_for(stack, values, policies) as pack:
        return judged_by(pack, registered(registrations))


def judge_deployed(stack: str, deployment: Mapping[str, Any], *, policies: Path = POLICIES) -> list[Finding]:
    """What the policies say of a deployed state.

    Args:
        stack: `foundation`, or a stack of the platform.
        deployment: member `deployment` of what `pulumi stack export` prints.
        policies: folder of the pack.

    Raises:
        FailedError: the pack could not be run.
    """
    with pack_for(stack, None, policies) as pack:
        return judged_by(pack, deployed(deployment))


def judged_by(pack: PackProcess, resources: list[Shown]) -> list[Finding]:
    """What a running pack says of resources."""
    places = Places(pack.stack, resources, pack.settings())
    return findings(pack.judge(*requests(resources)), places)


@contextmanager
def pack_for(stack: str, values: Mapping[str, Any] | None = None, policies: Path = POLICIES) -> Iterator[PackProcess]:
    """A pack that runs for one stack; boots while the caller does something else."""
    project = foundation.PROJECT if stack == foundation.STACK else platform.PROJECT
    if values is None:
        values = load.raw_of(load.ROOT / stack_file(stack), project)
    with PackProcess(policies.resolve(), project, stack, values) as pack:
        pack.configuration = configuration(policies)
        yield pack


def configuration(policies: Path) -> Mapping[str, Any]:
    """Thresholds of a pack, from the file beside it.

    Raises:
        FailedError: the file is no JSON object.
    """
    path = policies / CONFIGURATION
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise FailedError(f"{path} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise FailedError(f"{path} is not an object; write thresholds by policy, such as {{}}")
    return found
