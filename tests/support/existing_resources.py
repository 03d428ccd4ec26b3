"""Resources that exist in the sandbox's accounts, in GitLab and on this machine, compared with the state of a stack."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import boto3
import gitlab

from config import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from config.names import Names
    from tests.support.running_sandbox import Sandbox

GROUP, PROJECT = 1234, 5678
"""Owners of the stacks' runners in the stack files."""


def leftovers(sandbox: Sandbox, stack: str) -> list[str]:
    """List everything that a destroyed stack left behind, except keys in their waiting period."""
    names = load.of_stack(stack).names
    remaining = [
        f"GitLab runner {runner.id}" for runner in runners_of(sandbox) if f" of {names.cluster}," in runner.description
    ]
    remaining += [f"cluster {cluster.name}" for cluster in sandbox.state().clusters if cluster.name == names.cluster]
    for account in load.of_foundation().accounts.values():
        client = client_of(sandbox, account.id)
        remaining += [f"{account.id}: {resource}" for resource in _resources_of(client, names)]
    return [*remaining, *differing_counts(sandbox, stack)]


def differing_counts(sandbox: Sandbox, stack: str) -> list[str]:
    """List the types of which more or fewer resources exist than the state holds.

    It counts resources with the stack's tag. The state of a destroyed stack holds none.
    """
    resources = sandbox.exported(stack).get("resources", [])
    state = Counter(resource["type"] for resource in resources if not resource.get("delete", False))
    existing: Counter[str] = Counter()
    for account in load.of_foundation().accounts.values():
        existing.update(_counts(client_of(sandbox, account.id), stack))
    return [
        f"{kind}: {existing[kind]} exist, the state has {state[kind]}"
        for kind in existing
        if existing[kind] != state[kind]
    ]


def client_of(sandbox: Sandbox, account: str) -> Callable[[str], Any]:
    """Return a function that makes AWS clients with the account's root keys."""
    session = boto3.Session(aws_access_key_id=account, aws_secret_access_key="root", region_name="eu-central-1")
    return lambda service: session.client(service, endpoint_url=f"http://127.0.0.1:{sandbox.state().ports.aws}")


def runners_of(sandbox: Sandbox) -> list[Any]:
    """Return all runners of GitLab with all their attributes."""
    variables = sandbox.variables
    base = variables["GITLAB_BASE_URL"].rstrip("/").removesuffix("/api/v4")
    api = gitlab.Gitlab(base, private_token=variables["GITLAB_TOKEN"])
    runners = [
        *api.groups.get(GROUP, lazy=True).runners.list(get_all=True),
        *api.projects.get(PROJECT, lazy=True).runners.list(get_all=True),
    ]
    return [api.runners.get(runner.id) for runner in runners]


def keys_of(sandbox: Sandbox, account: str, suffix: str) -> list[dict[str, Any]]:
    """Return the KMS keys of an account whose description ends with a suffix."""
    client = client_of(sandbox, account)("kms")
    keys = [client.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in client.list_keys()["Keys"]]
    return [key for key in keys if key.get("Description", "").endswith(suffix)]


def _resources_of(client: Callable[[str], Any], names: Names) -> Iterator[str]:
    """Yield the stack's resources in one account, of the types that `_counts` does not count."""
    iam, logs = client("iam"), client("logs")
    yield from (role["Arn"] for role in iam.list_roles()["Roles"] if role["Path"] == names.role_path)
    for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = provider["Arn"]
        if "oidc.eks." in arn:
            tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
            if _has_tag(tags, names.stack):
                yield arn
    buckets = [bucket["Name"] for bucket in client("s3").list_buckets()["Buckets"]]
    yield from (bucket for bucket in buckets if bucket.endswith(names.suffix))
    for repository in client("ecr").describe_repositories()["repositories"]:
        if repository["repositoryName"].startswith(names.prefix):
            yield repository["repositoryArn"]
    groups = [group["logGroupName"] for group in logs.describe_log_groups()["logGroups"]]
    yield from (group for group in groups if names.cluster in group.split("/"))


def _counts(client: Callable[[str], Any], stack: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    ec2 = client("ec2")
    filters = [{"Name": "tag:platform:stack", "Values": [stack]}]
    for kind, operation, key in (
        ("aws:ec2/vpc:Vpc", "describe_vpcs", "Vpcs"),
        ("aws:ec2/subnet:Subnet", "describe_subnets", "Subnets"),
        ("aws:ec2/eip:Eip", "describe_addresses", "Addresses"),
        ("aws:ec2/internetGateway:InternetGateway", "describe_internet_gateways", "InternetGateways"),
        ("aws:ec2/routeTable:RouteTable", "describe_route_tables", "RouteTables"),
    ):
        counts[kind] = len(getattr(ec2, operation)(Filters=filters)[key])
    gateways = ec2.describe_nat_gateways(Filters=filters)["NatGateways"]
    counts["aws:ec2/natGateway:NatGateway"] = sum(gateway["State"] == "available" for gateway in gateways)
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
