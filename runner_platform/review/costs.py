"""Costs of a change, as far as settings decide them: ceilings, gateways, addresses, retention.

Every amount carries its source and date, and is for Frankfurt; other regions get counts alone. Traffic, storage and log volume are no
settings, so they are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from access.resource import AWS_PROVIDER
from config.quantities import GIBIBYTE, parse_cpu, parse_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from access.resource import Resource

PRICED_REGION = "eu-central-1"
HOURS = 730
"""Hours of a month, as AWS's calculator counts them."""
PRICE_SOURCES = "AWS's price list for eu-central-1 of 2026-10-28 (m6a) and guides of February to June 2026; without tax and discounts"
MONTHLY = {
    "aws:eks/cluster:Cluster": ("EKS control planes", 0.10),
    "aws:ec2/natGateway:NatGateway": ("NAT gateways", 0.052),
    "aws:ec2/eip:Eip": ("public IPv4 addresses", 0.005),
}
"""Description and USD an hour, by type. NAT: between 0.048 and 0.052; the upper end."""
VPC_ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
COUNTED = {
    VPC_ENDPOINT: "interface endpoints",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "alarms",
}
VCPU_HOUR = 0.1035 / 2
"""USD of a vCPU of m6a on demand, with its 4 GiB of memory."""
AUTO_MODE = 1.12
"""Auto Mode costs about 12 % on top of an instance's on-demand price."""
FULL_LOAD = "hour while all of it runs, if it all were m6a on demand"

Key = tuple[str, str, float, str]
"""Name, unit, USD of one unit (0 if unknown), and the period of that price."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One configured quantity on both sides."""

    name: str
    old: float | None
    """None if it did not exist."""
    new: float | None
    unit: str
    amount: float | None = None
    """USD of the difference, per `per`; None without a dated price."""
    per: str = "month"


def costs(old: Sequence[Resource], new: Sequence[Resource]) -> list[Cost]:
    """Configured quantities that differ between two lists of resources."""
    before, after = quantities(old), quantities(new)
    changed: list[Cost] = []
    for key in [*after, *(key for key in before if key not in after)]:
        if before.get(key) != after.get(key):
            name, unit, price, per = key
            increase = (after.get(key) or 0) - (before.get(key) or 0)
            amount = price * increase if price and _priced(old) and _priced(new) else None
            changed.append(Cost(name=name, old=before.get(key), new=after.get(key), unit=unit, amount=amount, per=per))
    return changed


def quantities(resources: Sequence[Resource]) -> dict[Key, float]:
    """Quantities in the resources of a stack that cost money."""
    amounts: dict[Key, float] = {}
    for token, (name, hourly) in MONTHLY.items():
        if count := sum(resource.type == token for resource in resources):
            amounts[(name, "", hourly * HOURS, "month")] = count
    for token, name in COUNTED.items():
        if count := sum(resource.type == token and _is_billed(resource) for resource in resources):
            amounts[(name, "", 0, "month")] = count
    for resource in resources:
        if resource.type == "kubernetes:karpenter.sh/v1:NodePool":
            amounts |= _ceilings(resource)
        elif resource.type == "aws:cloudwatch/logGroup:LogGroup":
            days = resource.inputs.get("retentionInDays") or 0
            name = resource.inputs.get("name", resource.name)
            amounts[(f"retention of {name} (0: for ever)", "days", 0, "month")] = days
    return amounts


def _ceilings(pool: Resource) -> dict[Key, float]:
    limits = pool.inputs.get("spec", {}).get("limits", {})
    name = pool.inputs.get("metadata", {}).get("name", pool.name)
    amounts: dict[Key, float] = {}
    if "cpu" in limits:
        price = VCPU_HOUR * AUTO_MODE
        amounts[(f"most vCPU of {name}", "vCPU", price, FULL_LOAD)] = parse_cpu(limits["cpu"]) / 1000
    if "memory" in limits:
        amounts[(f"most memory of {name}", "GiB", 0, "hour")] = parse_memory(limits["memory"]) / GIBIBYTE
    return amounts


def _is_billed(resource: Resource) -> bool:
    return resource.type != VPC_ENDPOINT or resource.inputs.get("vpcEndpointType", "Gateway") == "Interface"


def _priced(resources: Sequence[Resource]) -> bool:
    regions = {resource.inputs.get("region") for resource in resources if resource.type == AWS_PROVIDER}
    return regions <= {PRICED_REGION}
