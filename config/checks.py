"""Rules between the objects of one stack file.

Each check is a generator of problems. Its parameters name the values that it compares: keys of the stack file, `stack` (the
stack's name) and `account_names`. `run` skips a check if one of its values could not be parsed, since that is a problem
already; so one wrong object does not hide mistakes elsewhere. Rules that need arithmetic are in `components/documents/checks.py`.
"""

from __future__ import annotations

import inspect
import ipaddress
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from config import names, networks, partitions
from config.capabilities import Level
from config.errors import Problem, quoted
from config.gitlab_values import issuer_problem
from config.sections import ACCOUNT_NAME, CLASS_NAME, RESERVED_NAMES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.foundation import FoundationAccount, FoundationGitLab, FoundationPlatform
    from config.sections import (
        Account,
        Alarms,
        Cluster,
        GitLab,
        GitLabOidc,
        Network,
        Organization,
        Platform,
        Registry,
    )


RESERVED_PROFILES = ("base", "default")
"""Profiles of a class's AWS config that are not accounts."""
LARGEST_SERVICES, SMALLEST_SERVICES = 12, 24
SMALLEST_NETWORK, LARGEST_NETWORK = 20, 16

Check = Callable[..., Iterable[Problem]]
"""A rule; its parameters name the values that it compares."""


def run(checks: Iterable[Check], values: Mapping[str, Any]) -> Iterator[Problem]:
    """Run the checks whose values are all there.

    Args:
        checks: the rules.
        values: parsed objects by key; None where an object is missing or wrong.

    Raises:
        KeyError: a check names a value that does not exist.
    """
    for check in checks:
        arguments = {name: values[name] for name in inspect.signature(check).parameters}
        if all(value is not None for value in arguments.values()):
            yield from check(**arguments)


def stack_name(stack: str) -> Iterator[Problem]:
    """Check the stack's name, which is part of every other name."""
    if not CLASS_NAME.fullmatch(stack) or stack in RESERVED_NAMES:
        yield Problem(
            path="stack",
            message=f"{stack!r} is not a stack of this platform; use small letters and digits, 2 to 16, and none of {reserved()}",
        )


def reserved() -> str:
    """Return the reserved names, for a message."""
    return ", ".join(sorted(RESERVED_NAMES))


def account_ids(accounts: Mapping[str, Account | FoundationAccount]) -> Iterator[Problem]:
    """Check the names of accounts, and that their ids are unique. Names become profiles and parts of role names."""
    owners: dict[str, str] = {}
    for name, account in accounts.items():
        if not ACCOUNT_NAME.fullmatch(name) or name in RESERVED_PROFILES:
            yield Problem(
                path=f"accounts.{name}",
                message="is not a name for an account; use 2 to 32 small letters and digits, with single dashes within, "
                f"and none of {', '.join(RESERVED_PROFILES)}",
            )
        owner = owners.setdefault(account.id, name)
        if owner != name:
            yield Problem(
                path=f"accounts.{name}.id",
                message=f"{account.id} is also the id of {owner!r}; give each account its own",
            )


def platform_account(platform: Platform | FoundationPlatform, account_names: Collection[str]) -> Iterator[Problem]:
    """Check that the platform's account is listed."""
    if platform.account not in account_names:
        yield unlisted("platform.account", platform.account, account_names)


def state_account(platform: FoundationPlatform, account_names: Collection[str]) -> Iterator[Problem]:
    """Check that the account of the platform's state is listed."""
    if platform.state_account not in account_names:
        yield unlisted("platform.state_account", platform.state_account, account_names)


def unlisted(path: str, account: str, account_names: Collection[str]) -> Problem:
    """Return the problem of an account that the file does not list."""
    return Problem(
        path=path,
        message=f"{quoted(account)} is not in accounts; name one of {', '.join(sorted(account_names))}, or list it there",
    )


def state_bucket_names(
    organization: Organization, accounts: Mapping[str, Account | FoundationAccount]
) -> Iterator[Problem]:
    """Check the length of the state buckets' names; report the first that is too long."""
    yield from _first_long_name(names.state_bucket(organization, account.id) for account in accounts.values())


def bucket_names(
    organization: Organization, accounts: Mapping[str, Account], platform: Platform, stack: str
) -> Iterator[Problem]:
    """Check the length of all bucket names of a stack; report the first that is too long."""
    buckets = [names.state_bucket(organization, account.id) for account in accounts.values()]
    if platform.account in accounts:
        stack_names = names.Names(organization=organization, stack=stack)
        buckets.append(stack_names.cache_bucket(accounts[platform.account].id))
    yield from _first_long_name(buckets)


def _first_long_name(buckets: Iterable[str]) -> Iterator[Problem]:
    message = next(filter(None, (names.length_problem("bucket", bucket) for bucket in buckets)), None)
    if message is not None:
        yield Problem(
            path="organization.id", message=f"{message} (organization.id, organization.region or the stack's name)"
        )


