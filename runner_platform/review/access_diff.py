"""Who gains and who loses between two matrices, by which chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from access.decision import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from access.matrix import Cell

RANK = {Decision.DENIED: 0, Decision.UNDECIDED: 1, Decision.ALLOWED: 2}


@dataclass(frozen=True, kw_only=True)
class Change:
    """A cell whose answer changes."""

    principal: str
    account: str
    role: str
    before: Decision
    after: Decision
    chain: tuple[str, ...]
    """The way that opens, or the one that closes."""

    @property
    def gains(self) -> bool:
        """Whether there is more reach than before."""
        return RANK[self.after] > RANK[self.before]


def changes(before: Iterable[Cell], after: Iterable[Cell]) -> list[Change]:
    """Changes between two matrices, gains first; a principal or a role that is not there reaches nothing."""
    old = {(each.principal, each.role): each for each in before}
    new = {(each.principal, each.role): each for each in after}
    found = []
    for place in sorted({*old, *new}):
        one, other = old.get(place), new.get(place)
        was, is_now = (each.decision if each else Decision.DENIED for each in (one, other))
        if was is is_now:
            continue
        told = other if other is not None and RANK[is_now] > RANK[was] else one
        assert told is not None  # noqa: S101  # one of both has an answer above DENIED
        found.append(
            Change(principal=place[0], account=told.account, role=place[1], before=was, after=is_now, chain=told.chain)
        )
    return sorted(found, key=lambda each: not each.gains)
