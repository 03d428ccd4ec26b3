"""What the reader of stack files accepts, Pulumi's real engine reads the same way."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config import stack_file
from config.errors import SettingsError
from tests.support.engine_home import engine_home
from tests.support.generated_yaml import PIECES
from tests.support.yaml_answers import FILES_READ_ALIKE, READ_ALIKE, READ_DIFFERENTLY, REFUSED

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.sandbox

PROJECT = "runner-platform"


class Engine:
    """The engine's command line on one project with one stack."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "program"
        self._folder.mkdir()
        (self._folder / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n")
        _, self._environment = engine_home(folder)
        self._run("stack", "init", "dev")

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["pulumi", *arguments, "--non-interactive"]
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False
        )

    def read(self, content: bytes) -> Any:
        """Return the settings of a stack file by key, or REFUSED."""
        (self._folder / "Pulumi.dev.yaml").write_bytes(content)
        process = self._run("config", "--json", "--stack", "dev", "--show-secrets")
        if process.returncode:
            assert "error" in process.stderr
            return REFUSED
        return {
            key.removeprefix(f"{PROJECT}:"): entry.get("objectValue", entry.get("value"))
            for key, entry in json.loads(process.stdout).items()
        }


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return Engine(tmp_path_factory.mktemp("engine"))


def test_the_table_of_answers_is_the_engine_s(engine: Engine) -> None:
    answers = READ_ALIKE | READ_DIFFERENTLY
    answered = {text: answer for text, answer in answers.items() if answer is not REFUSED}
    lines = [f"  {PROJECT}:a{number}:\n   x: {text}\n" for number, text in enumerate(answered)]
    values = engine.read(f"config:\n{''.join(lines)}".encode())
    for number, (text, answer) in enumerate(answered.items()):
        assert values[f"a{number}"] == {"x": answer}, text
    for text in answers.keys() - answered.keys():
        content = f"config:\n  {PROJECT}:a:\n   x: {text}\n".encode("utf-8", "surrogatepass")
        assert engine.read(content) is REFUSED, text


@pytest.mark.parametrize("content", FILES_READ_ALIKE.values(), ids=FILES_READ_ALIKE)
def test_the_engine_reads_the_files_that_the_reader_accepts(engine: Engine, content: bytes) -> None:
    assert engine.read(content) == {"a": {"x": 1}}


@settings(max_examples=40, deadline=None, database=None)
@given(pieces=st.lists(PIECES, min_size=30, max_size=60))
def test_the_engine_reads_every_accepted_piece_alike(engine: Engine, pieces: Sequence[str]) -> None:
    accepted = {text: value for text in pieces if (value := _read(text)) is not REFUSED}
    lines = [f"  {PROJECT}:k{number}: {text}\n" for number, text in enumerate(accepted)]
    values = engine.read(f"config:\n{''.join(lines)}".encode())
    assert values is not REFUSED, f"the engine refuses one of {list(accepted)}"
    for number, (text, value) in enumerate(accepted.items()):
        assert values[f"k{number}"] == _as_the_engine_hands_over(value), repr(text)


def _read(text: str) -> Any:
    """What the reader makes of a value, or REFUSED."""
    try:
        file = stack_file.parse(f"config:\n  {PROJECT}:k: {text}\n", "Pulumi.dev.yaml", PROJECT)
    except SettingsError:
        return REFUSED
    is_whole = not file.problems and file.values.keys() == {"k"}
    return file.values["k"] if is_whole and "secure" not in text else REFUSED


def _as_the_engine_hands_over(value: Any) -> Any:
    """Objects and lists stay; other values become text, and nothing becomes empty text."""
    if isinstance(value, dict | list):
        return value
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
