"""Looks in AWS and GitLab for resources whose creation was begun and never written down.

Owns, for each type that a second creation would double or be refused for, how to find what exists: by the name in its inputs, or by its
tags where AWS chose the id; GitLab's runners are those of `runner_platform.driver.lost_runners`. Types that are put in place (bucket settings,
attachments, Kubernetes objects by server-side apply, Helm releases) are left out on purpose: making them again is the same as finding them.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runner_platform.driver import lost_runners
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

BY_NAME: Final[dict[str, str]] = {
    "aws:cloudwatch/logGroup:LogGroup": "{name}",
    "aws:ecr/repository:Repository": "{name}",
    "aws:eks/accessEntry:AccessEntry": "{clusterName}:{principalArn}",
    "aws:eks/cluster:Cluster": "{name}",
    "aws:iam/role:Role": "{name}",
    "aws:kms/alias:Alias": "{name}",
    "aws:s3/bucket:Bucket": "{bucket}",
}
"""Types whose id is made of inputs. The engine reads each afterwards, so one that does not exist is noticed there."""

BY_TAGS: Final[dict[str, str]] = {
    "aws:ec2/eip:Eip": "elastic-ip",
    "aws:ec2/internetGateway:InternetGateway": "internet-gateway",
    "aws:ec2/natGateway:NatGateway": "natgateway",
    "aws:ec2/routeTable:RouteTable": "route-table",
    "aws:ec2/securityGroup:SecurityGroup": "security-group",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpc-endpoint",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "security-group-rule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "security-group-rule",
}
"""Types whose id AWS chose, with EC2's word for them. They are tagged in the same request that makes them."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A resource that is looked for."""

    token: str
    inputs: dict[str, Any]
    """Checked inputs in wire names, with tags and a made-up name, as the engine wrote them down."""
    profile: str | None
    """AWS profile of its provider."""
    region: str | None
    known: list[str]
    """Ids of that type and account that are in the state already, and so belong to somebody else."""
    url: str | None = None
    """Base URL of its provider, where the program names one."""


def assign(wanted: Sequence[Wanted]) -> list[str | None]:
    """The id of each that exists, None for the others.

    Requests that are the same to the letter are interchangeable: what they made is given to them in any order.

    Raises:
        FailedError: More fit than were asked for, so that none can be chosen; or a cloud cannot be asked.
    """
    try:
        return _assigned(wanted)
    except (BotoCoreError, ClientError) as error:
        raise FailedError(f"cannot tell what the killed run has made: {error}") from None


def _assigned(wanted: Sequence[Wanted]) -> list[str | None]:
    groups: dict[str, list[int]] = {}
    for index, one in enumerate(wanted):
        groups.setdefault(json.dumps(asdict(one), sort_keys=True), []).append(index)
    answers: list[str | None] = [None] * len(wanted)
    for indices in groups.values():
        first = wanted[indices[0]]
        found = sorted(set(candidates(first)) - set(first.known))
        if len(found) > len(indices):
            raise FailedError(
                f"{first.token}: {', '.join(found)} all look like what was being made when a run was killed; "
                "take the right one into the state with `pulumi import`, delete the others"
            )
        for index, identifier in zip(indices, found, strict=False):
            answers[index] = identifier
    return answers


def candidates(wanted: Wanted) -> Iterable[str]:
    """Ids of what looks like the wanted one; none for a type that needs no search."""
    if wanted.token in BY_NAME:
        return [BY_NAME[wanted.token].format_map(wanted.inputs)]
    if wanted.token == lost_runners.RUNNER:
        return lost_runners.find(wanted.url, wanted.inputs)
    if wanted.token not in BY_TAGS and wanted.token not in _SEARCHES:
        return []
    region = wanted.inputs.get("region") or wanted.region
    session = boto3.Session(profile_name=wanted.profile, region_name=region)
    if wanted.token in BY_TAGS:
        return _tagged(session, BY_TAGS[wanted.token], wanted.inputs)
    return _SEARCHES[wanted.token](session, wanted.inputs)


def _client(session: boto3.Session, service: Any) -> Any:
    return session.client(service, config=Config(retries={"mode": "standard", "total_max_attempts": 10}))


def _tagged(session: boto3.Session, kind: str, inputs: dict[str, Any]) -> Iterable[str]:
    tags = inputs.get("tags") or {}
    if not tags:
        return []
    found: dict[str, dict[str, str]] = {}
    pages = (
        _client(session, "ec2")
        .get_paginator("describe_tags")
        .paginate(Filters=[{"Name": "resource-type", "Values": [kind]}])
    )
    for page in pages:
        for tag in page["Tags"]:
            found.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return [resource for resource, present in found.items() if _has(present, tags)]


def _has(present: dict[str, str], tags: dict[str, str]) -> bool:
    return {key: value for key, value in present.items() if not key.startswith("aws:")} == tags


def _keys(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    client = _client(session, "kms")
    tags = inputs.get("tags") or {}
    for page in client.get_paginator("list_keys").paginate():
        for key in page["Keys"]:
            state = client.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if state["KeyState"] == "PendingDeletion" or state.get("KeyManager") == "AWS":
                continue
            present = {tag["TagKey"]: tag["TagValue"] for tag in client.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
            if tags and _has(present, tags) and state.get("Description", "") == inputs.get("description", ""):
                yield key["KeyId"]


def _flow_logs(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    observed = [inputs[name] for name in ("vpcId", "subnetId", "eniId") if inputs.get(name)]
    found = _client(session, "ec2").describe_flow_logs(Filters=[{"Name": "resource-id", "Values": observed}])
    for one in found["FlowLogs"]:
        if _has({tag["Key"]: tag["Value"] for tag in one.get("Tags", [])}, inputs.get("tags") or {}):
            yield one["FlowLogId"]


def _policies(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    for page in _client(session, "iam").get_paginator("list_policies").paginate(Scope="Local"):
        yield from (policy["Arn"] for policy in page["Policies"] if policy["PolicyName"] == inputs.get("name"))


def _oidc_providers(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    host = str(inputs.get("url", "")).removeprefix("https://")
    for provider in _client(session, "iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        if provider["Arn"].partition("/")[2] == host:
            yield provider["Arn"]


def _associations(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    tables = _client(session, "ec2").describe_route_tables(RouteTableIds=[inputs["routeTableId"]])["RouteTables"]
    for table in tables:
        for association in table.get("Associations", []):
            if association.get("SubnetId") == inputs.get("subnetId"):
                yield association["RouteTableAssociationId"]


_SEARCHES: Final[dict[str, Callable[[boto3.Session, dict[str, Any]], Iterable[str]]]] = {
    "aws:ec2/flowLog:FlowLog": _flow_logs,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _associations,
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _oidc_providers,
    "aws:iam/policy:Policy": _policies,
    "aws:kms/key:Key": _keys,
}
