"""`summary.md`: what a reviewer reads first, one file per stack.

The verdict and the counts, then what is lost, deleted or replaced, then whatever else a run has to say (access, costs, policies), then
what to do next. Nothing that matters is folded away. Leaves out single properties, which are `changes.md`'s.
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
"""Deletes and replaces above which a summary warns of their number alone."""
MOST_ALERTS = 30
"""Changes that are listed one by one."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A further part of a summary."""

    title: str
    lines: Sequence[str]
    """Markdown, a line each; an empty section is left out."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What is said of one run of one stack."""

    stack: str
    changes: Sequence[Change]
    of: str
    """What was compared or run, a phrase: `against main (0a1b2c3d)`."""
    verdict: str = ""
    """Instead of the counts, where there is more to say: `failed`, `stale`."""
    sections: Sequence[Section] = ()
    footer: Sequence[str] = field(default_factory=tuple)
    """Sentences on what was not looked at, and on what to do next."""


def document(summary: Summary) -> str:
    """The report as Markdown."""
    shown = [each for each in ordered(summary.changes) if counted(each)]
    lines = [f"### {code(summary.stack)}: {summary.verdict or counts(shown)}", "", f"{summary.of}", ""]
    lines += _alerts(shown)
    for section in summary.sections:
        if section.lines:
            lines += [f"**{section.title}**", "", *section.lines, ""]
    lines += [line for each in summary.footer for line in (f"_{each}_", "")]
    return "\n".join(lines).rstrip() + "\n"


def _alerts(shown: Sequence[Change]) -> list[str]:
    dire = [each for each in shown if each.kind in {Kind.DELETE, Kind.REPLACE} or each.warnings]
    if not dire:
        return []
    gone = sum(each.kind in {Kind.DELETE, Kind.REPLACE} for each in dire)
    lines = ["**Look at these first**", ""]
    if gone > MANY_DELETES:
        lines.append(f"- :warning: {gone} resources are deleted or replaced: is this the right stack and branch?")
    for each in dire[:MOST_ALERTS]:
        said = "; ".join(full.alerts(each))
        lines.append(
            f"- {':warning: ' if each.loss or each.warnings else ''}{full.headline(each)}{': ' + said if said else ''}"
        )
    if len(dire) > MOST_ALERTS:
        lines.append(f"- … and {len(dire) - MOST_ALERTS} more in {code(full.FILE)}")
    return [*lines, ""]
