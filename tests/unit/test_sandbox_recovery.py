"""What a killed deployment leaves is kept once and never doubled; live locks are respected."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import engine_locks, finders, recovery
from sandbox.errors import LOCKED, SandboxError

if TYPE_CHECKING:
    from pathlib import Path

VPC = {"urn": "urn:vpc", "type": "aws:ec2/vpc:Vpc", "custom": True, "inputs": {"cidrBlock": "10.0.0.0/16"}}
FREE_PID = 2**22 + 1  # above the kernel's highest


def holder(pid: int, *, host: str | None = None, age: float = 0.0) -> dict[str, Any]:
    made = datetime.fromtimestamp(datetime.now(UTC).timestamp() - age, UTC)
    return {
        "pid": pid,
        "username": "somebody",
        "hostname": host or socket.gethostname(),
        "timestamp": made.isoformat().replace("+00:00", "123Z"),  # Go writes nanoseconds
    }


def lock(backend: Path, content: dict[str, Any]) -> Path:
    folder = backend / ".pulumi" / "locks" / "organization" / "runner-platform" / "dev"
    folder.mkdir(parents=True)
    file = folder / "0f.json"
    file.write_text(json.dumps(content))
    file.with_name("0f.json.attrs").write_text("{}")
    return file


def test_the_lock_of_a_dead_process_is_removed_and_that_is_said(tmp_path: Path) -> None:
    file = lock(tmp_path, holder(FREE_PID))
    said: list[str] = []
    engine_locks.release_dead(tmp_path, "runner-platform", "dev", said.append)
    assert list(file.parent.iterdir()) == []
    assert str(FREE_PID) in said[0]


def test_the_lock_of_a_live_process_is_respected_with_exit_code_4(tmp_path: Path) -> None:
    file = lock(tmp_path, holder(os.getpid()))
    with pytest.raises(SandboxError, match=f"locked by process {os.getpid()} of somebody") as refusal:
        engine_locks.release_dead(tmp_path, "runner-platform", "dev", lambda _: None)
    assert refusal.value.exit_code == LOCKED
    assert file.exists()


def test_a_lock_is_dead_when_its_process_id_belongs_to_a_younger_process() -> None:
    assert engine_locks.is_dead(holder(os.getpid(), age=10_000_000))


def test_a_lock_of_another_machine_proves_nothing() -> None:
    assert not engine_locks.is_dead(holder(FREE_PID, host="elsewhere"))


@pytest.mark.parametrize("damaged", [{}, {"pid": "x", "timestamp": "now"}, {"pid": FREE_PID}])
def test_a_lock_that_cannot_be_understood_proves_nothing(damaged: dict[str, Any]) -> None:
    assert not engine_locks.is_dead(damaged)


def test_what_exists_goes_into_the_state_and_what_does_not_is_crossed_out() -> None:
    other = {"urn": "urn:eip", "type": "aws:ec2/eip:Eip", "custom": True}
    settled = recovery.settle([], [VPC, other], ["vpc-1", None])
    assert [(found["urn"], found["id"]) for found in settled] == [("urn:vpc", "vpc-1")]


def test_the_half_made_replacement_of_a_resource_marks_the_old_one_for_deletion() -> None:
    old = {**VPC, "id": "vpc-0"}
    settled = recovery.settle([old], [VPC], ["vpc-1"])
    assert [(found["id"], found.get("delete", False)) for found in settled] == [("vpc-0", True), ("vpc-1", False)]


def test_a_replacement_that_was_not_made_yet_leaves_the_old_one_alone() -> None:
    old = {**VPC, "id": "vpc-0"}
    assert recovery.settle([old], [VPC], [None]) == [old]


def test_types_that_the_program_names_are_found_by_name() -> None:
    wanted = finders.Wanted(
        token="aws:eks/accessEntry:AccessEntry",
        inputs={"clusterName": "runner-platform", "principalArn": "arn:aws:iam::2:role/x"},
        profile=None,
        region=None,
        known=[],
    )
    assert finders.assign([wanted]) == ["runner-platform:arn:aws:iam::2:role/x"]


def test_types_that_are_put_in_place_need_no_search() -> None:
    wanted = finders.Wanted(token="kubernetes:core/v1:Namespace", inputs={}, profile=None, region=None, known=[])
    assert finders.assign([wanted]) == [None]


@pytest.fixture
def vpcs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(finders, "_tagged", lambda *_: list(found))
    monkeypatch.setattr(finders.boto3, "Session", lambda **_: None)
    return found


def want_vpc(*known: str) -> finders.Wanted:
    return finders.Wanted(token=str(VPC["type"]), inputs={}, profile="p", region="r", known=list(known))


def test_one_that_is_in_the_state_already_is_somebody_elses(vpcs: list[str]) -> None:
    vpcs += ["vpc-0", "vpc-1"]
    assert finders.assign([want_vpc("vpc-0")]) == ["vpc-1"]
    assert finders.assign([want_vpc("vpc-0", "vpc-1")]) == [None]


def test_several_that_fit_are_an_error_because_guessing_could_lose_one(vpcs: list[str]) -> None:
    vpcs += ["vpc-1", "vpc-2"]
    with pytest.raises(LookupError, match="vpc-1, vpc-2"):
        finders.assign([want_vpc()])


def test_requests_that_are_the_same_to_the_letter_share_what_they_made(vpcs: list[str]) -> None:
    vpcs += ["vpc-1", "vpc-2"]
    assert finders.assign([want_vpc(), want_vpc(), want_vpc()]) == ["vpc-1", "vpc-2", None]


@pytest.mark.parametrize("token", sorted({*finders.BY_NAME, *finders.BY_TAGS, *finders._SEARCHES}))
def test_every_type_that_is_looked_for_exists_in_the_sdk(token: str) -> None:
    from sandbox.providers import schema  # noqa: PLC0415 - reads the SDK's sources, which the other tests need not

    declared = schema.package("aws").resource(token)
    for field in finders.BY_NAME.get(token, "").replace(":", "").strip("{}").split("}{"):
        assert not field or field in declared.inputs, f"{field} is no input of {token}"


def test_a_name_that_another_account_has_too_is_not_taken_for_known() -> None:
    provider = {"urn": "urn:cicd", "type": "pulumi:providers:aws", "id": "1", "inputs": {"profile": "platform-cicd"}}
    alias = {"type": "aws:kms/alias:Alias", "inputs": {"name": "alias/state"}, "provider": "urn:cicd::1"}
    elsewhere = {**alias, "urn": "urn:admin-alias", "id": "alias/state", "provider": "urn:admin::2"}
    here = {**alias, "urn": "urn:other-alias", "id": "alias/other"}
    question = recovery._question({**alias, "urn": "urn:alias"}, [provider, elsewhere, here])
    assert question["known"] == ["alias/other"]
    assert question["profile"] == "platform-cicd"


@pytest.mark.parametrize("left", ["", '{"user.content_ty'])
def test_attributes_that_a_killed_engine_half_wrote_are_removed_and_the_state_is_kept(
    tmp_path: Path, left: str
) -> None:
    folder = tmp_path / ".pulumi" / "stacks" / "project"
    folder.mkdir(parents=True)
    (folder / "dev.json").write_text('{"version": 3}')
    (folder / "dev.json.attrs").write_text(left)
    (folder / "dev.json.bak.attrs").write_text('{"user.content_type": "text/plain"}')
    (folder / "prod.json.attrs").write_text(left)
    said: list[str] = []
    recovery.drop_half_written(tmp_path, "project", "dev", said.append)
    assert sorted(file.name for file in folder.iterdir()) == ["dev.json", "dev.json.bak.attrs", "prod.json.attrs"]
    assert len(said) == 1
    assert "dev.json.attrs was half written" in said[0]
    recovery.drop_half_written(tmp_path, "project", "dev", said.append)
    assert len(said) == 1, "nothing is said where nothing is wrong"
