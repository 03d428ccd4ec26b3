"""One proof of one stack: from the settings and the deployed cluster to the cells.

Owns the order of the work. Classes are tried by processes beside the cluster where the caller's environment says how
(`RUNNER_PLATFORM_JOB_ENDPOINT`, from `sandbox env`), else by `doctor` in Jobs. Strangers are processes in both cases: they need no pod.
"""

from __future__ import annotations

import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from config import load
from runner_platform import live_runners
from runner_platform.check import inspect
from runner_platform.errors import FailedError
from runner_platform.kube.client import Cluster
from runner_platform.prove import deployed, jobs, judge, plan, strangers, tokens
from runner_platform.prove.deployed import ClassKey, ClassProblemError, Deployed
from runner_platform.prove.model import Answer, Cell
from runner_platform.prove.probes import Probes
from runner_platform.prove.workplace import ENDPOINT_VARIABLE, Workplace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from config.settings import Settings
    from runner_platform.live_runners import LiveRunner
    from runner_platform.prove.model import Attempt, Identity

BROKEN = "Broken"
"""Kind of what could not even be tried."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """How a proof speaks to the person who waits for it."""

    say: Callable[[str], None]
    """Takes sentences."""
    expect: Callable[[int], None]
    """Is told how many attempts there are."""
    advance: Callable[[], None]
    """Is called for each that ended."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What came out."""

    settings: Settings
    accounts: Sequence[str]
    """Names of all accounts of the organisation."""
    cells: Sequence[Cell]
    runners: Mapping[str, LiveRunner] = field(default_factory=dict)
    """What GitLab says of each class; empty where it could not be asked."""
    gitlab: str = ""
    """Why GitLab could not be asked."""
    seconds: float

    @property
    def wrong(self) -> list[Cell]:
        """Cells that are not as the settings say."""
        return [cell for cell in self.cells if not cell.ok]

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong."""
        return not self.wrong and not self.gitlab and not any(each.differences for each in self.runners.values())


def prove(stack: str, watcher: Watcher, *, everything: bool = False) -> Proof:
    """Try every class and every stranger of a stack.

    Args:
        stack: name of the stack.
        watcher: who is told how it goes.
        everything: every SDK by every way, instead of the quick proof.

    Raises:
        WrongUseError: the stack has no classes.
        FailedError: the stack is not deployed, or cannot be reached.
    """
    began = time.monotonic()
    settings = inspect.settings_of(stack)
    with ThreadPoolExecutor(1) as beside:
        asked = beside.submit(_runners, stack, watcher.say)
        found = cells(settings, watcher, plan.Scope.of(everything=everything))
        runners, gitlab = asked.result()
    return Proof(
        settings=settings,
        accounts=list(load.of_foundation().accounts),
        cells=found,
        runners=runners,
        gitlab=gitlab,
        seconds=time.monotonic() - began,
    )


def _runners(stack: str, say: Callable[[str], None]) -> tuple[dict[str, LiveRunner], str]:
    try:
        found = live_runners.of_stack(stack, lambda target: say(f"target: GitLab at {target}"))
    except FailedError as error:
        return {}, str(error)
    return {each.runner_class: each for each in found}, ""


def cells(settings: Settings, watcher: Watcher, scope: plan.Scope) -> list[Cell]:
    """Every cell of a stack, in the order in which they are planned.

    Raises:
        FailedError: the stack is not deployed, or cannot be reached.
    """
    clusters = _clusters(settings, watcher.say)
    classes, problems = _classes(clusters[settings.stack], settings)
    accounts = load.of_foundation().accounts
    others = [inspect.settings_of(other) for other in clusters if other != settings.stack]
    own = list(plan.attempts(settings, accounts, scope))
    foreign = list(strangers.attempts(settings, accounts, others, tokens.possible_forgeries()))
    known = judge.known_roles([*own, *foreign])
    watcher.expect(len(own) + len(foreign))
    bench = _Bench(clusters=clusters, classes=classes, problems=problems, known=known, watcher=watcher)
    if ENDPOINT_VARIABLE in os.environ:
        found = bench.tried([*own, *foreign])
    else:
        found = jobs.cells(clusters[settings.stack], classes, problems, own, known, watcher.say)
        for _ in own:
            watcher.advance()
        found += bench.tried(foreign)
    order = {each.key: index for index, each in enumerate([*own, *foreign])}
    return judge.with_controls(sorted(found, key=lambda cell: order[cell.attempt.key]))


@dataclass(frozen=True, kw_only=True)
class _Bench:
    """What attempts by processes of this machine need."""

    clusters: Mapping[str, Cluster]
    classes: Mapping[ClassKey, Deployed]
    problems: Mapping[ClassKey, str]
    known: Mapping[tuple[str, str], str]
    watcher: Watcher

    def tried(self, attempts: Sequence[Attempt]) -> list[Cell]:
        """Run attempts side by side on all cores; what cannot be laid out is broken without being tried."""
        cores = os.cpu_count() or 1
        with (
            tempfile.TemporaryDirectory(prefix="runner-platform-prove-") as root,
            Probes({each.sdk for each in attempts}, cores) as probes,
        ):
            places = Workplace(Path(root), self.classes, tokens.Tokens(self.clusters))
            ready, broken = self._laid_out(places, {each.identity for each in attempts})
            found = [self._judged(each, broken[each.identity]) for each in attempts if each.identity in broken]
            possible = [each for each in attempts if each.identity in ready]
            answers = probes.run(possible, lambda each: places.environment(each, ready[each.identity]))
            return found + [self._judged(attempt, answer) for attempt, answer in answers]

    def _judged(self, attempt: Attempt, answer: Answer) -> Cell:
        self.watcher.advance()
        return judge.judged(attempt, answer, self.known)

    def _laid_out(
        self, places: Workplace, identities: Iterable[Identity]
    ) -> tuple[dict[Identity, dict[str, str]], dict[Identity, Answer]]:
        """Variables of each identity, and why the others have none."""
        ready: dict[Identity, dict[str, str]] = {}
        broken: dict[Identity, Answer] = {}

        def lay_out(identity: Identity) -> None:
            problem = self.problems.get((identity.stack, identity.runner_class))
            if problem is None:
                try:
                    ready[identity] = places.lay_out(identity)
                except FailedError as error:
                    problem = str(error)
            if problem is not None:
                broken[identity] = Answer(error=problem, kind=BROKEN)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(lay_out, identities))
        return ready, broken


def _clusters(settings: Settings, say: Callable[[str], None]) -> dict[str, Cluster]:
    """The stack's cluster, and those of the other stacks that are deployed."""
    own = Cluster.of(settings)
    if own is None:
        raise FailedError(
            f"stack {settings.stack} is not deployed: account {settings.platform.account} ({settings.platform_account.id}) has "
            f"no cluster {settings.names.cluster}; `pulumi up -s {settings.stack}` makes it"
        )
    where = os.environ.get(ENDPOINT_VARIABLE, "AWS")
    say(f"target: cluster {own.name} at {own.server}, STS of {where}, as profile platform-{settings.platform.account}")
    found = {settings.stack: own}
    for stack in load.stacks():
        if stack != settings.stack:
            try:
                other, why = Cluster.of(inspect.settings_of(stack)), "it is not deployed"
            except FailedError as error:
                other, why = None, str(error)
            if other is None:
                say(f"classes of stack {stack} are not tried as strangers: {why}")
            else:
                found[stack] = other
    return found


def _classes(cluster: Cluster, settings: Settings) -> tuple[dict[ClassKey, Deployed], dict[ClassKey, str]]:
    """What is deployed, and what is wrong with the rest."""
    found: dict[ClassKey, Deployed] = {}
    problems: dict[ClassKey, str] = {}
    for name in settings.runners:
        try:
            found[settings.stack, name] = deployed.of_class(cluster, name, settings.organization.region)
        except ClassProblemError as error:
            problems[settings.stack, name] = str(error)
    return found, problems
