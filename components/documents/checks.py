"""Rules of settings that need arithmetic: nodes hold the pods, the network holds the nodes, IAM holds the trust.

Same form as `config/checks.py`, which may not import documents; so the program and the command line pass these rules to
the parser, and it reports them with all other problems.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from components.documents.network import blocks_of_subnet, cut_vpc
from components.documents.node_pool import NoInstanceTypeError, SmallLimitsError, blocks_at_full_load, class_capacity
from components.documents.trust import roles_of_account
from config.capabilities import Level
from config.errors import Problem
from config.names import Names
from config.settings import classes_that_enter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.checks import Check
    from config.sections import Account, Network, Organization, Platform, Runner

TRUST_LIMIT = 2048
"""Longest trust document of a role, in characters without white space; IAM's default quota."""


def node_capacity(runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that an instance type fits a pod of the class, and `limits` fit all jobs."""
    for name, runner in runners.items():
        try:
            class_capacity(runner)
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
        needed = sum(blocks_at_full_load(runner) for runner in runners.values())
    except ValueError:
        return  # other rules report a network that is too small, and a class without instance type
    available = sum(blocks_of_subnet(cidr) for cidr in subnets.private)
    if needed > available:
        yield Problem(
            path="network.cidr",
            message=f"{network.cidr} has {available} blocks of 16 addresses in its private subnets, and all classes at full load take {needed}; "
            "choose a larger network, or lower concurrent",
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
            length = len(json.dumps(trust, separators=(",", ":")))
            if length > TRUST_LIMIT:
                yield Problem(
                    path=f"accounts.{account_name}.{level.value}",
                    message=f"{len(classes)} classes may enter, which makes the trust of the delegated role {length} characters long; "
                    f"IAM takes {TRUST_LIMIT}: narrow classes with accounts: […], or shorten their names",
                )


CHECKS: tuple[Check, ...] = (node_capacity, network_capacity, trust_length)
"""Rules to pass to `config.load`."""
