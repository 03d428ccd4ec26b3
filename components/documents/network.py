"""Subnet arithmetic: cutting a VPC into public and private subnets, and counting their /28 blocks; and the role of the flow logs.

Auto Mode gives each node blocks of 16 addresses; a subnet without a whole free block refuses nodes although single addresses
are free. So the unit is the block. Source: https://docs.aws.amazon.com/eks/latest/userguide/auto-networking.html
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from components.documents.statements import Document, document

if TYPE_CHECKING:
    from config.sections import Organization

BLOCK = 16
PUBLIC_PREFIX = 26
"""Public subnets hold NAT gateways and load balancers only."""


@dataclass(frozen=True, kw_only=True)
class Subnets:
    """One public and one private subnet per zone, in zone order."""

    public: tuple[str, ...]
    private: tuple[str, ...]


def cut_vpc(cidr: str, zones: int) -> Subnets:
    """Cut a VPC: each zone gets a quarter as private subnet, and the last quarter holds the small public subnets.

    Args:
        cidr: the VPC's IPv4 network.
        zones: 2 or 3.

    Raises:
        ValueError: the network is too small.
    """
    network = ipaddress.IPv4Network(cidr)
    if network.prefixlen > PUBLIC_PREFIX - 4:
        raise ValueError(f"network.cidr {cidr} is too small for {zones} zones; use a /16 to a /20")
    quarters = list(network.subnets(prefixlen_diff=2))
    public = list(islice(quarters[-1].subnets(new_prefix=PUBLIC_PREFIX), zones))
    return Subnets(public=tuple(str(net) for net in public), private=tuple(str(net) for net in quarters[:zones]))


def blocks_of_subnet(cidr: str) -> int:
    """Return the /28 blocks of a subnet that nodes can use; AWS reserves addresses in the first and the last."""
    return max(ipaddress.IPv4Network(cidr).num_addresses // BLOCK - 2, 0)


def blocks_of_node(pods: int) -> int:
    """Return the blocks that a node with `pods` pods takes: those in use, and a warm one."""
    return math.ceil(pods / BLOCK) + 1


def nodes_that_fit(private: tuple[str, ...], pods_per_node: int) -> int:
    """Return how many nodes the private subnets hold if the zones fill evenly."""
    return sum(blocks_of_subnet(cidr) // blocks_of_node(pods_per_node) for cidr in private)


def flow_log_writer(organization: Organization, account_id: str, log_group: str) -> Document:
    """Permit VPC flow logs to write to one log group.

    Source: https://docs.aws.amazon.com/vpc/latest/userguide/flow-logs-iam-role.html
    """
    arn = f"arn:{organization.partition}:logs:{organization.region}:{account_id}:log-group:{log_group}"
    return document(
        {
            "Effect": "Allow",
            "Action": ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
            "Resource": [arn, f"{arn}:*"],
        }
    )
