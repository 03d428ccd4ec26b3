"""Whatever stands in a stack file, `check` ends with 0, 1 or 2 and sentences, and never with a traceback."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config import load
from runner_platform import stacks
from runner_platform.cli import main
from runner_platform.review import stack_check
from tests.support.generated_yaml import PIECES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.thorough

NAME = "Pulumi.dev.yaml"
DEV = (load.ROOT / NAME).read_text()
FOUNDATION = (load.ROOT / load.FOUNDATION_FILE).read_text()
VALUE_PLACES = [match.span() for match in re.finditer(r"(?<=: )[^,{}\[\]\n#]+(?=[,}\n])", DEV)]
LINES = DEV.splitlines(keepends=True)
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "cp037")


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """The stack file of dev with up to three changes, in any encoding; or any piece; or any bytes."""
    text = draw(st.just(DEV) | PIECES.map(lambda piece: f"config:\n  runner-platform:tags: {piece}\n") | PIECES)
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from([_with_value, _with_line, _with_line_again, _cut]))(draw, text)
    content = text.encode(draw(st.sampled_from((*["utf-8"] * 8, *ENCODINGS))), "replace")
    return content + draw(st.just(b"") | st.binary(max_size=4))


def _with_value(draw: st.DrawFn, text: str) -> str:
    start, end = draw(st.sampled_from(VALUE_PLACES))
    return text[:start] + draw(PIECES) + text[end:]


def _with_line(draw: st.DrawFn, text: str) -> str:
    piece, place = draw(PIECES), draw(st.sampled_from(LINES))
    return text.replace(place, f"{place}  {draw(st.sampled_from(['', 'tags: ', 'runner-platform:x: ']))}{piece}\n", 1)


def _with_line_again(draw: st.DrawFn, text: str) -> str:
    line = draw(st.sampled_from(LINES))
    return text.replace(line, line * 2, 1)


def _cut(draw: st.DrawFn, text: str) -> str:
    return text[: draw(st.integers(0, len(text)))]


def settings_only(names: Sequence[str] | None, *_: object) -> Iterator[object]:
    """In place of the programs of valid settings, which other tests run."""
    stacks.agree(names or stacks.names())
    return iter(())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stack-files")
    (folder / "foundation").mkdir()
    (folder / load.FOUNDATION_FILE).write_text(FOUNDATION)
    return folder


def check(folder: Path, content: bytes) -> int:
    """The exit code of `check` on a stack file."""
    load.of_stack.cache_clear()
    (folder / NAME).write_bytes(content)
    with (
        mock.patch.object(load, "ROOT", folder),
        mock.patch.object(stack_check, "check_programs", settings_only),
        mock.patch.object(sys, "argv", ["runner-platform", "check", "--stack", "dev"]),
        pytest.raises(SystemExit) as ended,
    ):
        main.main()
    load.of_stack.cache_clear()
    return int(ended.value.code or 0)


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=documents())
def test_any_stack_file_ends_in_an_exit_code_and_sentences(
    folder: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    code = check(folder, content)
    message = capsys.readouterr().err
    assert code in {0, 1, 2}
    assert "Traceback" not in message
    assert (code == 0) == ("problem" not in message), "a refused file has a message"


def test_the_committed_file_passes_as_it_is(folder: Path) -> None:
    assert check(folder, DEV.encode()) == 0
