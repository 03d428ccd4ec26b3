"""How `make up` shows a deployment: one live line on a terminal, a line now and then elsewhere."""

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
    """Show deployments side by side; yields what to call with a name and what is known of it, as often as one likes."""
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
    told = dict.fromkeys(names, began)
    say = sayer(console, "  ")

    def watch(name: str, events: Events) -> None:
        now = time.monotonic()
        if now - told[name] >= PLAIN_EVERY_SECONDS:
            told[name] = now
            say(f"{name} ({now - began:.0f} s): {events.message or 'starting'}")

    yield watch
