"""The programs that the sandbox runs: found on PATH when new enough, else built once into the cache.

Owns where each program comes from and nothing of what it does. Imports of this package stay within the standard library
until a person asks for a display, because `make up` calls it before the project's environment exists.

Start at `runner_platform_sandbox.tools.discovery.Tools` (what is there) and `runner_platform_sandbox.tools.ensure.ensure` (build what is not).
"""

from runner_platform_sandbox.tools.discovery import Tools
from runner_platform_sandbox.tools.errors import ToolsError

__all__ = ["Tools", "ToolsError"]
