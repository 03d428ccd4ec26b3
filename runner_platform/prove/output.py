"""How a proof looks: progress while it runs, a matrix of classes and accounts at the end.

Standard output gets the matrix, or the results with `--json`. Everything else goes to standard error. Without a terminal nothing moves.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from config.capabilities import Level
from runner_platform.prove.attempts import BASE_PROFILE, DEFAULT_PROFILE, REFUSED, Way
from runner_platform.prove.proof import Watcher
from runner_platform.prove.results import BROKEN
from runner_platform.terminal import console

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from runner_platform.prove.attempts import Sdk
    from runner_platform.prove.proof import Proof
    from runner_platform.prove.results import Result

MAX_WRONG_LINES: Final = 40
GAP: Final = 2
"""Columns of the terminal between two columns of a table."""
GITLAB_WIDTH: Final = 16
"""The column of GitLab's jobs wraps, and is never narrower than this."""
RED, GREEN, DIM = "bold red", "green", "dim"


def show(proof: Proof, *, stderr: bool = False) -> None:
    """Print the whole proof."""
    screen = console(stderr=stderr)
    screen.print(render(proof, screen.width), crop=False)  # lines outside of tables may be longer than the terminal


@contextlib.contextmanager
def watching(title: str) -> Iterator[Watcher]:
    """Show progress on standard error while the block runs: a bar on a terminal, lines alone elsewhere."""
    errors = console(stderr=True)

    def say(text: str) -> None:
        errors.print(text, markup=False, highlight=False, soft_wrap=True)

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.file.isatty()) as bar:
        task = bar.add_task(title, total=None)
        yield Watcher(say=say, expect=lambda count: bar.update(task, total=count), advance=lambda: bar.advance(task))


def render(proof: Proof, width: int) -> RenderableType:
    """Return the matrix of each SDK, the strangers, a line for each wrong result, and the verdict."""
    sdks = dict.fromkeys(result.attempt.sdk for result in proof.results if result.attempt.runner_class is not None)
    tables = [table for sdk in sdks for table in _matrix(proof, sdk, width)]
    tables.append(_strangers(proof))
    return Group(*(Padding(table, (0, 0, 1, 0), expand=False) for table in tables), *_wrong(proof), _verdict(proof))


@dataclass(frozen=True, kw_only=True)
class _Column:
    """A column of the matrix, with a cell for each class."""

    heading: str
    cells: Sequence[Text]
    min_width: int
    """Width of its longest word, or the width that it may be folded to."""

    @property
    def max_width(self) -> int:
        """Width without line breaks."""
        return max(len(self.heading), *(len(cell) for cell in self.cells))


def _matrix(proof: Proof, sdk: Sdk, width: int) -> Iterator[Table]:
    """Yield the classes' results by profile, in as many tables as the width needs: a name is never cut."""
    results = [result for result in proof.results if result.attempt.runner_class and result.attempt.sdk is sdk]
    ways = ", ".join(way for way in Way if any(result.attempt.way is way for result in results))
    title = f"{proof.settings.stack}: role of each class's jobs by profile, tried with {sdk} ({ways})"
    for columns in _pages(proof, _columns(proof, results), width):
        table = _table(title)
        table.add_column("class", no_wrap=True)
        for column, column_width in zip(columns, _widths(proof, columns, width), strict=True):
            table.add_column(column.heading, width=column_width, overflow="fold")
        for index, name in enumerate(proof.settings.runners):
            table.add_row(name, *(column.cells[index] for column in columns))
        yield table
        title = "the same, further accounts"


def _columns(proof: Proof, results: Sequence[Result]) -> list[_Column]:
    classes = proof.settings.runners
    gitlab = [_gitlab_jobs(proof, name) for name in classes]
    columns = [_Column(heading="GitLab sends jobs of", min_width=GITLAB_WIDTH, cells=gitlab)]
    own_profiles = (DEFAULT_PROFILE, BASE_PROFILE)
    for heading, profiles in ((", ".join(own_profiles), own_profiles), *((name, (name,)) for name in proof.accounts)):
        cells = [
            _cell(proof, [r for r in results if r.attempt.runner_class == name and r.attempt.profile in profiles])
            for name in classes
        ]
        words = [word for cell in cells for word in cell.plain.split()] + heading.split()
        columns.append(_Column(heading=heading, min_width=max(map(len, words)), cells=cells))
    return columns


def _pages(proof: Proof, columns: Sequence[_Column], width: int) -> list[list[_Column]]:
    """Distribute columns over as few tables as possible that are not wider than the terminal."""
    class_width = _class_width(proof)
    pages: list[list[_Column]] = []
    remaining_width = 0
    for column in columns:
        if column.min_width + GAP > remaining_width:
            pages.append([])
            remaining_width = width - class_width
        pages[-1].append(column)
        remaining_width -= column.min_width + GAP
    return pages


