"""What two objects of a stack file must agree on.

Each check yields problems and needs nothing but parsed objects, so that one broken object does not hide what is wrong elsewhere.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from config import names
from config.capabilities import Level
from config.errors import Problem
from config.sections import CLASS_NAME, RESERVED_NAMES, Account
from config.versions import CHART_WITH_NATIVE_SECCOMP

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.sections import Alarms, Chart, Cluster, GitLabOidc, Network, Organization, Runner

RESERVED_PROFILES = ("base", "default")
"""Profiles that a class's AWS config has beside the accounts'."""
SPOT_LIMIT = 3600
SHORTEST_JOB, LONGEST_JOB = 600, 24 * 3600
"""GitLab refuses timeouts below ten minutes; above a day, a node's life of 21 days leaves too little room."""
LARGEST_SERVICES, SMALLEST_SERVICES = 12, 24
SMALLEST_NETWORK, LARGEST_NETWORK = 20, 16


def stack_name(stack: str) -> Iterator[Problem]:
    """The stack's name is part of every other name."""
    if not CLASS_NAME.fullmatch(stack) or stack in RESERVED_NAMES:
        yield Problem(
            path="stack",
            message=f"{stack!r} is not a stack of this platform; use small letters and digits, 2 to 16, and none of {_reserved()}",
        )


def _reserved() -> str:
    return ", ".join(sorted(RESERVED_NAMES))


def account_ids(accounts: Mapping[str, Account]) -> Iterator[Problem]:
    """No two accounts share an id, and names can stand in profiles and role names."""
    seen: dict[str, str] = {}
    for name, account in accounts.items():
        if not CLASS_NAME.fullmatch(name) or name in RESERVED_PROFILES:
            yield Problem(
                path=f"accounts.{name}",
                message=f"is not a name for an account; use small letters and digits, 2 to 16, and none of {', '.join(RESERVED_PROFILES)}",
            )
        if account.id in seen:
            yield Problem(
                path=f"accounts.{name}.id",
                message=f"{account.id} is also the id of {seen[account.id]!r}; give each account its own",
            )
        seen.setdefault(account.id, name)


def platform_account(account: str, listed: Collection[str], key: str = "account") -> Iterator[Problem]:
    """The platform, and its state, live in listed accounts."""
    if account not in listed:
        yield _unlisted(f"platform.{key}", account, listed)


def _unlisted(path: str, account: str, listed: Collection[str]) -> Problem:
    return Problem(
        path=path,
        message=f"{account!r} is not in accounts; name one of {', '.join(sorted(listed))}, or list it there",
    )


def bucket_names(organization: Organization, accounts: Mapping[str, Account], *further: str) -> Iterator[Problem]:
    """Bucket names are composed from the organisation's id, the region and the stack's name; the first that is too long is said."""
    buckets = [*(names.state_bucket(organization, account.id) for account in accounts.values()), *further]
    texts = [text for bucket in buckets if (text := names.length_problem("bucket", bucket))]
    if texts:
        yield Problem(
            path="organization.id", message=texts[0] + " (organization.id, organization.region or the stack's name)"
        )


def runner_tags(tags: Mapping[str, str]) -> Iterator[Problem]:
    """No two classes answer to one GitLab tag: a job for one could run on the other, whatever its level."""
    seen: dict[str, str] = {}
    for name, tag in tags.items():
        if tag in seen:
            yield Problem(
                path=f"runners.{name}.tag",
                message=f"{tag!r} is also the tag of {seen[tag]!r}; give each class its own, so that no job meant for one runs on the other",
            )
        seen.setdefault(tag, name)


def runner(name: str, settings: Runner, accounts: Mapping[str, Account], listed: Collection[str]) -> Iterator[Problem]:
    """A class stays within its level, its project and its disruption contract."""
    path = f"runners.{name}"
    if not CLASS_NAME.fullmatch(name) or name in RESERVED_NAMES:
        yield Problem(
            path=path,
            message=f"is not a name for a class; use small letters and digits, 2 to 16, and none of {_reserved()}",
        )
    yield from _runner_accounts(path, settings, accounts, listed)
    yield from _runner_object(path, settings)
    yield from _runner_job(path, settings)


def _runner_accounts(
    path: str, settings: Runner, accounts: Mapping[str, Account], listed: Collection[str]
) -> Iterator[Problem]:
    for account in settings.accounts or ():
        if account not in listed:
            yield _unlisted(f"{path}.accounts", account, listed)
        elif account in accounts and not accounts[account].capabilities(settings.level):
            yield Problem(
                path=f"{path}.accounts",
                message=f"{account!r} has nothing for level {settings.level.value}; a class narrows its level and never widens it: "
                f"drop the account here, or list capabilities under accounts.{account}.{settings.level.value}",
            )


