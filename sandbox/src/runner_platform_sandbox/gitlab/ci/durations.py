"""Durations as people write them: `4h`, `1 hour 30 minutes`, `2 weeks`. https://docs.gitlab.com/ci/yaml/#timeout."""

from __future__ import annotations

import re
from typing import Final

from runner_platform_sandbox.gitlab.ci.errors import PipelineError

_UNITS: Final = {
    1: ("s", "sec", "secs", "second", "seconds"),
    60: ("m", "min", "mins", "minute", "minutes"),
    3600: ("h", "hr", "hrs", "hour", "hours"),
    86400: ("d", "day", "days"),
    604800: ("w", "wk", "wks", "week", "weeks"),
    2592000: ("mo", "mos", "month", "months"),
    31557600: ("y", "yr", "yrs", "year", "years"),
}
_SECONDS: Final = {unit: seconds for seconds, units in _UNITS.items() for unit in units}
_PART: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*(?:,|and\b)?")


def seconds(text: str, where: str) -> int:
    """Return the seconds of a duration; a number without a unit is seconds.

    Args:
        text: The duration.
        where: Job and keyword, for the message.
    """
    total, position = 0.0, 0
    lower = text.lower().strip()
    while position < len(lower):
        part = _PART.match(lower, position)
        if part is None or (part[2] and part[2] not in _SECONDS):
            raise PipelineError(f"{where}: `{text}` is no duration; write it as in `1h 30m` or `2 weeks`")
        total += float(part[1]) * _SECONDS.get(part[2], 1)
        position = part.end()
    return round(total)
