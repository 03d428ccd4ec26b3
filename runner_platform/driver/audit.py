"""The search for a stack's resources after a destroy, in every account, in the cluster and in GitLab. Reads only.

Each account is searched by the tag `platform:stack`, which every provider of the program sets, and by the names of `config.names` where a type
has no tags or may have lost them. Each result carries the command that removes it, or the reason why it stays: keys in their waiting period,
state stores, the stack's own empty state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import botocore.exceptions
import gitlab.exceptions
import requests
from botocore.config import Config

from config import foundation, load, names
from config.settings import Settings
from config.tags import STACK
from runner_platform import live_runners
from runner_platform.driver import stack_state
from runner_platform.errors import FailedError
from runner_platform.kube.client import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from runner_platform.driver.project import Project

    Client = Callable[[str], Any]

PROD: Final = "prod"
EC2_TYPES: Final = {
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
"""By EC2's name of the type: command line of `aws ec2`, operation that describes one, parameter of that operation."""
ENDED_STATES: Final = frozenset({"deleting", "deleted", "shutting-down", "terminated"})
"""EC2 still describes such a resource for an hour."""
BY_HAND: Final = "by hand, in the console of its service; the program makes no resource of this type"


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """A resource that still exists."""

    account: str
    """Name of the account; empty outside AWS."""
    kind: str
    id: str
    command: str
    """Command that removes it; empty if it stays."""
    stays: str = ""
    """Why it stays on purpose; empty if it should be gone."""


@dataclass(frozen=True, kw_only=True)
class AccountNames:
    """The names of a stack's resources in one account."""

    stack: str
    account: str
    """The account's name."""
    profile: str
    role_path: str
    cluster: str
    """Empty for a stack without a cluster."""
    buckets: dict[str, str]
    """By name: why the bucket stays; empty for one that should be gone."""
    repositories: str
    """Prefix of the ECR repositories; empty if another stack's repositories have it too."""
    groups: tuple[str, ...] = ()
    """Auto Scaling groups of the classes on machines."""
    parameters: str = ""
    """Path of the parameters with runner tokens; empty for none."""


def audit(project: Project) -> list[Leftover]:
    """Search for everything of a stack that still exists.

    Raises:
        FailedError: an account or GitLab cannot be asked; half an audit proves nothing.
    """
    leftovers = _find_state(project)
    for account in load.of_foundation().accounts:
        account_names = _names_in(project, account)
        try:
            leftovers += search_account(_clients(project, account_names.profile), account_names)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise FailedError(
                f"account {account} cannot be searched as profile {account_names.profile}: {error}"
            ) from None
    return [*leftovers, *_find_namespaces(project), *_find_runners(project)]


def _find_state(project: Project) -> list[Leftover]:
    checkpoint = stack_state.read(project)
    if checkpoint is None:
        return []
    key = f"{project.store.url} {stack_state.key_of(project)}"
    if checkpoint.empty:
        stays = "the stack's empty state, with its history"
        return [Leftover(account="", kind="state", id=key, command="", stays=stays)]
    command = f"runner-platform destroy --stack {project.stack}"
    return [Leftover(account="", kind="state", id=f"{key}: {len(checkpoint.resources)} resources", command=command)]


def _names_in(project: Project, account: str) -> AccountNames:
    shared = load.of_foundation()
    account_id = shared.accounts[account].id
    if project.stack == foundation.STACK:
        bucket = names.state_bucket(shared.organization, account_id)
        return AccountNames(
            stack=project.stack,
            account=account,
            profile=f"foundation-{account}",
            role_path=names.PLATFORM_ROLE_PATH,
            cluster="",
            buckets={bucket: "a state store: it outlives every stack, and its versions are the backup of the states"},
            repositories="",
        )
    settings = project.settings
    assert isinstance(settings, Settings)  # noqa: S101  # every stack but the foundation's
    return AccountNames(
        stack=project.stack,
        account=account,
        profile=f"platform-{account}",
        role_path=settings.names.role_path,
        cluster=settings.names.cluster,
        buckets={settings.names.cache_bucket(account_id): ""},
        repositories="" if project.stack == PROD else settings.names.prefix,
        groups=tuple(group for name in settings.runners for group in _groups(settings, name)),
        parameters=settings.names.role_path.rstrip("/"),
    )


def _groups(settings: Settings, runner_class: str) -> tuple[str, str]:
    """Return the names that a class's groups have if it is on machines, or was."""
    return settings.names.manager_group(runner_class), settings.names.worker_group(runner_class)


def _clients(project: Project, profile: str) -> Client:
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 10})
    session = boto3.Session(profile_name=profile, region_name=project.settings.organization.region)
    return lambda service: session.client(service, config=config)  # type: ignore[call-overload]  # not a literal here


def _find_namespaces(project: Project) -> list[Leftover]:
    """Search for the namespaces of the classes, if the cluster still exists."""
    cluster = Cluster.of(project.settings) if isinstance(project.settings, Settings) else None
    if cluster is None:
        return []
    present = [namespace["metadata"]["name"] for namespace in cluster.get("/api/v1/namespaces")["items"]]
    return [
        Leftover(account="", kind="namespace", id=f"{cluster.name}/{name}", command=f"kubectl delete namespace {name}")
        for name in present
        if name.startswith(("runner-", "jobs-"))
    ]


