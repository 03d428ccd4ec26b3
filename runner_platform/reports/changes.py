"""`changes.md`: every change of a stack with its properties, for those who want to read all of it.

Deletes, replaces and losses come first. Where the list is cut it says so and how much is missing. Leaves out the verdict, which is
`summary.md`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner_platform.reports.change import Change, Kind, Property, counted, counts, ordered
from runner_platform.reports.markdown import cell, code, details

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

FILE = "changes.md"
MOST_PROPERTIES = 60
"""Properties of one resource that are shown."""
MOST_CHARACTERS = 400_000
"""Of the whole file, below what GitLab renders."""
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
        changes: what changes; components are left out, since nothing of them is in a cloud.
        footer: sentences on what this list cannot show.
    """
    shown = ordered(each for each in changes if not each.is_component)
    parts = [f"# Changes of {code(stack)}: {counts(shown)}\n"]
    left, size = len(shown), len(parts[0])
    for kind in _kinds(shown):
        own = [each for each in shown if each.kind is kind]
        parts.append(f"## {TITLES[kind]} ({len(own)})\n")
        for each in own:
            text = block(each)
            if size + len(text) > MOST_CHARACTERS:
                break
            parts.append(text)
            size, left = size + len(text), left - 1
    if left:
        parts.append(f"**{left} more changes do not fit here.**\n")
    parts += [f"_{each}_\n" for each in footer]
    return "\n".join(parts)


def _kinds(changes: Iterable[Change]) -> list[Kind]:
    return list(dict.fromkeys(each.kind for each in sorted(changes, key=lambda each: list(Kind).index(each.kind))))


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
    """What a reviewer must not miss about a change."""
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
    lines = [f"  - {_property(each)}" for each in properties[:MOST_PROPERTIES]]
    more = len(properties) - MOST_PROPERTIES
    return [*lines, *([f"  - … {more} more properties"] if more > 0 else [])]


def _property(each: Property) -> str:
    path = code(each.path)
    if each.old is None and each.new is None:
        return path
    if each.old is None:
        return f"{path}: + {cell(str(each.new))}"
    if each.new is None:
        return f"{path}: - {cell(each.old)}"
    return f"{path}: {cell(each.old)} → {cell(each.new)}"
