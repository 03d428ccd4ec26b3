"""A sandbox as a person uses it: through its commands, in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox import environment, state
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.result import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 600
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Sandbox:
    """A sandbox below `root`; tools come from the cache that is shared with everything else."""

    root: Path

    @property
    def paths(self) -> Paths:
        return Paths(cache=Paths.from_environment().cache, root=self.root)

    @property
    def home(self) -> Path:
        """The person's own home, which nothing may write to."""
        folder = self.root.parent / "person"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def surroundings(self) -> dict[str, str]:
        """Environment of a person who has set nothing but where the sandbox is."""
        return {
            **environment.inherited(),
            "HOME": str(self.home),
            "RUNNER_PLATFORM_CACHE": str(self.paths.cache),
            "RUNNER_PLATFORM_SANDBOX": str(self.root),
        }

    @property
    def variables(self) -> dict[str, str]:
        """Environment after `eval "$(runner-platform sandbox env)"`."""
        return {**self.surroundings, **environment.variables(self.paths)}

    def up(self, *stacks: str) -> Done:
        """`make up`."""
        return self.run([sys.executable, "-m", "runner_platform_sandbox.up", *stacks])

    def begin_up(self, *stacks: str) -> subprocess.Popen[str]:
        """`make up` without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "runner_platform_sandbox.up", *stacks],
            cwd=PROJECT,
            env=self.surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, *arguments: str) -> Done:
        """`runner-platform sandbox ...`."""
        program = "from runner_platform_sandbox.commands import app; app()"
        return self.run([sys.executable, "-c", program, *arguments])

    def stop(self) -> None:
        assert self.command("stop").returncode == 0

    def run(self, arguments: list[str], env: Mapping[str, str] | None = None, cwd: Path = PROJECT) -> Done:
        return subprocess.run(
            arguments,
            cwd=cwd,
            env=dict(env or self.surroundings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def pulumi(self, *arguments: str, folder: Path = PROJECT) -> Done:
        """Plain `pulumi`, as after `sandbox env`."""
        program = str(Tools.find(self.paths).pulumi)
        return self.run([program, *arguments, "--non-interactive", "--color", "never"], self.variables, folder)

    def exported(self, stack: str) -> dict[str, Any]:
        """A stack's deployment as the engine keeps it."""
        folder = PROJECT / "foundation" if stack == "foundation" else PROJECT
        done = self.pulumi("stack", "export", "--stack", stack, folder=folder)
        assert done.returncode == 0, done.stderr
        deployment: dict[str, Any] = json.loads(done.stdout)["deployment"]
        return deployment

    def state(self) -> state.State:
        found = state.read(self.paths)
        assert found is not None, "the sandbox has never been started"
        return found

    def pid(self, name: str) -> int:
        """Process id of a part, by the end of its name."""
        return next(process.pid for process in self.state().processes if process.name.endswith(name))

    def survivors(self) -> list[str]:
        """Command lines of live processes that carry this sandbox's root, besides this test's own."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                carried = (folder / "environ").read_bytes()
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"RUNNER_PLATFORM_SANDBOX={self.root}".encode() in carried.split(b"\0") and words:
                found.append(words)
        return found


def changes_in_the_repository() -> str:
    """What `git status` says about the files that the stacks are made of."""
    done = subprocess.run(
        ["git", "status", "--porcelain", "--", "Pulumi*.yaml", "foundation"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return done.stdout
