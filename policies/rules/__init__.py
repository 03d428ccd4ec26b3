"""All rules of the pack, in the order of their findings; the rule about exceptions is last, when all needed exceptions are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.rule import rules_of
from policies.rules import (
    cluster,
    hygiene,
    identity,
    kubernetes,
    machines,
    network,
    permissions,
    reach,
    runners,
    storage,
    trust,
)

if TYPE_CHECKING:
    from policies.rule import Rule

MODULES = (
    trust,
    identity,
    reach,
    permissions,
    cluster,
    network,
    kubernetes,
    runners,
    machines,
    storage,
    hygiene,
)
RULES: list[Rule] = [rule for module in MODULES for rule in rules_of(module)]
