"""Run a command while the real runners of a deployed stack take jobs, such as `runner-platform prove --by pipeline`."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from runner_platform_sandbox import environment
from runner_platform_sandbox.deployed_stack import settings_of
from runner_platform_sandbox.errors import WRONG_USE, SandboxError
from runner_platform_sandbox.job_execution import executing
from runner_platform_sandbox.terminal import sayer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from runner_platform_sandbox.paths import Paths


def run(paths: Paths, stack: str, command: Sequence[str], console: Console, *, real_pods: bool = False) -> int:
    """Run a command in the environment of `sandbox env`, and return its exit code.

    Raises:
        SandboxError: The stack does not exist or is not deployed, jobs cannot run here, or there is no such command.
    """
    with executing(paths, stack, list(settings_of(stack).runners), sayer(console), real_pods=real_pods):
        variables = {**os.environ, **environment.variables(paths)}
        try:
            return subprocess.run(command, env=variables, check=False).returncode
        except OSError as error:
            reason = error.strerror or error
            raise SandboxError(f"cannot run {command[0]}: {reason}", "name a program", exit_code=WRONG_USE) from error
