"""Stack files on disk: a missing, empty or unreadable file is reported with the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import load
from config.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "config: is missing; write config:"),
        ("[]", "config: is missing"),
        ("just words", "config: is missing"),
        ("config: [1]", "config: is missing"),
        ("config: {1: 2}", "<key in line 1>: 1 is not text; write the key in quotes"),
        ("config: {a: [}", "file: is not YAML"),
        ("\x00", "file: line 1 has a NUL byte; remove it"),
    ],
)
def test_a_file_without_configuration_is_reported(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load.settings.parse(load.raw_of(file, "runner-platform"), "dev", file.name)
    assert words in str(caught.value)


def test_a_missing_stack_file_is_reported_with_the_existing_ones(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.prod.yaml").write_text("")
    with pytest.raises(SettingsError, match=r"there is no Pulumi\.dev\.yaml; stack files here: Pulumi\.prod\.yaml"):
        load.raw_of(tmp_path / "Pulumi.dev.yaml", "runner-platform")
