"""`runner-platform import`: exit codes, one JSON document, sentences for files that cannot be read."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from runner_platform.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FILE = "concurrent = 2\n[[runners]]\nname = 'a'\nexecutor = 'docker'\ntoken = 'hunter2'\n[runners.docker]\nprivileged = true\n"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def command(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["runner-platform", "import", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return command


def test_classes_and_keys_are_printed(run: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(FILE)
    code, out, err = run(str(tmp_path / "config.toml"))
    assert (code, err) == (0, "")
    assert "    executor: docker # from executor\n" in out
    assert "runners.docker.privileged" in out
    assert "hunter2" not in out


def test_json_is_one_document(run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("-", "--json", stdin=b"\xef\xbb\xbf" + FILE.encode())
    assert (code, err) == (0, "")
    document = json.loads(out)
    (runner,) = document["runners"]
    assert (runner["class"], runner["settings"]["concurrent"], runner["reason"]) == ("imported", 2, None)
    assert {"key": "runners.docker.privileged", "value": "true", "kind": "no counterpart"}.items() <= runner["keys"][
        3
    ].items()
    assert [row["key"] for row in document["keys"]] == ["concurrent"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"[[runners]", "config.toml is not TOML: "),
        (b"concurrent = 1", "config.toml has no [[runners]]"),
        (b"\xff\xfe", "config.toml is not UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration_fails_with_a_sentence(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, content: bytes, part: str
) -> None:
    (tmp_path / "config.toml").write_bytes(content)
    code, out, err = run(str(tmp_path / "config.toml"))
    assert (code, out) == (1, "")
    assert part in err


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_cannot_be_opened_is_wrong_use(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path, name: str
) -> None:
    code, out, err = run(str(tmp_path / name))
    assert (code, out) == (2, "")
    assert f"cannot read {tmp_path / name}" in err
