"""Mutations: a seeded change, the attack that the change opens, and the exact set of rules that must report it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.attacks.change import nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.attacks.change import Change
    from tests.attacks.registered import Edit


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One seeded change."""

    attack: str
    """Id, such as A07; empty for a mistake outside the listed attacks."""
    name: str
    """The change as a sentence without a full stop; unique."""
    rules: frozenset[str]
    """Ids of the rules that must be red: mandatory, or undecided because of an unknown value."""
    change: Change = nothing
    """The change of the program."""
    edit: Edit | None = None
    """The change of the resources that the unchanged program registers, in place of a change of the program."""
    stack: str = "prod"
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Changed settings by dotted path."""
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """Configuration of the pack that a hostile branch would bring."""
    hidden: str = ""
    """Logical name of a resource that the pack gets only with the whole stack, without a request for the resource alone."""
    exceptions: str = ""
    """Text of another `exceptions.yaml`; empty to keep the pack's own."""


def seen_by(rules: str, attack: str, name: str, change: Change = nothing, **more: Any) -> Mutation:
    """Return a mutation; `rules` are rule ids with spaces between them."""
    return Mutation(attack=attack, name=name, rules=frozenset(rules.split()), change=change, **more)
