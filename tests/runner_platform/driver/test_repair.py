"""Creations of a killed run: kept once, never doubled or lost."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import repair
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable

VPC = {"urn": "urn:vpc", "type": "aws:ec2/vpc:Vpc", "custom": True, "inputs": {"cidrBlock": "10.0.0.0/16"}}


def search(token: str, inputs: dict[str, Any] | None = None, known_ids: tuple[str, ...] = ()) -> repair.Search:
    return repair.Search(type=token, inputs=inputs or {}, profile=None, region=None, known_ids=list(known_ids))


def test_an_existing_resource_goes_into_the_state_and_a_missing_one_does_not() -> None:
    address = {"urn": "urn:eip", "type": "aws:ec2/eip:Eip", "custom": True}
    entries = repair.add_recovered([], [VPC, address], ["vpc-1", None])
    assert [(entry["urn"], entry["id"]) for entry in entries] == [("urn:vpc", "vpc-1")]


def test_the_half_made_replacement_of_a_resource_marks_the_old_one_for_deletion() -> None:
    old = {**VPC, "id": "vpc-0"}
    entries = repair.add_recovered([old], [VPC], ["vpc-1"])
    assert [(entry["id"], entry.get("delete", False)) for entry in entries] == [("vpc-0", True), ("vpc-1", False)]


def test_a_replacement_that_does_not_exist_leaves_the_old_resource_alone() -> None:
    old = {**VPC, "id": "vpc-0"}
    assert repair.add_recovered([old], [VPC], [None]) == [old]


class LostRun:
    """A run whose engine exports a state and takes the repaired one."""

    def __init__(self, deployment: dict[str, Any]) -> None:
        self.exported, self.imported, self.refreshed = {"deployment": deployment}, {}, []
        self.leftovers: list[str] = []
        self.why_unrecorded = "the last run was killed"
        self.project = SimpleNamespace()
        self.progress = SimpleNamespace(uncertain=True, unfinished=[VPC])
        self.stack = SimpleNamespace(refresh=lambda target, **_: self.refreshed.append(target))

    def query(self, *arguments: str) -> str:
        if arguments[1] == "import":
            self.imported = json.loads(Path(arguments[3]).read_text())
            return ""
        assert arguments == ("stack", "export"), arguments
        return json.dumps(self.exported)

    def drive(self, call: Callable[[Any], Any]) -> None:
        call(None)

    def report_leftover(self, text: str) -> None:
        self.leftovers.append(text)


@pytest.mark.parametrize("existing", [["vpc-1"], []], ids=["made", "not made"])
def test_a_lost_creation_is_kept_if_it_exists_and_made_again_if_not(
    monkeypatch: pytest.MonkeyPatch, vpcs: list[str], existing: list[str]
) -> None:
    vpcs += existing
    bucket = {"urn": "urn:bucket", "type": "aws:s3/bucket:Bucket", "custom": True, "id": "b"}
    operations = [{"type": "creating", "resource": VPC}, {"type": "updating", "resource": bucket}]
    run: Any = LostRun({"resources": [bucket], "pending_operations": operations})
    monkeypatch.setattr(repair.stack_state, "require", lambda _: SimpleNamespace(pending=operations))
    repair.settle_pending(run)
    deployment = run.imported["deployment"]
    assert deployment["pending_operations"] == []
    assert [entry["id"] for entry in deployment["resources"]] == ["b", *existing]
    outcome = "it exists (vpc-1) and is kept" if existing else "it is made again"
    assert any(f"was being made when the last run was killed; {outcome}" in text for text in run.leftovers)
    assert any("was in the middle of updating; it is read back" in text for text in run.leftovers)
    assert run.refreshed == [["urn:vpc", "urn:bucket"] if existing else ["urn:bucket"]]


@pytest.mark.parametrize("uncertain", [True, False])
def test_a_creation_without_an_answer_is_searched_only_if_the_answer_was_lost(
    monkeypatch: pytest.MonkeyPatch, vpcs: list[str], uncertain: bool
) -> None:
    vpcs.append("vpc-1")
    monkeypatch.setattr(repair, "SETTLE_SECONDS", 0)
    run: Any = LostRun({"resources": []})
    run.progress.uncertain = uncertain
    repair.settle_unanswered(run)
    assert run.refreshed == ([["urn:vpc"]] if uncertain else [])


def test_types_with_a_name_are_found_by_name() -> None:
    inputs = {"clusterName": "runner-platform", "principalArn": "arn:aws:iam::2:role/x"}
    assert repair.find_all([search("aws:eks/accessEntry:AccessEntry", inputs)]) == [
        "runner-platform:arn:aws:iam::2:role/x"
    ]


def test_types_that_are_put_in_place_need_no_search() -> None:
    assert repair.find_all([search("kubernetes:core/v1:Namespace")]) == [None]


@pytest.fixture
def vpcs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    ids: list[str] = []
    monkeypatch.setattr(repair, "_find_tagged", lambda *_: list(ids))
    monkeypatch.setattr(repair.boto3, "Session", lambda **_: None)
    return ids


def test_an_id_in_the_state_belongs_to_another_resource(vpcs: list[str]) -> None:
    vpcs += ["vpc-0", "vpc-1"]
    assert repair.find_all([search(str(VPC["type"]), known_ids=("vpc-0",))]) == ["vpc-1"]
    assert repair.find_all([search(str(VPC["type"]), known_ids=("vpc-0", "vpc-1"))]) == [None]


def test_several_that_fit_are_an_error_since_choosing_could_lose_one(vpcs: list[str]) -> None:
    vpcs += ["vpc-1", "vpc-2"]
    with pytest.raises(FailedError, match="vpc-1, vpc-2 all look like"):
        repair.find_all([search(str(VPC["type"]))])


def test_identical_requests_share_the_resources_that_they_made(vpcs: list[str]) -> None:
    vpcs += ["vpc-1", "vpc-2"]
    vpc = search(str(VPC["type"]))
    assert repair.find_all([vpc, vpc, vpc]) == ["vpc-1", "vpc-2", None]


@pytest.fixture(scope="module")
def inputs_of() -> Callable[[str], Any]:
    from runner_platform_sandbox.providers import schema  # noqa: PLC0415 - reads the SDK's sources, which the other tests need not

    return lambda token: schema.package("aws").resource(token).inputs


@pytest.mark.parametrize("token", sorted({*repair.BY_NAME, *repair.BY_TAGS, *repair.SEARCHES}))
def test_every_type_with_a_search_exists_in_the_sdk(token: str, inputs_of: Callable[[str], Any]) -> None:
    declared = inputs_of(token)
    for field in repair.BY_NAME.get(token, "").replace(":", "").strip("{}").split("}{"):
        assert not field or field in declared, f"{field} is no input of {token}"


def test_the_same_name_in_another_account_is_not_a_known_id() -> None:
    provider = {"urn": "urn:cicd", "type": "pulumi:providers:aws", "id": "1", "inputs": {"profile": "platform-cicd"}}
    alias = {"type": "aws:kms/alias:Alias", "inputs": {"name": "alias/state"}, "provider": "urn:cicd::1"}
    elsewhere = {**alias, "urn": "urn:admin-alias", "id": "alias/state", "provider": "urn:admin::2"}
    same_provider = {**alias, "urn": "urn:other-alias", "id": "alias/other"}
    alias_search = repair.search_for({**alias, "urn": "urn:alias"}, [provider, elsewhere, same_provider])
    assert alias_search.known_ids == ["alias/other"]
    assert alias_search.profile == "platform-cicd"
