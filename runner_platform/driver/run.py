"""One run of the driver on one stack: owner record, wait for the lock, calls of the engine, end.

Every command that changes something keeps the same order: record, lock, repair, engine. The repairs are in `runner_platform.driver.repair`,
the commands in `runner_platform.driver.deployment`.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import tenacity
from pulumi import automation
from pulumi.automation._stack import StackInitMode

from runner_platform.driver import locks, remaining_changes
from runner_platform.driver.engine_process import DISCONNECTED, STOP_SECONDS, EngineProcess, Interruption, end_session
from runner_platform.driver.engine_progress import Progress, describe_failure, error_lines
from runner_platform.driver.locks import Fate
from runner_platform.errors import FailedError, InterruptedRunError, LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pulumi.automation.events import EngineEvent

    from runner_platform.driver.locks import Holder, OwnerRecord
    from runner_platform.driver.project import Project
    from runner_platform.driver.screen import Screen

POLL_SECONDS: Final = 2.0
PROGRESS_SECONDS: Final = 1.0
"""Time between two progress events of `--json`."""
ATTEMPTS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a run waits, in seconds."""

    lock: float = 600.0
    """For a live run that holds the stack."""
    stop: float = STOP_SECONDS
    """For the resource in hand after a signal; then the engine is ended."""
    throttled: float = 15.0
    """Before the second attempt of a throttled run."""


class _DisconnectedError(FailedError):
    """The engine lost a connection before it began a step."""


class _ThrottledError(FailedError):
    """A cloud asked for fewer calls."""


class _Workspace(automation.LocalWorkspace):
    """The program's folder. Does not change the person's selected stack, since every command names a stack."""

    def select_stack(self, stack_name: str) -> None:
        del stack_name


class _Stack(automation.Stack):
    """A stack without the three queries that the SDK adds to every `up`: events and state hold the same."""

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:
        del show_secrets
        return automation.UpdateSummary(
            kind="update", start_time=datetime.now(UTC), message="", environment={}, config={}, result="succeeded"
        )


