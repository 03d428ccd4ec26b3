"""A server of the sandbox as a child process.

Owns its start, its readiness and its end. Leaves its command line, its environment and what counts as an answer to each
server, and which ports it gets to the supervisor.
"""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, ClassVar, Final

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths

_SHOWN_LINES: Final = 8
_POLL_SECONDS: Final = 0.05
_INHERITED: Final = ("PATH", "LANG", "TMPDIR", "RUNNER_PLATFORM_SANDBOX")


class ServerProcess:
    """One server; a subclass says how it is started and when it answers."""

    name: ClassVar[str]
    """In sentences, such as `the AWS server`."""
    log_name: ClassVar[str]
    """File in `paths.logs`."""
    ready_seconds: ClassVar[float]
    """How long it may take to answer."""
    stop_seconds: ClassVar[float]
    """How long it may take to end by itself."""
    error: ClassVar[type[SandboxError]] = SandboxError
    """What is raised when it does not start."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id, None when the server was not started by this object."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """Exit status, minus the number of the signal that ended it; None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def alive(self) -> bool:
        """Whether the process that was started here still runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask the server to end, and kill it when it does not; its state is on disk either way."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(self.stop_seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def _launch(
        self,
        paths: Paths,
        command: Sequence[str],
        folder: Path,
        variables: Mapping[str, str],
        answers: Callable[[], bool],
    ) -> None:
        """Start the server where it does not run, and return when it answers.

        Args:
            paths: The sandbox; the server's HOME and log are there, and nothing of the person's is passed on.
            command: Program and arguments.
            folder: Working directory; made if absent.
            variables: What the server's environment holds besides.
            answers: Whether this very server answers: a stranger on its port is not it.

        Raises:
            SandboxError: It ended, or did not answer in time; with the end of its log.
        """
        if self.alive():
            return
        for needed in (folder, paths.logs, paths.home):
            needed.mkdir(parents=True, exist_ok=True)
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        log = paths.logs / self.log_name
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**kept, "HOME": str(paths.home), "PYTHONUNBUFFERED": "1", **variables},
                cwd=folder,
            )
        self._wait(log, answers)

    def _wait(self, log: Path, answers: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.ready_seconds
        while time.monotonic() < deadline:
            if not self.alive():
                raise self.error(f"{self.name} ended at once; its log {log} ends with:\n{_end_of(log)}")
            if answers():
                return
            time.sleep(_POLL_SECONDS)
        self.stop()
        raise self.error(f"{self.name} gave no answer within {self.ready_seconds:.0f} s; see {log}:\n{_end_of(log)}")


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:])
