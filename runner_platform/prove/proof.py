"""One proof of one stack: from the settings and the deployed classes to the results.

Classes are tried by processes on this machine if the caller's environment names the endpoint for jobs (`RUNNER_PLATFORM_JOB_ENDPOINT`,
from `sandbox env`), otherwise by `doctor` where their jobs run: in Jobs of the cluster, or in containers of the machines. Strangers with
tokens of the cluster are always processes on this machine; strangers on machines are tried on the machines.
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
from runner_platform import live_runners, stacks
from runner_platform.errors import FailedError
from runner_platform.prove import attempts, doctor_jobs, doctor_machines, strangers, targets
from runner_platform.prove.job_files import ENDPOINT_VARIABLE, JobFiles
from runner_platform.prove.probes import Probes
from runner_platform.prove.results import Answer, Result, Roles, result_of, roles_in, with_controls
from runner_platform.prove.tokens import Tokens, possible_forgeries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from config.settings import Settings
    from runner_platform.live_runners import LiveRunner
    from runner_platform.prove.attempts import Attempt, Identity
    from runner_platform.prove.targets import Targets

BROKEN_SETUP = "Broken"
"""Kind of failure of an attempt that could not be made."""


@dataclass(frozen=True, kw_only=True)
class Watcher:
    """Receives the progress of a proof."""

    say: Callable[[str], None]
    """Prints a line for the reader."""
    expect: Callable[[int], None]
    """Takes the number of attempts."""
    advance: Callable[[], None]
    """Called after each attempt."""


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Results of one proof."""

    settings: Settings
    accounts: Sequence[str]
    """Names of all accounts of the organisation."""
    results: Sequence[Result]
    runners: Mapping[str, LiveRunner] = field(default_factory=dict)
    """GitLab's runner of each class; empty if GitLab did not answer."""
    gitlab_problem: str = ""
    """Why GitLab did not answer; empty if it did."""
    seconds: float

    @property
    def wrong(self) -> list[Result]:
        """Results that differ from the settings."""
        return [result for result in self.results if not result.ok]

    @property
    def ok(self) -> bool:
        """Whether everything is as the settings say, in AWS and in GitLab."""
        differences = any(runner.differences for runner in self.runners.values())
        return not self.wrong and not self.gitlab_problem and not differences


def prove(stack: str, watcher: Watcher, *, everything: bool = False) -> Proof:
    """Try every class and every stranger of a stack, and compare GitLab's runners with the settings.

    Args:
        stack: name of the stack.
        watcher: receives the progress.
        everything: every SDK in every way, instead of the quick proof.

    Raises:
        WrongUseError: the stack has no classes.
        FailedError: the stack is not deployed, or its cluster does not answer.
    """
    start = time.monotonic()
    settings = stacks.settings_of(stack)
    with ThreadPoolExecutor(1) as pool:
        comparison = pool.submit(compare_runners, stack, watcher.say)
        results = attempt_all(settings, watcher, attempts.Scope.of(everything=everything))
        runners, gitlab_problem = comparison.result()
    return Proof(
        settings=settings,
        accounts=list(load.of_foundation().accounts),
        results=results,
        runners=runners,
        gitlab_problem=gitlab_problem,
        seconds=time.monotonic() - start,
    )


def compare_runners(stack: str, say: Callable[[str], None]) -> tuple[dict[str, LiveRunner], str]:
    """Return GitLab's runners by class, or the reason why GitLab did not answer."""
    try:
        runners = live_runners.of_stack(stack, lambda url: say(f"target: GitLab at {url}"))
    except FailedError as error:
        return {}, str(error)
    return {runner.runner_class: runner for runner in runners}, ""


def attempt_all(settings: Settings, watcher: Watcher, scope: attempts.Scope) -> list[Result]:
    """Make every attempt of a stack and return the results in the planned order.

    Raises:
        FailedError: the stack is not deployed, or its cluster or AWS does not answer.
    """
    stack_targets = targets.find(settings, watcher.say)
    accounts = load.of_foundation().accounts
    by_classes = list(attempts.of_classes(settings, accounts, scope))
    by_strangers = list(strangers.of_stack(settings, accounts, stack_targets.neighbours, possible_forgeries()))
    planned = [*by_classes, *by_strangers]
    roles = roles_in(planned)
    watcher.expect(len(planned))
    processes = _Processes(targets=stack_targets, roles=roles, watcher=watcher)
    if ENDPOINT_VARIABLE in os.environ:
        results = processes.run(planned)
    else:
        elsewhere = _where_jobs_run(stack_targets, by_classes, by_strangers, roles, watcher)
        done_keys = {result.attempt.key for result in elsewhere}
        results = [*elsewhere, *processes.run([attempt for attempt in by_strangers if attempt.key not in done_keys])]
    order = {attempt.key: index for index, attempt in enumerate(planned)}
    return with_controls(sorted(results, key=lambda result: order[result.attempt.key]))


def _where_jobs_run(
    stack_targets: Targets,
    by_classes: Sequence[Attempt],
    by_strangers: Sequence[Attempt],
    roles: Roles,
    watcher: Watcher,
) -> list[Result]:
    """Make the attempts of classes, and of strangers on machines, in the cluster and on the machines."""
    with ThreadPoolExecutor(2) as pool:
        in_pods = pool.submit(doctor_jobs.results, stack_targets, by_classes, roles, watcher.say)
        on_machines = pool.submit(doctor_machines.results, stack_targets, by_classes, by_strangers, roles, watcher.say)
        results = [*in_pods.result(), *on_machines.result()]
    for _ in results:
        watcher.advance()
    return results


@dataclass(frozen=True, kw_only=True)
class _Processes:
    """Makes attempts by processes on this machine."""

    targets: Targets
    roles: Roles
    watcher: Watcher

    def run(self, planned: Sequence[Attempt]) -> list[Result]:
        """Make attempts side by side on all cores. An attempt without files is BROKEN and not made."""
        cores = os.cpu_count() or 1
        with (
            tempfile.TemporaryDirectory(prefix="runner-platform-prove-") as root,
            Probes({attempt.sdk for attempt in planned}, cores) as probes,
            JobFiles(Path(root), self.targets.classes, Tokens(self.targets.clusters)) as files,
        ):
            variables, failures = self._write_files(files, {attempt.identity for attempt in planned})
            results = [
                self._result(attempt, failures[attempt.identity]) for attempt in planned if attempt.identity in failures
            ]
            possible = [attempt for attempt in planned if attempt.identity in variables]
            answers = probes.run(possible, lambda attempt: files.environment(attempt, variables[attempt.identity]))
            return results + [self._result(attempt, answer) for attempt, answer in answers]

    def _result(self, attempt: Attempt, answer: Answer) -> Result:
        self.watcher.advance()
        return result_of(attempt, answer, self.roles)

    def _write_files(
        self, files: JobFiles, identities: Iterable[Identity]
    ) -> tuple[dict[Identity, dict[str, str]], dict[Identity, Answer]]:
        """Return the variables of each identity whose files were written, and the failures of the others."""
        variables: dict[Identity, dict[str, str]] = {}
        failures: dict[Identity, Answer] = {}

        def write(identity: Identity) -> None:
            problem = self.targets.problems.get((identity.stack, identity.runner_class))
            if problem is None:
                try:
                    variables[identity] = files.write(identity)
                except FailedError as error:
                    problem = str(error)
            if problem is not None:
                failures[identity] = Answer(error=problem, kind=BROKEN_SETUP)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(write, identities))
        return variables, failures
