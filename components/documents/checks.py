"""Rules of settings that need arithmetic: nodes hold the pods, the network holds the nodes, IAM holds the trust.

Same form as `config/checks.py`, which may not import documents; so the program and the command line pass these rules to
the parser, and it reports them with all other problems.
"""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from components.documents.disruption import MANAGERS_AT_ONCE
from components.documents.machines import user_data
from components.documents.network import blocks_of_subnet, cut_vpc
from components.documents.node_pool import NoInstanceTypeError, SmallLimitsError, blocks_at_full_load, class_capacity
from components.documents.platform_roles import platform_trust
from components.documents.trust import assume_roles, roles_of_account
from config.capabilities import Level
from config.errors import Problem
from config.names import Names
from config.quantities import GIBIBYTE, LARGEST
from config.runners import MACHINE_RUNNERS, AutoscalerRunner, FargateRunner, of_kubernetes
from config.settings import MachineClassSettings, classes_that_enter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from components.documents.statements import Document
    from config.checks import Check
    from config.foundation import FoundationGitLab, FoundationPlatform
    from config.runners import Runner
    from config.sections import Account, GitLab, Machines, Network, Organization, Platform

TRUST_LIMIT = 2048
"""Longest trust document of a role, in characters without white space; IAM's default quota."""
INLINE_LIMIT = 10_240
"""Longest sum of a role's inline policies, in characters without white space.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""
LARGEST_NODE_DISK = LARGEST["disk"] // GIBIBYTE


def node_capacity(runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that an instance type fits a pod of the class, and `limits` fit all jobs."""
    for name, runner in of_kubernetes(runners).items():
        try:
            disk = class_capacity(runner).disk_gib
            if disk > LARGEST_NODE_DISK:
                yield Problem(
                    path=f"runners.{name}.disk",
                    message=f"makes the disk of a node {disk} GiB, for all pods that a node holds; Auto Mode takes {LARGEST_NODE_DISK}: "
                    "lower disk, or raise cpu or memory, so that a node holds fewer pods",
                )
        except NoInstanceTypeError as error:
            yield Problem(path=f"runners.{name}", message=str(error))
        except SmallLimitsError as error:
            yield Problem(path=f"runners.{name}.limits", message=str(error))


