"""`summary.md`: the page that a reviewer reads first, one file per stack.

It has the verdict and the counts, then losses, deletes and replacements, then further sections of the run (access, costs, policies), then
the next step. Nothing important is folded. Single properties are in `changes.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runner_platform.reports import changes as full
from runner_platform.reports.change import Kind, counted, counts, ordered
from runner_platform.reports.markdown import code

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner_platform.reports.change import Change

FILE = "summary.md"
MANY_DELETES = 20
"""With more deletes and replacements than this, a summary warns of their number alone."""
MOST_ALERTS = 30
"""Changes that the summary lists one by one."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A further part of a summary."""

    title: str
    lines: Sequence[str]
    """Markdown, a line each; an empty section is left out."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The content of `summary.md` for one run of one stack."""

    stack: str
    changes: Sequence[Change]
    of: str
    """Sentence on the run or comparison: `What this branch changes against main (0a1b2c3d)`."""
    verdict: str = ""
    """Replaces the counts, for example `failed` or `stale`."""
    sections: Sequence[Section] = ()
    footer: Sequence[str] = field(default_factory=tuple)
    """Sentences on the limits of the run and on the next step."""


def document(summary: Summary) -> str:
    """The report as Markdown."""
    changes = [change for change in ordered(summary.changes) if counted(change)]
    lines = [f"### {code(summary.stack)}: {summary.verdict or counts(changes)}", "", f"{summary.of}", ""]
    lines += _alerts(changes)
    for section in summary.sections:
        if section.lines:
            lines += [f"**{section.title}**", "", *section.lines, ""]
    lines += [line for sentence in summary.footer for line in (f"_{sentence}_", "")]
    return "\n".join(lines).rstrip() + "\n"


def _alerts(changes: Sequence[Change]) -> list[str]:
    destructive = {Kind.DELETE, Kind.REPLACE}
    alarming = [change for change in changes if change.kind in destructive or change.warnings]
    if not alarming:
        return []
    destroyed = sum(change.kind in destructive for change in alarming)
    lines = ["**Look at these first**", ""]
    if destroyed > MANY_DELETES:
        lines.append(f"- :warning: {destroyed} resources are deleted or replaced: is this the right stack and branch?")
    for change in alarming[:MOST_ALERTS]:
        sign = ":warning: " if change.loss or change.warnings else ""
        alerts = "; ".join(full.alerts(change))
        lines.append(f"- {sign}{full.headline(change)}{': ' + alerts if alerts else ''}")
    if len(alarming) > MOST_ALERTS:
        lines.append(f"- … and {len(alarming) - MOST_ALERTS} more in {code(full.FILE)}")
    return [*lines, ""]
