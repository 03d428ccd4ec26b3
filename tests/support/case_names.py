"""Names of parametrized cases that stay the same however often one process collects them.

pytest keeps the names that `ids=` makes, escaped, and escapes them again at the next collection: `l\\xf6schen` becomes `l\\\\xf6schen`. A run of
mutants collects the tests several times in one process, and asks for them by the first name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

ESCAPED = re.compile(r"[^ -\[\]-~]")
"""Characters that pytest escapes in a name: those outside of ASCII, those that do not print, and the backslash."""


def case_name(text: str) -> str:
    """Return a text without characters that pytest escapes, as the name of a case."""
    return ESCAPED.sub("?", text.replace("\\", "/"))


def refuse_escaped_names(items: Iterable[pytest.Item]) -> None:
    """Raise `UsageError` if `ids=` made a name that pytest had to escape."""
    for item in items:
        if "\\" in item.name and any("ids" in mark.kwargs for mark in item.iter_markers("parametrize")):
            raise pytest.UsageError(
                f"{item.nodeid}: pytest escapes this name again at each collection; make it with case_name of tests/support/case_names.py"
            )
