"""Policy documents in one shape, from every legal spelling.

`normalise` reads a document. Element names and condition keys have no case; a single value may stand for a list of one, a single statement
for a list of one, and `"*"` for `{"AWS": "*"}`. If a text is not a document, the result is `Undecided` with the reason, never an exception.
A statement also says which actions and resources it covers. Conditions: `conditions`; principals: `callers`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from access import globs
from access.decision import Truth, Undecided, opposite, some
from access.resource import UNKNOWN, Unknown, from_wire

Leaf = str | Unknown
"""A text of a document, or an unknown value."""
ALLOW, DENY = "Allow", "Deny"
ARN_PARTS = 6
WITH_VARIABLES = "2012-10-17"
"""Version of the documents that have variables."""


class Principal(NamedTuple):
    """One principal of a statement."""

    kind: str
    """`AWS`, `Federated`, `Service` or `CanonicalUser`."""
    value: Leaf


class Condition(NamedTuple):
    """One key of one operator. All conditions of a statement must hold; of a condition's values one is enough."""

    operator: str
    """As spelled in the document, such as `StringEquals` or `ForAnyValue:StringLikeIfExists`."""
    key: str
    """In small letters: condition keys have no case."""
    values: tuple[Leaf, ...]


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement. An absent element is an empty tuple; IAM accepts no empty list."""

    effect: str
    """`Allow` or `Deny`."""
    actions: tuple[Leaf, ...] = ()
    not_actions: tuple[Leaf, ...] = ()
    resources: tuple[Leaf, ...] = ()
    not_resources: tuple[Leaf, ...] = ()
    principals: tuple[Principal, ...] = ()
    not_principals: tuple[Principal, ...] = ()
    conditions: tuple[Condition, ...] = ()
    sid: str = ""
    index: int = 0
    """Place in the document, from 0."""
    has_variables: bool = False
    """Whether a text has a policy variable, and the document is of the version in which that means something."""

    def covers_action(self, action: str) -> Truth:
        """Whether the statement covers an action, without case."""
        if action not in self._covered:
            self._covered[action] = self._covers_action(action)
        return self._covered[action]

    @cached_property
    def _covered(self) -> dict[str, Truth]:
        return {}  # the same dozen actions are evaluated for every caller and every resource

    def _covers_action(self, action: str) -> Truth:
        if self.not_actions:
            return opposite(some(_action_matches(pattern, action) for pattern in self.not_actions))
        return some(_action_matches(pattern, action) for pattern in self.actions)

    def covers_resource(self, arn: str) -> Truth:
        """Whether the statement covers a resource; a trust document names no resource and covers its own role."""
        if self.not_resources:
            return opposite(some(_resource_matches(pattern, arn) for pattern in self.not_resources))
        return some(_resource_matches(pattern, arn) for pattern in self.resources) if self.resources else True


Document = tuple[Statement, ...]
"""A whole document."""


class _UnreadableError(Exception):
    """A document cannot be read; never leaves this module."""


def normalise(document: str | Mapping[str, Any] | Unknown | None) -> Document | Undecided:
    """Return the statements of a document, or why it cannot be read."""
    if isinstance(document, str):
        return _of_text(document)
    try:
        return _document(document)
    except _UnreadableError as error:
        return Undecided(str(error))


@lru_cache(maxsize=16384)
def _of_text(text: str) -> Document | Undecided:
    if from_wire(text) is UNKNOWN:
        return normalise(UNKNOWN)
    try:
        return _document(json.loads(text, object_pairs_hook=_without_doubles))
    except (ValueError, RecursionError) as error:
        return Undecided(f"the document is not JSON: {error}")
    except _UnreadableError as error:
        return Undecided(str(error))


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Parsers disagree about which of two equal keys counts, and a reviewer must not guess.
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key occurs twice")
    return result


def _document(value: Any) -> Document:
    elements = _lowered(value, "the document")
    statements = elements.get("statement")
    if statements is UNKNOWN:
        raise _UnreadableError("the statements of the document are not known yet")
    if isinstance(statements, Mapping):
        statements = [statements]
    if not isinstance(statements, list | tuple):
        raise _UnreadableError("the document has no statements")
    variables = elements.get("version") == WITH_VARIABLES
    return tuple(_statement(statement, index, variables=variables) for index, statement in enumerate(statements))


def _statement(value: Any, index: int, *, variables: bool) -> Statement:
    place = f"statement {index}"
    elements = _lowered(value, place)
    strange = sorted(set(elements) - set(ELEMENTS))
    if strange:
        raise _UnreadableError(f"{place} has an element {strange[0]!r}, which policy documents do not have")
    effect = str(elements.get("effect")).capitalize()
    if effect not in (ALLOW, DENY):
        raise _UnreadableError(f"the effect of {place} is neither Allow nor Deny")
    parts: dict[str, Any] = {
        field: read(elements[element], f"{element} of {place}")
        for element, (field, read) in ELEMENTS.items()
        if element in elements and read is not None
    }
    for name in ("actions", "resources", "principals"):
        if name in parts and f"not_{name}" in parts:
            raise _UnreadableError(f"{place} has {name} and not_{name} together")
    if "actions" not in parts and "not_actions" not in parts:
        raise _UnreadableError(f"{place} names no action")
    return Statement(
        effect=effect,
        sid=str(elements.get("sid", "")),
        index=index,
        has_variables=variables and _has_variables(parts),
        **parts,
    )


def _has_variables(parts: Mapping[str, Any]) -> bool:
    conditions = (value for condition in parts.get("conditions", ()) for value in condition.values)
    texts = (*parts.get("resources", ()), *parts.get("not_resources", ()), *conditions)
    return any(isinstance(text, str) and "${" in text for text in texts)


def _lowered(value: Any, place: str) -> dict[str, Any]:
    if value is UNKNOWN:
        raise _UnreadableError(f"{place} is not known yet")
    if not isinstance(value, Mapping):
        raise _UnreadableError(f"{place} is {_kind(value)}, not an object")
    result = {str(key).lower(): member for key, member in value.items()}
    if len(result) != len(value):
        raise _UnreadableError(f"{place} has a key twice, in different case")
    return result


def _leaves(value: Any, place: str) -> tuple[Leaf, ...]:
    """Return the texts of a value or a list; numbers and booleans as in JSON."""
    values: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise _UnreadableError(f"{place} is an empty list")
    return tuple(_leaf(member, place) for member in values)


def _leaf(value: Any, place: str) -> Leaf:
    if value is UNKNOWN or isinstance(value, str):
        return UNKNOWN if from_wire(value) is UNKNOWN else str(value)
    if isinstance(value, bool | int | float):
        return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)
    raise _UnreadableError(f"{place} contains {_kind(value)} where a text is expected")


def _principals(value: Any, place: str) -> tuple[Principal, ...]:
    if from_wire(value) is UNKNOWN or value == "*":
        return (Principal("AWS", from_wire(value)),)
    kinds = {kind.lower(): kind for kind in ("AWS", "Federated", "Service", "CanonicalUser")}
    elements = _lowered(value, place)
    strange = sorted(set(elements) - set(kinds))
    if strange or not elements:
        raise _UnreadableError(
            f"{place} has {f'a kind {strange[0]!r}, which policy documents do not have' if strange else 'no kind'}"
        )
    return tuple(Principal(kinds[kind], leaf) for kind, values in elements.items() for leaf in _leaves(values, place))


def _conditions(value: Any, place: str) -> tuple[Condition, ...]:
    return tuple(
        Condition(str(operator), key, _leaves(values, f"{operator} of {key} in {place}"))
        for operator, keys in _pairs(value, place)
        for key, values in _lowered(keys, f"{operator} in {place}").items()
    )


def _pairs(value: Any, place: str) -> list[tuple[str, Any]]:
    _lowered(value, place)
    return [(str(key), member) for key, member in value.items()]


ELEMENTS: dict[str, tuple[str, Callable[[Any, str], Any] | None]] = {
    "sid": ("sid", None),
    "effect": ("effect", None),
    "action": ("actions", _leaves),
    "notaction": ("not_actions", _leaves),
    "resource": ("resources", _leaves),
    "notresource": ("not_resources", _leaves),
    "principal": ("principals", _principals),
    "notprincipal": ("not_principals", _principals),
    "condition": ("conditions", _conditions),
}
"""Field and reader of each element of a statement, by the element's name in small letters."""


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a text", bool: "a boolean", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "something else")


def _action_matches(pattern: Leaf, action: str) -> Truth:
    if isinstance(pattern, Unknown):
        return Undecided("an action is not known yet")
    return globs.matches(pattern.lower(), action.lower())


def _resource_matches(pattern: Leaf, arn: str) -> Truth:
    """Whether a pattern matches an ARN. Wildcards are meant within one part, so a match across a colon is undecided."""
    if isinstance(pattern, Unknown):
        return Undecided("a resource is not known yet")
    if pattern == "*":
        return True
    if "${" in pattern:
        return (
            Undecided(f"the resource {pattern} contains a policy variable")
            if globs.matches(without_variables(pattern), arn)
            else False
        )
    if not globs.matches(pattern, arn):
        return False
    parts, arn_parts = pattern.split(":", ARN_PARTS - 1), arn.split(":", ARN_PARTS - 1)
    if len(parts) == len(arn_parts) and all(map(globs.matches, parts, arn_parts)):
        return True
    return Undecided(f"the resource {pattern} has a wildcard that matches across a colon")


def without_variables(text: str) -> str:
    """Replace each policy variable by a star: the pattern matches at least everything that the text can mean."""
    parts = text.split("${")
    return parts[0] + "".join(f"*{part.partition('}')[2]}" for part in parts[1:])
