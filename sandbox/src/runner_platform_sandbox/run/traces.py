"""Traces of jobs as lines for a person: without the runner's time stamps, section marks and overwritten text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

_STAMP: Final = re.compile(r"^\d{4}-\d\d-\d\dT[\d:.]+Z \d\d[OE][+ ]?")
"""Time, stream and mark of continued lines: `FF_TIMESTAMPS` of GitLab Runner."""
_SECTION: Final = re.compile(r"section_(start|end):\d+:([^\r\n\[]*)[^\r\n]*\r(?:\x1b\[0K)?")
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")
"""Everything but colours."""
_SCRIPTS: Final = frozenset({"step_script", "after_script"})
"""Sections with the output of the job itself."""


class Line(NamedTuple):
    """A line for a person."""

    text: str
    from_script: bool
    """Whether the job's script wrote it, not the runner around it."""


@dataclass
class Trace:
    """The part of a job's trace that a person has not seen yet."""

    seen: int = 0
    """Bytes."""
    in_script: bool = False

    def lines(self, content: bytes, *, ended: bool) -> list[Line]:
        """Return the new lines of a trace; a line that is not complete waits for the end.

        Args:
            content: The whole trace so far.
            ended: Whether the job has ended.
        """
        end = len(content) if ended else content.rfind(b"\n") + 1
        fresh = content[self.seen : end].decode(errors="replace")
        self.seen = max(self.seen, end)
        lines = []
        for raw in fresh.split("\n"):
            for mark in _SECTION.finditer(raw):
                if mark[2] in _SCRIPTS:
                    self.in_script = mark[1] == "start"
            if text := readable(raw):
                lines.append(Line(text, self.in_script))
        return lines


def readable(line: str) -> str:
    """Return a line of a trace as a terminal would show it in the end, with its colours."""
    text = _SECTION.sub("", _STAMP.sub("", line.rstrip("\r")))
    return _CONTROL.sub("", text.rpartition("\r")[2]).rstrip()
