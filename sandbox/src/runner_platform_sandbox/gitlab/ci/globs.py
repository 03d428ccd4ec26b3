"""Patterns of paths, as in `rules: changes` and `rules: exists`: Ruby's File.fnmatch with FNM_PATHNAME, FNM_DOTMATCH and FNM_EXTGLOB.

https://docs.ruby-lang.org/en/3.2/File.html#method-c-fnmatch
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_PART: Final = re.compile(
    r"(?P<folders>(?:(?<=/)|^)\*\*/)|(?P<star>\*+)|(?P<any>\?)|(?P<set>\[[^\]]+\])|(?P<brace>[{},])|(?P<text>\\?.)",
    re.DOTALL,
)


def matches(pattern: str, path: str) -> bool:
    """Tell whether a path matches a pattern.

    `*` and `?` stay within a folder, `**/` is any number of folders, `{a,b}` is an alternative, `[a-z]` a set.
    """
    return _compiled(pattern).fullmatch(path) is not None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    expression = ""
    depth = 0
    for part in _PART.finditer(pattern):
        if part["folders"]:
            expression += "(?:[^/]+/)*"
        elif part["star"]:
            expression += "[^/]*"
        elif part["any"]:
            expression += "[^/]"
        elif part["set"]:
            expression += part["set"]
        elif part["brace"] and (depth or part[0] == "{"):
            depth += {"{": 1, "}": -1, ",": 0}[part[0]]
            expression += {"{": "(?:", "}": ")", ",": "|"}[part[0]]
        else:
            expression += re.escape(part[0].removeprefix("\\") or "\\")
    return re.compile(expression + ")" * depth, re.DOTALL)
