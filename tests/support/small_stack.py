"""The driver on a small program: the real engine, a GitLab of the test's own that can be slow, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.gitlab.server import Answer, GitLab, Request, serve
from runner_platform_sandbox.organization import PROJECT
from tests.support.engine_home import engine_home
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).parent / "programs" / "driver"
SECONDS = 180
LOCKS = Path(".pulumi/locks/organization/driver-test/test")


class SlowGitLab(GitLab):
    """A GitLab with slow creations, or with creations that wait for `open`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "https://gitlab.com")
        self.delay = 0.0
        self.refusals = 0
        """Number of creations still to be answered with 429."""
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()

    def answer(self, request: Request) -> Answer:
        creates = request.method == "POST" and request.path.endswith("/user/runners")
        if creates and self.refusals:
            self.refusals -= 1
            return Answer(HTTPStatus.TOO_MANY_REQUESTS, {"message": "429 Too Many Requests"})
        answer = super().answer(request)
        if creates:
            self.asked.set()
            self.open.wait(SECONDS)
            time.sleep(self.delay)
        return answer


@dataclass
class Stack:
    """A stack of the small program, driven by processes of `runner-platform`."""

    folder: Path
    gitlab: SlowGitLab
    environment: dict[str, str]
    backend: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def begin(self, *arguments: str, stack: str = "test", **variables: str) -> subprocess.Popen[str]:
        """Start `runner-platform <arguments>` without waiting for it."""
        running = subprocess.Popen(
            [sys.executable, "-m", "runner_platform", *arguments, "--stack", stack, "--folder", str(self.folder)],
            cwd=PROJECT,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if "--json" not in arguments else subprocess.PIPE,
            text=True,
        )
        self.started.append(running)
        return running

    def run(self, *arguments: str, stack: str = "test", **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `runner-platform <arguments>`."""
        return self.end(self.begin(*arguments, stack=stack, **variables))

    def end(self, running: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        output, errors = running.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(running.args, running.returncode, output, errors)

    def set(self, key: str, value: str) -> None:
        """Change a setting of the stack."""
        file = self.folder / "Pulumi.test.yaml"
        lines = [line for line in file.read_text().splitlines() if not line.startswith(f"  driver-test:{key}:")]
        at = lines.index("config:") + 1
        file.write_text("\n".join([*lines[:at], f'  driver-test:{key}: "{value}"', *lines[at:]]) + "\n")

    @property
    def descriptions(self) -> list[str]:
        """Descriptions of the runners in GitLab."""
        return sorted(runner["description"] for runner in self.gitlab.store.runners.values())

    @property
    def state(self) -> dict[str, Any]:
        """The latest deployment of the state."""
        text = (self.backend / ".pulumi/stacks/driver-test/test.json").read_text()
        latest: dict[str, Any] = json.loads(text)["checkpoint"]["latest"]
        return latest

    @property
    def known(self) -> list[str]:
        """Ids of the runners in the state."""
        return sorted(entry["id"] for entry in self.state["resources"] if entry["type"].startswith("gitlab:"))

    @property
    def locks(self) -> list[Path]:
        return [file for file in (self.backend / LOCKS).glob("*") if file.suffix == ".json"]

    @property
    def records(self) -> list[Path]:
        return list((self.backend / ".runner-platform" / "owners").rglob("*.json"))

    @property
    def engine(self) -> int:
        """Process id of the engine that holds the stack; waits for a lock, since the engine takes short ones first."""
        pids: list[int] = []

        def read_lock() -> bool:
            with suppress(IndexError, FileNotFoundError, ValueError):
                pids.append(int(json.loads(self.locks[0].read_text())["pid"]))
            return bool(pids)

        until(read_lock, "an engine's lock", SECONDS)
        return pids[0]

    def in_the_middle(self, running: subprocess.Popen[str]) -> None:
        """Wait until GitLab has made a runner and not answered yet; needs `gitlab.open` to be clear."""
        until(lambda: self.gitlab.asked.is_set() or running.poll() is not None, "a creation", SECONDS)
        assert running.poll() is None, running.communicate()[0]

    def assert_whole(self, count: int = 4, text: str = "first") -> None:
        """Assert that GitLab and the state agree: every runner once, no lock, no record, no pending operation."""
        assert self.descriptions == [f"runner {number}, {text}" for number in range(count)], "nothing doubled or lost"
        assert self.known == sorted(self.gitlab.store.runners), "the state knows exactly what there is"
        assert not self.state.get("pending_operations")
        assert self.locks == []
        assert self.records == []


def kill_all(running: subprocess.Popen[str], engine: int) -> None:
    """SIGKILL the driver, its engine and all processes of the session, like the loss of a node."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            pid = int(process.name)
            if os.getsid(pid) == engine:
                os.kill(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            continue
    if running.poll() is None:
        running.kill()
    running.communicate()


@contextmanager
def small_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack that has been made and never deployed."""
    gitlab = SlowGitLab(tmp_path / "gitlab")
    server = serve(gitlab, 0)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    paths, environment = engine_home(tmp_path / "engine")
    folder = shutil.copytree(PROGRAM, tmp_path / "program", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "Pulumi.test.yaml").write_text("config:\n  driver-test:runners: 4\n")
    url = f"http://127.0.0.1:{server.server_address[1]}/api/v4/"
    variables = {
        **environment,
        "GITLAB_BASE_URL": url,
        "GITLAB_TOKEN": GITLAB_TOKEN,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    stack = Stack(folder=folder, gitlab=gitlab, environment=variables, backend=paths.backend)
    try:
        yield stack
    finally:
        gitlab.open.set()
        for running in stack.started:
            if running.poll() is None:
                running.kill()
        server.shutdown()
        server.server_close()
