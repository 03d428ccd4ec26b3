"""One run of the driver on one stack: its record, its turn, the engine's calls, and how it ended.

Owns the order that every acting command keeps: record, lock, repair, engine. Leaves out what is repaired (`runner_platform.driver.repair`) and
what the commands are (`runner_platform.driver.operations`).
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

from runner_platform.driver import failures, locks, owners, remaining
from runner_platform.driver.engine import Engine, end_session
from runner_platform.driver.events import Progress
from runner_platform.driver.interruption import STOP_SECONDS, Interruption
from runner_platform.driver.locks import Fate
from runner_platform.errors import FailedError, InterruptedRunError, LockedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pulumi.automation.events import EngineEvent

    from runner_platform.driver.display import Screen
    from runner_platform.driver.owners import Owner
    from runner_platform.driver.project import Project

POLL_SECONDS: Final = 2.0
PROGRESS_SECONDS: Final = 1.0
"""Between two events that tell the state of a whole run."""
ATTEMPTS: Final = 4


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long a run waits for what."""

    turn: float = 600.0
    """Seconds for a live run that holds the stack."""
    stop: float = STOP_SECONDS
    """Seconds from a signal until the engine is ended."""
    throttled: float = 15.0
    """Seconds before a throttled run is tried again, the first time."""


class _ThrottledError(FailedError):
    """A cloud asked to be called less often."""


class _Workspace(automation.LocalWorkspace):
    """The program's folder; does not change which stack a person has selected, since every command names its own."""

    def select_stack(self, stack_name: str) -> None:
        del stack_name


class _Stack(automation.Stack):
    """Without the three further commands with which the SDK ends every `up`: events and state have told all of it already."""

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool = True) -> automation.UpdateSummary:
        del show_secrets
        return automation.UpdateSummary(
            kind="update", start_time=datetime.now(UTC), message="", environment={}, config={}, result="succeeded"
        )


