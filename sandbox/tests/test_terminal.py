"""What is written to a log or a pipe has one line for each sentence and each row, however long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.terminal import console
from runner_platform_sandbox.up.summary import Meter, _figures

if TYPE_CHECKING:
    import pytest

LONG = "words that go on " * 20


def test_a_log_has_a_line_for_each_sentence_and_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table(box=None, show_header=False)
    table.add_row("prod", LONG.strip())
    console().print(Text(LONG.strip()))
    console(stderr=True).print(table)
    written = capsys.readouterr()
    assert written.out == f"{LONG.strip()}\n", "nothing is padded to the width"
    assert [" ".join(line.split()) for line in written.err.splitlines()] == [f"prod {LONG.strip()}"]


def test_the_figures_of_make_up_stay_on_their_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    meter = Meter(Paths.from_environment())
    meter.seconds = {"tools": 0.1, "sandbox": 12.3, "engine": 0.4, "foundation": 20.0, "dev and prod": 75.2}
    console().print(_figures(meter))
    assert "foundation 20.0, dev and prod 75.2\n" in capsys.readouterr().out


def test_a_width_that_somebody_sets_is_kept(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    console().print(Text(LONG))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40
