"""`changes.md`: every change of a stack with its properties.

Losses, deletes and replaces come first. A list that is cut says how many changes are missing. The verdict is in `summary.md`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner_platform.reports.change import Change, Kind, Property, counted, counts, ordered
from runner_platform.reports.markdown import cell, code, details

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE = "changes.md"
MOST_PROPERTIES = 60
"""Properties of one resource that the file lists."""
MOST_CHARACTERS = 400_000
"""Characters of the whole file, below GitLab's limit for rendering."""
SIGNS = {Kind.CREATE: "+", Kind.UPDATE: "~", Kind.DELETE: "-", Kind.REPLACE: "-/+", Kind.MOVE: "="}
TITLES = {
    Kind.DELETE: "Deleted",
    Kind.REPLACE: "Replaced",
    Kind.UPDATE: "Updated",
    Kind.CREATE: "Created",
    Kind.MOVE: "Renamed in the program, unchanged in the cloud",
}


def document(stack: str, changes: Sequence[Change], footer: Sequence[str] = ()) -> str:
    """The report as Markdown.

    Args:
        stack: the stack's name.
        changes: changes of the stack; components are left out.
        footer: sentences on the limits of the list.
    """
    listed = ordered(change for change in changes if not change.is_component)
    parts = [f"# Changes of {code(stack)}: {counts(listed)}\n"]
    missing, size = len(listed), len(parts[0])
    for kind in _kinds(listed):
        of_kind = [change for change in listed if change.kind is kind]
        parts.append(f"## {TITLES[kind]} ({len(of_kind)})\n")
        for change in of_kind:
            text = block(change)
            if size + len(text) > MOST_CHARACTERS:
                break
            parts.append(text)
            size, missing = size + len(text), missing - 1
    if missing:
        parts.append(f"**{missing} more changes do not fit here.**\n")
    parts += [f"_{sentence}_\n" for sentence in footer]
    return "\n".join(parts)


def _kinds(changes: Iterable[Change]) -> list[Kind]:
    present = {change.kind for change in changes}
    return [kind for kind in Kind if kind in present]


def headline(change: Change) -> str:
    """One line for a change: sign, type, name, account."""
    where = f" in {code(change.account)}" if change.account else ""
    return f"{code(SIGNS[change.kind])} {code(change.type)} {code(change.name)}{where}"


def block(change: Change) -> str:
    """A change with its warnings and properties."""
    lines = [f"- {headline(change)}{'' if counted(change) else ' (not counted)'}"]
    lines += [f"  - **{text}**" for text in alerts(change)]
    if change.kind is Kind.CREATE:
        return "\n".join(lines) + "\n" + _folded(change)
    return "\n".join([*lines, *_properties(change.properties)]) + "\n"


def alerts(change: Change) -> list[str]:
    """Sentences about a change that a reviewer must not miss."""
    reasons = ", ".join(code(path) for path in change.reasons)
    return [
        *([f"{change.loss}"] if change.loss else []),
        *([f"replaced because of {reasons}"] if change.kind is Kind.REPLACE and reasons else []),
        *(text if text[:4] != "was " else f"was {code(text[4:])}" for text in change.warnings),
    ]


def _folded(change: Change) -> str:
    if not change.properties:
        return ""
    body = details(f"{len(change.properties)} properties", "\n".join(_properties(change.properties)))
    return "".join(f"  {line}\n" if line else "\n" for line in body.splitlines())


def _properties(properties: Sequence[Property]) -> list[str]:
    lines = [f"  - {_property(change)}" for change in properties[:MOST_PROPERTIES]]
    more = len(properties) - MOST_PROPERTIES
    return [*lines, *([f"  - … {more} more properties"] if more > 0 else [])]


def _property(change: Property) -> str:
    path = code(change.path)
    if change.old is None and change.new is None:
        return path
    if change.old is None:
        return f"{path}: + {cell(str(change.new))}"
    if change.new is None:
        return f"{path}: - {cell(change.old)}"
    return f"{path}: {cell(change.old)} → {cell(change.new)}"
