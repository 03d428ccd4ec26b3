"""The Pulumi command line as the Automation API runs it, in a session of its own.

The SDK starts the engine as a plain child, so that a cancelled job's signals kill it half way or reach it twice. Here it gets a session,
exactly one SIGINT (`runner_platform.driver.interruption`), and files instead of pipes: an engine whose driver was killed still finishes what
it has in hand and lets go of its lock. Leans on `PulumiCommand.run`, the SDK's one place where processes start.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil
from pulumi import automation
from pulumi.automation._cmd import CommandResult
from pulumi.automation.errors import create_command_error

from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from runner_platform.driver.interruption import Interruption

PATIENCE_SECONDS: Final = 10.0
LEFT_SECONDS: Final = 2.0
"""How long plugins may take to notice that their engine is gone."""


class Engine(automation.PulumiCommand):
    """`pulumi` from PATH.

    Args:
        interruption: who hears signals while a command runs.
        started: is told the process id of each long command, as soon as it runs.

    Raises:
        FailedError: there is no Pulumi CLI, or it does not suit the SDK.
    """

    def __init__(self, interruption: Interruption, started: Callable[[int], None]) -> None:
        try:
            super().__init__()
        except (FileNotFoundError, subprocess.CalledProcessError):
            raise FailedError(
                "the Pulumi CLI is not on PATH; install it, or use the sandbox's: "
                'eval "$(runner-platform sandbox env)"'
            ) from None
        except automation.InvalidVersionError as error:
            raise FailedError(f"the Pulumi CLI does not suit the SDK: {error}") from None
        self._interruption, self._started = interruption, started
        self.exit_code = 0
        """Of the last command; minus the signal's number where a signal ended it."""

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> CommandResult:
        """Run a command to its end, as the SDK's own does.

        Raises:
            CommandError: it failed.
        """
        del on_output, on_error  # events say more than lines
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
        session = _Session(process)
        with self._interruption.reaching(session):
            if long:
                self._started(process.pid)
            self.exit_code = process.wait()
        if self.exit_code < 0:
            session.end()  # the engine was killed: its program and plugins live on, and would for minutes


def _with_preview(args: list[str]) -> list[str]:
    """The SDK always skips the preview, but a plan that does not hold any more is only refused as a whole there."""
    return [each for each in args if each != "--skip-preview"] if "--plan" in args else args


class _Session:
    """An engine process and everything it starts: plugins have process groups of their own, but share its session."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def interrupt(self) -> None:
        """Send the one SIGINT."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """SIGTERM, which the engine takes for a second signal, then SIGKILL to whatever is left."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        psutil.wait_procs(in_session(self._process.pid), timeout=LEFT_SECONDS)
        end_session(self._process.pid)


def in_session(leader: int) -> list[psutil.Process]:
    """Live processes of a session."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end_session(leader: int) -> int:
    """End every process of a session: SIGTERM, a while, SIGKILL; returns how many there were."""
    left = in_session(leader)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(left, timeout=PATIENCE_SECONDS)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(left)
