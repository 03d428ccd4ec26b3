"""AWS's partitions: their regions, domains and names, and the regions and zones that EKS has.

Regions and domains come from botocore, which reads the same file. What botocore does not know stands here, with its date and source.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib import resources
from typing import Any, Final, Literal, get_args

Partition = Literal["aws", "aws-us-gov", "aws-cn", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"]
PARTITIONS: Final[tuple[str, ...]] = get_args(Partition)
ARN_PARTITION: Final = f"(?:{'|'.join(PARTITIONS)})"
"""The partition of an ARN, as a regular expression."""

REGIONS_WITHOUT_EKS: Final = frozenset({"me-west-1", "sa-west-1"})
"""As of botocore 1.44.3, whose endpoints list no EKS there; a test compares."""
ZONES_WITHOUT_EKS: Final = ("use1-az3", "usw1-az2", "cac1-az3")
"""Ids of zones in which EKS takes no subnet. As of November 2026.

Source: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html (subnet requirements)
"""
_FEWEST_ZONES = 3
_ZONES_OF_SMALL_REGIONS = {"us-west-1": 2}
"""Regions that offer an account fewer than three zones with EKS. As of November 2026: every other region has three or more.

Source: https://docs.aws.amazon.com/global-infrastructure/latest/regions/aws-availability-zones.html
"""
_CHINA_PRINCIPALS = frozenset({"ec2"})
"""Services whose principal has China's domain in China; everywhere else, also in isolated partitions, it ends with `amazonaws.com`.

Source: https://github.com/aws/aws-cdk/pull/22589 and https://github.com/aws/aws-cdk/pull/24709
"""
_ZONE_NAME = re.compile(r"[a-z]+(-[a-z]+)+-\d+[a-z]")
"""A region and one letter; names of Local Zones and Wavelength Zones are longer."""


@cache
def _by_partition() -> dict[str, dict[str, Any]]:
    text = (resources.files("botocore") / "data" / "partitions.json").read_text(encoding="utf-8")
    return {partition["id"]: partition for partition in json.loads(text)["partitions"]}


def regions(partition: str) -> list[str]:
    """Return the regions of a partition, sorted."""
    entry = _by_partition()[partition]
    return sorted(region for region in entry["regions"] if re.fullmatch(entry["regionRegex"], region))


def partition_of(region: str) -> str | None:
    """Return the partition of a region, or None if botocore knows no such region."""
    return next((partition for partition in PARTITIONS if region in regions(partition)), None)


def partition_domain(partition: str) -> str:
    """Return the domain of a partition's endpoints."""
    return str(_by_partition()[partition]["outputs"]["dnsSuffix"])


def service_principal(service: str, partition: str) -> str:
    """Return the principal of a service that is called by roles: `ec2.amazonaws.com`."""
    in_china = partition == "aws-cn" and service in _CHINA_PRINCIPALS
    return f"{service}.{partition_domain(partition) if in_china else 'amazonaws.com'}"


def zones_with_eks(region: str) -> int:
    """Return the number of zones with EKS that a region offers to every account, at most three."""
    return _ZONES_OF_SMALL_REGIONS.get(region, _FEWEST_ZONES)


def is_availability_zone(zone: str) -> bool:
    """Return whether a name is that of an availability zone, not of a Local Zone or a Wavelength Zone."""
    return _ZONE_NAME.fullmatch(zone) is not None
