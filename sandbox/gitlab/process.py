"""Runs the fake GitLab as a child process.

Owns its start, its readiness and its end. Which port it gets is the supervisor's business.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    from sandbox.paths import Paths

_PROJECT = Path(__file__).parents[2]
_READY_SECONDS = 15.0
_STOP_SECONDS = 5.0
_SHOWN_LINES = 8
_INHERITED = ("PATH", "LANG", "TMPDIR", "RUNNER_PLATFORM_SANDBOX")


class GitlabServer:
    """The GitLab of one sandbox."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""

    @property
    def pid(self) -> int | None:
        """Process id, None when the server was not started by this object."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> int | None:
        """Exit status, minus the number of the signal that ended it; None while it runs or was never started."""
        return None if self._process is None else self._process.poll()

    def start(self, paths: Paths, port: int, issuer: str = "https://gitlab.com") -> None:
        """Start the server and wait until it answers.

        Args:
            paths: The sandbox; state goes to its folder `gitlab`, the log to `paths.logs`.
            port: On loopback.
            issuer: OpenID Connect issuer that ID tokens name.

        Raises:
            SandboxError: It ended, or did not answer in time; with the end of its log.
        """
        if self.alive():
            return
        for folder in (paths.logs, paths.home):
            folder.mkdir(parents=True, exist_ok=True)
        log = paths.logs / "gitlab.log"
        command = [sys.executable, "-m", "sandbox.gitlab", "--port", str(port)]
        command += ["--state", str(paths.root / "gitlab"), "--issuer", issuer]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=_environment(paths), cwd=_PROJECT
            )
        self._url = f"http://127.0.0.1:{port}"
        self._wait(log)

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

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of its ID tokens, for the AWS server's `PUT /_sandbox/issuers`."""
        answer = requests.get(f"{self._url}/oauth/discovery/keys", timeout=5)
        answer.raise_for_status()
        keys: dict[str, Any] = answer.json()
        return keys

    def _wait(self, log: Path) -> None:
        """Return once the server answers on its own behalf: a stranger on the port is not it."""
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            if not self.alive():
                raise SandboxError(f"the fake GitLab ended at once; its log {log} ends with:\n{_end_of(log)}")
            try:
                if requests.get(f"{self._url}/_sandbox/health", timeout=1).json() == {"ready": True, "pid": self.pid}:
                    return
            except (requests.RequestException, ValueError):
                pass  # it does not listen yet, or somebody else does
            time.sleep(0.05)
        self.stop()
        raise SandboxError(f"the fake GitLab gave no answer within {_READY_SECONDS:.0f} s; see {log}:\n{_end_of(log)}")


def _environment(paths: Paths) -> dict[str, str]:
    """Return the server's environment: nothing of the person's."""
    kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return kept | {"HOME": str(paths.home), "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(_PROJECT)}


def _end_of(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:])
