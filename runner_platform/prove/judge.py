"""What an answer means: an attempt and its answer make a cell.

A refusal counts only for one of the attempt's reasons, and only if its control came through; anything else is BROKEN, which is never
right.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from runner_platform.prove.model import REFUSED, Cell

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform.prove.model import Answer, Attempt

BROKEN = "BROKEN: "
REFUSALS = frozenset({"AccessDenied", "InvalidIdentityToken", "ExpiredTokenException", "ExpiredToken"})
"""Codes by which STS says no. Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""
SESSION = re.compile(r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")
ROLE = re.compile(r"arn:[\w-]+:iam::(?P<account>\d{12}):role/(?:.*/)?(?P<role>[^/]+)")


def known_roles(attempts: Iterable[Attempt]) -> dict[tuple[str, str], str]:
    """ARNs of every role that attempts name, by account id and role name: a session's ARN has no path."""
    found = {}
    for attempt in attempts:
        for arn in (attempt.expected, *re.findall(r"role_arn = (\S+)", attempt.identity.profiles)):
            if parts := ROLE.fullmatch(arn):
                found[parts["account"], parts["role"]] = arn
    return found


def role_of(session: str, known: Mapping[tuple[str, str], str]) -> str:
    """ARN of the role behind a session's ARN; without the path where nobody named the role, as it is where it is no session."""
    parts = SESSION.fullmatch(session)
    if parts is None:
        return session
    unknown = f"arn:{parts['partition']}:iam::{parts['account']}:role/{parts['role']}"
    return known.get((parts["account"], parts["role"]), unknown)


def judged(attempt: Attempt, answer: Answer, known: Mapping[tuple[str, str], str]) -> Cell:
    """The cell of an answer, before its control is looked at."""
    if answer.arn:
        return Cell(attempt=attempt, got=role_of(answer.arn, known))
    counts = attempt.reasons if attempt.expected == REFUSED else REFUSALS
    got = REFUSED if answer.kind in counts else BROKEN + (answer.error or "no answer")
    return Cell(attempt=attempt, got=got, cause=answer.error)


def with_controls(cells: Iterable[Cell]) -> list[Cell]:
    """The cells, where a refusal whose control did not come through proves nothing."""
    cells = list(cells)
    fine = {cell.attempt.key for cell in cells if cell.ok}
    return [
        replace(cell, got=f"{BROKEN}its control, {' '.join(cell.attempt.control)}, fails too")
        if cell.got == REFUSED and cell.attempt.control is not None and cell.attempt.control not in fine
        else cell
        for cell in cells
    ]
