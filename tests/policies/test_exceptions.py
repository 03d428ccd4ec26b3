"""The example of an exception on the page about policies: the pack reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config import load
from policies.exceptions import Exceptions

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (load.ROOT / "docs" / "operate" / "policies.md").read_text()


def test_the_example_of_an_exception_in_the_docs_is_valid(tmp_path: Path) -> None:
    example = tmp_path / "exceptions.yaml"
    example.write_text(PAGE.split("```yaml\n")[1].split("```")[0])
    [entry] = Exceptions.read(example).entries
    assert entry.resource.startswith("urn:pulumi:prod::runner-platform::")
