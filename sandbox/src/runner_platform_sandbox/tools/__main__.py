"""`python -m runner_platform_sandbox.tools ensure | list | clean`: the tools without the rest of the sandbox.

`clean` needs the standard library only, since `make distclean` may find no environment.
"""

from __future__ import annotations

import argparse
import signal
import sys
from typing import TYPE_CHECKING, NoReturn

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.cache import clean
from runner_platform_sandbox.tools.catalogue import BY_NAME, EVERY_TOOL, GoTool
from runner_platform_sandbox.tools.discovery import discover
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0 fine, 1 not fine, 2 wrong use, 3 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m runner_platform_sandbox.tools", description="The programs that the sandbox runs."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("ensure", help="build or install the missing tools")
    build.add_argument("names", nargs="*", metavar="NAME", help="tools to build; all by default")
    commands.add_parser("list", help="show the origin of each tool")
    commands.add_parser("clean", help="remove all built tools")
    options = parser.parse_args(arguments)
    names = options.names if options.command == "ensure" else []
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        parser.error(f"unknown tool {unknown[0]!r}; choose from {', '.join(BY_NAME)}")
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        return _run(options.command, names)
    except ToolsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; complete tools are kept, and the same command goes on from there", file=sys.stderr)
        return 3


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """Treat SIGTERM as Ctrl-C: end the build and remove its folder."""
    raise KeyboardInterrupt


def _run(command: str, names: list[str]) -> int:
    paths = Paths.from_environment()
    if command == "clean":
        clean(paths, print)
        return 0
    if command == "list":
        return _list(paths)
    try:
        from runner_platform_sandbox.tools.ensure import ensure  # noqa: PLC0415  # needs Rich; `clean` runs without it
    except ModuleNotFoundError as error:
        raise ToolsError(f"this Python has no module {error.name}; run `make tools` instead") from error

    tools = ensure(paths, names or BY_NAME)
    print(f"{len(tools.present)} tools are ready; list them: `python -m runner_platform_sandbox.tools list`")
    return 0


def _list(paths: Paths) -> int:
    """Print name, version, origin and path of each tool. Exit code 1 if a tool is missing."""
    present = discover(paths, EVERY_TOOL)
    for tool in EVERY_TOOL:
        entry = present.get(tool.name)
        if entry is None:
            version = str(tool.version) if isinstance(tool, GoTool) else "locked"
            print(f"{tool.name:26} {version:10} missing")
        else:
            print(f"{tool.name:26} {entry.version or 'locked'!s:10} {entry.origin.value:8} {entry.program}")
    return 0 if len(present) == len(EVERY_TOOL) else 1


if __name__ == "__main__":
    sys.exit(main())
