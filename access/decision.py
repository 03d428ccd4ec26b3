"""Answers in three values: yes, no, and what could not be decided, with words.

Owns the logic of three values (Kleene's) and the rows of the access matrix. Leaves out documents: nothing here reads one. An undecided
value carries its reason, so that whoever asks learns what was not understood; it never turns into yes or no by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Decision(StrEnum):
    """Whether there is any request of a principal that is allowed."""

    ALLOWED = "ALLOWED"
    DENIED = "DENIED"
    UNDECIDED = "UNDECIDED"


@dataclass(frozen=True)
class Undecided:
    """Neither yes nor no."""

    reason: str
    """What was not understood, in words."""

    def __bool__(self) -> bool:
        raise TypeError("an undecided truth is neither true nor false; use every(), some() or opposite()")


Truth = bool | Undecided


def every(truths: Iterable[Truth]) -> Truth:
    """Yes if all are yes, no if any is no, else the first that is undecided."""
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if result is True:
            result = truth
    return result


def some(truths: Iterable[Truth]) -> Truth:
    """Yes if any is yes, no if all are no, else the first that is undecided."""
    result: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if result is False:
            result = truth
    return result


def opposite(truth: Truth) -> Truth:
    """Yes for no, no for yes; undecided stays undecided."""
    return truth if isinstance(truth, Undecided) else not truth


def decision_of(truth: Truth) -> Decision:
    """The answer that a truth is."""
    if isinstance(truth, Undecided):
        return Decision.UNDECIDED
    return Decision.ALLOWED if truth else Decision.DENIED
