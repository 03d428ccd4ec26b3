"""A whole stack as rules see it, indexed once for all of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from access.facts import Facts
from access.integrity import flows
from access.resources import Resource
from access.world import World
from components.documents.boundary import BoundaryAccount, boundary
from config.names import BOUNDARY_POLICY, PLATFORM_ROLE_PATH
from config.settings import Settings
from policies.exceptions import Exceptions
from policies.rule import Case, Kind, Verdict
from policies.tokens import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from access.integrity import Flow
    from policies.memory import Seen
    from policies.rule import Rule
    from policies.surroundings import Surroundings


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run of the pack says of itself."""

    never_shown: Sequence[str] = ()
    """URNs of resources whose inputs the engine never showed."""
    lowered: Sequence[str] = ()
    """Ids of mandatory rules that the configuration tried to switch off or to lower."""
    exceptions: Exceptions = field(default_factory=Exceptions)


class Index:
    """Resources of a stack by type; what several rules derive from them is derived once."""

    def __init__(self, resources: Sequence[Seen], surroundings: Surroundings, run: Run | None = None) -> None:
        self.resources, self.surroundings, self.run = resources, surroundings, run or Run()

    @cached_property
    def by_type(self) -> Mapping[str, list[Seen]]:
        """Resources by type token."""
        found: defaultdict[str, list[Seen]] = defaultdict(list)
        for each in self.resources:
            found[each.type].append(each)
        return found

    @cached_property
    def world(self) -> World:
        """Who can assume what, as `access` derives it from the same resources."""
        settings = self.surroundings.settings
        own = [Resource(e.urn, e.type, e.name, e.account, e.inputs) for e in self.resources]
        if isinstance(settings, Settings):
            return World.of([*own, *_boundaries(settings)], Facts.of([settings]))
        return World.of(own, Facts.of([], settings))

    @cached_property
    def flows(self) -> list[Flow]:
        """What open classes write and protected ones take in."""
        return flows(self.world)


def _boundaries(settings: Settings) -> Iterator[Resource]:
    """The boundaries that the foundation keeps, without which nobody could say what a delegated role may do."""
    for name, account in settings.accounts.items():
        document = boundary(BoundaryAccount(organization=settings.organization, account_id=account.id))
        inputs = {"name": BOUNDARY_POLICY, "path": PLATFORM_ROLE_PATH, "policy": document}
        yield Resource(f"urn:pulumi:foundation::boundary::{name}", POLICY, name, account.id, inputs)


class Stack:
    """A stack as one rule sees it."""

    def __init__(self, index: Index, options: Mapping[str, Any]) -> None:
        self.index, self._options = index, options
        self._cases: dict[str, Case] = {}
        self._open: list[Verdict] = []

    @property
    def surroundings(self) -> Surroundings:
        """Settings and the kind of run."""
        return self.index.surroundings

    def of(self, *types: str) -> Iterator[Case]:
        """Resources of these types; what is read of them and is not known counts for this rule."""
        for token in types:
            for each in self.index.by_type.get(token, ()):
                yield self.case(each)

    def case(self, resource: Seen) -> Case:
        """One resource."""
        if resource.urn not in self._cases:
            self._cases[resource.urn] = Case(resource, self.surroundings, self._options)
        return self._cases[resource.urn]

    def option(self, name: str) -> Any:
        """A threshold of the rule."""
        return self._options[name]

    def undecide(self, urn: str, what: str) -> None:
        """Record that something which no single field decides could not be decided."""
        kind = Kind.DEFERRED if self.surroundings.waits_for_issuer() else Kind.UNDECIDED
        self._open.append(Verdict(kind, urn, what))

    def undecided(self) -> Iterator[Verdict]:
        """What the rule asked for and is not known."""
        yield from self._open
        for urn, case in self._cases.items():
            for path in case.undecided:
                may_wait = self.surroundings.may_defer(case.seen, path)
                yield Verdict(Kind.DEFERRED if may_wait else Kind.UNDECIDED, urn, path)


def judged_whole(rule: Rule, index: Index, options: Mapping[str, Any]) -> list[Verdict]:
    """Verdicts of a rule of whole stacks."""
    if rule.of_stack is None:
        return []
    stack = Stack(index, options)
    violations = [Verdict(Kind.VIOLATION, urn, text) for urn, text in rule.of_stack(stack)]
    return [*violations, *stack.undecided()]
