"""What of a stack exists in one AWS account: by tags, and by names where a kind has no tags or may have lost them.

Reads only. Names are those of `config.names`; the tag is `platform:stack`, which every provider of the program puts on everything.
Each finding carries the command that removes it, or the reason why it stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import botocore.exceptions

from config.tags import STACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Client = Callable[[str], Any]

EC2_KINDS: Final = {
    "elastic-ip": ("release-address --allocation-id", "describe_addresses", "AllocationIds"),
    "flow-log": ("delete-flow-logs --flow-log-ids", "describe_flow_logs", "FlowLogIds"),
    "instance": ("terminate-instances --instance-ids", "describe_instances", "InstanceIds"),
    "internet-gateway": (
        "delete-internet-gateway --internet-gateway-id",
        "describe_internet_gateways",
        "InternetGatewayIds",
    ),
    "launch-template": (
        "delete-launch-template --launch-template-id",
        "describe_launch_templates",
        "LaunchTemplateIds",
    ),
    "natgateway": ("delete-nat-gateway --nat-gateway-id", "describe_nat_gateways", "NatGatewayIds"),
    "network-interface": (
        "delete-network-interface --network-interface-id",
        "describe_network_interfaces",
        "NetworkInterfaceIds",
    ),
    "route-table": ("delete-route-table --route-table-id", "describe_route_tables", "RouteTableIds"),
    "security-group": ("delete-security-group --group-id", "describe_security_groups", "GroupIds"),
    "security-group-rule": (
        "revoke-security-group-ingress --security-group-rule-ids",
        "describe_security_group_rules",
        "SecurityGroupRuleIds",
    ),
    "subnet": ("delete-subnet --subnet-id", "describe_subnets", "SubnetIds"),
    "volume": ("delete-volume --volume-id", "describe_volumes", "VolumeIds"),
    "vpc": ("delete-vpc --vpc-id", "describe_vpcs", "VpcIds"),
    "vpc-endpoint": ("delete-vpc-endpoints --vpc-endpoint-ids", "describe_vpc_endpoints", "VpcEndpointIds"),
    "vpc-flow-log": ("delete-flow-logs --flow-log-ids", "describe_flow_logs", "FlowLogIds"),
}
"""By EC2's own word for the kind: command line of `aws ec2`, operation that shows one, and that operation's parameter."""
ENDED: Final = frozenset({"deleting", "deleted", "shutting-down", "terminated"})
"""States of what EC2 shows for an hour after its end."""
BY_HAND: Final = "by hand, in the console of its service; the program makes nothing of this kind"


@dataclass(frozen=True, kw_only=True)
class Left:
    """Something that still exists."""

    account: str
    """Name of the account; empty outside AWS."""
    kind: str
    id: str
    command: str
    """Removes it; empty where it stays."""
    stays: str = ""
    """Why it stays on purpose; empty where it should be gone."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a stack's things are called in one account."""

    stack: str
    account: str
    """The account's name."""
    profile: str
    role_path: str
    cluster: str
    """Empty where the stack has none."""
    buckets: dict[str, str]
    """Names, with why each stays; empty for those that should be gone."""
    repositories: str
    """Prefix of the ECR repositories; empty where a prefix would fit another stack's too."""


def left(client: Client, wanted: Wanted) -> list[Left]:
    """Everything of a stack in an account, each thing once.

    Args:
        client: makes a boto3 client of the account by service.
        wanted: what to look for.
    """
    found: list[Left] = []
    for search in (_ec2, _iam, _policies, _oidc, _buckets, _repositories, _log_groups, _clusters, _keys):
        found += [_left(wanted, *row) for row in search(client, wanted)]
    known = tuple(f"{mark}{each.id}" for each in found for mark in ("/", ":"))
    return found + [_left(wanted, *row) for row in _tagged(client, wanted) if not row[1].endswith(known)]


def _left(wanted: Wanted, kind: str, identifier: str, command: str, stays: str) -> Left:
    full = f"aws {command} --profile {wanted.profile}" if command else "" if stays else BY_HAND
    return Left(account=wanted.account, kind=kind, id=identifier, command=full, stays=stays)


Row = tuple[str, str, str, str]
"""Kind, id, command, why it stays."""


def _ec2(client: Client, wanted: Wanted) -> Iterator[Row]:
    ec2 = client("ec2")
    filters = [{"Name": "key", "Values": [STACK]}, {"Name": "value", "Values": [wanted.stack]}]
    for page in ec2.get_paginator("describe_tags").paginate(Filters=filters):
        for tag in page["Tags"]:
            kind, identifier = tag["ResourceType"], tag["ResourceId"]
            if (tag["Key"], tag["Value"]) != (STACK, wanted.stack) or _ended(ec2, kind, identifier):
                continue
            command = f"ec2 {EC2_KINDS[kind][0]} {identifier}" if kind in EC2_KINDS else ""
            yield kind, identifier, command, ""


