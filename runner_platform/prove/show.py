"""How a proof looks: progress while it runs, a matrix at the end.

Standard output has the matrix, or with `--json` the cells; everything else goes to standard error. Nothing moves where nobody looks.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from config.capabilities import Level
from runner_platform.prove.model import REFUSED, Way
from runner_platform.prove.plan import BASE_PROFILE, DEFAULT_PROFILE
from runner_platform.prove.proof import Watcher
from runner_platform.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from runner_platform.prove.model import Cell, Sdk
    from runner_platform.prove.proof import Proof

SHOWN_WRONG: Final = 40


def show(proof: Proof, *, stderr: bool = False) -> None:
    """Print the whole proof."""
    console(stderr=stderr).print(render(proof), crop=False)  # what is no table may be longer than the terminal is wide


@contextlib.contextmanager
def watching(title: str) -> Iterator[Watcher]:
    """Show progress on standard error while the block runs: a bar on a terminal, sentences alone elsewhere."""
    errors = console(stderr=True)

    def say(text: str) -> None:
        errors.print(text, markup=False, highlight=False, soft_wrap=True)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.file.isatty()) as bar:
        task = bar.add_task(title, total=None)
        yield Watcher(say=say, expect=lambda count: bar.update(task, total=count), advance=lambda: bar.advance(task))


def render(proof: Proof) -> RenderableType:
    """The matrix of classes for each SDK, the strangers, and every wrong cell in words."""
    sdks = dict.fromkeys(cell.attempt.sdk for cell in proof.cells if cell.attempt.runner_class is not None)
    parts: list[RenderableType] = [_classes(proof, sdk) for sdk in sdks]
    parts += [_strangers(proof), *_wrong(proof), _verdict(proof)]
    return Group(*parts)


def _classes(proof: Proof, sdk: Sdk) -> Table:
    cells = [each for each in proof.cells if each.attempt.runner_class is not None and each.attempt.sdk is sdk]
    ways = ", ".join(way for way in Way if any(cell.attempt.way is way for cell in cells))
    table = _table(f"{proof.settings.stack}: who a job is, by {sdk} ({ways})")
    table.add_column("GitLab sends")
    table.add_column("class")
    profiles = [DEFAULT_PROFILE, BASE_PROFILE, *proof.accounts]
    for profile in profiles:
        table.add_column(profile)
    for name in proof.settings.runners:
        own = [cell for cell in cells if cell.attempt.runner_class == name]
        row = [_one([cell for cell in own if cell.attempt.profile == profile]) for profile in profiles]
        table.add_row(_gitlab(proof, name), name, *row)
    return table


def _one(cells: Sequence[Cell]) -> Text:
    if not cells:
        return Text("not tried", style="dim")
    wrong = [cell for cell in cells if not cell.ok]
    if wrong:
        return Text(f"WRONG {_short(wrong[0].got)}", style="bold red")
    got = cells[0].got
    return Text("refused", style="dim") if got == REFUSED else Text(_short(got), style="green")


def _short(got: str) -> str:
    return got.rpartition("/")[2] if got.startswith("arn:") else got.partition(":")[0].lower()


def _gitlab(proof: Proof, name: str) -> Text:
    runner, live = proof.settings.runners[name], proof.runners.get(name)
    refs = "protected refs" if runner.level is Level.PROTECTED else "any ref"
    projects = ", ".join(live.projects) if live is not None and live.projects else ""
    owner = (
        f"project {projects or runner.project}"
        if runner.project
        else f"group {runner.group or proof.settings.gitlab.group}"
    )
    if live is None:
        return Text("not compared", style="bold red")
    if live.differences:
        return Text("WRONG", style="bold red")
    return Text(f"{refs} of {owner}")


def _strangers(proof: Proof) -> Table:
    table = _table(f"{proof.settings.stack}: strangers")
    for heading in ("who", "tried", "as it must be"):
        table.add_column(heading)
    tried: Counter[str] = Counter()
    fine: Counter[str] = Counter()
    for cell in proof.cells:
        if cell.attempt.runner_class is None:
            tried[cell.attempt.group] += 1
            fine[cell.attempt.group] += cell.ok
    for group, count in tried.items():
        style = "green" if fine[group] == count else "bold red"
        table.add_row(group, str(count), Text(f"{fine[group]} of {count}", style=style))
    return table


def _wrong(proof: Proof) -> Iterator[Text]:
    """A line each, however narrow the terminal is: they are searched for and copied."""
    return (Text(line, style="bold red", no_wrap=True, overflow="ignore") for line in _wrong_lines(proof))


def _wrong_lines(proof: Proof) -> Iterator[str]:
    for cell in proof.wrong[:SHOWN_WRONG]:
        attempt = cell.attempt
        yield (
            f"WRONG: {attempt.service_account}, profile {attempt.profile}, {attempt.sdk} {attempt.way}: "
            f"expected {attempt.expected}, got {cell.got}"
        )
    if len(proof.wrong) > SHOWN_WRONG:
        yield f"and {len(proof.wrong) - SHOWN_WRONG} more; --json has them all"
    for live in proof.runners.values():
        for difference in live.differences:
            yield f"WRONG: the runner of class {live.runner_class} in GitLab: {difference}"
    if proof.gitlab:
        yield f"WRONG: the runners in GitLab were not compared: {proof.gitlab}"


def _verdict(proof: Proof) -> Text:
    right = len(proof.cells) - len(proof.wrong)
    text = f"{proof.settings.stack}: {right} of {len(proof.cells)} attempts ended as the settings say, {proof.seconds:.0f} s"
    return Text(text, style="green" if proof.fine else "bold red")


def _table(title: str) -> Table:
    return Table(box=box.SIMPLE, title=title, title_justify="left", pad_edge=False)
