"""A sandbox, used as a person uses it: through its commands, each in a process."""

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
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping

SECONDS = 600
Completed = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Sandbox:
    """A sandbox below `root`; its tools come from the shared cache."""

    root: Path

    @property
    def paths(self) -> Paths:
        return Paths(cache=Paths.from_environment().cache, root=self.root)

    @property
    def home(self) -> Path:
        """Home of the person, which no command may write to."""
        folder = self.root.parent / "person"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def bare_environment(self) -> dict[str, str]:
        """Environment before `sandbox env`: it names the sandbox's folders alone."""
        return {
            **environment.inherited(),
            "HOME": str(self.home),
            "RUNNER_PLATFORM_CACHE": str(self.paths.cache),
            "RUNNER_PLATFORM_SANDBOX": str(self.root),
        }

    @property
    def variables(self) -> dict[str, str]:
        """Environment after `eval "$(runner-platform sandbox env)"`."""
        return {**self.bare_environment, **environment.variables(self.paths)}

    def up(self, *stacks: str) -> Completed:
        """Run `make up`."""
        return self.run([sys.executable, "-m", "runner_platform_sandbox.up", *stacks])

    def begin_up(self, *stacks: str) -> subprocess.Popen[str]:
        """Start `make up` and do not wait for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "runner_platform_sandbox.up", *stacks],
            cwd=PROJECT,
            env=self.bare_environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def command(self, *arguments: str) -> Completed:
        """Run `runner-platform sandbox ...`."""
        program = "from runner_platform_sandbox.commands import app; app()"
        return self.run([sys.executable, "-c", program, *arguments])

    def stop(self) -> None:
        assert self.command("stop").returncode == 0

    def run(self, arguments: list[str], env: Mapping[str, str] | None = None, cwd: Path = PROJECT) -> Completed:
        return subprocess.run(
            arguments,
            cwd=cwd,
            env=dict(env or self.bare_environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def pulumi(self, *arguments: str, folder: Path = PROJECT) -> Completed:
        """Run `pulumi` with the environment after `sandbox env`."""
        program = str(Tools.find(self.paths).pulumi)
        return self.run([program, *arguments, "--non-interactive", "--color", "never"], self.variables, folder)

    def exported(self, stack: str) -> dict[str, Any]:
        """Return a stack's deployment from the engine's state."""
        folder = PROJECT / "foundation" if stack == "foundation" else PROJECT
        process = self.pulumi("stack", "export", "--stack", stack, folder=folder)
        assert process.returncode == 0, process.stderr
        deployment: dict[str, Any] = json.loads(process.stdout)["deployment"]
        return deployment

    def state(self) -> state.State:
        current = state.read(self.paths)
        assert current is not None, "the sandbox has never been started"
        return current

    def pid(self, name: str) -> int:
        """Return the process id of a part, found by the end of its name."""
        return next(process.pid for process in self.state().processes if process.name.endswith(name))

    def survivors(self) -> list[str]:
        """Return the command lines of running processes whose environment names this sandbox."""
        commands = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                variables = (folder / "environ").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if f"RUNNER_PLATFORM_SANDBOX={self.root}".encode() in variables.split(b"\0") and command:
                commands.append(command)
        return commands


def changes_in_the_repository() -> str:
    """Return the output of `git status` for the files of the stacks."""
    process = subprocess.run(
        ["git", "status", "--porcelain", "--", "Pulumi*.yaml", "foundation"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
    return process.stdout
