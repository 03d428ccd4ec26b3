"""All rules of the pack, in the order in which findings are listed; the rule about exceptions comes last, when it is known which were needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.rule import rules_of
from policies.rules import (
    access_matrix,
    cluster,
    gitlab,
    hygiene,
    identity,
    integrity,
    kubernetes,
    network,
    permissions,
    releases,
    runners,
    storage,
    trust,
)

if TYPE_CHECKING:
    from policies.rule import Rule

MODULES = (
    trust,
    identity,
    access_matrix,
    integrity,
    permissions,
    cluster,
    network,
    kubernetes,
    runners,
    releases,
    gitlab,
    storage,
    hygiene,
)
RULES: list[Rule] = [rule for module in MODULES for rule in rules_of(module)]
