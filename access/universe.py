"""Requests: what a caller has under each condition key, and every request that matters when the caller may choose.

Owns the finite universe behind "is there any request that is allowed": for keys that the caller chooses it finds values that show every
way in which the conditions in question can turn out, and tries them together. Leaves out which keys a caller has (`callers`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from access import globs
from access.answers import Truth, Undecided, some
from access.conditions import operator_of
from access.documents import without_variables
from access.resources import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from access.conditions import Values
    from access.documents import Condition

MOST_REQUESTS = 4096
"""Where trying gives up: far above what real documents need."""
MOST_SUBSETS = 6
"""Of how many values every subset is tried, for keys that take several."""
TAGS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")
"""Keys that only a request with session tags has; it needs `sts:TagSession` too."""


@dataclass(frozen=True)
class Free:
    """A key whose value the caller chooses."""

    within: str = "*"
    """Pattern of all values that there can be."""
    outside: tuple[str, ...] = ()
    """Patterns of values that there are not: what others than this caller have."""
    optional: bool = True
    """Whether the caller may leave the key out."""
    several: bool = False
    """Whether the key takes several values."""
    unnamed: bool = False
    """Whether the value is none that a document names whole: somebody that nobody thought of."""


@dataclass(frozen=True)
class Request:
    """One request; `values` is what `conditions.holds` asks for."""

    given: Mapping[str, Values]
    """Values, or their absence, by key in small letters."""
    patterns: Mapping[str, Values] = field(default_factory=dict)
    """The same for all keys that match a pattern."""

    def values(self, key: str) -> Values:
        """What the request has under a key; undecided where nothing is known of it."""
        if key in self.given:
            return self.given[key]
        for pattern, values in self.patterns.items():
            if globs.matches(pattern, key):
                return values
        return Undecided(f"the condition key {key} is not known for this caller")

    @property
    def tagged(self) -> bool:
        """Whether it brings session tags."""
        return any(key.startswith(TAGS) and isinstance(values, tuple) for key, values in self.given.items())


@dataclass(frozen=True)
class Universe:
    """All requests that a caller can make."""

    given: Mapping[str, Values]
    free: Mapping[str, Free]
    """Keys that the caller chooses; one that ends in `/` stands for all that begin so."""
    patterns: Mapping[str, Values] = field(default_factory=dict)

    def any_request(self, conditions: Iterable[Condition], allowed: Callable[[Request], Truth]) -> Truth:
        """Whether there is a request for which `allowed` says yes.

        Args:
            conditions: all conditions that `allowed` looks at.
            allowed: the question.
        """
        by_key: dict[str, list[Condition]] = {}
        for condition in conditions:
            if condition.key not in self.given and self._free(condition.key) is not None:
                by_key.setdefault(condition.key, []).append(condition)
        choices: list[list[tuple[str, Values]]] = []
        count = 1
        for key, its in by_key.items():
            found = self._choices(key, its)
            if isinstance(found, Undecided):
                return found
            choices.append([(key, values) for values in found])
            count *= len(found)
        if count > MOST_REQUESTS:
            return Undecided(f"there are too many ways to choose {', '.join(sorted(by_key))}")
        return some(
            allowed(Request({**self.given, **dict(chosen)} if chosen else self.given, self.patterns))
            for chosen in itertools.product(*choices)
        )

    def _free(self, key: str) -> Free | None:
        if key in self.free:
            return self.free[key]
        return next((free for start, free in self.free.items() if start.endswith("/") and key.startswith(start)), None)

    def _choices(self, key: str, conditions: Sequence[Condition]) -> list[Values] | Undecided:
        free = self._free(key)
        assert free is not None  # noqa: S101  # the caller has asked
        single = _texts(free, conditions)
        if single is None:
            return Undecided(f"there are too many ways to choose {key}")
        absent: list[Values] = [None] if free.optional else []
        if not free.several:
            return [*absent, *((text,) for text in single)]
        if len(single) > MOST_SUBSETS:
            return Undecided(f"there are too many ways to choose {key}")
        sizes = range(1, len(single) + 1)
        return [*absent, *(chosen for size in sizes for chosen in itertools.combinations(single, size))]


def _texts(free: Free, conditions: Sequence[Condition]) -> list[str] | None:
    """Texts that show every way in which conditions on one key can turn out; None where there are too many."""
    patterns, literals, textual = set[str](), set[str](), False
    for condition in conditions:
        operator = operator_of(condition.operator)
        if isinstance(operator, Undecided):
            continue
        textual = textual or operator.textual
        for value in condition.values:
            if not isinstance(value, Unknown):
                text = without_variables(value)
                (patterns if operator.patterns and globs.is_pattern(text) else literals).add(text)
    plain = {each for each in literals if not globs.is_pattern(each)}
    shown = _shown(patterns | plain, free) if textual or not literals else ()
    if shown is None:
        return None
    never = (*free.outside, *(plain if free.unnamed else ()))
    candidates = dict.fromkeys([*shown, *(near for each in sorted(literals) for near in _near(each))])
    return [
        each
        for each in candidates
        if globs.matches(free.within, each) and not any(globs.matches(pattern, each) for pattern in never)
    ]


def _shown(patterns: set[str], free: Free) -> tuple[str, ...] | None:
    """Witnesses of patterns, among them one that nobody else has for each way in which there is one; None where there are too many.

    What others have is walked only where a witness met it: of a thousand service accounts a trust names one.
    """
    met: set[str] = set()
    while True:
        shown = globs.witnesses(patterns | met, free.within)
        new = [each for each in shown or () if not any(globs.matches(pattern, each) for pattern in met)]
        further = {pattern for pattern in free.outside if any(globs.matches(pattern, each) for each in new)}
        if not further:
            return shown
        met |= further


def _near(literal: str) -> list[str]:
    """A literal and its neighbours: other numbers, earlier and later dates, the other truth value."""
    if literal.lower() in ("true", "false"):
        return ["true", "false"]
    if literal.removeprefix("-").isdecimal():
        return [str(int(literal) - 1), literal, str(int(literal) + 1)]
    try:
        datetime.fromisoformat(literal)
    except ValueError:
        return [literal]
    return ["1970-01-01T00:00:00Z", literal, "9999-12-31T00:00:00Z"]
