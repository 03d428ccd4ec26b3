"""Decisions in three values: yes, no, and undecided with a reason.

This is Kleene's logic of three values. An undecided value keeps its reason, so that a person learns what could not be evaluated; it never
turns into yes or no by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Decision(StrEnum):
    """Whether some request of a principal is allowed."""

    ALLOWED = "ALLOWED"
    DENIED = "DENIED"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class Undecided:
    """Neither yes nor no."""

    reason: str
    """What could not be evaluated, in words."""

    def __bool__(self) -> bool:
        raise TypeError("an undecided truth is neither true nor false; use every(), some() or opposite()")


Truth = bool | Undecided


def every(truths: Iterable[Truth]) -> Truth:
    """Return True if all are true, False if any is false, else the first undecided value."""
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if result is True:
            result = truth
    return result


def some(truths: Iterable[Truth]) -> Truth:
    """Return True if any is true, False if all are false, else the first undecided value."""
    result: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if result is False:
            result = truth
    return result


def opposite(truth: Truth) -> Truth:
    """Return the negation; undecided stays undecided."""
    return truth if isinstance(truth, Undecided) else not truth


def decision_of(truth: Truth) -> Decision:
    """Return a truth as a decision."""
    if isinstance(truth, Undecided):
        return Decision.UNDECIDED
    return Decision.ALLOWED if truth else Decision.DENIED
