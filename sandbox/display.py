"""How `make up` shows a deployment: one live line on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Final

from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from sandbox.engine_log import UNCHANGED, Progress, label
from sandbox.terminal import sayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

PLAIN_EVERY_SECONDS: Final = 10.0
SHOWN: Final = 3
_VERBS: Final = {
    "create": "creating",
    "update": "changing",
    "delete": "deleting",
    "replace": "replacing",
    "read": "reading",
}


def describe(progress: Progress) -> str:
    """What the engine is doing, in one line."""
    unchanged = progress.done.get(UNCHANGED, 0)
    counts = [f"{progress.changed} done"] + ([f"{unchanged} unchanged"] if unchanged else [])
    current = [f"{_VERBS.get(operation, operation)} {label(urn)}" for urn, operation in progress.running.items()]
    more = f" and {len(current) - SHOWN} more" if len(current) > SHOWN else ""
    return ", ".join(counts) + (": " + ", ".join(current[:SHOWN]) + more if current else "")


@contextlib.contextmanager
def following(console: Console, names: Sequence[str]) -> Iterator[Callable[[str, Progress], None]]:
    """Show deployments side by side; yields what to call with a name and its progress, as often as one likes."""
    show = _live if console.is_terminal else _plain
    with show(console, names) as watch:
        yield watch


@contextlib.contextmanager
def _live(console: Console, names: Sequence[str]) -> Iterator[Callable[[str, Progress], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        tasks = {name: bar.add_task(name, total=None) for name in names}
        yield lambda name, progress: bar.update(tasks[name], description=f"{name}: {describe(progress)}")


@contextlib.contextmanager
def _plain(console: Console, names: Sequence[str]) -> Iterator[Callable[[str, Progress], None]]:
    began = time.monotonic()
    told = dict.fromkeys(names, began)
    say = sayer(console, "  ")

    def watch(name: str, progress: Progress) -> None:
        now = time.monotonic()
        if now - told[name] >= PLAIN_EVERY_SECONDS:
            told[name] = now
            say(f"{name} ({now - began:.0f} s): {describe(progress)}")

    yield watch