def network_capacity(network: Network, runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that the private subnets hold the nodes of all classes at full load."""
    if network.cidr is None or network.zones is None:
        return
    try:
        subnets = cut_vpc(network.cidr, network.zones)
        needed = sum(blocks_at_full_load(runner) for runner in of_kubernetes(runners).values())
    except ValueError:
        return  # other rules report a network that is too small, and a class without instance type
    available = sum(blocks_of_subnet(cidr) for cidr in subnets.private)
    if needed > available:
        yield Problem(
            path="network.cidr",
            message=f"{network.cidr} has {available} blocks of 16 addresses in its private subnets, and all classes at full load take {needed}; "
            "choose a larger network, or lower concurrent",
        )


RESERVED_ADDRESSES = 5
"""Addresses of a subnet that AWS keeps.

Source: https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html
"""


def machine_addresses(network: Network, runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that the subnets of machines hold all of them at full load, and that the network is not that of containers on a machine."""
    classes = {name: runner for name, runner in runners.items() if isinstance(runner, MACHINE_RUNNERS)}
    if not classes or network.cidr is None or network.zones is None:
        return
    if IPv4Network(network.cidr).overlaps(IPv4Network(user_data.DOCKER_NETWORK)):
        yield Problem(
            path="network.cidr",
            message=f"{network.cidr} overlaps {user_data.DOCKER_NETWORK}, which containers on EC2 machines have; write one such as 10.40.0.0/16",
        )
    if network.nat != "none":
        return  # nodes fill the private subnets first, and `network_capacity` counts them
    try:
        subnets = cut_vpc(network.cidr, network.zones).public
    except ValueError:
        return  # another rule reports a network that is too small
    available = sum(IPv4Network(cidr).num_addresses - RESERVED_ADDRESSES for cidr in subnets)
    needed = {name: addresses_at_full_load(runner) for name, runner in classes.items()}
    if sum(needed.values()) > available:
        largest = max(classes, key=lambda name: needed[name])
        key = "max_instances" if isinstance(classes[largest], AutoscalerRunner) else "concurrent"
        yield Problem(
            path=f"runners.{largest}.{key}",
            message=f"makes {sum(needed.values())} addresses of instances, managers and tasks, and the public subnets of a network without NAT "
            f"have {available}; lower {key}, or write network.nat: single",
        )


def addresses_at_full_load(runner: Runner) -> int:
    """Return the addresses that a class takes: instances or tasks, and its manager, which a successor may overlap."""
    jobs = {AutoscalerRunner: "max_instances", FargateRunner: "concurrent"}
    key = jobs.get(type(runner))
    return MANAGERS_AT_ONCE + (getattr(runner, key) if key else 0)


def user_data_length(
    stack: str,
    organization: Organization,
    accounts: Mapping[str, Account],
    platform: Platform,
    gitlab: GitLab,
    runners: Mapping[str, Runner],
    network: Network,
    machines: Machines,
) -> Iterator[Problem]:
    """Check that EC2 takes the user data of each class's machines."""
    if platform.account not in accounts:
        return
    for name, runner in runners.items():
        if not isinstance(runner, MACHINE_RUNNERS):
            continue
        runner_class = MachineClassSettings(
            name=name,
            runner=runner,
            tags=(),
            names=Names(organization=organization, stack=stack, organization_policy=platform.boundary),
            platform_account_id=accounts[platform.account].id,
            accounts={key: account for key, account in accounts.items() if runner.may_enter(key, account)},
            gitlab=gitlab,
            machines=machines,
            public=network.nat == "none",
            endpoint_cidrs=network.endpoint_cidrs,
        )
        try:
            yield from _long_user_data(runner_class)
        except ValueError:
            continue  # another rule reports an instance type that does not exist


def _long_user_data(runner_class: MachineClassSettings) -> Iterator[Problem]:
    size = user_data.size_of(user_data.manager_user_data(runner_class))
    if size <= user_data.LARGEST:
        return
    without = replace(runner_class, gitlab=runner_class.gitlab.model_copy(update={"ca_bundle": None}))
    message = f"makes the user data of class {runner_class.name} {size} bytes long, compressed, and EC2 takes {user_data.LARGEST}"
    if user_data.size_of(user_data.manager_user_data(without)) <= user_data.LARGEST:
        yield Problem(path="gitlab.ca_bundle", message=f"{message}; keep only the certificate that signed GitLab's own")
    else:
        entered = len(runner_class.accounts)
        yield Problem(
            path=f"runners.{runner_class.name}.accounts",
            message=f"names {entered} accounts, which {message}; narrow the class with accounts: […], or put some of the accounts into another stack",
        )


def trust_length(
    organization: Organization,
    platform: Platform,
    accounts: Mapping[str, Account],
    runners: Mapping[str, Runner],
    stack: str,
) -> Iterator[Problem]:
    """Check that IAM takes the trust of every delegated role."""
    if platform.account not in accounts:
        return
    names, home = Names(organization=organization, stack=stack), accounts[platform.account].id
    for account_name, account in accounts.items():
        for level in Level:
            classes = classes_that_enter(runners, account_name, account, level)
            trust = roles_of_account(
                partition=organization.partition,
                account_id=home,
                role_arns=[names.role_arn(home, names.job_role(runner_class)) for runner_class in classes],
                organization_id=organization.id,
            )
            length = characters(trust)
            if length > TRUST_LIMIT:
                yield Problem(
                    path=f"accounts.{account_name}.{level.value}",
                    message=f"{len(classes)} classes may enter, which makes the trust of the delegated role {length} characters long; "
                    f"IAM takes {TRUST_LIMIT}: narrow classes with accounts: […], or shorten their names",
                )


def job_role_length(
    organization: Organization,
    accounts: Mapping[str, Account],
    runners: Mapping[str, Runner],
    stack: str,
) -> Iterator[Problem]:
    """Check that IAM takes the inline policy of every job role, which names the delegated roles of all accounts of the class."""
    names = Names(organization=organization, stack=stack)
    for class_name, runner in runners.items():
        role = names.delegated_role(runner.level)
        entered = [account.id for name, account in accounts.items() if runner.may_enter(name, account)]
        length = characters(assume_roles([names.role_arn(account_id, role) for account_id in entered]))
        if length > INLINE_LIMIT:
            yield Problem(
                path=f"runners.{class_name}.accounts",
                message=f"the class may enter {len(entered)} accounts, which makes the inline policy of its job role {length} characters long; "
                f"IAM takes {INLINE_LIMIT}: narrow the class with accounts: […], or put some of the accounts into another stack",
            )


def operators_trust_length(
    platform: FoundationPlatform, organization: Organization, gitlab: FoundationGitLab
) -> Iterator[Problem]:
    """Check that IAM takes the trust of the platform's own roles, which names every operator."""
    trust = platform_trust(
        organization=organization,
        account_id="0" * 12,
        gitlab_url=gitlab.url,
        project=platform.project,
        ref=platform.ref,
        operators=platform.operators,
    )
    length = characters(trust)
    if length > TRUST_LIMIT:
        yield Problem(
            path="platform.operators",
            message=f"names {len(platform.operators)} roles, which makes the trust of the platform's own roles {length} characters long; "
            f"IAM takes {TRUST_LIMIT}: name fewer roles, such as one that your people share",
        )


def characters(document: Document) -> int:
    """Return the length of a policy document as IAM counts it: without white space."""
    return len(json.dumps(document, separators=(",", ":")))


CHECKS: tuple[Check, ...] = (
    node_capacity,
    network_capacity,
    machine_addresses,
    user_data_length,
    trust_length,
    job_role_length,
)
"""Rules of a stack of the platform, to pass to `config.load`."""
FOUNDATION_CHECKS: tuple[Check, ...] = (operators_trust_length,)
"""Rules of the foundation, to pass to `config.load`."""
