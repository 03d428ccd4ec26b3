"""What a mutation is: a seeded change, the attack that it opens, and the rules that must see it, no fewer and no more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.attacks.change import nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.attacks.change import Change


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One seeded change."""

    attack: str
    """Id, such as A07; empty for a mistake that is none of the listed attacks."""
    name: str
    """What is changed, as a sentence without a full stop; unique."""
    rules: frozenset[str]
    """Ids of the rules that must be red: mandatory, or undecided where a value is not known."""
    change: Change = nothing
    """How the program is changed."""
    stack: str = "prod"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Other settings by dotted path."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Configuration of the pack, as a branch would smuggle it in."""
    hidden: str = ""
    """Logical name of a resource that the pack is not shown by itself, only among all."""
    exceptions: str = ""
    """Another `exceptions.yaml`; empty for the pack's own."""


def seen_by(rules: str, attack: str, name: str, change: Change = nothing, **more: Any) -> Mutation:
    """A mutation; `rules` are ids with spaces between them."""
    return Mutation(attack=attack, name=name, rules=frozenset(rules.split()), change=change, **more)
