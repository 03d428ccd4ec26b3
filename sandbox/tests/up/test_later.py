"""The tools that `make up` builds after the proof."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER, TOOLS
from runner_platform_sandbox.tools.errors import ToolsError
from runner_platform_sandbox.up import later

if TYPE_CHECKING:
    from pathlib import Path


def build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, present: bool = False, problem: object = None
) -> tuple[str, list[str]]:
    """Return what a person reads, and the tools that were made sure of."""
    names: list[str] = []

    def ensure(_paths: Paths, wanted: list[str], _console: Console) -> None:
        names.extend(wanted)
        if isinstance(problem, BaseException):
            raise problem

    monkeypatch.setattr(later, "ensure", ensure)
    monkeypatch.setattr(later, "discover", lambda _paths, tools: {tool.name: tool for tool in tools} if present else {})
    output = io.StringIO()
    later.build(Paths(cache=tmp_path, root=tmp_path), Console(file=output, width=500))
    return output.getvalue(), names


def test_the_runner_is_built_with_the_other_tools_so_that_the_compilers_files_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, names = build(tmp_path, monkeypatch)
    assert set(names) >= {GITLAB_RUNNER.name, *(tool.name for tool in TOOLS)}
    assert text.startswith("the sandbox is ready, use it in another terminal; ")
    assert f"{GITLAB_RUNNER.name} for `runner-platform sandbox run`" in text


def test_nothing_is_said_when_the_runner_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(tmp_path, monkeypatch, present=True) == ("", [])


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (
            ToolsError("building gitlab-runner failed"),
            "building gitlab-runner failed\n`runner-platform sandbox run` tries",
        ),
        (KeyboardInterrupt(), "`runner-platform sandbox run` builds what is missing"),
    ],
    ids=["failure", "Ctrl-C"],
)
def test_a_stop_of_the_build_does_not_fail_make_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: BaseException, words: str
) -> None:
    assert words in build(tmp_path, monkeypatch, problem=problem)[0]