def _ended(ec2: Any, kind: str, identifier: str) -> bool:
    """Whether it is gone although the index of tags still knows it."""
    if kind not in EC2_KINDS:
        return False
    _, operation, parameter = EC2_KINDS[kind]
    try:
        answer = getattr(ec2, operation)(**{parameter: [identifier]})
    except botocore.exceptions.ClientError as error:
        if "NotFound" in error.response["Error"]["Code"]:
            return True
        raise
    found = [each for value in answer.values() if isinstance(value, list) for each in value]
    found = [one for each in found for one in each.get("Instances", [each])]
    return all(_state(each) in ENDED for each in found)


def _state(described: Mapping[str, Any]) -> str:
    state = described.get("State", "")
    return str(state["Name"] if isinstance(state, dict) else state)


def _iam(client: Client, wanted: Wanted) -> Iterator[Row]:
    iam = client("iam")
    for page in iam.get_paginator("list_roles").paginate(PathPrefix=wanted.role_path):
        for role in page["Roles"]:
            name = role["RoleName"]
            first = [
                *(
                    f"aws iam delete-role-policy --role-name {name} --policy-name {policy} --profile {wanted.profile}"
                    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
                ),
                *(
                    f"aws iam detach-role-policy --role-name {name} --policy-arn {policy['PolicyArn']} --profile {wanted.profile}"
                    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
                ),
            ]
            # `left` puts `aws` before and the profile behind; what comes first brings its own.
            steps = " && ".join([*first, f"aws iam delete-role --role-name {name}"])
            yield "role", name, steps.removeprefix("aws "), ""


def _policies(client: Client, wanted: Wanted) -> Iterator[Row]:
    pages = client("iam").get_paginator("list_policies").paginate(Scope="Local", PathPrefix=wanted.role_path)
    for page in pages:
        for policy in page["Policies"]:
            yield "policy", policy["Arn"], f"iam delete-policy --policy-arn {policy['Arn']}", ""


def _oidc(client: Client, wanted: Wanted) -> Iterator[Row]:
    iam = client("iam")
    for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = each["Arn"]
        tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
        if {"Key": STACK, "Value": wanted.stack} in tags:
            command = f"iam delete-open-id-connect-provider --open-id-connect-provider-arn {arn}"
            yield "oidc-provider", arn, command, ""


def _buckets(client: Client, wanted: Wanted) -> Iterator[Row]:
    for each in client("s3").list_buckets()["Buckets"]:
        if each["Name"] in wanted.buckets:
            stays = wanted.buckets[each["Name"]]
            yield "bucket", each["Name"], "" if stays else f"s3 rb s3://{each['Name']} --force", stays


def _repositories(client: Client, wanted: Wanted) -> Iterator[Row]:
    if not wanted.repositories:
        return
    for page in client("ecr").get_paginator("describe_repositories").paginate():
        for each in page["repositories"]:
            name = each["repositoryName"]
            if name.startswith(wanted.repositories):
                yield "repository", name, f"ecr delete-repository --force --repository-name {name}", ""


def _log_groups(client: Client, wanted: Wanted) -> Iterator[Row]:
    if not wanted.cluster:
        return
    for page in client("logs").get_paginator("describe_log_groups").paginate():
        for each in page["logGroups"]:
            name = each["logGroupName"]
            if wanted.cluster in name.split("/"):
                yield "log-group", name, f"logs delete-log-group --log-group-name {name}", ""


def _clusters(client: Client, wanted: Wanted) -> Iterator[Row]:
    if wanted.cluster and wanted.cluster in client("eks").list_clusters()["clusters"]:
        yield "cluster", wanted.cluster, f"eks delete-cluster --name {wanted.cluster}", ""


def _keys(client: Client, wanted: Wanted) -> Iterator[Row]:
    kms = client("kms")
    for page in kms.get_paginator("list_keys").paginate():
        for each in page["Keys"]:
            key = kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"]
            if key.get("KeyManager") == "AWS":
                continue
            tags = kms.list_resource_tags(KeyId=each["KeyId"])["Tags"]
            if {"TagKey": STACK, "TagValue": wanted.stack} not in tags:
                continue
            if key["KeyState"] == "PendingDeletion":
                ends = key.get("DeletionDate")
                yield (
                    "key",
                    each["KeyId"],
                    "",
                    f"in its waiting period until {ends:%Y-%m-%d}" if ends else "in its waiting period",
                )
            else:
                command = f"kms schedule-key-deletion --pending-window-in-days 7 --key-id {each['KeyId']}"
                yield "key", each["KeyId"], command, ""


def _tagged(client: Client, wanted: Wanted) -> Iterator[Row]:
    """Kinds that nobody thought of: whatever carries the tag, by the account's own index of tags."""
    pages = (
        client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=[{"Key": STACK, "Values": [wanted.stack]}])
    )
    for page in pages:
        for each in page["ResourceTagMappingList"]:
            arn = each["ResourceARN"]
            alarm = f"cloudwatch delete-alarms --alarm-names {arn.rpartition(':')[2]}" if ":alarm:" in arn else ""
            yield arn.split(":")[2], arn, alarm, ""
