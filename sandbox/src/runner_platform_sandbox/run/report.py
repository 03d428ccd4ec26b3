"""Output of a run: prefixed lines of traces, the table of jobs, the last sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import Console

Job = dict[str, Any]
_COLOURS: Final = ("cyan", "magenta", "blue", "yellow", "green", "bright_cyan", "bright_magenta", "bright_blue")
_STATE_COLOURS: Final = {"success": "green", "failed": "red", "canceled": "yellow"}
_LONGEST_PREFIX: Final = 16
"""Characters of a job's name before its lines, so that 80 columns leave 60 for the line."""


class Prefix:
    """Puts the job's name before each line."""

    def __init__(self, console: Console, names: Sequence[str]) -> None:
        self._console = console
        self._width = min(_LONGEST_PREFIX, max(map(len, names), default=0))
        self._colours = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}

    def show(self, name: str, line: str, style: str = "") -> None:
        """Print a line of a job; it may have colours of its own."""
        short = name if len(name) <= self._width else f"{name[: self._width - 1]}…"
        text = Text(f"{short:<{self._width}} | ", style=self._colours.get(name, ""))
        text.append_text(Text.from_ansi(line, style=style) if line else Text())
        self._console.print(text, soft_wrap=True, highlight=False)


def table(jobs: Iterable[Job], class_of: Mapping[str, str]) -> Table:
    """Return the table of jobs.

    Args:
        jobs: The jobs, as GitLab shows them, in the order of the file.
        class_of: Runner class by tag.
    """
    listing = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("job", "class", "runner", "state", "seconds", "exit code"):
        numeric = heading in {"seconds", "exit code"}
        listing.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for job in jobs:
        state = "failed (allowed)" if job["status"] == "failed" and job["allow_failure"] else job["status"]
        listing.add_row(
            job["name"],
            " ".join(dict.fromkeys(class_of[tag] for tag in job["tag_list"] if tag in class_of)) or "-",
            runner_name(job) or "-",
            Text(state, style=_STATE_COLOURS.get(job["status"], "")),
            f"{job['duration']:.0f}" if job.get("duration") is not None else "-",
            str(job.get("exit_code", "-")),
        )
    return listing


def runner_name(job: Job) -> str:
    """Return the first words of the description of a job's runner, its tag; empty without a runner."""
    description = str((job.get("runner") or {}).get("description") or "")
    return re.split(r",| of ", description)[0]


def conclusion(number: int, status: str, jobs: Sequence[Job]) -> str:
    """Return the last sentence about a pipeline: its outcome and, if it is not well, the next step."""
    if status == "success":
        return f"pipeline {number} succeeded"
    manual = [job["name"] for job in jobs if job["status"] == "manual"]
    if status in {"manual", "skipped"} and manual:
        return f"pipeline {number} waits for a person; start a manual job: `--job {manual[0]!r}`"
    failed = [job for job in jobs if job["status"] == "failed" and not job["allow_failure"]]
    reasons = ", ".join(f"{job['name']} ({job.get('failure_reason', 'unknown_failure')})" for job in failed)
    return f"pipeline {number} {status}{f': {reasons}; the traces above say why' if reasons else ''}"
