"""Runs the AWS server as a child process.

Owns its start, its readiness and its end. Which ports it gets, and what its accounts are, is the supervisor's business.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.aws.client import AwsAdmin
from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.paths import Paths

_SERVER = Path(__file__).parent / "server"
_READY_SECONDS = 30.0
_STOP_SECONDS = 10.0
_SHOWN_LINES = 8
_INHERITED = ("PATH", "LANG", "TMPDIR", "RUNNER_PLATFORM_SANDBOX")


class AwsServerError(SandboxError):
    """The AWS server did not start; the message names its log file and shows its end."""


class AwsServer:
    """The AWS server of one sandbox."""

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

    def start(self, paths: Paths, python: Path, aws_port: int, jobs_port: int, region: str = "eu-central-1") -> None:
        """Start the server and wait until it answers.

        Args:
            paths: the sandbox; state goes to `paths.aws`, the log to `paths.logs`.
            python: interpreter of MiniStack's environment.
            aws_port: port of the deployer's listener.
            jobs_port: port of the jobs' listener.
            region: region of requests that name none.

        Raises:
            AwsServerError: when it ends, or does not answer within 30 s.
        """
        if self.alive():
            return
        for folder in (paths.aws, paths.logs, paths.home):
            folder.mkdir(parents=True, exist_ok=True)
        log = paths.logs / "aws.log"
        command = [str(python), "-m", "sandbox_aws", "--state", str(paths.aws), "--region", region]
        command += ["--port", str(aws_port), "--jobs-port", str(jobs_port)]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment(paths), cwd=paths.aws
            )
        self._wait(AwsAdmin(f"http://127.0.0.1:{aws_port}"), log)

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
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._process = None

    def _wait(self, admin: AwsAdmin, log: Path) -> None:
        """Return once the server answers; a stranger on its port is not it."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if not self.alive():
                raise AwsServerError(f"The AWS server ended at once; its log {log} ends with:\n{_end_of(log)}")
            if admin.ready(self.pid):
                return
            time.sleep(0.05)
        self.stop()
        raise AwsServerError(f"The AWS server gave no answer within {_READY_SECONDS:.0f} s; see {log}:\n{_end_of(log)}")


def _environment(paths: Paths) -> dict[str, str]:
    """Return the server's environment: nothing of the person's AWS set-up."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {"HOME": str(paths.home), "PYTHONPATH": str(_SERVER), "PYTHONUNBUFFERED": "1"}


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:])
