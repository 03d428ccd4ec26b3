"""The Pulumi command line as a process that signals interrupt exactly once.

The SDK starts the engine as a plain child, so that the signals of a cancelled job kill it half way or reach it twice. This module gives it
a process session of its own, exactly one SIGINT, and files instead of pipes. An engine whose driver was killed still finishes the resource
in hand and releases its lock. It relies on `PulumiCommand.run`, the SDK's one place where processes start.

GitLab's cancel sends SIGTERM to the driver; a person's Ctrl-C sends SIGINT. A second signal would make the engine forget the resource in
hand. So later signals are ignored until a deadline, and then the engine is ended. While no engine runs, the first signal stops the command.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
import tenacity
from pulumi import automation
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import create_command_error

from runner_platform.errors import FailedError, InterruptedRunError
from runner_platform.stacks import MISSING_CLI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DISCONNECTED: Final = re.compile(r"use of closed network connection|connection reset|broken pipe|unexpected EOF")
"""A connection of the engine itself ended within an answer, such as that of the key that decrypts the settings.

Source: https://github.com/aws/aws-sdk-go-v2/issues/1825
"""
STOP_SECONDS: Final = 20 * 60.0
"""How long the resource in hand may take after a signal. The longest, a cluster, takes a quarter of an hour."""
RETRY_SECONDS: Final = 1.0
"""Time before a command that could not reach the key of the secrets runs again."""
TERMINATE_SECONDS: Final = 10.0
"""Time between SIGTERM and SIGKILL for the processes of a session."""
PLUGIN_SECONDS: Final = 2.0
"""Time for plugins to notice the end of their engine."""


class Interruption:
    """The request to stop a command, by a signal.

    Args:
        seconds: time from the first signal until the engine is ended.
        say: prints the answer to the first signal.
    """

    def __init__(self, seconds: float, say: Callable[[str], None]) -> None:
        self.requested = False
        self.overdue = False
        """Whether the engine was ended before it had finished."""
        self._seconds, self._say = seconds, say
        self._running: ProcessSession | None = None
        self._timer: threading.Timer | None = None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handle signals within the block. Only the main thread may enter it."""
        previous = {number: signal.signal(number, self._handle) for number in SIGNALS}
        try:
            yield
        finally:
            if self._timer:
                self._timer.cancel()
            for number, handler in previous.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def reaching(self, process: ProcessSession) -> Iterator[None]:
        """Pass signals on to this process within the block."""
        self._running = process
        try:
            if self.requested:  # the signal came between the start of the process and now
                process.interrupt()
            yield
        finally:
            self._running = None

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.requested:
            return
        self.requested = True
        if self._running is None:
            raise InterruptedRunError(f"stopped by {signal.Signals(number).name}; nothing was in hand")
        self._running.interrupt()
        self._timer = threading.Timer(self._seconds, self._end, [self._running])
        self._timer.daemon = True
        self._timer.start()
        self._say(
            f"{signal.Signals(number).name}: the engine finishes the resources in hand and saves the state; "
            f"further signals are ignored for {self._seconds:.0f} s"
        )

    def _end(self, process: ProcessSession) -> None:
        self.overdue = True
        process.end()


def retrying_disconnected() -> tenacity.Retrying:
    """Retry a command that lost its connection to the key of the secrets: the engine asks for it before it does anything."""
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_message(match=rf"(?s).*\bsecrets \(code=.*(?:{DISCONNECTED.pattern})"),
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_fixed(RETRY_SECONDS),
        reraise=True,
    )


class EngineProcess(automation.PulumiCommand):
    """`pulumi` from PATH.

    Args:
        interruption: passes signals on while a command runs.
        started: is called with the process id of each long command.

    Raises:
        FailedError: the Pulumi CLI is missing, or does not suit the SDK.
    """

    def __init__(self, interruption: Interruption, started: Callable[[int], None]) -> None:
        try:
            super().__init__()
        except (FileNotFoundError, subprocess.CalledProcessError):
            raise FailedError(MISSING_CLI) from None
        except automation.InvalidVersionError as error:
            raise FailedError(f"the Pulumi CLI does not suit the SDK: {error}") from None
        self._interruption, self._started = interruption, started
        self.exit_code = 0
        """Exit code of the last command; minus the signal's number if a signal ended it."""

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Run a command to its end, as the SDK's own does; run a short one again if it could not reach the key of the secrets.

        Raises:
            CommandError: the command failed.
        """
        del on_output, on_error  # events say more than lines
        if "--event-log" in args:  # `Run.drive` knows whether it began
            return self._run_once(args, cwd, additional_env)
        return retrying_disconnected()(self._run_once, args, cwd, additional_env)

    def _run_once(self, args: list[str], cwd: str, additional_env: Mapping[str, str]) -> CommandResult:
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with tempfile.TemporaryDirectory(prefix="runner-platform-") as folder:
            texts = Path(folder) / "stdout", Path(folder) / "stderr"
            with texts[0].open("wb") as stdout, texts[1].open("wb") as stderr:
                process = subprocess.Popen(
                    [self.command, "--non-interactive", *_with_preview(args)],
                    cwd=cwd,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    start_new_session=True,
                )
            self._follow(process, long="--event-log" in args)
            out, err = (text.read_text(errors="replace").strip() for text in texts)
        result = CommandResult(stdout=out, stderr=err, code=self.exit_code)
        if self.exit_code:
            raise create_command_error(result)
        return result

    def _follow(self, process: subprocess.Popen[bytes], *, long: bool) -> None:
        session = ProcessSession(process)
        with self._interruption.reaching(session):
            if long:
                self._started(process.pid)
            self.exit_code = process.wait()
        if self.exit_code < 0:
            session.end()  # a signal killed the engine; its program and plugins would live on for minutes


def _with_preview(args: list[str]) -> list[str]:
    """Drop `--skip-preview` where a plan is given: only the preview refuses an outdated plan as a whole."""
    return [arg for arg in args if arg != "--skip-preview"] if "--plan" in args else args


class ProcessSession:
    """An engine and the processes that it started: plugins have their own process groups, but share its session."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def interrupt(self) -> None:
        """Send the one SIGINT."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Send SIGTERM, which the engine takes for a second signal, then SIGKILL to the remaining processes."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        psutil.wait_procs(processes_of_session(self._process.pid), timeout=PLUGIN_SECONDS)
        end_session(self._process.pid)


def processes_of_session(leader: int) -> list[psutil.Process]:
    """Return the live processes of a session."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                processes.append(process)
    return processes


def end_session(leader: int) -> int:
    """End every process of a session with SIGTERM, later SIGKILL; return their number."""
    processes = processes_of_session(leader)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=TERMINATE_SECONDS)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(processes)
