"""Amounts and durations as the API server stores them, read into plain numbers.

Not the settings' own parsers (`config/quantities.py`): those are narrow on purpose, these take every form that
Kubernetes takes. Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CPU = "cpu"

_FACTORS = {
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "": Decimal(1),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)([A-Za-z]{0,2})$")
_DURATION = re.compile(r"(\d+)([hms])")
_SECONDS = {"h": 3600, "m": 60, "s": 1}

Amounts = dict[str, int]
"""Resource to amount: CPU in thousandths of a core, all else in its unit (bytes, pieces)."""


def amount(resource: str, value: str | float) -> int:
    """Read one quantity, rounded up: thousandths of a core for `cpu`, bytes or pieces for all else.

    Raises:
        ValueError: Not a quantity.
    """
    match = _QUANTITY.match(str(value))
    if match is None or match[2] not in _FACTORS:
        raise ValueError(f"{value!r} is not a quantity of {resource}")
    number = Decimal(match[1]) * _FACTORS[match[2]]
    return int((number * 1000 if resource == CPU else number).to_integral_value(ROUND_CEILING))


def amounts(values: Mapping[str, Any] | None) -> Amounts:
    """Read a map of quantities, such as a container's requests."""
    return {resource: amount(resource, value) for resource, value in (values or {}).items()}


def text(resource: str, value: int) -> str:
    """Write an amount as a quantity: `1500m`, `4`, `2048Mi`."""
    if resource == CPU:
        return f"{value}m" if value % 1000 else str(value // 1000)
    if value and value % 2**20 == 0:
        return f"{value // 2**20}Mi"
    return str(value)


def add(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    """Sum resource by resource."""
    return {key: left.get(key, 0) + right.get(key, 0) for key in left.keys() | right.keys()}


def larger(left: Mapping[str, int], right: Mapping[str, int]) -> Amounts:
    """Maximum resource by resource."""
    return {key: max(left.get(key, 0), right.get(key, 0)) for key in left.keys() | right.keys()}


def fits(wanted: Mapping[str, int], room: Mapping[str, int]) -> bool:
    """Tell whether each wanted amount is there; a resource that is not offered fits only if none of it is wanted."""
    return all(value <= room.get(resource, 0) for resource, value in wanted.items())


def seconds(duration: str | None) -> float | None:
    """Read a duration such as `5m` or `1h30m`; None for `Never` and for none."""
    if duration is None or duration == "Never":
        return None
    return float(sum(int(count) * _SECONDS[unit] for count, unit in _DURATION.findall(duration)))


def now_text() -> str:
    """Write the time as the API does, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
