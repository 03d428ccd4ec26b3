"""Patterns with `*` and `?`: whether a text matches, and witnesses: texts that show how several patterns can match together.

"Is there any request that is allowed?" needs only as many texts as there are different combinations of matching patterns. A walk over what
the patterns still expect finds the shortest text for each combination.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MOST_STATES = 20_000
"""The walk gives up after this many states, far above what real documents need."""
OTHER_CHARACTERS = "xyzabcdefghijklmnopqrstuvw0123456789_~"
"""Stand for every character that no pattern expects at a position."""

State = tuple[frozenset[int], ...]
"""For each pattern, the positions in it that may come next."""


@lru_cache(maxsize=65536)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = (".*" if part == "*" else "." if part == "?" else re.escape(part) for part in re.split(r"([*?])", pattern))
    return re.compile("".join(parts), re.DOTALL)


def matches(pattern: str, text: str) -> bool:
    """Whether a pattern matches a whole text, with case. `*` is any number of characters, `?` exactly one."""
    return pattern == text or (is_pattern(pattern) and _expression(pattern).fullmatch(text) is not None)


def is_pattern(text: str) -> bool:
    """Whether a text has a wildcard."""
    return "*" in text or "?" in text


def witnesses(patterns: Iterable[str], within: str = "*", characters: str = "") -> tuple[str, ...] | None:
    """Return the shortest texts that match `within`, one for each possible set of matching patterns.

    Args:
        patterns: the patterns to tell apart.
        within: pattern of all texts.
        characters: expression of a character that the texts may have; empty for any.

    Returns:
        the texts, in order of length; None if there are too many states to walk.
    """
    return _witnesses(
        tuple(sorted({pattern for pattern in patterns if not apart(pattern, within)})), within, characters
    )


def apart(first: str, second: str) -> bool:
    """Whether two patterns exclude each other by their literal beginning or end. False proves nothing."""
    for (text, is_whole), (other_text, other_is_whole) in zip(_ends(first), _ends(second), strict=True):
        if not (text.startswith(other_text) or other_text.startswith(text)):
            return True
        if (is_whole and len(other_text) > len(text)) or (other_is_whole and len(text) > len(other_text)):
            return True
    return False


@lru_cache(maxsize=65536)
def _ends(pattern: str) -> tuple[tuple[str, bool], tuple[str, bool]]:
    """Return `(literal prefix, is_literal)` and `(reversed literal suffix, is_literal)`."""
    parts = re.split(r"[*?]", pattern)
    return (parts[0], len(parts) == 1), (parts[-1][::-1], len(parts) == 1)


@lru_cache(maxsize=65536)
def _witnesses(patterns: tuple[str, ...], within: str, characters: str) -> tuple[str, ...] | None:
    all_patterns = (within, *patterns)
    seen_matches: set[tuple[bool, ...]] = set()
    texts: list[str] = []
    start: State = tuple(_skip_stars(pattern, {0}) for pattern in all_patterns)
    seen_states, waiting = {start}, deque([(start, "")])
    while waiting:
        state, text = waiting.popleft()
        matching = tuple(len(pattern) in places for pattern, places in zip(all_patterns, state, strict=True))
        if matching[0] and matching not in seen_matches:
            seen_matches.add(matching)
            texts.append(text)
        for character in _next_characters(all_patterns, state):
            if characters and re.fullmatch(characters, character) is None:
                continue
            following = tuple(_advance(p, places, character) for p, places in zip(all_patterns, state, strict=True))
            if following[0] and following not in seen_states:
                if len(seen_states) >= MOST_STATES:
                    return None
                seen_states.add(following)
                waiting.append((following, text + character))
    return tuple(texts)


def _skip_stars(pattern: str, places: set[int]) -> frozenset[int]:
    # A star may match nothing, so the position after it may come next as well.
    todo = list(places)
    while todo:
        place = todo.pop()
        if place < len(pattern) and pattern[place] == "*" and place + 1 not in places:
            places.add(place + 1)
            todo.append(place + 1)
    return frozenset(places)


def _advance(pattern: str, places: frozenset[int], character: str) -> frozenset[int]:
    following: set[int] = set()
    for place in places:
        if place < len(pattern):
            expected = pattern[place]
            if expected == "*":
                following.add(place)
            elif expected in ("?", character):
                following.add(place + 1)
    return _skip_stars(pattern, following)


def _next_characters(patterns: Sequence[str], state: State) -> Iterator[str]:
    expected = {
        pattern[place]
        for pattern, places in zip(patterns, state, strict=True)
        for place in places
        if place < len(pattern)
    }
    yield from sorted(expected - {"*", "?"})
    if expected & {"*", "?"}:
        yield next(character for character in OTHER_CHARACTERS if character not in expected)
