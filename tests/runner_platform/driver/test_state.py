"""States that are missing, cut short or half written are said plainly; backends are read and written as whole objects."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import operations, state, store
from runner_platform.errors import FailedError, WrongUseError
from tests.support.stack_states import NAME, project, write_state

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

PROVIDER = {"type": "pulumi:providers:aws", "urn": "p", "inputs": {"allowedAccountIds": '["222222222222"]'}}
STACK = {"type": "pulumi:pulumi:Stack", "urn": "s"}


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    return project(tmp_path)


def test_a_state_tells_its_accounts_and_whether_anything_is_in_it(stack: Project) -> None:
    write_state(stack, [STACK, PROVIDER])
    found = state.require(stack)
    assert found.accounts == ["222222222222"]
    assert found.empty
    write_state(stack, [STACK, PROVIDER, {"type": "aws:s3/bucket:Bucket", "urn": "b"}])
    changed = state.require(stack)
    assert not changed.empty
    assert changed.digest != found.digest, "any write is another serial"


def test_a_compressed_state_is_read_too(stack: Project) -> None:
    write_state(stack, [STACK])
    key = state.key_of(stack)
    stack.store.write(f"{key}.gz", gzip.compress(stack.store.read(key) or b""))
    stack.store.delete(key)
    assert state.require(stack).resources == [STACK]


def test_a_stack_that_was_never_deployed_asks_for_create(stack: Project) -> None:
    with pytest.raises(FailedError, match="--create"):
        state.require(stack)
    assert not state.existed(stack)


def test_a_stack_with_a_history_and_no_state_has_lost_it(stack: Project) -> None:
    stack.store.write(f".pulumi/history/{NAME}/test/test-1.history.json", b"{}")
    stack.store.write(f".pulumi/backups/{NAME}/test/test.1.json", b"{}")
    with pytest.raises(FailedError, match=rf"was lost(.|\n)*cp .*/backups/{NAME}/test/test.1.json"):
        state.require(stack)


@pytest.mark.parametrize("newest", ["backups", "bak"])
def test_the_newest_copy_is_the_one_that_a_pasted_block_restores(stack: Project, tmp_path: Path, newest: str) -> None:
    before, completed = f"{state.key_of(stack)}.bak", f".pulumi/backups/{NAME}/test/test.1.json"
    for number, key in enumerate((before, completed) if newest == "backups" else (completed, before)):
        stack.store.write(key, b"{}")
        os.utime(tmp_path / "backend" / key, (number, number))
    stack.store.write(f".pulumi/history/{NAME}/test/test-1.history.json", b"{}")
    first, second = re.findall(r"^ *((?:# or )?)cp (\S+)", state.missing(stack), re.MULTILINE)
    assert (first[0], second[0]) == ("", "# or ")
    assert newest in first[1]


def test_a_bucket_is_asked_for_its_versions_with_the_backends_own_profile(
    stack: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "s3://states/platform?region=eu-central-1&profile=platform-admin&awssdk=v2"
    empty = SimpleNamespace(url=url, keys=lambda _prefix: [], read=lambda _key: None)
    monkeypatch.setattr(store, "open_store", lambda _url: empty)
    said = state.damaged(stack)
    key = f"platform/{state.key_of(stack)}"
    assert f"aws s3api list-object-versions --profile platform-admin --bucket states --prefix {key} --query" in said
    assert f"aws s3 cp --profile platform-admin state.json s3://states/{key}" in said


@pytest.mark.parametrize("content", [b"", b'{"version": 3, "checkpoint": {"la', b"[]", b'{"checkpoint": 1}'])
def test_a_damaged_state_names_the_copy_to_restore(stack: Project, content: bytes) -> None:
    stack.store.write(state.key_of(stack), content)
    stack.store.write(f"{state.key_of(stack)}.bak", b"{}")
    with pytest.raises(FailedError, match=r"cut short(.|\n)*cp .*test.json.bak .*test.json"):
        state.read(stack)


@pytest.mark.parametrize("left", ["", '{"user.content_ty'])
def test_attributes_that_a_killed_engine_half_wrote_are_removed_and_the_state_is_kept(
    stack: Project, tmp_path: Path, left: str
) -> None:
    write_state(stack, [])
    folder = tmp_path / "backend" / ".pulumi" / "stacks" / NAME
    (folder / "test.json.attrs").write_text(left)
    (folder / "test.json.bak.attrs").write_text(json.dumps({"user.content_type": "text/plain"}))
    (folder / "other.json.attrs").write_text(left)
    (said,) = state.drop_half_written(stack)
    assert "test.json.attrs was half written" in said
    assert sorted(file.name for file in folder.iterdir()) == ["other.json.attrs", "test.json", "test.json.bak.attrs"]
    assert state.drop_half_written(stack) == [], "nothing is said where nothing is wrong"


def test_a_folder_lists_objects_and_not_their_attributes(tmp_path: Path) -> None:
    made = store.open_store(f"file://{tmp_path}")
    made.write("a/b/1.json", b"1")
    made.write("a/c.json", b"2")
    (tmp_path / "a/b/1.json.attrs").write_text("{}")
    assert made.keys("a/b/") == ["a/b/1.json"]
    assert made.keys("a/") == ["a/b/1.json", "a/c.json"]
    assert made.keys("nothing/") == []
    made.delete("a/b/1.json")
    assert list((tmp_path / "a/b").iterdir()) == [], "the attributes go with the object"
    made.delete("a/b/1.json")
    assert made.read("a/b/1.json") is None


def test_a_backend_in_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = store.open_store("file://~/state")
    assert isinstance(found, store.FolderStore)
    assert found.folder == tmp_path / "state"


@pytest.mark.parametrize("url", ["https://api.pulumi.com", "gs://bucket", ""])
def test_backends_without_locks_of_our_kind_are_refused(url: str) -> None:
    with pytest.raises(WrongUseError, match="file:// nor s3://"):
        store.open_store(url)


def test_a_profile_that_does_not_exist_is_said_plainly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with pytest.raises(FailedError, match="nobody"):
        store.open_store("s3://bucket/platform?region=eu-central-1&profile=nobody")


def test_a_folder_that_cannot_be_written_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "backend").write_text("a file")
    with pytest.raises(FailedError, match="cannot be used"):
        store.open_store(f"file://{tmp_path}/backend").write("a/b", b"")


def test_the_backend_is_the_one_that_pulumi_would_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: Project
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    with pytest.raises(WrongUseError, match="PULUMI_BACKEND_URL"):
        store.backend_url(stack.folder)
    Path(tmp_path / "credentials.json").write_text('{"current": "s3://logged-in"}')
    assert store.backend_url(stack.folder) == "s3://logged-in"
    (stack.folder / "Pulumi.yaml").write_text("name: x\nbackend: {url: 's3://of-the-project'}\n")
    assert store.backend_url(stack.folder) == "s3://of-the-project"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///named")
    assert store.backend_url(stack.folder) == "file:///named"


def test_a_new_cluster_without_what_the_state_believes_in_is_not_called_fine(stack: Project) -> None:
    cluster = {"type": "aws:eks/cluster:Cluster", "urn": "cluster"}
    inside = {"type": "kubernetes:core/v1:Namespace", "urn": "namespace"}
    write_state(stack, [cluster, inside])

    def run(*created: str) -> Any:
        steps = [{"operation": "create", "urn": urn} for urn in created]
        return SimpleNamespace(project=stack, progress=SimpleNamespace(steps=steps))

    with pytest.raises(FailedError, match="1 objects that the state knows were in the old one"):
        operations.require_inhabited(run("cluster"))
    operations.require_inhabited(run("cluster", "namespace"))
    operations.require_inhabited(run())
