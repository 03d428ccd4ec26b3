"""Rules, and what they see: a resource, or a whole stack.

Owns the shape of a rule (id, name, severity, level, what it stops, remedy, source, options) and the decorators that make one of a
function. Leaves out who asks the rules (`policies/pack.py`) and what they say (`policies/rules/`). A rule's function yields sentences,
one for each violation; what it could not decide is recorded by the fields that it read (`policies/fields.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from pulumi_policy import EnforcementLevel, Severity

from policies.fields import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from policies.engine_messages import Seen
    from policies.stack import CheckedStack
    from policies.stack_run import StackRun

OWNER_SETTINGS = ("runners.{runner}", "gitlab_oidc.{entry}", "accounts.{account}.{level}", "accounts.{account}")
"""Settings that a role follows from, whosever it is."""


class FindingKind(StrEnum):
    """What a verdict is."""

    VIOLATION = "VIOLATION"
    UNDECIDED = "UNDECIDED"
    """A field is not known, so nobody can say."""
    DEFERRED = "DEFERRED"
    """A field that holds the issuer of a cluster which does not exist yet: judged on the deployed state."""


@dataclass(frozen=True)
class Finding:
    """What a rule says of one resource."""

    kind: FindingKind
    urn: str
    text: str
    """A sentence, or for what is not decided the path of the field."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """A threshold that the pack's configuration may set."""

    schema: Mapping[str, Any]
    """JSON schema of the value."""
    default: Any

    @classmethod
    def names(cls, description: str, default: Sequence[str]) -> Option:
        """A list of names."""
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
    """Paths of the settings that decide what is judged, the best first; the first that the stack's file has is where a finding is shown,
    without any it is the component. `{runner}`, `{account}`, `{level}` and `{entry}` stand for what the resource belongs to."""
    severity: Severity = Severity.HIGH
    level: EnforcementLevel = EnforcementLevel.MANDATORY
    types: frozenset[str] = frozenset()
    """Type tokens that a rule of resources looks at; empty for all."""
    options: Mapping[str, Option] = field(default_factory=dict)
    of_resource: Callable[[CheckedResource], Iterator[str]] | None = None
    of_stack: Callable[[CheckedStack], Iterator[tuple[str, str]]] | None = None
    """Yields URNs and sentences."""


class CheckedResource:
    """A resource as one rule sees it."""

    def __init__(self, seen: Seen, surroundings: StackRun, options: Mapping[str, Any]) -> None:
        self.seen, self.surroundings, self._options = seen, surroundings, options
        self.undecided: dict[str, None] = {}
        """Paths that were asked for and are not known, in order."""

    @property
    def urn(self) -> str:
        """The resource's URN."""
        return self.seen.urn

    @property
    def type(self) -> str:
        """Its type token."""
        return self.seen.type

    def __getitem__(self, key: str) -> Field:
        """An input by its wire name."""
        return self.root[key]

    @property
    def root(self) -> Field:
        """All inputs."""
        return Field(self.seen.inputs, "", self.undecide)

    def option(self, name: str) -> Any:
        """A threshold of the rule."""
        return self._options[name]

    def undecide(self, path: str) -> None:
        """Record that something could not be read."""
        self.undecided[path] = None


def resource_rule(
    rule_id: str, name: str, types: Sequence[str], **description: Any
) -> Callable[[Callable[[CheckedResource], Iterator[str]]], Rule]:
    """Make a rule of a function that looks at one resource; `description` are the other fields of `Rule`."""

    def made(function: Callable[[CheckedResource], Iterator[str]]) -> Rule:
        return Rule(id=rule_id, name=name, types=frozenset(types), of_resource=function, **description)

    return made


def stack_rule(
    rule_id: str, name: str, **description: Any
) -> Callable[[Callable[[CheckedStack], Iterator[tuple[str, str]]]], Rule]:
    """Make a rule of a function that looks at all resources of a stack; `description` are the other fields of `Rule`."""

    def made(function: Callable[[CheckedStack], Iterator[tuple[str, str]]]) -> Rule:
        return Rule(id=rule_id, name=name, of_stack=function, **description)

    return made


def rules_of(module: Any) -> list[Rule]:
    """All rules that a module defines, in order."""
    return [each for each in vars(module).values() if isinstance(each, Rule)]


def evaluate_resource(rule: Rule, seen: Seen, surroundings: StackRun, options: Mapping[str, Any]) -> list[Finding]:
    """Verdicts of a rule of resources on one resource."""
    if rule.of_resource is None or (rule.types and seen.type not in rule.types):
        return []
    case = CheckedResource(seen, surroundings, options)
    violations = [Finding(FindingKind.VIOLATION, seen.urn, text) for text in rule.of_resource(case)]
    return [*violations, *(_open(path, seen, surroundings) for path in case.undecided)]


def _open(path: str, seen: Seen, surroundings: StackRun) -> Finding:
    kind = FindingKind.DEFERRED if surroundings.may_defer(seen, path) else FindingKind.UNDECIDED
    return Finding(kind, seen.urn, path)
