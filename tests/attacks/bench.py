"""Apply a mutation to the real program, make a mock run, and evaluate the resources with the real pack.

Each worker process keeps one pack running for the default settings; a mutation with its own settings or exceptions gets its own pack.
The mock run is of the stack prod, with one class of each trust level and a small network: more classes would only repeat these. Classes on
EC2 are in the stack small; a protected one and one of Fargate tasks are added.
"""

from __future__ import annotations

import importlib
import multiprocessing
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

from pulumi.runtime import proto

from config import foundation
from config import settings as platform
from policies.exceptions import Exceptions
from policies.pack import PackServer
from policies.rules import RULES
from policies.stack_run import StackRun
from runner_platform.check.diagnostics import Places, findings
from runner_platform.check.policy_pack import LEVELS, POLICIES, pack_for, requests
from tests.attacks.catalog import BY_NAME, MUTATIONS
from tests.support.program import load_sdks, mock_run_of, parsed, put, raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from access.resource import Resource
    from runner_platform.check.policy_pack import PackProcess
    from runner_platform.reports.findings import Finding
    from tests.attacks.mutation import Mutation

WORKERS = 2
CLASSES = ("small", "deploy")
MACHINES = "small"
DEPLOY = {
    "executor": "docker",
    "level": "protected",
    "project": "5678",
    "instance": "t3.small",
    "concurrent": 1,
    "longest_job": "1h",
}
TASKS = {"executor": "fargate", "level": "open", "cpu": "1", "memory": "2Gi", "concurrent": 2, "longest_job": "1h"}
NETWORK = {"cidr": "10.40.0.0/16", "zones": 2, "nat": "single"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The findings of the pack for one mutation."""

    mutation: str
    """Name of the mutation; empty for the unchanged program."""
    findings: list[Finding]
    """Findings that fail a check."""
    without: dict[str, frozenset[str]]
    """For each rule with this mutation as witness: the rules that are red in a pack without that rule."""
    seconds: float

    @property
    def rules(self) -> frozenset[str]:
        """Ids of the rules that are red."""
        return frozenset(finding.rule for finding in self.findings)


def configuration_of(mutation: Mutation | None) -> dict[str, Any]:
    """Return the settings for the mock run of a mutation."""
    return _configuration(mutation.stack, mutation.settings) if mutation else _configuration("prod", {})


def _configuration(stack: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    values = raw(stack)
    if stack == MACHINES:
        values["runners"] |= {"deploy": dict(DEPLOY), "tasks": dict(TASKS)}
    elif stack != foundation.STACK:
        values["runners"] = {name: values["runners"][name] for name in CLASSES}
        values["network"] = dict(NETWORK)
    for path, value in changes.items():
        put(values, path, value)
    return values


def witness_of(rule: str) -> Mutation | None:
    """Return the mutation that shows the need for a rule: the fewest other rules report it."""
    return min(
        (mutation for mutation in MUTATIONS if rule in mutation.rules),
        key=lambda mutation: len(mutation.rules),
        default=None,
    )


def load_program() -> None:
    """Import what both programs import: a first import during a change would keep the changed function for ever."""
    load_sdks()
    for module in ("platform_access", "state_store", "secrets_key", "guard"):
        importlib.import_module(f"components.{module}")


def outcomes(names: Iterable[str]) -> Iterator[Outcome]:
    """Yield the outcome of each mutation, in order; the empty name stands for the unchanged program."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=spawned, initializer=load_program) as pool:
        yield from pool.map(outcome, names)


def outcome(name: str) -> Outcome:
    """Return the outcome of a mutation of the catalogue."""
    return outcome_of(BY_NAME.get(name))


def outcome_of(mutation: Mutation | None) -> Outcome:
    """Return the outcome of a mutation; None is the unchanged program."""
    started = time.monotonic()
    values = configuration_of(mutation)
    resources = _resources(mutation, values)
    with _pack(mutation, values) as pack:
        failing = [
            finding
            for finding in findings(pack.diagnostics(*_requests(mutation, resources)), Places("prod", resources, {}))
            if finding.fails
        ]
    without = {
        rule.id: _red_without(rule.id, mutation, values, resources)
        for rule in RULES
        if mutation is not None and witness_of(rule.id) is mutation
    }
    return Outcome(
        mutation=mutation.name if mutation else "",
        findings=failing,
        without=without,
        seconds=time.monotonic() - started,
    )


def _resources(mutation: Mutation | None, values: dict[str, Any]) -> list[Resource]:
    if mutation is not None and mutation.edit is not None:
        return mutation.edit(list(_registered(mutation.stack)))
    with _applied(mutation):
        return mock_run_of(mutation.stack if mutation else "prod", values).resources


@cache
def _registered(stack: str) -> tuple[Resource, ...]:
    """Return the resources of the unchanged program."""
    return tuple(mock_run_of(stack, _configuration(stack, {})).resources)


def _applied(mutation: Mutation | None) -> Any:
    return mutation.change() if mutation is not None else ExitStack()


@contextmanager
def _pack(mutation: Mutation | None, values: dict[str, Any]) -> Iterator[PackProcess]:
    if mutation is None or not (mutation.settings or mutation.exceptions):
        pack = _ordinary_pack(mutation.stack if mutation else "prod")
        pack.configuration = mutation.configuration if mutation else {}
        yield pack
        return
    with tempfile.TemporaryDirectory() as folder:
        policies = _with_exceptions(Path(folder), mutation.exceptions) if mutation.exceptions else POLICIES
        with pack_for(mutation.stack, values, policies) as pack:
            pack.configuration = mutation.configuration
            yield pack


@cache
def _ordinary_pack(stack: str) -> PackProcess:
    running = ExitStack()
    Finalize(None, running.close, exitpriority=0)  # a pool worker exits without running atexit handlers
    return running.enter_context(pack_for(stack, _configuration(stack, {})))


def _with_exceptions(folder: Path, text: str) -> Path:
    copied = folder / POLICIES.name
    shutil.copytree(POLICIES, copied)
    (copied / "exceptions.yaml").write_text(text)
    return copied


def _red_without(rule: str, mutation: Mutation, values: dict[str, Any], resources: list[Resource]) -> frozenset[str]:
    """Return the ids of the rules that are red without one rule. This runs in-process: a pack takes a second to start."""
    stack = mutation.stack
    project = foundation.PROJECT if stack == foundation.STACK else platform.PROJECT
    run = StackRun(settings=parsed(values, stack), stack=stack, project=project)
    with tempfile.TemporaryDirectory() as folder:
        exceptions_file = Path(folder) / "exceptions.yaml"
        exceptions_file.write_text(mutation.exceptions or "[]")
        pack = PackServer([kept for kept in RULES if kept.id != rule], Exceptions.read(exceptions_file))
    ids = {policy.name: policy.id for policy in RULES}
    single, whole = _requests(mutation, resources)
    _configure(pack, mutation)
    with mock.patch("policies.pack.current_run", return_value=run):
        answers = [*(pack.Analyze(request, None) for request in single), pack.AnalyzeStack(whole, None)]
    return frozenset(ids[diagnostic.policyName] for answer in answers for diagnostic in answer.diagnostics)


def _requests(mutation: Mutation | None, resources: list[Resource]) -> tuple[list[Any], Any]:
    single, whole = requests(resources)
    return [request for request in single if mutation is None or request.name != mutation.hidden], whole


def _configure(pack: PackServer, mutation: Mutation) -> None:
    request = proto.ConfigureAnalyzerRequest()
    for policy in pack.GetAnalyzerInfo(None, None).policies:  # type: ignore[no-untyped-call]  # the SDK is untyped
        level = mutation.configuration.get("all")
        request.policyConfig[policy.name].enforcementLevel = LEVELS[level] if level else policy.enforcementLevel
    pack.Configure(request, None)  # type: ignore[no-untyped-call]  # same
