"""The bootstrap's steps without a cloud: stack files, how a state is read, and what is said of a step that failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from config import load
from runner_platform.bootstrap import stack_files
from runner_platform.bootstrap.foundation import Move
from runner_platform.driver import failures, session, state
from runner_platform.driver.events import Progress
from runner_platform.driver.project import Project
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from pathlib import Path


def test_only_the_encryption_lines_of_a_stack_file_go(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(
        "# why\nconfig:\n  a: {b: 1} # kept\nsecretsprovider: awskms://alias/x?region=y\nencryptedkey: abc=\n"
    )
    assert stack_files.forget(file)
    assert file.read_text() == "# why\nconfig:\n  a: {b: 1} # kept\n"
    assert not stack_files.forget(file)


def test_a_stack_file_with_secrets_keeps_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    text = "config:\n  p:tokens:\n    secure: v1:abc\nencryptionsalt: v1:x\n"
    file.write_text(text)
    with pytest.raises(FailedError, match="holds secrets"):
        stack_files.forget(file)
    assert file.read_text() == text


@pytest.mark.parametrize("key", ["latest", "Latest"])
def test_a_state_is_read_in_both_spellings_of_the_engine(tmp_path: Path, key: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: p\n")
    place = tmp_path / ".pulumi/stacks/p/s.json"
    place.parent.mkdir(parents=True)
    place.write_text(json.dumps({"checkpoint": {key: {"resources": [{"urn": "u", "type": "t"}]}}}))
    found = state.read(Project(stack="s", folder=tmp_path, url=f"file://{tmp_path}"))
    assert found is not None
    assert len(found.resources) == 1, "an imported state that looked empty would be made a second time"


@pytest.mark.parametrize("operation", ["up", "preview"])
def test_a_step_that_failed_is_gone_on_with_by_the_bootstrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    def failing(*_: object) -> NoReturn:
        raise FailedError(failures.of_run(operation, "foundation", Progress(), RuntimeError("no"), 1))

    monkeypatch.setattr(session, "begun", failing)
    move = Move(settings=load.of_foundation(), work=tmp_path, with_key=True, say=print)
    with pytest.raises(FailedError, match="the same `runner-platform bootstrap` goes on from there"):
        move._session(f"file://{tmp_path}", operation, {}).__enter__()  # every step enters it