def alarm_topic(
    alarms: Alarms, organization: Organization, platform: Platform, accounts: Mapping[str, Account]
) -> Iterator[Problem]:
    """Check that alarms go to a topic in the platform's region and account.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    if alarms.topic is None:
        return
    _, partition, _, region, topic_account, name = alarms.topic.split(":")
    home = accounts[platform.account].id if platform.account in accounts else topic_account
    expected = f"arn:{organization.partition}:sns:{organization.region}:{home}:{name}"
    if (partition, region) != (organization.partition, organization.region):
        yield Problem(
            path="alarms.topic",
            message=f"{alarms.topic!r} is in {partition}, region {region!r}; the platform's alarms are in {organization.partition}, "
            f"{organization.region!r}, and send to topics of their own region only: make {expected}",
        )
    if topic_account != home:
        yield Problem(
            path="alarms.topic",
            message=f"{alarms.topic!r} belongs to account {topic_account}, and the platform lives in {home}: make {expected}, "
            "and subscribe listeners of the other account to it",
        )


def gitlab_oidc_names(gitlab_oidc: Mapping[str, GitLabOidc]) -> Iterator[Problem]:
    """Check the names of roles for GitLab's ID tokens."""
    for name in gitlab_oidc:
        if not CLASS_NAME.fullmatch(name):
            yield Problem(
                path=f"gitlab_oidc.{name}",
                message="is not a name for a role; use small letters and digits, 2 to 16, beginning with a letter",
            )


def gitlab_oidc_accounts(
    gitlab_oidc: Mapping[str, GitLabOidc], accounts: Mapping[str, Account], account_names: Collection[str]
) -> Iterator[Problem]:
    """Check the account of a role for GitLab's ID tokens: it must give capabilities to the role's level."""
    for name, role in gitlab_oidc.items():
        if role.account not in account_names:
            yield unlisted(f"gitlab_oidc.{name}.account", role.account, account_names)
        elif role.account in accounts and not accounts[role.account].capabilities(role.level):
            yield Problem(
                path=f"gitlab_oidc.{name}.level",
                message=f"account {role.account!r} has nothing for level {role.level.value}; "
                f"list capabilities under accounts.{role.account}.{role.level.value}, or change the level",
            )


def gitlab_issuer(gitlab: GitLab, gitlab_oidc: Mapping[str, GitLabOidc]) -> Iterator[Problem]:
    """Check that IAM takes the instance as the issuer of ID tokens, if a role trusts them."""
    if gitlab_oidc:
        yield from _issuer(gitlab.url, "or drop gitlab_oidc and use runner classes")


def foundation_issuer(gitlab: FoundationGitLab) -> Iterator[Problem]:
    """Check that IAM takes the instance as the issuer of the pipeline's ID tokens."""
    yield from _issuer(gitlab.url, "and use that address here and in the stacks")


def _issuer(url: str, way_out: str) -> Iterator[Problem]:
    problem = issuer_problem(url)
    if problem is not None:
        yield Problem(path="gitlab.url", message=f"{url!r} {problem}, {way_out}")


def administrators(
    cluster: Cluster, organization: Organization, accounts: Mapping[str, Account], account_names: Collection[str]
) -> Iterator[Problem]:
    """Check that the cluster's administrators are roles of listed accounts of the organisation."""
    if len(accounts) == len(account_names):
        yield from _people("cluster.administrators", cluster.administrators, organization, accounts)


def operators(
    platform: FoundationPlatform,
    organization: Organization,
    accounts: Mapping[str, FoundationAccount],
    account_names: Collection[str],
) -> Iterator[Problem]:
    """Check that the platform's operators are roles of listed accounts of the organisation."""
    if len(accounts) == len(account_names):
        yield from _people("platform.operators", platform.operators, organization, accounts)


def _people(
    path: str, arns: Iterable[str], organization: Organization, accounts: Mapping[str, Account | FoundationAccount]
) -> Iterator[Problem]:
    account_ids_by_name = {account.id: name for name, account in accounts.items()}
    for position, arn in enumerate(arns):
        _, partition, _, _, account_id, _ = arn.split(":", 5)
        if partition != organization.partition:
            yield Problem(
                path=f"{path}.{position}",
                message=f"{arn!r} is in partition {partition}, and the organisation is in {organization.partition}; "
                f"write arn:{organization.partition}:iam::…",
            )
        if account_id not in account_ids_by_name:
            yield Problem(
                path=f"{path}.{position}",
                message=f"{arn!r} is in account {account_id}, which is not in accounts; name a role of a listed account, "
                f'or list the account (<name>: {{id: "{account_id}"}})',
            )