@dataclass(kw_only=True)
class Run:
    """A run that has begun."""

    project: Project
    operation: str
    screen: Screen
    patience: Patience
    interruption: Interruption
    record: OwnerRecord
    progress: Progress = field(default_factory=Progress)
    """Progress of the engine's last call."""
    plan: Path | None = None
    """The update plan of the run."""
    leftovers: list[str] = field(default_factory=list)
    """What earlier runs left behind, as sentences."""
    began: float = field(default_factory=time.monotonic)
    _recorded: bool = False
    _progress_at: float = 0.0

    def __post_init__(self) -> None:
        """Find the engine."""
        self.engine = EngineProcess(self.interruption, self._engine_started)
        self._workspace = _Workspace(
            work_dir=str(self.project.folder),
            pulumi_command=self.engine,
            env_vars={"PULUMI_SKIP_UPDATE_CHECK": "true"},
        )

    @property
    def why_unrecorded(self) -> str:
        """Why the engine could not write down a creation: no answer in this run, or a killed earlier run."""
        return "its provider ended or got no answer" if self.progress.uncertain else "the last run was killed"

    @property
    def stack(self) -> automation.Stack:
        """The stack. Its state must exist."""
        return _Stack(self.project.stack, self._workspace, StackInitMode.SELECT)

    @property
    def cli_version(self) -> str:
        """Version of the Pulumi CLI."""
        return str(self.engine.version)

    def say(self, text: str) -> None:
        """Print a sentence about this run."""
        self.screen.say(text)

    def report_leftover(self, text: str) -> None:
        """Print what an earlier run left behind, and keep it for the result."""
        self.leftovers.append(text)
        self.say(f"found: {text}")

    def write_record(self) -> None:
        """Write the owner record beside the state."""
        locks.write_record(self.project, self.record)
        self._recorded = True

    def delete_record(self) -> None:
        """Delete the owner record of a run that ends in order."""
        if self._recorded:
            with contextlib.suppress(FailedError):  # the backend may be the reason for the end
                locks.delete_record(self.project, self.record)

    def query(self, *arguments: str) -> str:
        """Run a short command of the engine on this stack; return its standard output.

        Raises:
            FailedError: the command failed.
        """
        try:
            return self.engine.run([*arguments, "--stack", self.project.stack], str(self.project.folder), {}).stdout
        except automation.CommandError as error:
            self._raise_if_interrupted()
            raise FailedError(error_lines(error)) from None

    def wait_for_lock(self) -> None:
        """Wait until the stack is free; remove locks of dead runs one by one.

        Raises:
            LockedError: a run that may be alive holds the stack for longer than the patience.
        """
        deadline, reported = time.monotonic() + self.patience.lock, set[str]()
        while holders := [holder for holder in locks.holders(self.project) if not self._release_dead(holder)]:
            holder = holders[0]
            if holder.lock.key not in reported:
                reported.add(holder.lock.key)
                self._report_holder(holder)
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"stack {self.project.stack} is locked by {holder.name}: {holder.why}.\n"
                    f"Wait for that run; `runner-platform unlock --stack {self.project.stack}` tells more"
                )
            time.sleep(min(POLL_SECONDS, max(0.05, deadline - time.monotonic())))

    def drive(self, call: Callable[[Callable[[EngineEvent], None]], Any]) -> Progress:
        """Run a long command of the engine; try it again if it was throttled, or disconnected before it began.

        Args:
            call: calls the SDK with the given receiver of events.

        Raises:
            FailedError: the engine failed; holds its errors.
            InterruptedRunError: a signal stopped the run, and its state is saved.
            LockedError: another run holds the stack for longer than the patience.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((_DisconnectedError, _ThrottledError)),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential_jitter(
                multiplier=self.patience.throttled, max=300, jitter=self.patience.throttled / 3
            ),
            before_sleep=self._report_retry,
            reraise=True,
        )
        retrying(self._drive_once, call)
        return self.progress

    def _drive_once(self, call: Callable[[Callable[[EngineEvent], None]], Any]) -> None:
        self.progress = Progress()
        try:
            with self.screen.following(self.progress):
                call(self._receive)
            self._raise_if_interrupted()  # an interrupted destroy ends with exit code 0
        except automation.ConcurrentUpdateError:
            self.wait_for_lock()
            self._drive_once(call)
        except automation.CommandError as error:
            self._raise_if_interrupted()
            # A resource that may exist is looked for before anything is tried again.
            lost = self.progress.uncertain and self.progress.unfinished
            kind = _ThrottledError if self.progress.throttled and not lost else FailedError
            if not self.progress.begun and DISCONNECTED.search(str(error)):
                kind = _DisconnectedError
            raise kind(
                describe_failure(self.operation, self.project.stack, self.progress, error, self.engine.exit_code)
            ) from None
        except RuntimeError as error:  # the events of a preview were cut short
            raise FailedError(
                f"the engine did not tell how it ended ({error}); is there space left in TMPDIR?"
            ) from None

    def _receive(self, event: EngineEvent) -> None:
        # An exception would silently end the SDK's reader, and lose every later event.
        with contextlib.suppress(Exception):
            metadata = getattr(event.res_outputs_event, "metadata", None)
            step = self.progress.running.get(metadata.urn) if metadata else None
            public = self.progress.add(event)
            if step is not None:
                self.screen.finished(step)
            if public is not None:
                self.screen.emit(public)
            if time.monotonic() - self._progress_at >= PROGRESS_SECONDS:
                self._progress_at = time.monotonic()
                self.screen.emit_progress(self.progress)

    def _release_dead(self, holder: Holder) -> bool:
        if holder.fate is not Fate.DEAD:
            return False
        locks.release(self.project, holder)
        if holder.record and holder.record.engine_pid and holder.record.machine == locks.machine():
            end_session(holder.record.engine_pid)  # a killed engine's plugins live on, and may still create things
        self.report_leftover(f"a lock of {holder.name}; {holder.why}. That lock, {holder.lock.id}, is removed")
        return True

    def _report_holder(self, holder: Holder) -> None:
        engine = locks.orphaned_engine(holder.record) if holder.record else None
        if engine is not None:
            locks.interrupt(engine)
            self.report_leftover(
                f"an engine whose driver was killed ({holder.name}); it is asked to finish the resources in hand"
            )
        elif self.patience.lock > 0:
            self.say(f"waiting for {holder.name}, at most {self.patience.lock:.0f} s: {holder.why}")

    def _engine_started(self, pid: int) -> None:
        if self._recorded:
            self.record = locks.add_engine(self.project, self.record, pid)

    def _report_retry(self, state: tenacity.RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0
        error = state.outcome.exception() if state.outcome else None
        why = (
            "throttled by a cloud"
            if isinstance(error, _ThrottledError)
            else "the engine lost a connection before it began"
        )
        self.say(f"{why}; tries again in {seconds:.0f} s (attempt {state.attempt_number + 1} of {ATTEMPTS})")

    def _raise_if_interrupted(self) -> None:
        if not self.interruption.requested:
            return
        overdue = "; the resource in hand took too long and was not waited for" if self.interruption.overdue else ""
        again = f"`runner-platform {self.operation} --stack {self.project.stack}` goes on from there"
        changes = remaining_changes.lines(self.project, self.operation, self.progress, self.plan)
        indented = "".join(f"  {line}\n" for line in changes)
        raise InterruptedRunError(
            f"stopped: {self.progress.changed} changes of this run are in the state{overdue}. "
            + (f"What is left:\n{indented}{again}" if changes else f"What is left: {again}")
        ) from None


@contextlib.contextmanager
def begin(project: Project, operation: str, screen: Screen, patience: Patience) -> Iterator[Run]:
    """Begin a run with signal handlers; delete its record at the end in any case."""
    interruption = Interruption(patience.stop, screen.say)
    with interruption.listening():
        run = Run(
            project=project,
            operation=operation,
            screen=screen,
            patience=patience,
            interruption=interruption,
            record=locks.new_record(operation),
        )
        try:
            yield run
        finally:
            run.delete_record()


def update_message() -> str:
    """Return the message of this run in the engine's history."""
    job = os.environ.get("CI_JOB_URL")
    return f"runner-platform, {job}" if job else "runner-platform"
