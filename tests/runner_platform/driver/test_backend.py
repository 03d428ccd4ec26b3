"""Backends in a folder or a bucket: objects are read and written as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runner_platform.driver import backend
from runner_platform.errors import FailedError, WrongUseError
from tests.support.stack_states import project

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform.driver.project import Project


@pytest.fixture
def stack(tmp_path: Path) -> Project:
    return project(tmp_path)


def test_a_folder_lists_objects_and_not_their_attributes(tmp_path: Path) -> None:
    store = backend.open_store(f"file://{tmp_path}")
    store.write("a/b/1.json", b"1")
    store.write("a/c.json", b"2")
    (tmp_path / "a/b/1.json.attrs").write_text("{}")
    assert store.keys("a/b/") == ["a/b/1.json"]
    assert store.keys("a/") == ["a/b/1.json", "a/c.json"]
    assert store.keys("nothing/") == []
    store.delete("a/b/1.json")
    assert list((tmp_path / "a/b").iterdir()) == [], "the attributes go with the object"
    store.delete("a/b/1.json")
    assert store.read("a/b/1.json") is None


def test_a_backend_in_the_home_folder_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    store = backend.open_store("file://~/state")
    assert isinstance(store, backend.FolderStore)
    assert store.folder == tmp_path / "state"


@pytest.mark.parametrize("url", ["https://api.pulumi.com", "gs://bucket", ""])
def test_other_backends_are_refused(url: str) -> None:
    with pytest.raises(WrongUseError, match="file:// nor s3://"):
        backend.open_store(url)


def test_a_missing_profile_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with pytest.raises(FailedError, match="nobody"):
        backend.open_store("s3://bucket/platform?region=eu-central-1&profile=nobody")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "backend").write_text("a file")
    with pytest.raises(FailedError, match="cannot be used"):
        backend.open_store(f"file://{tmp_path}/backend").write("a/b", b"")


def test_the_backend_is_the_one_that_pulumi_would_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stack: Project
) -> None:
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path))
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    with pytest.raises(WrongUseError, match="PULUMI_BACKEND_URL"):
        backend.current_url(stack.folder)
    (tmp_path / "credentials.json").write_text('{"current": "s3://logged-in"}')
    assert backend.current_url(stack.folder) == "s3://logged-in"
    (stack.folder / "Pulumi.yaml").write_text("name: x\nbackend: {url: 's3://of-the-project'}\n")
    assert backend.current_url(stack.folder) == "s3://of-the-project"
    monkeypatch.setenv("PULUMI_BACKEND_URL", "file:///named")
    assert backend.current_url(stack.folder) == "file:///named"
