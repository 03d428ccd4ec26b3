"""Applies a mutation to the real program, rehearses it, and asks the real pack.

Each worker process keeps one running pack for the ordinary settings; a mutation with settings or exceptions of its own gets a pack of its own.
The rehearsed stack is prod, with one class of each level and a small network: what is left out repeats what is there.
"""

from __future__ import annotations

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
from runner_platform.check import mock_cloud
from runner_platform.check.diagnostics import Places, findings
from runner_platform.check.policy_pack import LEVELS, POLICIES, pack_for, requests
from tests.attacks.catalog import BY_NAME, MUTATIONS
from tests.support.program import load_sdks, mock_run_of, parsed, put, raw

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from access.resource import Resource
    from runner_platform.check.policy_pack import PackProcess
    from runner_platform.reports.findings import Finding
    from tests.attacks.mutation import Mutation

WORKERS = 2
CLASSES = ("small", "deploy")
NETWORK = {"cidr": "10.40.0.0/16", "zones": 2, "nat": "single"}
NEW_TYPES = frozenset(
    {
        *("aws:iam/user:User", "aws:eks/nodeGroup:NodeGroup", "aws:ec2/securityGroup:SecurityGroup"),
        "aws:eks/podIdentityAssociation:PodIdentityAssociation",
    }
)
"""Types that no program of the platform makes, and mutations do."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the pack said of a mutation."""

    mutation: str
    """Its name; empty for the program as it is."""
    findings: list[Finding]
    """What fails a gate."""
    without: dict[str, frozenset[str]]
    """For each rule that this mutation is the witness of: the rules that are red when the pack lacks that one."""
    seconds: float

    @property
    def rules(self) -> frozenset[str]:
        """Ids of the rules that are red."""
        return frozenset(each.rule for each in self.findings)


def configuration_of(mutation: Mutation | None) -> dict[str, Any]:
    """The settings that a mutation is rehearsed with."""
    stack = mutation.stack if mutation else "prod"
    values = raw(stack)
    if stack != foundation.STACK:
        values["runners"] = {each: values["runners"][each] for each in CLASSES}
        values["network"] = dict(NETWORK)
    for path, value in (mutation.settings if mutation else {}).items():
        put(values, path, value)
    return values


def witness_of(rule: str) -> Mutation | None:
    """The mutation that shows what is lost without a rule: of those that it must see, one that fewest others see."""
    return min((each for each in MUTATIONS if rule in each.rules), key=lambda each: len(each.rules), default=None)


def outcomes(names: Iterable[str]) -> Iterator[Outcome]:
    """What the pack says of mutations, as they are ready; the empty name stands for the program as it is."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=spawned, initializer=load_sdks) as pool:
        yield from pool.map(outcome, names)


def outcome(name: str) -> Outcome:
    """What the pack says of one mutation."""
    started, mutation = time.monotonic(), BY_NAME.get(name)
    values = configuration_of(mutation)
    with mock.patch.object(mock_cloud, "PLAIN", mock_cloud.PLAIN | NEW_TYPES), _applied(mutation):
        shown = mock_run_of(mutation.stack if mutation else "prod", values).resources
    with _pack(mutation, values) as pack:
        found = [
            each
            for each in findings(pack.diagnostics(*_requests(mutation, shown)), Places("prod", shown, {}))
            if each.fails
        ]
    without = {
        each.id: _red_without(each.id, mutation, values, shown)
        for each in RULES
        if mutation is not None and witness_of(each.id) is mutation
    }
    return Outcome(mutation=name, findings=found, without=without, seconds=time.monotonic() - started)


def _applied(mutation: Mutation | None) -> Any:
    return mutation.change() if mutation is not None else ExitStack()


@contextmanager
def _pack(mutation: Mutation | None, values: dict[str, Any]) -> Iterator[PackProcess]:
    if mutation is None or not (mutation.settings or mutation.exceptions or mutation.stack != "prod"):
        pack = _ordinary_pack()
        pack.configuration = mutation.configuration if mutation else {}
        yield pack
        return
    with tempfile.TemporaryDirectory() as folder:
        policies = _with_exceptions(Path(folder), mutation.exceptions) if mutation.exceptions else POLICIES
        with pack_for(mutation.stack, values, policies) as pack:
            pack.configuration = mutation.configuration
            yield pack


@cache
def _ordinary_pack() -> PackProcess:
    running = ExitStack()
    Finalize(None, running.close, exitpriority=0)  # a worker of a pool ends without what atexit knows
    return running.enter_context(pack_for("prod", configuration_of(None)))


def _with_exceptions(folder: Path, text: str) -> Path:
    copied = folder / POLICIES.name
    shutil.copytree(POLICIES, copied)
    (copied / "exceptions.yaml").write_text(text)
    return copied


def _red_without(rule: str, mutation: Mutation, values: dict[str, Any], shown: list[Resource]) -> frozenset[str]:
    """Ids of the rules that are red when the pack has all rules but one; in this process, because a pack takes a second to start."""
    stack = mutation.stack
    project = foundation.PROJECT if stack == foundation.STACK else platform.PROJECT
    around = StackRun(settings=parsed(values, stack), stack=stack, project=project)
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "exceptions.yaml"
        written.write_text(mutation.exceptions or "[]")
        pack = PackServer([each for each in RULES if each.id != rule], Exceptions.read(written))
    by_name = {each.name: each.id for each in RULES}
    single, whole = _requests(mutation, shown)
    _configure(pack, mutation)
    with mock.patch("policies.pack.current_run", return_value=around):
        answers = [*(pack.Analyze(each, None) for each in single), pack.AnalyzeStack(whole, None)]
    return frozenset(by_name[each.policyName] for answer in answers for each in answer.diagnostics)


def _requests(mutation: Mutation | None, shown: list[Resource]) -> tuple[list[Any], Any]:
    single, whole = requests(shown)
    return [each for each in single if mutation is None or each.name != mutation.hidden], whole


def _configure(pack: PackServer, mutation: Mutation) -> None:
    request = proto.ConfigureAnalyzerRequest()
    for policy in pack.GetAnalyzerInfo(None, None).policies:  # type: ignore[no-untyped-call]  # the SDK is untyped
        level = mutation.configuration.get("all")
        request.policyConfig[policy.name].enforcementLevel = LEVELS[level] if level else policy.enforcementLevel
    pack.Configure(request, None)  # type: ignore[no-untyped-call]  # same