def _find_runners(project: Project) -> list[Leftover]:
    """Search for runners in GitLab by their descriptions, which name the cluster."""
    settings = project.settings
    if not isinstance(settings, Settings) or settings.gitlab.runners == "external":
        return []
    api = live_runners.connection(settings.gitlab.url)
    owners = {
        f"/projects/{runner.project}" if runner.project else f"/groups/{runner.group or settings.gitlab.group}"
        for runner in settings.runners.values()
    }
    descriptions: dict[int, str] = {}
    try:
        for owner in sorted(owners):
            for runner in api.http_list(f"{owner}/runners", get_all=True):
                if f" of {settings.names.cluster}, generation " in str(runner.get("description")):
                    descriptions[int(runner["id"])] = str(runner["description"])
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(f"GitLab at {api.url} cannot be searched: {error}") from None
    remove = f'curl --fail --request DELETE --header "PRIVATE-TOKEN: $GITLAB_TOKEN" {api.url}/api/v4/runners'
    return [
        Leftover(account="", kind="runner", id=f"{number} ({description})", command=f"{remove}/{number}")
        for number, description in sorted(descriptions.items())
    ]


Row = tuple[str, str, str, str]
"""Kind, id, command (without `aws` and the profile), why it stays."""


def search_account(client: Client, account: AccountNames) -> list[Leftover]:
    """Search for everything of a stack in an account; list each resource once.

    Args:
        client: makes a boto3 client of the account for a service.
        account: names to search for.
    """
    leftovers: list[Leftover] = []
    for search in (
        _find_groups,
        _find_ec2,
        _find_profiles,
        _find_roles,
        _find_parameters,
        _find_policies,
        _find_oidc_providers,
        _find_buckets,
        _find_repositories,
        _find_log_groups,
        _find_clusters,
        _find_keys,
    ):
        leftovers += [_leftover(account, *row) for row in search(client, account)]
    listed = tuple(f"{separator}{leftover.id}" for leftover in leftovers for separator in ("/", ":"))
    tagged = (_leftover(account, *row) for row in _find_tagged(client, account))
    return leftovers + [leftover for leftover in tagged if not leftover.id.endswith(listed)]


def _leftover(account: AccountNames, kind: str, identifier: str, command: str, stays: str) -> Leftover:
    full = f"aws {command} --profile {account.profile}" if command else "" if stays else BY_HAND
    return Leftover(account=account.account, kind=kind, id=identifier, command=full, stays=stays)


def _find_ec2(client: Client, account: AccountNames) -> Iterator[Row]:
    ec2 = client("ec2")
    filters = [{"Name": "key", "Values": [STACK]}, {"Name": "value", "Values": [account.stack]}]
    for page in ec2.get_paginator("describe_tags").paginate(Filters=filters):
        for tag in page["Tags"]:
            kind, identifier = tag["ResourceType"], tag["ResourceId"]
            if (tag["Key"], tag["Value"]) != (STACK, account.stack) or _has_ended(ec2, kind, identifier):
                continue
            command = f"ec2 {EC2_TYPES[kind][0]} {identifier}" if kind in EC2_TYPES else ""
            yield kind, identifier, command, ""


def _has_ended(ec2: Any, kind: str, identifier: str) -> bool:
    """Whether a resource is gone although the index of tags still lists it."""
    if kind not in EC2_TYPES:
        return False
    _, operation, parameter = EC2_TYPES[kind]
    try:
        answer = getattr(ec2, operation)(**{parameter: [identifier]})
    except botocore.exceptions.ClientError as error:
        if "NotFound" in error.response["Error"]["Code"]:
            return True
        raise
    items = [item for value in answer.values() if isinstance(value, list) for item in value]
    resources = [resource for item in items for resource in item.get("Instances", [item])]
    return all(_ec2_state(resource) in ENDED_STATES for resource in resources)


def _ec2_state(resource: Mapping[str, Any]) -> str:
    state = resource.get("State", "")
    return str(state["Name"] if isinstance(state, dict) else state)


def _find_groups(client: Client, account: AccountNames) -> Iterator[Row]:
    """Search for groups first: while one exists, it starts instances again that somebody ends."""
    if not account.groups:
        return
    pages = client("autoscaling").get_paginator("describe_auto_scaling_groups")
    for page in pages.paginate(AutoScalingGroupNames=list(account.groups)):
        for group in page["AutoScalingGroups"]:
            name = group["AutoScalingGroupName"]
            command = f"autoscaling delete-auto-scaling-group --force-delete --auto-scaling-group-name {name}"
            yield "group", name, command, ""


