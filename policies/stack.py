"""A whole stack as rules see it, indexed once for all of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from access.flows import flows
from access.graph import AccessGraph
from access.inventory import Inventory
from access.resource import Resource
from components.documents.boundary import BoundaryAccount, boundary
from config.names import BOUNDARY_POLICY, PLATFORM_ROLE_PATH
from config.settings import Settings
from policies.exceptions import Exceptions
from policies.rule import CheckedResource, Finding, FindingKind
from policies.type_tokens import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from access.flows import Flow
    from policies.engine_messages import Seen
    from policies.rule import Rule
    from policies.stack_run import StackRun


@dataclass(frozen=True, kw_only=True)
class PackState:
    """What a run of the pack says of itself."""

    never_shown: Sequence[str] = ()
    """URNs of resources whose inputs the engine never showed."""
    lowered: Sequence[str] = ()
    """Ids of mandatory rules that the configuration tried to switch off or to lower."""
    exceptions: Exceptions = field(default_factory=Exceptions)


class ResourceIndex:
    """Resources of a stack by type; what several rules derive from them is derived once."""

    def __init__(self, resources: Sequence[Seen], surroundings: StackRun, run: PackState | None = None) -> None:
        self.resources, self.surroundings, self.run = resources, surroundings, run or PackState()

    @cached_property
    def by_type(self) -> Mapping[str, list[Seen]]:
        """Resources by type token."""
        found: defaultdict[str, list[Seen]] = defaultdict(list)
        for each in self.resources:
            found[each.type].append(each)
        return found

    @cached_property
    def world(self) -> AccessGraph:
        """Who can assume what, as `access` derives it from the same resources."""
        settings = self.surroundings.settings
        own = [Resource(e.urn, e.type, e.name, e.account, e.inputs) for e in self.resources]
        if isinstance(settings, Settings):
            return AccessGraph.of([*own, *_boundaries(settings)], Inventory.of([settings]))
        return AccessGraph.of(own, Inventory.of([], settings))

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


class CheckedStack:
    """A stack as one rule sees it."""

    def __init__(self, index: ResourceIndex, options: Mapping[str, Any]) -> None:
        self.index, self._options = index, options
        self._cases: dict[str, CheckedResource] = {}
        self._open: list[Finding] = []

    @property
    def surroundings(self) -> StackRun:
        """Settings and the kind of run."""
        return self.index.surroundings

    def of(self, *types: str) -> Iterator[CheckedResource]:
        """Resources of these types; what is read of them and is not known counts for this rule."""
        for token in types:
            for each in self.index.by_type.get(token, ()):
                yield self.case(each)

    def case(self, resource: Seen) -> CheckedResource:
        """One resource."""
        if resource.urn not in self._cases:
            self._cases[resource.urn] = CheckedResource(resource, self.surroundings, self._options)
        return self._cases[resource.urn]

    def option(self, name: str) -> Any:
        """A threshold of the rule."""
        return self._options[name]

    def undecide(self, urn: str, what: str) -> None:
        """Record that something which no single field decides could not be decided."""
        kind = FindingKind.DEFERRED if self.surroundings.waits_for_issuer() else FindingKind.UNDECIDED
        self._open.append(Finding(kind, urn, what))

    def undecided(self) -> Iterator[Finding]:
        """What the rule asked for and is not known."""
        yield from self._open
        for urn, case in self._cases.items():
            for path in case.undecided:
                may_wait = self.surroundings.may_defer(case.seen, path)
                yield Finding(FindingKind.DEFERRED if may_wait else FindingKind.UNDECIDED, urn, path)


def evaluate_stack(rule: Rule, index: ResourceIndex, options: Mapping[str, Any]) -> list[Finding]:
    """Verdicts of a rule of whole stacks."""
    if rule.of_stack is None:
        return []
    stack = CheckedStack(index, options)
    violations = [Finding(FindingKind.VIOLATION, urn, text) for urn, text in rule.of_stack(stack)]
    return [*violations, *stack.undecided()]