def _runner_object(path: str, settings: Runner) -> Iterator[Problem]:
    owners = [key for key in ("project", "group") if getattr(settings, key)]
    if settings.level is Level.OPEN and owners:
        yield Problem(
            path=f"{path}.{owners[0]}",
            message="belongs to a protected class; an open class is a runner of gitlab.group: drop it, or write level: protected",
        )
    if settings.level is Level.PROTECTED and len(owners) != 1:
        yield Problem(
            path=path,
            message=f"names {' and '.join(owners) or 'neither project nor group'}; a protected class serves exactly one project, or one group made for deploying projects",
        )


def _runner_job(path: str, settings: Runner) -> Iterator[Problem]:
    if not SHORTEST_JOB <= settings.longest_job <= LONGEST_JOB:
        yield Problem(
            path=f"{path}.longest_job",
            message=f"is {settings.longest_job} s; write a time from 10m (GitLab's shortest timeout) to 24h",
        )
    if settings.spot and settings.longest_job > SPOT_LIMIT:
        yield Problem(
            path=f"{path}.spot",
            message=f"spot nodes may go at any time, and longest_job is {settings.longest_job // 60} min; lower it to 1h or less, or drop spot",
        )
    if settings.builder and settings.pod_security == "restricted":
        yield Problem(
            path=f"{path}.builder",
            message="the plain builder is root in its container, which pod_security: restricted refuses; use baseline",
        )


def pod_security(runners: Mapping[str, Runner], chart: Chart) -> Iterator[Problem]:
    """Restricted job pods need a seccomp profile, which the runner writes since 18.11."""
    if chart.version is None or tuple(map(int, chart.version.split("."))) >= CHART_WITH_NATIVE_SECCOMP:
        return
    for name, settings in runners.items():
        if settings.pod_security == "restricted":
            yield Problem(
                path=f"runners.{name}.pod_security",
                message=f"restricted needs a seccomp profile on job pods, which chart {chart.version} cannot write; "
                f"raise chart.version to {'.'.join(map(str, CHART_WITH_NATIVE_SECCOMP))} or newer, or use baseline",
            )


def gitlab_oidc(
    name: str, role: GitLabOidc, accounts: Mapping[str, Account], listed: Collection[str]
) -> Iterator[Problem]:
    """A GitLab role stands in a listed account that has its level."""
    path = f"gitlab_oidc.{name}"
    if not CLASS_NAME.fullmatch(name):
        yield Problem(
            path=path,
            message="is not a name for a role; use small letters and digits, 2 to 16, beginning with a letter",
        )
    if role.account not in listed:
        yield _unlisted(f"{path}.account", role.account, listed)
    elif role.account in accounts and not accounts[role.account].capabilities(role.level):
        yield Problem(
            path=f"{path}.level",
            message=f"account {role.account!r} has nothing for level {role.level.value}; list capabilities under accounts.{role.account}.{role.level.value}, or change the level",
        )


def networks(network: Network, cluster: Cluster) -> Iterator[Problem]:
    """The pods' network and the services' network are apart and large enough."""
    services = ipaddress.IPv4Network(cluster.service_cidr)
    if not LARGEST_SERVICES <= services.prefixlen <= SMALLEST_SERVICES:
        yield Problem(
            path="cluster.service_cidr",
            message=f"{services} is outside /12 to /24, which EKS demands; write one such as 172.20.0.0/16",
        )
    if network.cidr is None:
        return
    own = ipaddress.IPv4Network(network.cidr)
    if not LARGEST_NETWORK <= own.prefixlen <= SMALLEST_NETWORK:
        yield Problem(
            path="network.cidr",
            message=f"{own} is a /{own.prefixlen}; a VPC of this platform is a /16 to a /20: choose one such as 10.40.0.0/16",
        )
    if own.overlaps(services):
        yield Problem(
            path="network.cidr",
            message=f"{own} overlaps cluster.service_cidr {services}; choose networks that are apart",
        )


def alarm_topic(alarms: Alarms, organization: Organization, home: Account | None) -> Iterator[Problem]:
    """An alarm sends to a topic of its own region, and the topic's account is the platform's.

    Args:
        alarms: the object.
        organization: partition and region of everything.
        home: the platform's account; None where it is wrong itself, which is said elsewhere.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Notify_Users_Alarm_Changes.html
    """
    if alarms.topic is None:
        return
    _, partition, _, region, account, name = alarms.topic.split(":")
    owner = home.id if home else account
    needed = f"arn:{organization.partition}:sns:{organization.region}:{owner}:{name}"
    if (partition, region) != (organization.partition, organization.region):
        yield Problem(
            path="alarms.topic",
            message=f"{alarms.topic!r} is in {partition}, region {region!r}; the platform's alarms are in {organization.partition}, "
            f"{organization.region!r}, and send to topics of their own region only: make {needed}",
        )
    if account != owner:
        yield Problem(
            path="alarms.topic",
            message=f"{alarms.topic!r} belongs to account {account}, and the platform lives in {owner}: make {needed}, "
            "and subscribe whoever listens in the other account to it",
        )
