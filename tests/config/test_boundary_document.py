"""The file with the document of the organisation's boundary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from config import boundary_document
from config.sections import Platform
from tests.support.case_names import case_name
from tests.support.program import complaints, raw

if TYPE_CHECKING:
    from pathlib import Path

PLATFORM = Platform(
    account="cicd", protect=False, boundary="company/boundary", boundary_document="policies/boundary.json"
)
DOCUMENT = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


def write(folder: Path, content: bytes) -> None:
    (folder / "policies").mkdir()
    (folder / "policies" / "boundary.json").write_bytes(content)


def test_a_document_is_read_and_fits(tmp_path: Path) -> None:
    write(tmp_path, json.dumps(DOCUMENT).encode())
    assert [*boundary_document.problems(PLATFORM, tmp_path)] == []
    assert boundary_document.read(PLATFORM, tmp_path) == DOCUMENT


def test_without_a_document_there_is_nothing_to_read(tmp_path: Path) -> None:
    platform = PLATFORM.model_copy(update={"boundary_document": None})
    assert [*boundary_document.problems(platform, tmp_path)] == []
    assert boundary_document.read(platform, tmp_path) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        (b"", "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"Statement: []", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "has no Statement"),
        (b"{}", "has no Statement"),
        (json.dumps({**DOCUMENT, "Statement": [{"Sid": "x" * 7000}]}).encode(), "IAM takes 6144"),
    ],
    ids=lambda value: case_name(repr(value)[:20]),
)
def test_a_file_that_is_no_policy_is_refused_by_path(content: bytes | None, words: str, tmp_path: Path) -> None:
    if content is not None:
        write(tmp_path, content)
    (problem,) = boundary_document.problems(PLATFORM, tmp_path)
    assert problem.path == "platform.boundary_document"
    assert words in problem.message
    assert boundary_document.read(PLATFORM, tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"boundary_document": "b.json"}, "platform", "and no boundary; name the policy"),
        ({"boundary": "b", "boundary_document": "/etc/passwd"}, "platform.boundary_document", "is not a file of this"),
        ({"boundary": "b", "boundary_document": "b.yaml"}, "platform.boundary_document", "is not a file of this"),
    ],
)
def test_a_document_belongs_to_a_boundary(changes: dict[str, Any], where: str, words: str) -> None:
    values = raw("dev")
    values["platform"] |= changes
    problems = complaints(values)
    assert set(problems) == {where}
    assert words in problems[where]
