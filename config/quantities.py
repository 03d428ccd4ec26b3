"""Quantities in settings: CPU, memory and durations, as Kubernetes and GitLab write them.

Parsed once into integers (millicores, bytes, seconds); `*_text` functions turn them into text for an API.
Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator

from config.errors import FieldError, quoted
from config.values import Allowed

_MEMORY_UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}
_CPU = re.compile(r"([0-9]{1,12})m|([0-9]{1,9})(?:\.([0-9]{1,3}))?")
_MEMORY = re.compile(r"([0-9]{1,15})(Ki|Mi|Gi|Ti|k|M|G|T)")
_DURATION = re.compile(r"(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
MEBIBYTE = 2**20
GIBIBYTE = 2**30
SMALLEST = {"cpu": 10, "memory": 64 * MEBIBYTE, "disk": GIBIBYTE}
LARGEST_LIMIT = {"cpu": 10**6 * 1000, "memory": 8 * 10**6 * GIBIBYTE}
LARGEST = {"disk": 59_000 * GIBIBYTE}
"""Sizes of a job's pod: less starts no shell, and a node's disk ends at 59,000 GiB.

Source: https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html (`ephemeralStorage.size`)
"""


def parse_cpu(value: Any) -> int:
    """Return the millicores of a CPU quantity: `"500m"` is 500, `"4"` is 4000.

    Raises:
        FieldError: not a CPU quantity, or not above zero.
    """
    text = str(value).strip() if isinstance(value, (int, float, str)) and not isinstance(value, bool) else ""
    match = _CPU.fullmatch(text)
    if match is None:
        raise FieldError(f'{quoted(value)} is not a CPU quantity; write cores or millicores, such as "4" or "500m"')
    millis, whole, fraction = match.groups()
    result = int(millis) if millis else int(whole) * 1000 + int((fraction or "0").ljust(3, "0"))
    if result == 0:
        raise FieldError(f'{quoted(value)} is zero CPU; write cores or millicores, such as "4" or "500m"')
    return result


def parse_memory(value: Any) -> int:
    """Return the bytes of a memory or disk quantity: `"2Gi"` is 2147483648.

    Raises:
        FieldError: not a quantity with a unit, or not above zero.
    """
    text = value.strip() if isinstance(value, str) else ""
    match = _MEMORY.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise FieldError(
            f"{quoted(value)} is not a quantity of bytes; write a number with a unit, such as 512Mi or 8Gi"
        )
    return int(match[1]) * _MEMORY_UNITS[match[2]]


def parse_duration(value: Any) -> int:
    """Return the seconds of a duration such as `90m`, `1h30m` or `4h`.

    Raises:
        FieldError: not a duration, or not above zero.
    """
    text = value.strip() if isinstance(value, str) else ""
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        raise FieldError(f"{quoted(value)} is not a duration; write hours and minutes, such as 4h, 90m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if total == 0:
        raise FieldError(f"{quoted(value)} is a duration of zero; write hours and minutes, such as 4h, 90m or 1h30m")
    return total


def refuse_large_limit(kind: str, value: int) -> None:
    """Refuse a ceiling of a class's nodes that no account can reach, and that Kubernetes cannot count.

    Raises:
        FieldError: with the value and the limit.
    """
    text = cpu_text if kind == "cpu" else memory_text
    if value > LARGEST_LIMIT[kind]:
        raise FieldError(
            f"{text(value)} is more than nodes of a class can have; write {text(LARGEST_LIMIT[kind])} or less"
        )


def refuse_odd_size(kind: str, value: int) -> None:
    """Refuse a size of a job's pod that no job can run with, or no node can have.

    Args:
        kind: `cpu`, `memory` or `disk`.
        value: millicores or bytes.

    Raises:
        FieldError: with the value and the limit.
    """
    text = cpu_text if kind == "cpu" else memory_text
    smallest, largest = SMALLEST[kind], LARGEST.get(kind)
    if value < smallest:
        raise FieldError(f"{text(value)} is too small for a job; write {text(smallest)} or more")
    if largest is not None and value > largest:
        raise FieldError(f"{text(value)} is more than a node's disk can have; write {text(largest)} or less")


def cpu_text(millicores: int) -> str:
    """Return a CPU quantity as Kubernetes prints it: whole cores without a unit."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def memory_text(size: int) -> str:
    """Return a quantity of bytes in the largest binary unit of which it is a multiple."""
    for unit in ("Gi", "Mi", "Ki"):
        if size % _MEMORY_UNITS[unit] == 0:
            return f"{size // _MEMORY_UNITS[unit]}{unit}"
    return str(size)


def duration_text(seconds: int) -> str:
    """Return a duration in Go's form, as Karpenter and GitLab read it: `4h10m`."""
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{seconds}s" if seconds else ""]
    return "".join(parts) or "0s"


Cpu = Annotated[int, BeforeValidator(parse_cpu), Allowed("cores or millicores, such as `4`, `7.5` or `500m`", "CPU")]
"""Millicores."""
Bytes = Annotated[int, BeforeValidator(parse_memory), Allowed("a number with a unit, such as `512Mi` or `8Gi`", "size")]
"""Bytes of memory or disk."""
Seconds = Annotated[int, BeforeValidator(parse_duration), Allowed("such as `4h`, `90m` or `1h30m`", "duration")]
"""Seconds."""
