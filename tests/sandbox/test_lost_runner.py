"""The engine is killed after GitLab has made a runner and before its token is written down."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import recovery
from sandbox.engine_run import Engine
from sandbox.environment import GITLAB_TOKEN
from sandbox.gitlab import runners
from sandbox.gitlab.server import GitLab, serve
from sandbox.tools.result import Tools
from tests.sandbox.engine_cases import engine_home

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sandbox
PROGRAM = Path(__file__).parent / "programs" / "gitlab"
UP = ("up", "--yes", "--skip-preview", "--stack", "test")


class SlowAnswer:
    """GitLab makes the runner and keeps its answer back until `released`."""

    def __init__(self) -> None:
        self.made = threading.Event()
        self.released = threading.Event()

    def create(self, *arguments: Any) -> Any:
        answer = _CREATE(*arguments)
        self.made.set()
        self.released.wait(60)
        return answer


_CREATE = runners.create


@pytest.fixture
def gitlab(tmp_path: Path) -> Iterator[tuple[GitLab, str]]:
    made = GitLab(tmp_path / "gitlab", "https://gitlab.com")
    server = serve(made, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield made, f"http://127.0.0.1:{server.server_address[1]}/api/v4/"
    server.shutdown()
    server.server_close()


def killed_while_it_creates(engine: Engine, program: Path, answer: SlowAnswer) -> None:
    running = subprocess.Popen(
        [engine.program, *UP, "--non-interactive"],
        cwd=program,
        env=dict(engine.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert answer.made.wait(60), "the program never asked for a runner"
    os.killpg(running.pid, signal.SIGKILL)  # the engine, its language host and its plugins
    running.wait()
    answer.released.set()


def test_a_runner_whose_token_was_lost_is_replaced_and_never_doubled(
    gitlab: tuple[GitLab, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served, url = gitlab
    paths, environment = engine_home(tmp_path / "engine")
    program = shutil.copytree(PROGRAM, tmp_path / "program", ignore=shutil.ignore_patterns("__pycache__"))
    engine = Engine(
        paths=paths,
        program=str(Tools.find(paths).pulumi),
        environment={**environment, "GITLAB_BASE_URL": url, "GITLAB_TOKEN": GITLAB_TOKEN},
    )
    engine.query(["stack", "init", "test"], program)
    answer = SlowAnswer()
    with monkeypatch.context() as patch:
        patch.setattr(runners, "create", answer.create)
        killed_while_it_creates(engine, program, answer)
    assert list(served.store.runners) == ["1"], "GitLab has a runner that no state knows"
    said: list[str] = []
    recovery.recover(engine, "test", program, said.append)
    assert "token once" in said[-1]
    assert served.store.runners == {}
    engine.query([*UP], program)
    outputs = json.loads(engine.query(["stack", "output", "--json", "--show-secrets", "--stack", "test"], program))
    assert list(served.store.runners) == [outputs["id"]] == ["2"], "one runner, and the state has it"
    assert served.store.runner_of_token(outputs["token"]) is not None
    engine.query([*UP, "--expect-no-changes"], program)
    recovery.recover(engine, "test", program, said.append)
    assert list(served.store.runners) == ["2"], "a run that ended in order leaves nothing to recover"
