"""Progress of a long step: a live line on a terminal, a line every thirty seconds in a log."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

_PLAIN_EVERY_SECONDS = 30
_ALMOST = 0.98


class Steps:
    """A numbered series of steps with usual durations.

    Args:
        console: Where to write.
        total: Number of steps.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._number = 0

    def say(self, text: str) -> None:
        """Write one permanent line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, verb: str, name: str, usual_seconds: int) -> Iterator[Callable[[float], None]]:
        """Show one step until it ends.

        Args:
            verb: `building` or `installing`.
            name: The tool.
            usual_seconds: Duration on two cores.

        Yields:
            A function to call with the seconds since the start, as often as you like.
        """
        self._number += 1
        title = f"{verb} {name} ({self._number} of {self._total}, usually {usual_seconds} s)"
        started = time.monotonic()
        show = self._live if self._console.is_terminal else self._plain
        with show(title, usual_seconds) as tick:
            yield tick
        self.say(f"  {name} ready after {time.monotonic() - started:.0f} s")

    @contextmanager
    def _live(self, title: str, usual_seconds: int) -> Iterator[Callable[[float], None]]:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
        with Progress(*columns, console=self._console, transient=True) as progress:
            task = progress.add_task(f"{title} ...", total=usual_seconds)
            # A step that takes longer than usual must not look finished.
            yield lambda seconds: progress.update(task, completed=min(seconds, usual_seconds * _ALMOST))

    @contextmanager
    def _plain(self, title: str, _usual_seconds: int) -> Iterator[Callable[[float], None]]:
        self.say(f"{title} ...")
        last_line = 0.0

        def tick(seconds: float) -> None:
            nonlocal last_line
            if seconds - last_line >= _PLAIN_EVERY_SECONDS:
                last_line = seconds
                self.say(f"  {title}: {seconds:.0f} s")

        yield tick
