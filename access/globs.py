"""Patterns with `*` and `?`: whether a text matches, and texts that show every way in which several patterns can match together.

Owns the finite universe behind "is there any request": of infinitely many texts only as many matter as there are different answers of all
patterns at once, and a walk over what the patterns still expect finds the shortest text for each.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_STATES = 20_000
"""Where the walk gives up: far above what real documents need."""
OTHER_CHARACTERS = "xyzabcdefghijklmnopqrstuvw0123456789_~"
"""Stand for every character that no pattern expects at a place."""

State = tuple[frozenset[int], ...]
"""For each pattern the places in it that may come next."""


@lru_cache(maxsize=65536)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether a whole text matches; with case. `*` is any number of characters, `?` exactly one."""
    return pattern == text or (is_pattern(pattern) and _expression(pattern).fullmatch(text) is not None)


def is_pattern(text: str) -> bool:
    """Whether a text has a wildcard."""
    return "*" in text or "?" in text


def witnesses(patterns: Iterable[str], within: str = "*") -> tuple[str, ...] | None:
    """Shortest texts that match `within`, one for each different set of patterns that a text can match at once.

    Returns:
        the texts, in order of length; None where there are too many to look at.
    """
    return _witnesses(tuple(sorted({each for each in patterns if not apart(each, within)})), within)


def apart(one: str, other: str) -> bool:
    """Whether two patterns begin or end so differently that no text matches both; False does not say that one does."""
    for (literal, whole), (its, also_whole) in zip(_ends(one), _ends(other), strict=True):
        if not (literal.startswith(its) or its.startswith(literal)):
            return True
        if (whole and len(its) > len(literal)) or (also_whole and len(literal) > len(its)):
            return True
    return False


@lru_cache(maxsize=65536)
def _ends(pattern: str) -> tuple[tuple[str, bool], tuple[str, bool]]:
    """Literal beginning and, reversed, literal end of a pattern; whether that is all of it."""
    parts = re.split(r"[*?]", pattern)
    return (parts[0], len(parts) == 1), (parts[-1][::-1], len(parts) == 1)


@lru_cache(maxsize=65536)
def _witnesses(patterns: tuple[str, ...], within: str) -> tuple[str, ...] | None:
    every = (within, *patterns)
    seen_answers: set[tuple[bool, ...]] = set()
    found: list[str] = []
    start: State = tuple(_closed(pattern, {0}) for pattern in every)
    seen, waiting = {start}, deque([(start, "")])
    while waiting:
        state, text = waiting.popleft()
        answers = tuple(len(pattern) in places for pattern, places in zip(every, state, strict=True))
        if answers[0] and answers not in seen_answers:
            seen_answers.add(answers)
            found.append(text)
        for character in _next_characters(every, state):
            following = tuple(_step(p, places, character) for p, places in zip(every, state, strict=True))
            if following[0] and following not in seen:
                if len(seen) >= MOST_STATES:
                    return None
                seen.add(following)
                waiting.append((following, text + character))
    return tuple(found)


def _closed(pattern: str, places: set[int]) -> frozenset[int]:
    # A star may match nothing, so what stands behind it may come next as well.
    todo = list(places)
    while todo:
        place = todo.pop()
        if place < len(pattern) and pattern[place] == "*" and place + 1 not in places:
            places.add(place + 1)
            todo.append(place + 1)
    return frozenset(places)


def _step(pattern: str, places: frozenset[int], character: str) -> frozenset[int]:
    following: set[int] = set()
    for place in places:
        if place < len(pattern):
            expected = pattern[place]
            if expected == "*":
                following.add(place)
            elif expected in ("?", character):
                following.add(place + 1)
    return _closed(pattern, following)


def _next_characters(patterns: Sequence[str], state: State) -> Iterator[str]:
    expected = {
        pattern[place]
        for pattern, places in zip(patterns, state, strict=True)
        for place in places
        if place < len(pattern)
    }
    literal = sorted(expected - {"*", "?"})
    yield from literal
    if expected & {"*", "?"}:
        yield next(each for each in OTHER_CHARACTERS if each not in expected)
