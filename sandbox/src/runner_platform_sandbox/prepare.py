"""From nothing to a sandbox that can be deployed to: tools, processes, engine home, environment.

Owns the order, shared by `sandbox start` and `make up`. Leaves out each step's work and the deployments.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox import engine, environment, lifecycle, organization
from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.terminal import sayer
from runner_platform_sandbox.tools.ensure import ensure
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import State


def prepared(
    paths: Paths,
    console: Console,
    phase: Callable[[str], AbstractContextManager[object]] = lambda _: contextlib.nullcontext(),
) -> State:
    """Make everything ready, changing only what is not.

    Args:
        paths: Which sandbox.
        console: Where progress is shown.
        phase: Is entered around each step with its name, to measure it.

    Returns:
        The state of the running sandbox.

    Raises:
        SandboxError: A tool cannot be had, or the sandbox does not start.
    """
    members = organization.read()  # first: an unreadable file costs a person nothing yet
    try:
        with phase("tools"):
            tools = ensure(paths, console=console)
        with phase("sandbox"):
            current = lifecycle.start(paths, sayer(console))
            # The stack files may name more accounts or people than when it was started.
            AwsAdmin(f"http://127.0.0.1:{current.ports.aws}").organization(members.request())
        with phase("engine"):
            engine.prepare(paths, tools, Path(sys.prefix))
            environment.install(paths, current, members)
    except ToolsError as error:
        raise SandboxError(str(error)) from error
    return current