def _widths(proof: Proof, columns: Sequence[_Column], width: int) -> list[int]:
    """Give each column, from the first to the last, as much of the spare width as it can use."""
    widths = [column.min_width for column in columns]
    spare = width - _class_width(proof) - sum(widths) - GAP * len(widths)
    for index, column in enumerate(columns):
        added = min(max(spare, 0), max(column.max_width - column.min_width, 0))
        widths[index] += added
        spare -= added
    return widths


def _class_width(proof: Proof) -> int:
    return max(len("class"), *map(len, proof.settings.runners))


def _cell(proof: Proof, results: Sequence[Result]) -> Text:
    if not results:
        return Text("not tried", style=DIM)
    wrong = [result for result in results if not result.ok]
    if wrong:
        return Text(f"WRONG {_outcome(proof, wrong[0])}", style=RED)
    return Text(_outcome(proof, results[0]), style=DIM if results[0].got == REFUSED else GREEN)


def _outcome(proof: Proof, result: Result) -> str:
    """Return a result in words without ARNs: a level for a delegated role of the profile's account."""
    if result.got == REFUSED:
        return "refused"
    if result.got.startswith(BROKEN):
        return "broken"
    settings, attempt = proof.settings, result.attempt
    roles = {
        settings.names.role_arn(settings.platform_account.id, settings.names.job_role(name)): "own role"
        for name in settings.runners
        if name == attempt.runner_class
    }
    account = settings.accounts.get(attempt.profile)
    if account is not None:
        roles |= {
            settings.names.role_arn(account.id, settings.names.delegated_role(level)): level.value for level in Level
        }
    return roles.get(result.got, "another role")


def _gitlab_jobs(proof: Proof, name: str) -> Text:
    """Return the jobs that GitLab sends to a class."""
    runner, live = proof.settings.runners[name], proof.runners.get(name)
    if live is None:
        return Text("not compared", style=RED)
    if live.differences:
        return Text("WRONG", style=RED)
    refs = "protected refs" if runner.level is Level.PROTECTED else "any ref"
    if runner.project:
        return Text(f"{refs} of project {', '.join(live.projects) or runner.project}")
    return Text(f"{refs} of group {runner.group or proof.settings.gitlab.group}")


def _strangers(proof: Proof) -> Table:
    table = _table(f"{proof.settings.stack}: strangers, who must be refused")
    table.add_column("group", overflow="fold")
    table.add_column("as expected", no_wrap=True)
    attempts: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for result in proof.results:
        if result.attempt.runner_class is None:
            attempts[result.attempt.group] += 1
            right[result.attempt.group] += result.ok
    for group, count in attempts.items():
        style = GREEN if right[group] == count else RED
        table.add_row(group, Text(f"{right[group]} of {count}", style=style))
    return table


def _wrong(proof: Proof) -> Iterator[Text]:
    """Yield one line for each problem, however narrow the terminal is, because people search and copy these lines."""
    return (Text(line, style=RED, no_wrap=True, overflow="ignore") for line in _wrong_lines(proof))


def _wrong_lines(proof: Proof) -> Iterator[str]:
    lines = list(_lines_of(proof.wrong))
    yield from lines[:MAX_WRONG_LINES]
    if len(lines) > MAX_WRONG_LINES:
        yield f"and {len(lines) - MAX_WRONG_LINES} more; --json prints all of them"
    for runner in proof.runners.values():
        for difference in runner.differences:
            yield f"WRONG: the runner of class {runner.runner_class} in GitLab: {difference}"
    if proof.gitlab_problem:
        yield f"WRONG: the runners in GitLab were not compared: {proof.gitlab_problem}"


def _lines_of(wrong: Sequence[Result]) -> Iterator[str]:
    """Yield a line for each wrong result; attempts that are BROKEN for one reason share a line."""
    same_reason = Counter(result.got for result in wrong if result.got.startswith(BROKEN))
    for result in wrong:
        further = same_reason.pop(result.got, 0 if result.got.startswith(BROKEN) else 1) - 1
        if further >= 0:
            attempt = result.attempt
            more = f", and {further} more attempts" if further else ""
            yield (
                f"WRONG: {attempt.caller}, profile {attempt.profile}, {attempt.sdk} {attempt.way}{more}: "
                f"expected {attempt.expected}, got {result.got}"
            )


def _verdict(proof: Proof) -> Text:
    count = len(proof.results)
    right = count - len(proof.wrong)
    text = f"{proof.settings.stack}: {right} of {count} attempts ended as the settings say, in {proof.seconds:.0f} s"
    return Text(text, style=GREEN if proof.ok else RED)


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
