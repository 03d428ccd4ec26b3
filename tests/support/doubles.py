"""Compares what exists in the sandbox's AWS with what a stack's state holds: everything once, nothing forgotten."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import botocore.session

from runner_platform_sandbox.organization import read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.support.live import Sandbox


def doubled(own: Sandbox, stack: str) -> list[str]:
    """Types of which an account holds another number of resources than the state; empty when all is well.

    Counts those that carry the stack's tag, and where AWS has no tags, those with the platform's own path.
    """
    resources = own.exported(stack).get("resources", [])  # none at all once everything is destroyed
    state = Counter(resource["type"] for resource in resources if not resource.get("delete", False))
    found: Counter[str] = Counter()
    for account in read().accounts.values():
        found.update(_counts(_clients(own, account), stack))
    return [f"{kind}: {found[kind]} exist, the state has {state[kind]}" for kind in found if found[kind] != state[kind]]


def _clients(own: Sandbox, account: str) -> Callable[[str], Any]:
    session = botocore.session.Session()
    endpoint = f"http://127.0.0.1:{own.state().ports.aws}"

    def client(service: str) -> Any:
        return session.create_client(
            service,
            region_name="eu-central-1",
            endpoint_url=endpoint,
            aws_access_key_id=account,
            aws_secret_access_key="root",
        )

    return client


def _counts(client: Callable[[str], Any], stack: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    ec2 = client("ec2")
    tagged = {"Filters": [{"Name": "tag:platform:stack", "Values": [stack]}]}
    for kind, operation, key in (
        ("aws:ec2/vpc:Vpc", "describe_vpcs", "Vpcs"),
        ("aws:ec2/subnet:Subnet", "describe_subnets", "Subnets"),
        ("aws:ec2/eip:Eip", "describe_addresses", "Addresses"),
        ("aws:ec2/internetGateway:InternetGateway", "describe_internet_gateways", "InternetGateways"),
        ("aws:ec2/routeTable:RouteTable", "describe_route_tables", "RouteTables"),
    ):
        counts[kind] = len(getattr(ec2, operation)(**tagged)[key])
    gateways = ec2.describe_nat_gateways(Filters=tagged["Filters"])["NatGateways"]
    counts["aws:ec2/natGateway:NatGateway"] = sum(each["State"] == "available" for each in gateways)
    counts["aws:kms/key:Key"] = sum(_has_tag(tags, stack) for tags in _key_tags(client("kms")))
    iam = client("iam")
    roles = [iam.list_role_tags(RoleName=role["RoleName"])["Tags"] for role in iam.list_roles()["Roles"]]
    counts["aws:iam/role:Role"] = sum(_has_tag(tags, stack) for tags in roles)
    return counts


def _key_tags(kms: Any) -> Iterable[list[dict[str, str]]]:
    for key in kms.list_keys()["Keys"]:
        if kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"] == "Enabled":
            tags = kms.list_resource_tags(KeyId=key["KeyId"])["Tags"]
            yield [{"Key": tag["TagKey"], "Value": tag["TagValue"]} for tag in tags]


def _has_tag(tags: list[dict[str, str]], stack: str) -> bool:
    return {"Key": "platform:stack", "Value": stack} in tags
