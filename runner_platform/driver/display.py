"""How a run is shown: live on a terminal, a timestamped line now and then in a log, one JSON event a line for machines.

Owns the three ways. With `--json` standard output is one JSON document that grows while the run lasts: an array with one event a line,
the result last; sentences for people go to standard error then.
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

from runner_platform.driver.events import READS
from runner_platform.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from runner_platform.driver.events import Progress, Step

EVERY_SECONDS: Final = 30.0
"""Between two lines of a log that tell what takes so long."""
SLOW_SECONDS: Final = 10.0
"""What took this long gets a line of its own in a log."""
SHOWN: Final = 8
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


class Screen:
    """Where one command speaks.

    Args:
        as_json: standard output is for events.
        stderr: people read standard error, since standard output is for a document of the command's own.
    """

    def __init__(self, *, as_json: bool, stderr: bool = False) -> None:
        self._console = console(stderr=as_json or stderr)
        self._terminal = self._console.is_terminal
        self._stream = _Array() if as_json else None
        self._writing = threading.Lock()

    def say(self, text: str) -> None:
        """A sentence; with its time of day in a log."""
        with self._writing:
            stamp = "" if self._terminal else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} "
            self._console.print(f"{stamp}{text}", markup=False, highlight=False, soft_wrap=True)
        self.emit({"event": "note", "message": text})

    def emit(self, event: dict[str, Any]) -> None:
        """An event for machines; nothing without `--json`."""
        if self._stream is not None:
            with self._writing:
                self._stream.add({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **event})

    def emit_progress(self, progress: Progress) -> None:
        """Where the whole run stands, for machines that show it to people."""
        self.emit({"event": "progress", "changed": progress.changed, "message": described(progress)})

    def close(self) -> None:
        """End the document."""
        if self._stream is not None:
            with self._writing:
                self._stream.close()

    @contextlib.contextmanager
    def following(self, progress: Progress) -> Iterator[None]:
        """Show a run's progress within the block."""
        began = time.monotonic()
        if self._terminal:
            with Live(
                console=self._console,
                get_renderable=lambda: _picture(progress, began),
                refresh_per_second=4,
                transient=True,
            ):
                yield
            return
        stop = threading.Event()
        ticker = threading.Thread(target=self._tick, args=(progress, began, stop), daemon=True)
        ticker.start()
        try:
            yield
        finally:
            stop.set()
            ticker.join()

    def finished(self, step: Step, operation: str) -> None:
        """A resource is done; a log hears of those that took long."""
        seconds = time.monotonic() - step.began
        if not self._terminal and seconds >= SLOW_SECONDS and operation not in READS:
            self.say(f"{_VERBS.get(operation, (operation, operation))[1]} {step.name} in {seconds:.0f} s")

    def _tick(self, progress: Progress, began: float, stop: threading.Event) -> None:
        while not stop.wait(EVERY_SECONDS):
            self.say(f"{time.monotonic() - began:.0f} s: {described(progress)}")


def described(progress: Progress) -> str:
    """What the engine is doing, in one line."""
    steps = list(progress.running.values())
    current = [f"{doing(step)} ({time.monotonic() - step.began:.0f} s)" for step in steps[:SHOWN]]
    more = f" and {len(steps) - SHOWN} more" if len(steps) > SHOWN else ""
    return counted(progress) + (": " + ", ".join(current) + more if current else "")


def counted(progress: Progress) -> str:
    """How much is done."""
    unchanged = sum(count for operation, count in progress.done.items() if operation in READS)
    return ", ".join([f"{progress.changed} done"] + ([f"{unchanged} unchanged"] if unchanged else []))


def doing(step: Step) -> str:
    """`creating Role small-job in cicd`."""
    return f"{_VERBS.get(step.operation, (step.operation, ''))[0]} {step.name}"


def _picture(progress: Progress, began: float) -> RenderableType:
    now = time.monotonic()
    steps = sorted(progress.running.values(), key=lambda step: step.began)[:SHOWN]
    lines = [Text(f"  {doing(step)}  {now - step.began:.0f} s", style="dim") for step in steps]
    return Group(Spinner("dots", Text(f"{counted(progress)}  {now - began:.0f} s")), *lines)


class _Array:
    """A JSON array on standard output, one element a line."""

    def __init__(self) -> None:
        self._first = True

    def add(self, element: dict[str, Any]) -> None:
        sys.stdout.write(f"{'[' if self._first else ','}{json.dumps(element)}\n")
        sys.stdout.flush()
        self._first = False

    def close(self) -> None:
        sys.stdout.write("[]\n" if self._first else "]\n")
        sys.stdout.flush()
