"""What a killed deployment was making is kept once and never doubled or lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import finders, repair
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable

VPC = {"urn": "urn:vpc", "type": "aws:ec2/vpc:Vpc", "custom": True, "inputs": {"cidrBlock": "10.0.0.0/16"}}


def wanted(token: str, inputs: dict[str, Any] | None = None, known: tuple[str, ...] = ()) -> finders.Wanted:
    return finders.Wanted(token=token, inputs=inputs or {}, profile=None, region=None, known=list(known))


def test_what_exists_goes_into_the_state_and_what_does_not_is_crossed_out() -> None:
    other = {"urn": "urn:eip", "type": "aws:ec2/eip:Eip", "custom": True}
    settled = repair.settled([], [VPC, other], ["vpc-1", None])
    assert [(found["urn"], found["id"]) for found in settled] == [("urn:vpc", "vpc-1")]


def test_the_half_made_replacement_of_a_resource_marks_the_old_one_for_deletion() -> None:
    old = {**VPC, "id": "vpc-0"}
    settled = repair.settled([old], [VPC], ["vpc-1"])
    assert [(found["id"], found.get("delete", False)) for found in settled] == [("vpc-0", True), ("vpc-1", False)]


def test_a_replacement_that_was_not_made_yet_leaves_the_old_one_alone() -> None:
    old = {**VPC, "id": "vpc-0"}
    assert repair.settled([old], [VPC], [None]) == [old]


def test_types_that_the_program_names_are_found_by_name() -> None:
    inputs = {"clusterName": "runner-platform", "principalArn": "arn:aws:iam::2:role/x"}
    assert finders.assign([wanted("aws:eks/accessEntry:AccessEntry", inputs)]) == [
        "runner-platform:arn:aws:iam::2:role/x"
    ]


def test_types_that_are_put_in_place_need_no_search() -> None:
    assert finders.assign([wanted("kubernetes:core/v1:Namespace")]) == [None]


@pytest.fixture
def vpcs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(finders, "_tagged", lambda *_: list(found))
    monkeypatch.setattr(finders.boto3, "Session", lambda **_: None)
    return found


def test_one_that_is_in_the_state_already_is_somebody_elses(vpcs: list[str]) -> None:
    vpcs += ["vpc-0", "vpc-1"]
    assert finders.assign([wanted(str(VPC["type"]), known=("vpc-0",))]) == ["vpc-1"]
    assert finders.assign([wanted(str(VPC["type"]), known=("vpc-0", "vpc-1"))]) == [None]


def test_several_that_fit_are_an_error_because_guessing_could_lose_one(vpcs: list[str]) -> None:
    vpcs += ["vpc-1", "vpc-2"]
    with pytest.raises(FailedError, match="vpc-1, vpc-2 all look like"):
        finders.assign([wanted(str(VPC["type"]))])


def test_requests_that_are_the_same_to_the_letter_share_what_they_made(vpcs: list[str]) -> None:
    vpcs += ["vpc-1", "vpc-2"]
    vpc = wanted(str(VPC["type"]))
    assert finders.assign([vpc, vpc, vpc]) == ["vpc-1", "vpc-2", None]


@pytest.fixture(scope="module")
def inputs_of() -> Callable[[str], Any]:
    from runner_platform_sandbox.providers import schema  # noqa: PLC0415 - reads the SDK's sources, which the other tests need not

    return lambda token: schema.package("aws").resource(token).inputs


@pytest.mark.parametrize("token", sorted({*finders.BY_NAME, *finders.BY_TAGS, *finders._SEARCHES}))
def test_every_type_that_is_looked_for_exists_in_the_sdk(token: str, inputs_of: Callable[[str], Any]) -> None:
    declared = inputs_of(token)
    for field in finders.BY_NAME.get(token, "").replace(":", "").strip("{}").split("}{"):
        assert not field or field in declared, f"{field} is no input of {token}"


def test_a_name_that_another_account_has_too_is_not_taken_for_known() -> None:
    provider = {"urn": "urn:cicd", "type": "pulumi:providers:aws", "id": "1", "inputs": {"profile": "platform-cicd"}}
    alias = {"type": "aws:kms/alias:Alias", "inputs": {"name": "alias/state"}, "provider": "urn:cicd::1"}
    elsewhere = {**alias, "urn": "urn:admin-alias", "id": "alias/state", "provider": "urn:admin::2"}
    here = {**alias, "urn": "urn:other-alias", "id": "alias/other"}
    question = repair.question({**alias, "urn": "urn:alias"}, [provider, elsewhere, here])
    assert question.known == ["alias/other"]
    assert question.profile == "platform-cicd"
