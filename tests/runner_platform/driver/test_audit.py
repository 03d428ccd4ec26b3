"""The audit after a destroy: leftovers in an account, and the command that removes each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from config import load
from runner_platform.driver import audit
from runner_platform.driver.audit import AccountNames
from tests.support.machine_stack import small_stack


class Account:
    """An AWS account with the given answers. Any other call is an error."""

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
NAMES = AccountNames(
    stack="dev",
    account="cicd",
    profile="platform-cicd",
    role_path="/cicd-dev/",
    cluster="runner-platform-dev",
    buckets={"cache-dev": ""},
    repositories="dev/",
    groups=("runner-small-dev",),
    parameters="/cicd-dev",
)


def search(**answers: Any) -> list[audit.Leftover]:
    return audit.search_account(Account(**{**EMPTY, **answers}), NAMES)


def test_an_empty_account_has_no_leftovers() -> None:
    assert search() == []


def test_a_key_in_its_waiting_period_stays_and_any_other_key_is_removed() -> None:
    keys = {
        "list_keys": [{"Keys": [{"KeyId": "k1"}]}],
        "list_resource_tags": {"Tags": [{"TagKey": "platform:stack", "TagValue": "dev"}]},
    }
    waiting = {"KeyMetadata": {"KeyState": "PendingDeletion", "DeletionDate": datetime(2026, 12, 1, tzinfo=UTC)}}
    (key,) = search(**keys, describe_key=waiting)
    assert key.stays == "in its waiting period until 2026-12-01"
    assert key.command == ""
    (key,) = search(**keys, describe_key={"KeyMetadata": {"KeyState": "Enabled"}})
    assert key.command == "aws kms schedule-key-deletion --pending-window-in-days 7 --key-id k1 --profile platform-cicd"


def test_the_command_for_a_role_removes_its_policies_first() -> None:
    (role,) = search(
        list_roles=[{"Roles": [{"RoleName": "r"}]}],
        list_role_policies={"PolicyNames": ["inline"]},
        list_attached_role_policies={"AttachedPolicies": [{"PolicyArn": "arn:p"}]},
    )
    assert role.command == (
        "aws iam delete-role-policy --role-name r --policy-name inline --profile platform-cicd && "
        "aws iam detach-role-policy --role-name r --policy-arn arn:p --profile platform-cicd && "
        "aws iam delete-role --role-name r --profile platform-cicd"
    )


def test_a_resource_in_the_index_of_tags_is_listed_once() -> None:
    vpc = {"ResourceType": "vpc", "ResourceId": "vpc-1", "Key": "platform:stack", "Value": "dev"}
    indexed = [
        {"ResourceARN": "arn:aws:ec2:r:1:vpc/vpc-1"},
        {"ResourceARN": "arn:aws:cloudwatch:r:1:alarm:down"},
        {"ResourceARN": "arn:aws:sqs:r:1:queue"},
    ]
    of_prod = {**vpc, "ResourceId": "vpc-2", "Value": "prod"}
    nat = {**vpc, "ResourceType": "natgateway", "ResourceId": "nat-1"}
    leftovers = search(
        describe_vpcs={"Vpcs": [{"VpcId": "vpc-1", "State": "available"}]},
        describe_nat_gateways={"NatGateways": [{"State": "deleted"}]},
        describe_tags=[{"Tags": [vpc, of_prod, nat]}],
        get_resources=[{"ResourceTagMappingList": indexed}],
    )
    assert [leftover.id for leftover in leftovers] == [
        "vpc-1",
        "arn:aws:cloudwatch:r:1:alarm:down",
        "arn:aws:sqs:r:1:queue",
    ]
    assert leftovers[1].command == "aws cloudwatch delete-alarms --alarm-names down --profile platform-cicd"
    assert leftovers[2].command == audit.BY_HAND


@pytest.mark.parametrize(("state", "exists"), [("running", True), ("terminated", False), ("shutting-down", False)])
def test_an_instance_that_has_ended_is_no_leftover(state: str, exists: bool) -> None:
    tag = {"ResourceType": "instance", "ResourceId": "i-1", "Key": "platform:stack", "Value": "dev"}
    reservation = {"Instances": [{"InstanceId": "i-1", "State": {"Name": state}}]}
    leftovers = search(describe_tags=[{"Tags": [tag]}], describe_instances={"Reservations": [reservation]})
    commands = [leftover.command for leftover in leftovers]
    assert commands == (["aws ec2 terminate-instances --instance-ids i-1 --profile platform-cicd"] if exists else [])


def test_what_a_machine_leaves_is_removed_group_first_and_profile_before_role() -> None:
    leftovers = search(
        describe_auto_scaling_groups=[{"AutoScalingGroups": [{"AutoScalingGroupName": "runner-small-dev"}]}],
        list_instance_profiles=[{"InstanceProfiles": [{"InstanceProfileName": "p", "Roles": [{"RoleName": "r"}]}]}],
        list_roles=[{"Roles": [{"RoleName": "r"}]}],
        list_role_policies={"PolicyNames": []},
        list_attached_role_policies={"AttachedPolicies": []},
        describe_parameters=[{"Parameters": [{"Name": "/cicd-dev/runner-small/token"}]}],
    )
    profile = " --profile platform-cicd"
    assert [(leftover.kind, leftover.command) for leftover in leftovers] == [
        (
            "group",
            "aws autoscaling delete-auto-scaling-group --force-delete --auto-scaling-group-name runner-small-dev"
            + profile,
        ),
        (
            "instance-profile",
            (
                f"aws iam remove-role-from-instance-profile --instance-profile-name p --role-name r{profile} && "
                f"aws iam delete-instance-profile --instance-profile-name p{profile}"
            ),
        ),
        ("role", "aws iam delete-role --role-name r" + profile),
        ("parameter", "aws ssm delete-parameter --name /cicd-dev/runner-small/token" + profile),
    ]


def test_a_stack_s_groups_are_searched_for_by_the_names_that_its_classes_would_have() -> None:
    settings = small_stack()
    project: Any = SimpleNamespace(stack="small", settings=settings)
    account = audit._names_in(project, "cicd")
    assert set(account.groups) == {
        f"runner-{name}{part}-small" for name in ("small", "medium") for part in ("", "-workers")
    }
    assert account.parameters == "/cicd-small"
    assert account.cluster == "runner-platform-small", "it may have had one before"


def test_each_kind_of_resource_has_the_command_that_removes_it() -> None:
    tagged = {"Tags": [{"Key": "platform:stack", "Value": "dev"}]}
    leftovers = search(
        list_policies=[{"Policies": [{"Arn": "arn:policy"}]}],
        list_open_id_connect_providers={"OpenIDConnectProviderList": [{"Arn": "arn:provider"}]},
        list_open_id_connect_provider_tags=tagged,
        describe_log_groups=[{"logGroups": [{"logGroupName": f"/aws/{name}/x"} for name in ("eks", NAMES.cluster)]}],
        list_clusters={"clusters": [NAMES.cluster]},
        describe_repositories=[{"repositories": [{"repositoryName": "dev/open/apps"}]}],
    )
    assert [
        (leftover.account, leftover.kind, leftover.command.removesuffix(" --profile platform-cicd"))
        for leftover in leftovers
    ] == [
        ("cicd", "policy", "aws iam delete-policy --policy-arn arn:policy"),
        (
            "cicd",
            "oidc-provider",
            "aws iam delete-open-id-connect-provider --open-id-connect-provider-arn arn:provider",
        ),
        ("cicd", "repository", "aws ecr delete-repository --force --repository-name dev/open/apps"),
        ("cicd", "log-group", f"aws logs delete-log-group --log-group-name /aws/{NAMES.cluster}/x"),
        ("cicd", "cluster", f"aws eks delete-cluster --name {NAMES.cluster}"),
    ]


@pytest.mark.parametrize("name", ["dev/open/apps", "prod/open/apps"])
def test_repositories_of_another_stack_are_not_listed(name: str) -> None:
    leftovers = search(describe_repositories=[{"repositories": [{"repositoryName": name}]}])
    assert [leftover.id for leftover in leftovers] == ([name] if name.startswith("dev/") else [])


def test_a_state_store_stays_and_a_lost_bucket_is_removed() -> None:
    account = replace(NAMES, buckets={"cache-dev": "", "state": "it outlives every stack"})
    answers = {**EMPTY, "list_buckets": {"Buckets": [{"Name": "state"}, {"Name": "cache-dev"}, {"Name": "foreign"}]}}
    kept, lost = audit.search_account(Account(**answers), account)
    assert (kept.id, kept.command, kept.stays) == ("state", "", "it outlives every stack")
    assert (lost.id, lost.stays) == ("cache-dev", "")
    assert lost.command == "aws s3 rb s3://cache-dev --force --profile platform-cicd"


def test_runners_that_somebody_else_makes_are_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    runners = [
        {"id": 7, "description": "small-dev of runner-platform-dev, generation 1"},
        {"id": 8, "description": "x"},
    ]

    def connection(url: str) -> Any:
        asked.append(url)
        return SimpleNamespace(url=url, http_list=lambda *_, **__: runners)

    monkeypatch.setattr(audit.live_runners, "connection", connection)
    settings = load.of_stack("dev")
    external = replace(settings, gitlab=settings.gitlab.model_copy(update={"runners": "external"}))
    project: Any = SimpleNamespace(settings=external)
    assert audit._find_runners(project) == []
    assert asked == []
    project.settings = settings
    owners = {runner.project or runner.group for runner in settings.runners.values()}
    (runner,) = audit._find_runners(project)
    assert runner.id == "7 (small-dev of runner-platform-dev, generation 1)", owners
    assert (runner.account, runner.kind) == ("", "runner")
    assert runner.command.endswith(f"{settings.gitlab.url}/api/v4/runners/7")


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        (
            "dev",
            {
                "profile": "platform-cicd",
                "role_path": "/cicd-dev/",
                "cluster": "runner-platform-dev",
                "buckets": {load.of_stack("dev").names.cache_bucket("222222222222"): ""},
                "repositories": "dev/",
            },
        ),
        (
            "prod",
            {
                "profile": "platform-cicd",
                "role_path": "/cicd/",
                "cluster": "runner-platform",
                "buckets": {load.of_stack("prod").names.cache_bucket("222222222222"): ""},
                "repositories": "",
            },
        ),
        (
            "foundation",
            {
                "profile": "foundation-cicd",
                "role_path": "/cicd-platform/",
                "cluster": "",
                "buckets": {
                    "o-senncloud01-state-222222222222-eu-central-1": (
                        "a state store: it outlives every stack, and its versions are the backup of the states"
                    )
                },
                "repositories": "",
            },
        ),
    ],
)
def test_an_account_is_searched_by_the_names_that_the_stack_gives(stack: str, expected: dict[str, Any]) -> None:
    project: Any = SimpleNamespace(stack=stack, settings=None if stack == "foundation" else load.of_stack(stack))
    searched = audit._names_in(project, "cicd")
    assert {name: getattr(searched, name) for name in expected} == expected
    assert (searched.stack, searched.account) == (stack, "cicd")
