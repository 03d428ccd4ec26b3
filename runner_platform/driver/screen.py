"""The output of a run: live on a terminal, timestamped lines in a log, one JSON event a line for machines.

With `--json`, standard output is one JSON document that grows while the run lasts: an array with one event a line, the result last.
Sentences for people go to standard error then.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from runner_platform.driver.engine_progress import READS
from runner_platform.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from runner_platform.driver.engine_progress import Progress, Step

LOG_SECONDS: Final = 30.0
"""Time between two progress lines of a log."""
SLOW_SECONDS: Final = 10.0
"""A step that took at least this long gets a line of its own in a log."""
LOG_WIDTH: Final = 120
"""Longest progress line of a log, timestamp included."""
MOST_STEPS: Final = 8
"""Steps in progress that a terminal shows."""
_STAMP: Final = "%Y-%m-%dT%H:%M:%SZ "
_STAMP_WIDTH: Final = len("2026-01-01T00:00:00Z ")
_VERBS: Final = {
    "create": ("creating", "created"),
    "update": ("changing", "changed"),
    "delete": ("deleting", "deleted"),
    "replace": ("replacing", "replaced"),
    "create-replacement": ("creating anew", "created anew"),
    "delete-replaced": ("deleting the old", "deleted the old"),
    "refresh": ("reading", "read"),
    "read": ("reading", "read"),
}
"""By operation: the verb in progress and the verb when finished."""


class Screen:
    """The output of one command.

    Args:
        as_json: standard output is for events.
        stderr: people read standard error, since standard output holds the command's own document.
    """

    def __init__(self, *, as_json: bool, stderr: bool = False) -> None:
        self._console = console(stderr=as_json or stderr)
        self._terminal = self._console.is_terminal
        self._stream = _JsonArray() if as_json else None
        self._writing = threading.Lock()

    def say(self, text: str) -> None:
        """Print a sentence, in a log with the time of day."""
        with self._writing:
            stamp = "" if self._terminal else f"{datetime.now(UTC):{_STAMP}}"
            self._console.print(f"{stamp}{text}", markup=False, highlight=False, soft_wrap=True)
        self.emit({"event": "note", "message": text})

    def emit(self, event: dict[str, Any]) -> None:
        """Write an event for machines. Does nothing without `--json`."""
        if self._stream is not None:
            with self._writing:
                self._stream.add({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event})

    def emit_progress(self, progress: Progress) -> None:
        """Write the progress of the whole run as an event."""
        self.emit({"event": "progress", "changed": progress.changed, "message": progress_line(progress)})

    def close(self) -> None:
        """End the JSON document."""
        if self._stream is not None:
            with self._writing:
                self._stream.close()

    @contextlib.contextmanager
    def following(self, progress: Progress) -> Iterator[None]:
        """Show the progress of a run within the block."""
        began = time.monotonic()
        if self._terminal:
            with Live(
                console=self._console,
                get_renderable=lambda: _live_view(progress, began),
                refresh_per_second=4,
                transient=True,
            ):
                yield
            return
        stop = threading.Event()
        ticker = threading.Thread(target=self._log_progress, args=(progress, began, stop), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            stop.set()
            ticker.join()

    def finished(self, step: Step) -> None:
        """Write a line for a slow step to the log."""
        seconds = time.monotonic() - step.began
        if not self._terminal and seconds >= SLOW_SECONDS and step.operation not in READS:
            verb = _VERBS.get(step.operation, (step.operation, step.operation))[1]
            self.say(f"{verb} {step.name} in {seconds:.0f} s")

    def _log_progress(self, progress: Progress, began: float, stop: threading.Event) -> None:
        while not stop.wait(LOG_SECONDS):
            elapsed = f"{time.monotonic() - began:.0f} s: "
            self.say(elapsed + progress_line(progress, LOG_WIDTH - _STAMP_WIDTH - len(elapsed)))


def progress_line(progress: Progress, width: int = LOG_WIDTH) -> str:
    """Return one line about the run: the counts, then the longest steps in progress as far as they fit.

    Args:
        progress: summary of the engine's events.
        width: most characters of the line.
    """
    now = time.monotonic()
    line, steps = progress_counts(progress), sorted(progress.running.values(), key=lambda step: step.began)
    for index, step in enumerate(steps):
        remaining = len(steps) - index - 1
        more = f" and {remaining} more" if remaining else ""
        longer = f"{line}{', ' if index else ': '}{step_in_progress(step)} ({now - step.began:.0f} s)"
        if len(longer) + len(more) > width:
            return f"{line} and {remaining + 1} more" if index else f"{line}: {len(steps)} in progress"
        line = longer
    return line


def progress_counts(progress: Progress) -> str:
    """Return how many resources are changed and unchanged."""
    unchanged = sum(count for operation, count in progress.done.items() if operation in READS)
    return ", ".join([f"{progress.changed} done"] + ([f"{unchanged} unchanged"] if unchanged else []))


def step_in_progress(step: Step) -> str:
    """Return the step in words: `creating Role small-job in cicd`."""
    return f"{_VERBS.get(step.operation, (step.operation, ''))[0]} {step.name}"


def _live_view(progress: Progress, began: float) -> RenderableType:
    now = time.monotonic()
    steps = sorted(progress.running.values(), key=lambda step: step.began)[:MOST_STEPS]
    lines = [Text(f"  {step_in_progress(step)}  {now - step.began:.0f} s", style="dim") for step in steps]
    return Group(Spinner("dots", Text(f"{progress_counts(progress)}  {now - began:.0f} s")), *lines)


class _JsonArray:
    """A JSON array on standard output with one element a line."""

    def __init__(self) -> None:
        self._empty = True

    def add(self, element: dict[str, Any]) -> None:
        sys.stdout.write(f"{'[' if self._empty else ','}{json.dumps(element)}\n")
        sys.stdout.flush()
        self._empty = False

    def close(self) -> None:
        sys.stdout.write("[]\n" if self._empty else "]\n")
        sys.stdout.flush()
