"""Physical names that the provider makes up, the way the real plugin does: `<logical name>-<7 hex digits>`.

Owns making and keeping them. Leaves out which types have names of that kind (the handlers say so).
Source: https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming.
"""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.providers.base import InvalidInputsError, Naming
from runner_platform_sandbox.providers.validation import DEFAULTS_KEY, Failure

_RANDOM_DIGITS: Final = 7


@dataclass(frozen=True, kw_only=True)
class AutoName:
    """How names of one type are made."""

    field: str = "name"
    """The property that holds the name."""
    longest: int = 255
    """Characters; the logical part is cut to fit."""
    lower: bool = False
    """Only lower case is allowed."""
    prefix: str = ""
    """What every such name starts with, such as `alias/`."""

    @property
    def prefix_field(self) -> str:
        """The property with which a program gives only the start of a name."""
        return f"{self.field}Prefix"


def physical_name(rule: AutoName, logical: str, olds: dict[str, Any], naming: Naming) -> str | None:
    """Return the name for a resource whose program gives none, or None if its configuration forbids making one up.

    A name that was made up before is kept, or every preview would replace the resource.
    """
    if rule.field in olds.get(DEFAULTS_KEY, ()) and olds.get(rule.field):
        return str(olds[rule.field])
    if naming.disabled:
        return None
    if naming.proposed and naming.enforced:
        return naming.proposed
    name = naming.proposed or f"{_start(rule, logical)}-{_digits(naming.seed, logical)}"
    return rule.prefix + (name.lower() if rule.lower else name)


def prefixed_name(rule: AutoName, prefix: str) -> str:
    """Return a new name that starts with `prefix`, for programs that give only that."""
    return (prefix + secrets.token_hex(13))[: rule.longest]


def refused(rule: AutoName) -> InvalidInputsError:
    """Return the error for a missing name that nobody may make up."""
    return InvalidInputsError([Failure(rule.field, "is required, because pulumi:autonaming is disabled")])


def _start(rule: AutoName, logical: str) -> str:
    return logical[: rule.longest - len(rule.prefix) - _RANDOM_DIGITS - 1]


def _digits(seed: bytes, logical: str) -> str:
    if not seed:
        return secrets.token_hex(_RANDOM_DIGITS)[:_RANDOM_DIGITS]
    return hashlib.sha256(seed + logical.encode()).hexdigest()[:_RANDOM_DIGITS]
