"""Drift as people and GitLab see it; Helm's records; what is left after a destroy."""

from __future__ import annotations

import base64
import gzip
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any

import pytest

from runner_platform.driver import audit_aws, changes, drift_report, releases
from runner_platform.driver.audit_aws import Wanted
from runner_platform.driver.drift import Difference, Drift, Kind, as_live
from runner_platform.reports import change

WEAKENS = Difference(
    urn="urn:r",
    name="Role x",
    account="dev",
    kind=Kind.WEAKENS,
    properties=["assumeRolePolicy"],
    reasons=["T01 a|b\nmend"],
)
COSMETIC = Difference(urn="urn:t", name="Role y", account="dev", kind=Kind.COSMETIC, properties=["tags"])
GONE = Difference(urn="urn:g", name="Role z", account="cicd", kind=Kind.GONE, properties=[])


def written(*differences: Difference) -> dict[str, str]:
    return drift_report.files("dev", Drift(differences=list(differences)))


def test_live_values_take_the_place_of_recorded_ones_and_what_is_gone_is_left_out() -> None:
    recorded = {"manifest": 1, "resources": [{"urn": "a", "inputs": {"x": 1}}, {"urn": "b"}, {"urn": "c", "id": "c"}]}
    live = as_live(recorded, {"a": {"inputs": {"x": 2}, "outputs": {}}, "b": None})
    assert live == {
        "manifest": 1,
        "resources": [{"urn": "a", "inputs": {"x": 2}, "outputs": {}}, {"urn": "c", "id": "c"}],
    }


def test_the_issue_says_what_is_worst_first_and_how_to_undo_it() -> None:
    text = drift_report.markdown("dev", [COSMETIC, GONE, WEAKENS])
    assert "1 weaken the platform, 1 are gone, 1 differ and open nothing" in text
    assert text.index("Weakens the platform") < text.index("### Gone") < text.index("Differs, and opens")
    assert "a\\|b mend" in text, "a reason cannot end its cell"
    assert "runner-platform refresh --stack dev" in text
    assert drift_report.markdown("dev", []).strip().endswith("**dev: no drift**")


def test_junit_fails_for_what_opens_something_and_skips_what_is_cosmetic() -> None:
    suite = ET.fromstring(written(COSMETIC, GONE, WEAKENS)["junit.xml"]).find("testsuite")  # noqa: S314 - our own
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "2", "1")
    assert len(suite.findall("testcase/failure")) == 2
    clean = ET.fromstring(written()["junit.xml"]).find("testsuite")  # noqa: S314 - same
    assert clean is not None
    assert len(clean) == 1


def test_helms_record_is_read_by_its_payload_and_not_by_its_label() -> None:
    payload = {"name": "gitlab-runner-small", "version": 3, "info": {"status": "pending-upgrade"}}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(payload).encode()))).decode()
    metadata = {
        "name": "sh.helm.release.v1.gitlab-runner-small.v3",
        "namespace": "runner-small",
        "labels": {"status": "deployed"},
    }
    found = releases.parsed({"metadata": metadata, "data": {"release": packed}})
    assert (found.release, found.number, found.status) == ("gitlab-runner-small", 3, "pending-upgrade")
    assert found.status in releases.PENDING
    assert found.path == "/api/v1/namespaces/runner-small/secrets/sh.helm.release.v1.gitlab-runner-small.v3"


