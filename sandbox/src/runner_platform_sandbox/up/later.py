"""The tools that `make up` builds last: the stacks stand by then, and the person reads the results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner_platform_sandbox.terminal import sayer
from runner_platform_sandbox.tools.catalogue import LATER_TOOLS, TOOLS
from runner_platform_sandbox.tools.discovery import discover
from runner_platform_sandbox.tools.ensure import ensure
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from rich.console import Console

    from runner_platform_sandbox.paths import Paths

COMMAND = "`runner-platform sandbox run`"


def build(paths: Paths, console: Console) -> None:
    """Build the tools of `sandbox run` that are missing. A failure or Ctrl-C leaves them to that command: the stacks stand.

    Args:
        paths: Has the cache.
        console: Where progress is shown.
    """
    present = discover(paths, LATER_TOOLS)
    missing = [tool.name for tool in LATER_TOOLS if tool.name not in present]
    if not missing:
        return
    say = sayer(console)
    say(
        f"the sandbox is ready, use it in another terminal; now building {' and '.join(missing)} for {COMMAND}, "
        "and Ctrl-C leaves that to the command"
    )
    try:
        ensure(paths, [tool.name for tool in (*TOOLS, *LATER_TOOLS)], console)
    except ToolsError as error:
        say(f"{error}\n{COMMAND} tries it again")
    except KeyboardInterrupt:
        say(f"{COMMAND} builds what is missing")
