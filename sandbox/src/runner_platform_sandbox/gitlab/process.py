"""The GitLab stand-in as a child process: its command line and its readiness."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from runner_platform_sandbox.processes import ServerProcess

if TYPE_CHECKING:
    from runner_platform_sandbox.paths import Paths

_SOURCES = Path(__file__).parents[2]


class GitlabServer(ServerProcess):
    """The GitLab stand-in of one sandbox."""

    name = "the GitLab stand-in"
    log_name = "gitlab.log"
    ready_seconds = 15.0
    stop_seconds = 5.0

    def __init__(self) -> None:
        super().__init__()
        self._url = ""

    def start(self, paths: Paths, port: int, issuer: str = "https://gitlab.com") -> None:
        """Start the server and wait until it answers.

        Args:
            paths: The sandbox; state goes to its folder `gitlab`, the log to `paths.logs`.
            port: Port on loopback.
            issuer: OpenID Connect issuer that ID tokens name.

        Raises:
            SandboxError: The server ended or did not answer in time; the message has the end of its log.
        """
        command = [sys.executable, "-m", "runner_platform_sandbox.gitlab", "--port", str(port)]
        command += ["--state", str(paths.root / "gitlab"), "--issuer", issuer]
        self._url = f"http://127.0.0.1:{port}"
        self._launch(paths, command, _SOURCES, {"PYTHONPATH": str(_SOURCES)}, self._answers)

    def jwks(self) -> dict[str, Any]:
        """Return the public keys of GitLab's ID tokens, for the AWS server."""
        answer = requests.get(f"{self._url}/oauth/discovery/keys", timeout=5)
        answer.raise_for_status()
        keys: dict[str, Any] = answer.json()
        return keys

    def _answers(self) -> bool:
        try:
            health = requests.get(f"{self._url}/_sandbox/health", timeout=1).json()
        except (requests.RequestException, ValueError):
            return False  # the server does not listen yet, or another program has the port
        return bool(health == {"ready": True, "pid": self.pid})