def _find_profiles(client: Client, account: AccountNames) -> Iterator[Row]:
    pages = client("iam").get_paginator("list_instance_profiles").paginate(PathPrefix=account.role_path)
    for page in pages:
        for profile in page["InstanceProfiles"]:
            name = profile["InstanceProfileName"]
            removals = [
                f"aws iam remove-role-from-instance-profile --instance-profile-name {name} --role-name {role['RoleName']} "
                f"--profile {account.profile}"
                for role in profile["Roles"]
            ]
            commands = " && ".join([*removals, f"aws iam delete-instance-profile --instance-profile-name {name}"])
            yield "instance-profile", name, commands.removeprefix("aws "), ""


def _find_parameters(client: Client, account: AccountNames) -> Iterator[Row]:
    if not account.parameters:
        return
    below = [{"Key": "Path", "Option": "Recursive", "Values": [account.parameters]}]
    for page in client("ssm").get_paginator("describe_parameters").paginate(ParameterFilters=below):
        for parameter in page["Parameters"]:
            yield "parameter", parameter["Name"], f"ssm delete-parameter --name {parameter['Name']}", ""


def _find_roles(client: Client, account: AccountNames) -> Iterator[Row]:
    iam = client("iam")
    for page in iam.get_paginator("list_roles").paginate(PathPrefix=account.role_path):
        for role in page["Roles"]:
            name = role["RoleName"]
            policies = [
                *(
                    f"aws iam delete-role-policy --role-name {name} --policy-name {policy} --profile {account.profile}"
                    for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]
                ),
                *(
                    f"aws iam detach-role-policy --role-name {name} --policy-arn {policy['PolicyArn']} --profile {account.profile}"
                    for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
                ),
            ]
            # `_leftover` adds the first `aws` and the last profile only.
            commands = " && ".join([*policies, f"aws iam delete-role --role-name {name}"])
            yield "role", name, commands.removeprefix("aws "), ""


def _find_policies(client: Client, account: AccountNames) -> Iterator[Row]:
    pages = client("iam").get_paginator("list_policies").paginate(Scope="Local", PathPrefix=account.role_path)
    for page in pages:
        for policy in page["Policies"]:
            yield "policy", policy["Arn"], f"iam delete-policy --policy-arn {policy['Arn']}", ""


def _find_oidc_providers(client: Client, account: AccountNames) -> Iterator[Row]:
    iam = client("iam")
    for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = provider["Arn"]
        tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
        if {"Key": STACK, "Value": account.stack} in tags:
            command = f"iam delete-open-id-connect-provider --open-id-connect-provider-arn {arn}"
            yield "oidc-provider", arn, command, ""


def _find_buckets(client: Client, account: AccountNames) -> Iterator[Row]:
    for bucket in client("s3").list_buckets()["Buckets"]:
        name = bucket["Name"]
        if name in account.buckets:
            stays = account.buckets[name]
            yield "bucket", name, "" if stays else f"s3 rb s3://{name} --force", stays


def _find_repositories(client: Client, account: AccountNames) -> Iterator[Row]:
    if not account.repositories:
        return
    for page in client("ecr").get_paginator("describe_repositories").paginate():
        for repository in page["repositories"]:
            name = repository["repositoryName"]
            if name.startswith(account.repositories):
                yield "repository", name, f"ecr delete-repository --force --repository-name {name}", ""


def _find_log_groups(client: Client, account: AccountNames) -> Iterator[Row]:
    if not account.cluster:
        return
    for page in client("logs").get_paginator("describe_log_groups").paginate():
        for log_group in page["logGroups"]:
            name = log_group["logGroupName"]
            if account.cluster in name.split("/"):
                yield "log-group", name, f"logs delete-log-group --log-group-name {name}", ""


def _find_clusters(client: Client, account: AccountNames) -> Iterator[Row]:
    if account.cluster and account.cluster in client("eks").list_clusters()["clusters"]:
        yield "cluster", account.cluster, f"eks delete-cluster --name {account.cluster}", ""


def _find_keys(client: Client, account: AccountNames) -> Iterator[Row]:
    kms = client("kms")
    for page in kms.get_paginator("list_keys").paginate():
        for entry in page["Keys"]:
            key_id = entry["KeyId"]
            key = kms.describe_key(KeyId=key_id)["KeyMetadata"]
            if key.get("KeyManager") == "AWS":
                continue
            tags = kms.list_resource_tags(KeyId=key_id)["Tags"]
            if {"TagKey": STACK, "TagValue": account.stack} not in tags:
                continue
            if key["KeyState"] == "PendingDeletion":
                ends = key.get("DeletionDate")
                until = f" until {ends:%Y-%m-%d}" if ends else ""
                yield "key", key_id, "", f"in its waiting period{until}"
            else:
                command = f"kms schedule-key-deletion --pending-window-in-days 7 --key-id {key_id}"
                yield "key", key_id, command, ""


def _find_tagged(client: Client, account: AccountNames) -> Iterator[Row]:
    """Search the account's own index of tags, for types that the other searches do not know."""
    pages = (
        client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=[{"Key": STACK, "Values": [account.stack]}])
    )
    for page in pages:
        for resource in page["ResourceTagMappingList"]:
            arn = resource["ResourceARN"]
            alarm = f"cloudwatch delete-alarms --alarm-names {arn.rpartition(':')[2]}" if ":alarm:" in arn else ""
            yield arn.split(":")[2], arn, alarm, ""
