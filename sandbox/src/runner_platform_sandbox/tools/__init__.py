"""The programs that the sandbox runs: found on PATH if new enough, else built once into the cache.

Read `discovery.Tools` for the tools that are present, `ensure.ensure` for building the missing ones, and `catalogue` for
the list. Imports stay within the standard library, except for the progress display: `make` runs `bootstrap` before the
project's environment exists.
"""

from runner_platform_sandbox.tools.discovery import Tools
from runner_platform_sandbox.tools.errors import ToolsError

__all__ = ["Tools", "ToolsError"]
