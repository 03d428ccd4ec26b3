"""Rules, the resource that a rule checks, and the findings that it returns.

A rule has an id, a name, a severity and a level, says what it demands, which attack it stops and what to do about a finding, and may have
options. Its function yields one sentence for each violation; a field that it read and that is unknown becomes an UNDECIDED finding
(`policies/fields.py`). The rules themselves are in `policies/rules/`; `policies/pack.py` runs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pulumi_policy import EnforcementLevel, Severity

from policies.fields import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from access.resource import Resource
    from policies.stack import CheckedStack
    from policies.stack_run import StackRun

ROLE_SETTINGS = ("runners.{runner}", "gitlab_oidc.{entry}", "accounts.{account}.{level}", "accounts.{account}")
"""Settings that a role follows from, for a role of any kind."""


class FindingKind(StrEnum):
    """What a finding says about a resource."""

    VIOLATION = "VIOLATION"
    UNDECIDED = "UNDECIDED"
    """A field is unknown, so the rule cannot decide."""
    DEFERRED = "DEFERRED"
    """A field contains the issuer of a cluster that does not exist yet: the rule decides on the deployed state."""


@dataclass(frozen=True)
class Finding:
    """What a rule says about one resource."""

    kind: FindingKind
    urn: str
    text: str
    """A sentence; for UNDECIDED and DEFERRED the path of the field."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A threshold that the pack's configuration may set."""

    schema: Mapping[str, Any]
    """JSON schema of the value."""
    default: Any

    @classmethod
    def names(cls, description: str, default: Sequence[str]) -> Option:
        """Return an option that is a list of names."""
        schema = {"type": "array", "items": {"type": "string"}, "description": description}
        return cls(schema=schema, default=list(default))


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule."""

    id: str
    """Short and stable, such as T04: exceptions and reports use it."""
    name: str
    """<service>-<resource>-<verb>-<what>: the policy's name in the engine."""
    demands: str
    """What must hold, as a sentence."""
    stops: str
    """The attack or mistake that it stops."""
    remedy: str
    """What to do about a violation."""
    source: str
    """Where the demand comes from: an address, or ids of public rule sets."""
    settings: tuple[str, ...] = ()
    """Paths of the settings that decide about the resource, the best first. A finding is shown at the first path that the stack file has,
    or at the component without any. `{runner}`, `{account}`, `{level}` and `{entry}` stand for what the resource belongs to."""
    severity: Severity = Severity.HIGH
    level: EnforcementLevel = EnforcementLevel.MANDATORY
    types: frozenset[str] = frozenset()
    """Type tokens that a rule of resources looks at; empty for all."""
    options: Mapping[str, Option] = field(default_factory=dict)
    of_resource: Callable[[CheckedResource], Iterator[str]] | None = None
    of_stack: Callable[[CheckedStack], Iterator[tuple[str, str]]] | None = None
    """Yields URNs and sentences."""


class CheckedResource:
    """A resource as one rule reads it."""

    def __init__(self, resource: Resource, run: StackRun, options: Mapping[str, Any]) -> None:
        self.resource, self.run, self._options = resource, run, options
        self.unknown_paths: dict[str, None] = {}
        """Paths of unknown fields that the rule read, in order."""

    @property
    def urn(self) -> str:
        """The resource's URN."""
        return self.resource.urn

    @property
    def type(self) -> str:
        """The resource's type token."""
        return self.resource.type

    @property
    def account(self) -> str:
        """Id of the AWS account that the resource is in; empty outside AWS."""
        return self.resource.account

    def __getitem__(self, key: str) -> Field:
        """Return an input by its wire name."""
        return self.root[key]

    @property
    def root(self) -> Field:
        """All inputs."""
        return Field(self.resource.inputs, "", self.undecide)

    def option(self, name: str) -> Any:
        """Return a threshold of the rule."""
        return self._options[name]

    def undecide(self, path: str) -> None:
        """Record that the rule cannot decide because of a field."""
        self.unknown_paths[path] = None


def resource_rule(
    rule_id: str, name: str, types: Sequence[str], **description: Any
) -> Callable[[Callable[[CheckedResource], Iterator[str]]], Rule]:
    """Turn a function that checks one resource into a rule; `description` holds the other fields of `Rule`."""

    def decorate(function: Callable[[CheckedResource], Iterator[str]]) -> Rule:
        return Rule(id=rule_id, name=name, types=frozenset(types), of_resource=function, **description)

    return decorate


def stack_rule(
    rule_id: str, name: str, **description: Any
) -> Callable[[Callable[[CheckedStack], Iterator[tuple[str, str]]]], Rule]:
    """Turn a function that checks a whole stack into a rule; `description` holds the other fields of `Rule`."""

    def decorate(function: Callable[[CheckedStack], Iterator[tuple[str, str]]]) -> Rule:
        return Rule(id=rule_id, name=name, of_stack=function, **description)

    return decorate


def rules_of(module: Any) -> list[Rule]:
    """Return all rules of a module, in order."""
    return [value for value in vars(module).values() if isinstance(value, Rule)]


def evaluate_resource(rule: Rule, resource: Resource, run: StackRun, options: Mapping[str, Any]) -> list[Finding]:
    """Evaluate a rule of resources on one resource."""
    if rule.of_resource is None or (rule.types and resource.type not in rule.types):
        return []
    checked = CheckedResource(resource, run, options)
    violations = [Finding(FindingKind.VIOLATION, checked.urn, text) for text in rule.of_resource(checked)]
    return [*violations, *undecided_findings(checked)]


def undecided_findings(checked: CheckedResource) -> Iterator[Finding]:
    """Yield a finding for each unknown field that a rule read of a resource."""
    for path in checked.unknown_paths:
        deferred = checked.run.may_defer(checked.resource, path)
        yield Finding(FindingKind.DEFERRED if deferred else FindingKind.UNDECIDED, checked.urn, path)
