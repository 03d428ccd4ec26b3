"""What a change costs, as far as it is configured: ceilings, gateways, addresses, retention. Never what is used.

Every amount carries its source and date, and is for Frankfurt; elsewhere counts alone are said. Traffic, storage and log volume are
no settings, so nothing is said of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from config.quantities import GIBIBYTE, parse_cpu, parse_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

Resource = dict[str, Any]
PRICED_REGION = "eu-central-1"
HOURS = 730
"""Hours of a month, as AWS's calculator counts them."""
SOURCES = "AWS's price list for eu-central-1 of 2026-10-28 (m6a) and guides of February to June 2026; without tax and discounts"
MONTHLY = {
    "aws:eks/cluster:Cluster": ("EKS control planes", 0.10),
    "aws:ec2/natGateway:NatGateway": ("NAT gateways", 0.052),
    "aws:ec2/eip:Eip": ("public IPv4 addresses", 0.005),
}
"""Type: what it is called, USD an hour for each. NAT: between 0.048 and 0.052; the upper end."""
COUNTED = {
    "aws:ec2/vpcEndpoint:VpcEndpoint": "interface endpoints",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "alarms",
}
VCPU_HOUR = 0.1035 / 2
"""USD of a vCPU of m6a on demand, with its 4 GiB of memory."""
AUTO_MODE = 1.12
"""Auto Mode costs about 12 % on top of an instance's on-demand price."""
FULL_LOAD = "hour while all of it runs, if it all were m6a on demand"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One configured quantity on both sides."""

    name: str
    old: float | None
    """None where it did not exist."""
    new: float | None
    unit: str
    amount: float | None = None
    """USD that the difference makes, per `per`; None where no dated price is known."""
    per: str = "month"


def costs(old: Sequence[Resource], new: Sequence[Resource]) -> list[Cost]:
    """Configured quantities that differ between two lists of resources."""
    before, after = quantities(old), quantities(new)
    found: list[Cost] = []
    for key in [*after, *(each for each in before if each not in after)]:
        was, becomes = before.get(key), after.get(key)
        if was != becomes:
            name, unit, price, per = key
            amount = price * ((becomes or 0) - (was or 0)) if price and _priced(old) and _priced(new) else None
            found.append(Cost(name=name, old=was, new=becomes, unit=unit, amount=amount, per=per))
    return found


Key = tuple[str, str, float, str]
"""Name, unit, USD of one unit (0 where unknown), and for how long."""


def quantities(resources: Sequence[Resource]) -> dict[Key, float]:
    """What the resources of a stack set that costs money."""
    found: dict[Key, float] = {}
    for token, (name, hourly) in MONTHLY.items():
        if count := sum(each["type"] == token for each in resources):
            found[(name, "", hourly * HOURS, "month")] = count
    for token, name in COUNTED.items():
        if count := sum(each["type"] == token and _is_billed(each) for each in resources):
            found[(name, "", 0, "month")] = count
    for each in resources:
        if each["type"] == "kubernetes:karpenter.sh/v1:NodePool":
            found |= _ceiling(each)
        elif each["type"] == "aws:cloudwatch/logGroup:LogGroup":
            days = each["inputs"].get("retentionInDays") or 0
            found[(f"retention of {each['inputs'].get('name', each['name'])} (0: for ever)", "days", 0, "month")] = days
    return found


def _ceiling(pool: Resource) -> dict[Key, float]:
    inputs = pool["inputs"]
    limits, name = inputs.get("spec", {}).get("limits", {}), inputs.get("metadata", {}).get("name", pool["name"])
    found: dict[Key, float] = {}
    if "cpu" in limits:
        price = VCPU_HOUR * AUTO_MODE
        found[(f"most vCPU of {name}", "vCPU", price, FULL_LOAD)] = parse_cpu(limits["cpu"]) / 1000
    if "memory" in limits:
        found[(f"most memory of {name}", "GiB", 0, "hour")] = parse_memory(limits["memory"]) / GIBIBYTE
    return found


def _is_billed(resource: Resource) -> bool:
    kind = resource["inputs"].get("vpcEndpointType", "Gateway")
    return bool(resource["type"] != "aws:ec2/vpcEndpoint:VpcEndpoint" or kind == "Interface")


def _priced(resources: Sequence[Resource]) -> bool:
    regions = {each["inputs"].get("region") for each in resources if each["type"] == "pulumi:providers:aws"}
    return regions <= {PRICED_REGION}