@dataclass(kw_only=True)
class Session:
    """A run that has begun."""

    project: Project
    operation: str
    screen: Screen
    patience: Patience
    interruption: Interruption
    owner: Owner
    progress: Progress = field(default_factory=Progress)
    """Of the last call of the engine."""
    plan: Path | None = None
    """The update plan that the run has."""
    found: list[str] = field(default_factory=list)
    """What earlier runs had left, as sentences."""
    began: float = field(default_factory=time.monotonic)
    _recorded: bool = False
    _told: float = 0.0

    def __post_init__(self) -> None:
        """Find the engine."""
        self.engine = Engine(self.interruption, self._started)
        workspace = _Workspace(
            work_dir=str(self.project.folder),
            pulumi_command=self.engine,
            env_vars={"PULUMI_SKIP_UPDATE_CHECK": "true"},
        )
        self._workspace = workspace

    @property
    def cause(self) -> str:
        """Why something is half made: this run's provider got no answer, or an earlier run was killed."""
        return "its provider ended or got no answer" if self.progress.uncertain else "the last run was killed"

    @property
    def stack(self) -> automation.Stack:
        """The stack; its state exists."""
        return _Stack(self.project.stack, self._workspace, StackInitMode.SELECT)

    @property
    def version(self) -> str:
        """Of the Pulumi CLI."""
        return str(self.engine.version)

    def say(self, text: str) -> None:
        """A sentence about this run."""
        self.screen.say(text)

    def note(self, text: str) -> None:
        """Something that an earlier run had left; said, and kept for the result."""
        self.found.append(text)
        self.say(f"found: {text}")

    def record(self) -> None:
        """Write down who acts on the stack from now on."""
        owners.write(self.project, self.owner)
        self._recorded = True

    def forget(self) -> None:
        """Take the record away: the run ends in order."""
        if self._recorded:
            with contextlib.suppress(FailedError):  # the backend may be what ended the run
                owners.delete(self.project, self.owner)

    def query(self, *arguments: str) -> str:
        """A short command of the engine on this stack; returns its standard output.

        Raises:
            FailedError: it failed.
        """
        try:
            return self.engine.run([*arguments, "--stack", self.project.stack], str(self.project.folder), {}).stdout
        except automation.CommandError as error:
            self._raise_if_asked()
            raise FailedError(failures.last_words(error)) from None

    def take_turn(self) -> None:
        """Wait until nobody holds the stack; locks of the dead are taken away, one by one.

        Raises:
            LockedError: a live run, or one that cannot be judged, holds it for longer than the patience.
        """
        deadline, asked = time.monotonic() + self.patience.turn, set[str]()
        while alive := [holder for holder in locks.held(self.project) if not self._released(holder)]:
            holder = alive[0]
            if holder.lock.key not in asked:
                asked.add(holder.lock.key)
                self._ask(holder)
            if time.monotonic() >= deadline:
                raise LockedError(
                    f"stack {self.project.stack} is locked by {holder.name}: {holder.why}.\n"
                    f"`runner-platform unlock --stack {self.project.stack}` tells more"
                )
            time.sleep(min(POLL_SECONDS, max(0.05, deadline - time.monotonic())))

    def drive(self, call: Callable[[Callable[[EngineEvent], None]], Any]) -> Progress:
        """Run a long command of the engine; throttled ones are tried again.

        Args:
            call: takes what receives events, and calls the SDK.

        Raises:
            FailedError: the engine failed; holds what it said.
            InterruptedRunError: somebody asked it to stop, and its state is saved.
            LockedError: somebody else was faster.
        """
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_ThrottledError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_exponential_jitter(
                multiplier=self.patience.throttled, max=300, jitter=self.patience.throttled / 3
            ),
            before_sleep=self._wait,
            reraise=True,
        )
        retrying(self._once, call)
        return self.progress

    def _once(self, call: Callable[[Callable[[EngineEvent], None]], Any]) -> None:
        self.progress = Progress()
        try:
            with self.screen.following(self.progress):
                call(self._take_in)
            self._raise_if_asked()  # an interrupted destroy ends with 0, whatever is left
        except automation.ConcurrentUpdateError:
            self.take_turn()
            self._once(call)
        except automation.CommandError as error:
            self._raise_if_asked()
            # What may have been made is looked for before anything is tried again.
            lost = self.progress.uncertain and self.progress.unfinished
            kind = _ThrottledError if self.progress.throttled and not lost else FailedError
            raise kind(
                failures.of_run(self.operation, self.project.stack, self.progress, error, self.engine.exit_code)
            ) from None
        except RuntimeError as error:  # a preview whose events were cut short
            raise FailedError(
                f"the engine did not tell how it ended ({error}); is there space left in TMPDIR?"
            ) from None

    def _take_in(self, event: EngineEvent) -> None:
        # An exception here would end the SDK's reader silently, and with it every later event.
        with contextlib.suppress(Exception):
            metadata = getattr(event.res_outputs_event, "metadata", None)
            step = self.progress.running.get(metadata.urn) if metadata else None
            shown = self.progress.add(event)
            if step is not None:
                self.screen.finished(step, step.operation)
            if shown is not None:
                self.screen.emit(shown)
            if time.monotonic() - self._told >= PROGRESS_SECONDS:
                self._told = time.monotonic()
                self.screen.emit_progress(self.progress)

    def _released(self, holder: locks.Holder) -> bool:
        if holder.fate is not Fate.DEAD:
            return False
        locks.release(self.project, holder)
        if holder.owner and holder.owner.engine_pid and holder.owner.machine == owners.machine():
            end_session(holder.owner.engine_pid)  # a killed engine's plugins live on, and may still be making things
        self.note(f"a lock of {holder.name}; {holder.why}. That lock, {holder.lock.id}, is removed")
        return True

    def _ask(self, holder: locks.Holder) -> None:
        engine = locks.orphaned_engine(holder.owner) if holder.owner else None
        if engine is not None:
            locks.interrupt(engine)
            self.note(f"an engine whose driver was killed ({holder.name}); it is asked to finish what it has in hand")
        elif self.patience.turn > 0:
            self.say(f"waiting for {holder.name}, at most {self.patience.turn:.0f} s: {holder.why}")

    def _started(self, pid: int) -> None:
        if self._recorded:
            self.owner = owners.with_engine(self.project, self.owner, pid)

    def _wait(self, state: tenacity.RetryCallState) -> None:
        seconds = state.next_action.sleep if state.next_action else 0
        self.say(f"throttled; goes on in {seconds:.0f} s (attempt {state.attempt_number + 1} of {ATTEMPTS})")

    def _raise_if_asked(self) -> None:
        if not self.interruption.asked:
            return
        in_hand = "; the resource in hand took too long and was not waited for" if self.interruption.overdue else ""
        again = f"`runner-platform {self.operation} --stack {self.project.stack}` goes on from there"
        left = remaining.lines(self.project, self.operation, self.progress, self.plan)
        listed = "".join(f"  {line}\n" for line in left)
        raise InterruptedRunError(
            f"stopped: {self.progress.changed} changes of this run are in the state{in_hand}. "
            + (f"What is left:\n{listed}{again}" if left else f"What is left: {again}")
        ) from None


@contextlib.contextmanager
def begun(project: Project, operation: str, screen: Screen, patience: Patience) -> Iterator[Session]:
    """A session that hears signals and takes its record away at its end, however it ends."""
    interruption = Interruption(patience.stop, screen.say)
    with interruption.listening():
        session = Session(
            project=project,
            operation=operation,
            screen=screen,
            patience=patience,
            interruption=interruption,
            owner=owners.this_run(operation),
        )
        try:
            yield session
        finally:
            session.forget()


def message() -> str:
    """What the engine's history says about a run."""
    job = os.environ.get("CI_JOB_URL")
    return f"runner-platform, {job}" if job else "runner-platform"
