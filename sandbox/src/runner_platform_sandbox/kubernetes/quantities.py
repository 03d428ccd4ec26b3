"""Amounts and durations as the API server stores them, read into plain numbers.

The parsers of the settings (`config/quantities.py`) are narrow on purpose; these accept every form that Kubernetes
accepts. Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
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
"""Resource to amount: CPU in thousandths of a core, others in bytes or pieces."""


def amount(resource: str, value: str | float) -> int:
    """Read one quantity, rounded up: thousandths of a core for `cpu`, bytes or pieces for others.

    Raises:
        ValueError: `value` is not a quantity.
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


def add(first: Mapping[str, int], second: Mapping[str, int]) -> Amounts:
    """Add amounts resource by resource."""
    return {key: first.get(key, 0) + second.get(key, 0) for key in first.keys() | second.keys()}


def larger(first: Mapping[str, int], second: Mapping[str, int]) -> Amounts:
    """Return the larger amount of each resource."""
    return {key: max(first.get(key, 0), second.get(key, 0)) for key in first.keys() | second.keys()}


def fits(requested: Mapping[str, int], available: Mapping[str, int]) -> bool:
    """Tell whether every requested amount is available; a missing resource counts as 0."""
    return all(value <= available.get(resource, 0) for resource, value in requested.items())


def seconds(duration: str | None) -> float | None:
    """Read a duration such as `5m` or `1h30m`; return None for `Never` and for None."""
    if duration is None or duration == "Never":
        return None
    return float(sum(int(count) * _SECONDS[unit] for count, unit in _DURATION.findall(duration)))


def now_text() -> str:
    """Return the current time in the API's format, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