class Account:
    """An AWS account with some things in it; every call that it was not told about is an error."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def __call__(self, _service: str) -> Account:
        return self

    def get_paginator(self, name: str) -> Account:
        return Account(pages=self.answers.get(name, []))

    def paginate(self, **_: Any) -> list[Any]:
        pages: list[Any] = self.answers["pages"]
        return pages

    def __getattr__(self, name: str) -> Any:
        return lambda **_: self.answers[name]


EMPTY: dict[str, Any] = {
    "list_open_id_connect_providers": {"OpenIDConnectProviderList": []},
    "list_buckets": {"Buckets": []},
    "list_clusters": {"clusters": []},
}
WANTED = Wanted(
    stack="dev",
    account="cicd",
    profile="platform-cicd",
    role_path="/cicd-dev/",
    cluster="runner-platform-dev",
    buckets={"cache-dev": ""},
    repositories="dev/",
)


def found(**answers: Any) -> list[audit_aws.Left]:
    return audit_aws.left(Account(**{**EMPTY, **answers}), WANTED)


def test_an_empty_account_has_nothing_left() -> None:
    assert found() == []


def test_a_key_in_its_waiting_period_stays_and_any_other_key_is_left() -> None:
    keys = {
        "list_keys": [{"Keys": [{"KeyId": "k1"}]}],
        "list_resource_tags": {"Tags": [{"TagKey": "platform:stack", "TagValue": "dev"}]},
    }
    waiting = {"KeyMetadata": {"KeyState": "PendingDeletion", "DeletionDate": datetime(2026, 12, 1, tzinfo=UTC)}}
    (key,) = found(**keys, describe_key=waiting)
    assert key.stays == "in its waiting period until 2026-12-01"
    assert key.command == ""
    (key,) = found(**keys, describe_key={"KeyMetadata": {"KeyState": "Enabled"}})
    assert key.command == "aws kms schedule-key-deletion --pending-window-in-days 7 --key-id k1 --profile platform-cicd"


def test_a_role_comes_with_all_that_must_go_before_it() -> None:
    (role,) = found(
        list_roles=[{"Roles": [{"RoleName": "r"}]}],
        list_role_policies={"PolicyNames": ["inline"]},
        list_attached_role_policies={"AttachedPolicies": [{"PolicyArn": "arn:p"}]},
    )
    assert role.command == (
        "aws iam delete-role-policy --role-name r --policy-name inline --profile platform-cicd && "
        "aws iam detach-role-policy --role-name r --policy-arn arn:p --profile platform-cicd && "
        "aws iam delete-role --role-name r --profile platform-cicd"
    )


def test_what_the_index_of_tags_knows_too_is_listed_once() -> None:
    vpc = {"ResourceType": "vpc", "ResourceId": "vpc-1", "Key": "platform:stack", "Value": "dev"}
    tagged = [{"ResourceARN": f"arn:aws:ec2:r:1:vpc/{each}"} for each in ("vpc-1",)]
    odd = [{"ResourceARN": "arn:aws:cloudwatch:r:1:alarm:down"}, {"ResourceARN": "arn:aws:sqs:r:1:queue"}]
    other = {**vpc, "ResourceId": "vpc-2", "Value": "prod"}
    nat = {**vpc, "ResourceType": "natgateway", "ResourceId": "nat-1"}
    deleted = {"NatGateways": [{"State": "deleted"}]}
    left = found(
        describe_vpcs={"Vpcs": [{"VpcId": "vpc-1", "State": "available"}]},
        describe_nat_gateways=deleted,
        describe_tags=[{"Tags": [vpc, other, nat]}],
        get_resources=[{"ResourceTagMappingList": [*tagged, *odd]}],
    )
    assert [each.id for each in left] == ["vpc-1", odd[0]["ResourceARN"], odd[1]["ResourceARN"]]
    assert left[1].command == "aws cloudwatch delete-alarms --alarm-names down --profile platform-cicd"
    assert left[2].command == audit_aws.BY_HAND


@pytest.mark.parametrize("name", ["dev/open/apps", "prod/open/apps"])
def test_repositories_of_another_stack_are_not_this_ones(name: str) -> None:
    left = found(describe_repositories=[{"repositories": [{"repositoryName": name}]}])
    assert [each.id for each in left] == ([name] if name.startswith("dev/") else [])


def test_a_replacement_in_three_steps_is_one_change_and_says_what_forces_it() -> None:
    steps: list[dict[str, Any]] = [
        {
            "operation": operation,
            "urn": "urn::c",
            "type": "aws:eks/cluster:Cluster",
            "account": "cicd",
            "properties": ["name"],
            "reasons": ["name"],
        }
        for operation in ("create-replacement", "replace", "delete-replaced")
    ]
    steps += [{**steps[0], "operation": "update", "urn": "urn::u", "reasons": [], "type": "aws:iam/role:Role"}]
    steps += [{**steps[0], "operation": "discard", "urn": "urn::d"}]
    replaced, updated = changes.of_steps(steps)
    assert (replaced.kind, replaced.reasons, replaced.name) == (change.Kind.REPLACE, ("name",), "c")
    assert (updated.kind, updated.account) == (change.Kind.UPDATE, "cicd")