def boundary_partition(platform: Platform | FoundationPlatform, organization: Organization) -> Iterator[Problem]:
    """Check that an ARN in `platform.boundary` is of the organisation's partition."""
    partition = (platform.boundary or "").partition(":iam::")[0].removeprefix("arn:")
    if ":iam::" in (platform.boundary or "") and partition != organization.partition:
        yield Problem(
            path="platform.boundary",
            message=f"{platform.boundary!r} is in partition {partition}, and the organisation is in {organization.partition}; "
            "write the policy's name, such as company/boundary",
        )


def repositories(registry: Registry, stack: str, organization: Organization) -> Iterator[Problem]:
    """Check that repositories have names of a length that ECR takes, are listed once, and leave the runner image alone."""
    stack_names = names.Names(organization=organization, stack=stack)
    for level in Level:
        listed: set[str] = set()
        prefix = stack_names.repository_prefix(level)
        for path, repository in registry.entries(level):
            message = names.length_problem("repository", prefix + repository)
            if message is not None:
                yield Problem(path=path, message=message)
            if repository in listed:
                yield Problem(path=path, message=f"{repository!r} is listed twice; list it once")
            if prefix + repository == stack_names.runner_image() and ".mutable." in path:
                yield Problem(
                    path=path,
                    message=f"{repository!r} is the runner image's own repository, whose tags never change; choose another name",
                )
            listed.add(repository)


def network_zones(network: Network, organization: Organization) -> Iterator[Problem]:
    """Check that the region has as many zones with EKS."""
    offered = partitions.zones_with_eks(organization.region)
    if network.zones is not None and network.zones > offered:
        yield Problem(
            path="network.zones",
            message=f"is {network.zones}, and {organization.region} offers {offered} zones with EKS; write zones: {offered}, "
            "or choose another region",
        )


def endpoint_networks(network: Network, cluster: Cluster) -> Iterator[Problem]:
    """Check that `network.endpoint_cidrs` opens subnets with endpoints, and not the cluster."""
    for position, endpoints in enumerate(network.endpoint_cidrs):
        path = f"network.endpoint_cidrs.{position}"
        if ipaddress.IPv4Network(endpoints).prefixlen < LARGEST_NETWORK:
            yield Problem(
                path=path,
                message=f"{endpoints} is larger than a subnet can be (/{LARGEST_NETWORK}); list the subnets that hold the endpoints",
            )
        if networks.overlap(endpoints, [cluster.service_cidr]):
            yield Problem(
                path=path,
                message=f"{endpoints} overlaps cluster.service_cidr {cluster.service_cidr}, where no endpoint is and the API server answers; "
                "list the subnets that hold the endpoints",
            )
        if network.cidr and ipaddress.IPv4Network(network.cidr).subnet_of(ipaddress.IPv4Network(endpoints)):
            yield Problem(
                path=path,
                message=f"{endpoints} holds all of network.cidr {network.cidr}, so that jobs would reach nodes and the API server; "
                "list the subnets that hold the endpoints",
            )


def service_network(cluster: Cluster) -> Iterator[Problem]:
    """Check the range and the size of the services' network."""
    services = ipaddress.IPv4Network(cluster.service_cidr)
    if not networks.is_private(cluster.service_cidr):
        yield Problem(
            path="cluster.service_cidr",
            message=f"{services} is outside {', '.join(networks.PRIVATE)}, which EKS demands; write one such as 172.20.0.0/16",
        )
    if not LARGEST_SERVICES <= services.prefixlen <= SMALLEST_SERVICES:
        yield Problem(
            path="cluster.service_cidr",
            message=f"{services} is outside /12 to /24, which EKS demands; write one such as 172.20.0.0/16",
        )


def vpc_network(network: Network, cluster: Cluster) -> Iterator[Problem]:
    """Check the size of the VPC's network, and that it is apart from the services' network."""
    if network.cidr is None:
        return
    vpc, services = ipaddress.IPv4Network(network.cidr), ipaddress.IPv4Network(cluster.service_cidr)
    if not LARGEST_NETWORK <= vpc.prefixlen <= SMALLEST_NETWORK:
        yield Problem(
            path="network.cidr",
            message=f"{vpc} is a /{vpc.prefixlen}; a VPC of this platform is a /16 to a /20: choose one such as 10.40.0.0/16",
        )
    if vpc.overlaps(services):
        yield Problem(
            path="network.cidr",
            message=f"{vpc} overlaps cluster.service_cidr {services}; choose networks that are apart",
        )


STACK_CHECKS: tuple[Check, ...] = (
    stack_name,
    account_ids,
    platform_account,
    bucket_names,
    alarm_topic,
    gitlab_oidc_names,
    gitlab_oidc_accounts,
    gitlab_issuer,
    administrators,
    boundary_partition,
    repositories,
    network_zones,
    endpoint_networks,
    service_network,
    vpc_network,
)
"""Rules of a stack of the platform."""
FOUNDATION_CHECKS: tuple[Check, ...] = (
    account_ids,
    platform_account,
    state_account,
    state_bucket_names,
    foundation_issuer,
    operators,
    boundary_partition,
)
"""Rules of the foundation."""
