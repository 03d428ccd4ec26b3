"""The GitLab stand-in as a process: started, killed, started again with its kept state."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
import requests

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.gitlab.process import GitlabServer
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.ports import choose

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sandbox


def test_a_killed_gitlab_comes_back_with_its_runners_and_keys(tmp_path: Path) -> None:
    paths, port, server = Paths(cache=tmp_path / "cache", root=tmp_path / "root"), choose().gitlab, GitlabServer()
    server.start(paths, port)
    try:
        keys = server.jwks()
        url, head = f"http://127.0.0.1:{port}/api/v4", {"PRIVATE-TOKEN": GITLAB_TOKEN}
        asked = {"runner_type": "group_type", "group_id": 1234}
        made = requests.post(f"{url}/user/runners", json=asked, headers=head, timeout=5).json()
        assert server.pid
        os.kill(server.pid, signal.SIGKILL)
        while server.alive():
            time.sleep(0.01)
        assert server.ended == -signal.SIGKILL
        server.start(paths, port)
        assert requests.get(f"{url}/runners/{made['id']}", headers=head, timeout=5).json()["id"] == made["id"]
        assert server.jwks() == keys
        with pytest.raises(SandboxError, match="ended at once"):
            GitlabServer().start(paths, port)
    finally:
        server.stop()
    assert not server.alive()
    log = (paths.logs / "gitlab.log").read_text()
    assert made["token"] not in log
    assert GITLAB_TOKEN not in log
