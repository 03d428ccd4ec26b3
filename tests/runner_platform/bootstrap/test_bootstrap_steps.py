"""The bootstrap's steps without a cloud: stack files, reading a state, the message of a failed step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

import pytest

from config import load
from runner_platform.bootstrap import state_backend
from runner_platform.bootstrap.first_deployment import FirstDeployment
from runner_platform.driver import run, stack_state
from runner_platform.driver.engine_progress import Progress, describe_failure
from runner_platform.driver.project import Project
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from pathlib import Path


def test_only_the_encryption_lines_of_a_stack_file_are_removed(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(
        "# why\nconfig:\n  a: {b: 1} # kept\nsecretsprovider: awskms://alias/x?region=y\nencryptedkey: abc=\n"
    )
    assert state_backend.remove_encryption_lines(file)
    assert file.read_text() == "# why\nconfig:\n  a: {b: 1} # kept\n"
    assert not state_backend.remove_encryption_lines(file)


def test_a_stack_file_with_secrets_keeps_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    text = "config:\n  p:tokens:\n    secure: v1:abc\nencryptionsalt: v1:x\n"
    file.write_text(text)
    with pytest.raises(FailedError, match="holds secrets"):
        state_backend.remove_encryption_lines(file)
    assert file.read_text() == text


@pytest.mark.parametrize("key", ["latest", "Latest"])
def test_a_state_is_read_in_both_spellings_of_the_engine(tmp_path: Path, key: str) -> None:
    (tmp_path / "Pulumi.yaml").write_text("name: p\n")
    file = tmp_path / ".pulumi/stacks/p/s.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"checkpoint": {key: {"resources": [{"urn": "u", "type": "t"}]}}}))
    checkpoint = stack_state.read(Project(stack="s", folder=tmp_path, url=f"file://{tmp_path}"))
    assert checkpoint is not None
    assert len(checkpoint.resources) == 1, "an imported state that looked empty would be made a second time"


@pytest.mark.parametrize("operation", ["up", "preview"])
def test_a_failed_step_names_the_bootstrap_as_the_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    def failing(*_: object) -> NoReturn:
        raise FailedError(describe_failure(operation, "foundation", Progress(), RuntimeError("no"), 1))

    monkeypatch.setattr(run, "begin", failing)
    first = FirstDeployment(settings=load.of_foundation(), work=tmp_path, with_key=True, say=print)
    with pytest.raises(FailedError, match="the same `runner-platform bootstrap` goes on from there"):
        first._driver_run(f"file://{tmp_path}", operation, {}).__enter__()  # every step enters it
