"""What the arithmetic says about a stack's settings, before anything is touched.

Settings can be well formed and still not work out: a pod that no instance type holds, limits below full load, a network with too
few addresses, a trust that IAM finds too long. Those figures are the documents' business, and settings may not import documents; so
the program and the command line hand these checks to the parser, which reports them with everything else.
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

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Parsed

TRUST_LIMIT = 2048
"""Characters of a role's trust document that IAM takes unless the account asked for more, white space not counted."""


def problems(parsed: Parsed) -> Iterator[Problem]:
    """Everything that does not work out in what could be parsed."""
    yield from _nodes(parsed)
    yield from _addresses(parsed)
    yield from _trusts(parsed)


def _nodes(parsed: Parsed) -> Iterator[Problem]:
    for name, runner in parsed.runners.items():
        try:
            class_capacity(runner)
        except NoInstanceTypeError as error:
            yield Problem(path=f"runners.{name}", message=str(error))
        except SmallLimitsError as error:
            yield Problem(path=f"runners.{name}.limits", message=str(error))


def _addresses(parsed: Parsed) -> Iterator[Problem]:
    network = parsed.network
    if network is None or network.cidr is None or network.zones is None:
        return
    try:
        private = cut_vpc(network.cidr, network.zones).private
    except ValueError:
        return  # the network's size is judged with the settings
    try:
        needed = sum(blocks_at_full_load(runner) for runner in parsed.runners.values())
    except NoInstanceTypeError:
        return  # said above
    there = sum(blocks_of_subnet(cidr) for cidr in private)
    if needed > there:
        yield Problem(
            path="network.cidr",
            message=f"{network.cidr} has {there} blocks of 16 addresses in its private subnets, and all classes at full load take {needed}; "
            "choose a larger network, or lower concurrent",
        )


def _trusts(parsed: Parsed) -> Iterator[Problem]:
    organization, platform = parsed.organization, parsed.platform
    if organization is None or platform is None or platform.account not in parsed.accounts:
        return
    names, home = Names(organization=organization, stack=parsed.stack), parsed.accounts[platform.account].id
    for account, its in parsed.accounts.items():
        for level in Level:
            classes = [
                name
                for name, runner in parsed.runners.items()
                if runner.level is level and (runner.accounts is None or account in runner.accounts)
            ]
            if not its.capabilities(level) or not classes:
                continue
            trust = roles_of_account(
                partition=organization.partition,
                account_id=home,
                role_arns=[names.role_arn(home, names.job_role(each)) for each in classes],
                organization_id=organization.id,
            )
            length = len(json.dumps(trust, separators=(",", ":")))
            if length > TRUST_LIMIT:
                yield Problem(
                    path=f"accounts.{account}.{level.value}",
                    message=f"{len(classes)} classes may enter, which makes the trust of the delegated role {length} characters long; "
                    f"IAM takes {TRUST_LIMIT}: narrow classes with accounts: […], or shorten their names",
                )
