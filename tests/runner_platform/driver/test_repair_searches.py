"""Searches for lost creations in AWS: what fits, and what must not be taken for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner_platform.driver import repair

if TYPE_CHECKING:
    from collections.abc import Callable

Answers = dict[str, Any]
TAGS = {"platform:stack": "dev", "Name": "network"}
WRITTEN = [{"Key": "platform:stack", "Value": "dev"}, {"Key": "Name", "Value": "network"}]


class Session:
    """A session with an answer for each call. A value is one answer, a list the pages of many."""

    def __init__(self, service: str, **answers: Any) -> None:
        self.service, self.answers = service, answers
        self.asked: list[tuple[str, Answers]] = []

    def client(self, service: str, config: Any) -> Session:
        assert service == self.service
        assert config.retries == {"mode": "standard", "total_max_attempts": 10}
        return self

    def get_paginator(self, name: str) -> Any:
        session = self

        class Pages:
            def paginate(self, **arguments: Any) -> Any:
                session.asked.append((name, arguments))
                return session.answers[name]

        return Pages()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.asked.append((name, arguments))
            answer = self.answers[name]
            return answer(**arguments) if callable(answer) else answer

        return call


def find(token: str, session: Any, **inputs: Any) -> list[str]:
    return list(repair.SEARCHES[token](session, inputs))


def test_the_tags_of_a_resource_are_compared_as_a_whole_without_those_of_aws() -> None:
    def tags(identifier: str, pairs: dict[str, str]) -> list[Answers]:
        return [{"ResourceId": identifier, "Key": key, "Value": value} for key, value in pairs.items()]

    more, fewer = {**TAGS, "extra": "x"}, {"platform:stack": "dev"}
    session: Any = Session(
        "ec2",
        describe_tags=[
            {"Tags": [*tags("vpc-1", {**TAGS, "aws:cloudformation:stack-id": "x"}), *tags("vpc-2", more)]},
            {"Tags": [*tags("vpc-3", fewer), *tags("vpc-4", {**TAGS, "Name": "another"})]},
        ],
    )
    assert list(repair._find_tagged(session, "vpc", {"tags": TAGS})) == ["vpc-1"]
    assert session.asked == [("describe_tags", {"Filters": [{"Name": "resource-type", "Values": ["vpc"]}]})]
    assert list(repair._find_tagged(session, "vpc", {})) == [], "without tags nothing can be told apart"


@pytest.mark.parametrize(
    ("change", "fits"),
    [
        ({}, True),
        ({"KeyState": "PendingDeletion"}, False),
        ({"KeyManager": "AWS"}, False),
        ({"Description": "another"}, False),
    ],
)
def test_a_key_fits_by_tags_and_description_unless_it_is_ending(change: Answers, fits: bool) -> None:
    metadata = {"KeyState": "Enabled", "KeyManager": "CUSTOMER", "Description": "secrets", **change}
    session = Session(
        "kms",
        list_keys=[{"Keys": [{"KeyId": "k1"}]}],
        describe_key={"KeyMetadata": metadata},
        list_resource_tags={"Tags": [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in WRITTEN]},
    )
    keys = find("aws:kms/key:Key", session, tags=TAGS, description="secrets")
    assert keys == (["k1"] if fits else [])
    assert find("aws:kms/key:Key", session, description="secrets") == []
    assert find("aws:kms/key:Key", session, tags={"Name": "network"}, description="secrets") == []


def test_a_flow_log_fits_by_what_it_observes_and_its_tags() -> None:
    logs = [{"FlowLogId": "fl-1", "Tags": WRITTEN}, {"FlowLogId": "fl-2"}]
    session = Session("ec2", describe_flow_logs={"FlowLogs": logs})
    assert find("aws:ec2/flowLog:FlowLog", session, vpcId="vpc-1", tags=TAGS) == ["fl-1"]
    assert find("aws:ec2/flowLog:FlowLog", session, vpcId="vpc-1") == ["fl-2"]
    assert session.asked[0][1] == {"Filters": [{"Name": "resource-id", "Values": ["vpc-1"]}]}


def test_a_policy_fits_by_its_name() -> None:
    policies = [{"PolicyName": "reader", "Arn": "arn:reader"}, {"PolicyName": "writer", "Arn": "arn:writer"}]
    session = Session("iam", list_policies=[{"Policies": policies}])
    assert find("aws:iam/policy:Policy", session, name="reader") == ["arn:reader"]
    assert session.asked == [("list_policies", {"Scope": "Local"})]


def test_an_issuers_provider_fits_by_its_host_and_path() -> None:
    arns = [f"arn:aws:iam::222222222222:oidc-provider/{host}" for host in ("oidc.eks/id/A", "oidc.eks/id/B")]
    providers = {"OpenIDConnectProviderList": [{"Arn": arn} for arn in arns]}
    session = Session("iam", list_open_id_connect_providers=providers)
    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    assert find(token, session, url="https://oidc.eks/id/B") == [arns[1]]
    assert find(token, session) == []


def test_a_launch_template_fits_by_its_name() -> None:
    session = Session("ec2", describe_launch_templates={"LaunchTemplates": [{"LaunchTemplateId": "lt-1"}]})
    assert find("aws:ec2/launchTemplate:LaunchTemplate", session, name="runner-small") == ["lt-1"]
    filters = [{"Name": "launch-template-name", "Values": ["runner-small"]}]
    assert session.asked == [("describe_launch_templates", {"Filters": filters})]


def test_a_cluster_of_tasks_fits_by_its_name_unless_it_was_deleted() -> None:
    clusters = [{"clusterArn": "arn:new", "status": "ACTIVE"}, {"clusterArn": "arn:old", "status": "INACTIVE"}]
    session = Session("ecs", describe_clusters={"clusters": clusters})
    assert find("aws:ecs/cluster:Cluster", session, name="runner-big") == ["arn:new"]


def test_an_association_fits_by_table_and_subnet() -> None:
    associations = [
        {"SubnetId": "subnet-1", "RouteTableAssociationId": "rtbassoc-1"},
        {"SubnetId": "subnet-2", "RouteTableAssociationId": "rtbassoc-2"},
    ]
    session = Session("ec2", describe_route_tables={"RouteTables": [{"Associations": associations}, {}]})
    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"
    assert find(token, session, routeTableId="rtb-1", subnetId="subnet-2") == ["rtbassoc-2"]
    assert session.asked == [("describe_route_tables", {"RouteTableIds": ["rtb-1"]})]


@pytest.mark.parametrize(
    ("token", "inputs", "expected"),
    [
        ("aws:s3/bucket:Bucket", {"bucket": "cache"}, "cache"),
        ("aws:iam/role:Role", {"name": "job"}, "job"),
        ("aws:kms/alias:Alias", {"name": "alias/x"}, "alias/x"),
        ("aws:ecr/repository:Repository", {"name": "open/apps"}, "open/apps"),
        ("aws:cloudwatch/logGroup:LogGroup", {"name": "/aws/eks"}, "/aws/eks"),
        ("aws:eks/cluster:Cluster", {"name": "runner-platform"}, "runner-platform"),
        ("aws:autoscaling/group:Group", {"name": "runner-small"}, "runner-small"),
        ("aws:iam/instanceProfile:InstanceProfile", {"name": "runner-manager-small"}, "runner-manager-small"),
        ("aws:ssm/parameter:Parameter", {"name": "/cicd/runner-small/token"}, "/cicd/runner-small/token"),
    ],
)
def test_a_resource_with_a_name_has_it_for_its_id(token: str, inputs: Answers, expected: str) -> None:
    search = repair.Search(type=token, inputs=inputs, profile=None, region=None, known_ids=[])
    assert list(repair.candidate_ids(search)) == [expected]


def test_a_search_asks_the_account_and_region_of_the_resources_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[Answers] = []
    monkeypatch.setattr(repair.boto3, "Session", lambda **arguments: sessions.append(arguments))
    monkeypatch.setattr(repair, "_find_tagged", lambda _session, kind, _inputs: [kind])
    entries = [
        {
            "urn": "urn:provider",
            "type": "pulumi:providers:aws",
            "inputs": {"profile": "platform-dev", "region": "eu-central-1", "baseUrl": "https://gitlab.example"},
        },
        {"urn": "urn:old", "type": "aws:ec2/vpc:Vpc", "provider": "urn:provider::id", "id": "vpc-0"},
        {"urn": "urn:far", "type": "aws:ec2/vpc:Vpc", "provider": "urn:another::id", "id": "vpc-9"},
    ]
    lost = {
        "urn": "urn:vpc",
        "type": "aws:ec2/vpc:Vpc",
        "provider": "urn:provider::id",
        "inputs": {"region": "us-east-1"},
    }
    search = repair.search_for(lost, entries)
    assert (search.profile, search.region, search.url) == ("platform-dev", "eu-central-1", "https://gitlab.example")
    assert search.known_ids == ["vpc-0"], "an id in another account belongs to another resource"
    assert list(repair.candidate_ids(search)) == ["vpc"]
    assert sessions == [{"profile_name": "platform-dev", "region_name": "us-east-1"}], "the resource's own region first"
