"""The page on findings: its example of an exception is one that the pack takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import load
from policies.exceptions import Exceptions

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (load.ROOT / "docs" / "operate" / "policies.md").read_text()


def test_the_example_of_an_exception_is_a_whole_one(tmp_path: Path) -> None:
    example = tmp_path / "exceptions.yaml"
    example.write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    [entry] = Exceptions.read(example).entries
    assert entry.resource.startswith("urn:pulumi:prod::runner-platform::")
