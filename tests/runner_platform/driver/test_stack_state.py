"""The state of a stack: missing, cut short, half written; and the commands that restore it."""

from __future__ import annotations

import gzip
import json
import os
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import backend, deployment, stack_state
from runner_platform.errors import FailedError
from tests.support.stack_states import NAME, project, write_state

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.project import Project

PROVIDER = {"type": "pulumi:providers:aws", "urn": "p", "inputs": {"allowedAccountIds": '["222222222222"]'}}
STACK = {"type": "pulumi:pulumi:Stack", "urn": "s"}


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    return project(tmp_path)


def test_a_state_has_accounts_and_may_be_empty(stack: Project) -> None:
    write_state(stack, [STACK, PROVIDER])
    before = stack_state.require(stack)
    assert before.accounts == ["222222222222"]
    assert before.empty
    write_state(stack, [STACK, PROVIDER, {"type": "aws:s3/bucket:Bucket", "urn": "b"}])
    changed = stack_state.require(stack)
    assert not changed.empty
    assert changed.digest != before.digest, "any write is another serial"


def test_a_compressed_state_is_read_too(stack: Project) -> None:
    write_state(stack, [STACK])
    key = stack_state.key_of(stack)
    stack.store.write(f"{key}.gz", gzip.compress(stack.store.read(key) or b""))
    stack.store.delete(key)
    assert stack_state.require(stack).resources == [STACK]


def test_a_stack_that_was_never_deployed_asks_for_create(stack: Project) -> None:
    with pytest.raises(FailedError, match="--create"):
        stack_state.require(stack)
    assert not stack_state.has_history(stack)


def test_a_stack_with_a_history_and_no_state_has_lost_it(stack: Project) -> None:
    stack.store.write(f".pulumi/history/{NAME}/test/test-1.history.json", b"{}")
    stack.store.write(f".pulumi/backups/{NAME}/test/test.1.json", b"{}")
    with pytest.raises(FailedError, match=rf"was lost(.|\n)*cp .*/backups/{NAME}/test/test.1.json"):
        stack_state.require(stack)


@pytest.mark.parametrize("newest", ["backups", "bak"])
def test_the_pasted_commands_restore_the_newest_copy(stack: Project, tmp_path: Path, newest: str) -> None:
    before, completed = f"{stack_state.key_of(stack)}.bak", f".pulumi/backups/{NAME}/test/test.1.json"
    for number, key in enumerate((before, completed) if newest == "backups" else (completed, before)):
        stack.store.write(key, b"{}")
        os.utime(tmp_path / "backend" / key, (number, number))
    stack.store.write(f".pulumi/history/{NAME}/test/test-1.history.json", b"{}")
    first, second = re.findall(r"^ *((?:# or )?)cp (\S+)", stack_state.describe_missing(stack), re.MULTILINE)
    assert (first[0], second[0]) == ("", "# or ")
    assert newest in first[1]


def test_a_bucket_is_asked_for_its_versions_with_the_backends_own_profile(
    stack: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://states/platform?region=eu-central-1&profile=platform-admin&awssdk=v2"
    empty = SimpleNamespace(url=url, keys=lambda _prefix: [], read=lambda _key: None)
    monkeypatch.setattr(backend, "open_store", lambda _url: empty)
    message = stack_state.describe_damaged(stack)
    key = f"platform/{stack_state.key_of(stack)}"
    assert f"aws s3api list-object-versions --profile platform-admin --bucket states --prefix {key} --query" in message
    assert f"aws s3 cp --profile platform-admin state.json s3://states/{key}" in message


@pytest.mark.parametrize("content", [b"", b'{"version": 3, "checkpoint": {"la', b"[]", b'{"checkpoint": 1}'])
def test_a_damaged_state_names_the_copy_to_restore(stack: Project, content: bytes) -> None:
    stack.store.write(stack_state.key_of(stack), content)
    stack.store.write(f"{stack_state.key_of(stack)}.bak", b"{}")
    with pytest.raises(FailedError, match=r"cut short(.|\n)*cp .*test.json.bak .*test.json"):
        stack_state.read(stack)


@pytest.mark.parametrize("content", ["", '{"user.content_ty'])
def test_half_written_attributes_are_removed_and_the_state_is_kept(
    stack: Project, tmp_path: Path, content: str
) -> None:
    write_state(stack, [])
    folder = tmp_path / "backend" / ".pulumi" / "stacks" / NAME
    (folder / "test.json.attrs").write_text(content)
    (folder / "test.json.bak.attrs").write_text(json.dumps({"user.content_type": "text/plain"}))
    (folder / "other.json.attrs").write_text(content)
    (sentence,) = stack_state.remove_half_written_attributes(stack)
    assert "test.json.attrs was half written" in sentence
    assert sorted(file.name for file in folder.iterdir()) == ["other.json.attrs", "test.json", "test.json.bak.attrs"]
    assert stack_state.remove_half_written_attributes(stack) == [], "nothing is said where nothing is wrong"


def test_a_new_cluster_without_the_objects_of_the_state_is_an_error(stack: Project) -> None:
    cluster = {"type": "aws:eks/cluster:Cluster", "urn": "cluster"}
    inside = {"type": "kubernetes:core/v1:Namespace", "urn": "namespace"}
    write_state(stack, [cluster, inside])

    def run(*created: str) -> Any:
        steps = [{"operation": "create", "urn": urn} for urn in created]
        return SimpleNamespace(project=stack, progress=SimpleNamespace(steps=steps))

    with pytest.raises(FailedError, match="1 objects that the state knows were in the old one"):
        deployment.require_cluster_contents(run("cluster"))
    deployment.require_cluster_contents(run("cluster", "namespace"))
    deployment.require_cluster_contents(run())
