"""A whole stack as rules read it, and what several rules derive from its resources."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from access.flows import flows
from access.graph import AccessGraph
from access.inventory import Inventory
from access.resource import Resource, pinned_to
from components.documents.boundary import BoundaryAccount, boundary
from config.names import BOUNDARY_POLICY, PLATFORM_ROLE_PATH
from config.settings import Settings
from policies.exceptions import Exceptions
from policies.rule import CheckedResource, Finding, FindingKind, undecided_findings
from policies.type_tokens import POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from access.flows import Flow
    from policies.rule import Rule
    from policies.stack_run import StackRun


@dataclass(frozen=True, kw_only=True)
class PackState:
    """The state of the pack itself in this run."""

    never_shown: Sequence[str] = ()
    """URNs of resources whose inputs the engine never sent."""
    lowered: Sequence[str] = ()
    """Ids of mandatory rules that the configuration tried to switch off or to lower."""
    exceptions: Exceptions = field(default_factory=Exceptions)


class ResourceIndex:
    """Resources of a stack by type; the access graph and the flows are computed once for all rules."""

    def __init__(self, resources: Sequence[Resource], run: StackRun, pack_state: PackState | None = None) -> None:
        self.resources, self.run, self.pack_state = resources, run, pack_state or PackState()

    @cached_property
    def by_type(self) -> Mapping[str, list[Resource]]:
        """Resources by type token."""
        by_type: defaultdict[str, list[Resource]] = defaultdict(list)
        for resource in self.resources:
            by_type[resource.type].append(resource)
        return by_type

    @cached_property
    def access_graph(self) -> AccessGraph:
        """The access graph of the same resources."""
        settings = self.run.settings
        if isinstance(settings, Settings):
            return AccessGraph.of([*self.resources, *_boundaries(settings)], Inventory.of([settings]))
        return AccessGraph.of(self.resources, Inventory.of([], settings))

    @cached_property
    def flows(self) -> list[Flow]:
        """What open classes can write and protected classes consume."""
        return flows(self.access_graph)


def _boundaries(settings: Settings) -> Iterator[Resource]:
    """Yield the foundation's boundaries: without them, what a delegated role may do is undecided."""
    for name, account in settings.accounts.items():
        document = boundary(BoundaryAccount(organization=settings.organization, account_id=account.id))
        inputs = {"name": BOUNDARY_POLICY, "path": PLATFORM_ROLE_PATH, "policy": document}
        yield Resource(
            urn=f"urn:pulumi:foundation::boundary::{name}",
            type=POLICY,
            name=name,
            inputs=inputs,
            provider_inputs=pinned_to(account.id),
        )


class CheckedStack:
    """A stack as one rule reads it."""

    def __init__(self, index: ResourceIndex, options: Mapping[str, Any]) -> None:
        self.index, self._options = index, options
        self._checked: dict[str, CheckedResource] = {}
        self._undecided: list[Finding] = []

    @property
    def run(self) -> StackRun:
        """The stack's settings and the kind of run."""
        return self.index.run

    def of(self, *types: str) -> Iterator[CheckedResource]:
        """Yield resources of these types; an unknown field that the rule reads counts for this rule."""
        for token in types:
            for resource in self.index.by_type.get(token, ()):
                if resource.urn not in self._checked:
                    self._checked[resource.urn] = CheckedResource(resource, self.run, self._options)
                yield self._checked[resource.urn]

    def option(self, name: str) -> Any:
        """Return a threshold of the rule."""
        return self._options[name]

    def undecide(self, urn: str, text: str) -> None:
        """Record a question that the rule cannot decide, without a single field as the cause."""
        kind = FindingKind.DEFERRED if self.run.waits_for_issuer() else FindingKind.UNDECIDED
        self._undecided.append(Finding(kind, urn, text))

    def undecided(self) -> Iterator[Finding]:
        """Yield a finding for everything that the rule could not decide."""
        yield from self._undecided
        for checked in self._checked.values():
            yield from undecided_findings(checked)


def evaluate_stack(rule: Rule, index: ResourceIndex, options: Mapping[str, Any]) -> list[Finding]:
    """Evaluate a rule of whole stacks."""
    if rule.of_stack is None:
        return []
    stack = CheckedStack(index, options)
    violations = [Finding(FindingKind.VIOLATION, urn, text) for urn, text in rule.of_stack(stack)]
    return [*violations, *stack.undecided()]
