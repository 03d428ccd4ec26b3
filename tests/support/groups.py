"""Distribution of tests over processes: whole files, and all files in the sandbox of the run together.

That sandbox has three stacks; a second process would deploy them again. `pytest --dist loadfile` uses this.
"""

from __future__ import annotations

import ast
from functools import cache

from xdist.scheduler import LoadScopeScheduling

from config import load

STACKS = "stacks"
"""Group of the files whose tests use the fixture `sandbox`."""


class GroupScheduling(LoadScopeScheduling):
    """Sends the tests of a group to one process."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid.partition("::")[0])


@cache
def group_of(file: str) -> str:
    """Return the group of a test file, which is relative to the repository."""
    functions = (
        node for node in ast.walk(ast.parse((load.ROOT / file).read_text())) if isinstance(node, ast.FunctionDef)
    )
    return STACKS if any(_takes_sandbox(function) for function in functions) else file


def _takes_sandbox(function: ast.FunctionDef) -> bool:
    """Whether a test or a fixture has the argument `sandbox`."""
    arguments = [argument.arg for argument in (*function.args.posonlyargs, *function.args.args)]
    is_fixture = any("fixture" in ast.unparse(decorator) for decorator in function.decorator_list)
    return "sandbox" in arguments and (is_fixture or function.name.startswith("test_"))
