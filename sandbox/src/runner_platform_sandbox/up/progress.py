"""Progress of deployments: one live line each on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from runner_platform_sandbox.terminal import sayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from runner_platform_sandbox.up.deployments import Events

PLAIN_EVERY_SECONDS: Final = 10.0


@contextlib.contextmanager
def following(console: Console, names: Sequence[str]) -> Iterator[Callable[[str, Events], None]]:
    """Show deployments side by side.

    Yields:
        A function to call with a stack's name and its events so far, as often as you like.
    """
    show = _live if console.is_terminal else _plain
    with show(console, names) as watch:
        yield watch


@contextlib.contextmanager
def _live(console: Console, names: Sequence[str]) -> Iterator[Callable[[str, Events], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        tasks = {name: bar.add_task(name, total=None) for name in names}
        yield lambda name, events: bar.update(tasks[name], description=f"{name}: {events.message}")


@contextlib.contextmanager
def _plain(console: Console, names: Sequence[str]) -> Iterator[Callable[[str, Events], None]]:
    began = time.monotonic()
    last_line = dict.fromkeys(names, began)
    say = sayer(console, "  ")

    def watch(name: str, events: Events) -> None:
        now = time.monotonic()
        if now - last_line[name] >= PLAIN_EVERY_SECONDS:
            last_line[name] = now
            say(f"{name} ({now - began:.0f} s): {events.message or 'starting'}")

    yield watch
