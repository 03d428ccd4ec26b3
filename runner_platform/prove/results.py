"""Results of attempts: an attempt and its probe's answer become a result, which is right or wrong.

A refusal counts only if the failure is of one of the attempt's kinds and the attempt's control succeeded. Any other failure makes the
result BROKEN, which is never right.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runner_platform.prove.attempts import REFUSED, Attempt

if TYPE_CHECKING:
    from collections.abc import Iterable

BROKEN = "BROKEN: "
REFUSALS = frozenset({"AccessDenied", "InvalidIdentityToken", "ExpiredTokenException", "ExpiredToken"})
"""Error codes of an STS refusal. Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"""
SESSION = re.compile(r"arn:(?P<partition>[\w-]+):sts::(?P<account>\d{12}):assumed-role/(?P<role>[^/]+)/.+")
ROLE = re.compile(r"arn:[\w-]+:iam::(?P<account>\d{12}):role/(?:.*/)?(?P<role>[^/]+)")
Roles = Mapping[tuple[str, str], str]
"""Role ARNs by account id and role name."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer of a probe: an ARN, or an error with its kind."""

    arn: str = ""
    error: str = ""
    kind: str = ""

    @classmethod
    def of(cls, document: Mapping[str, str]) -> Answer:
        """Read the JSON object that a probe printed; unknown keys are ignored."""
        return cls(arn=document.get("arn", ""), error=document.get("error", ""), kind=document.get("kind", ""))


@dataclass(frozen=True, kw_only=True)
class Result:
    """Outcome of an attempt."""

    attempt: Attempt = field(repr=False)
    got: str
    """ARN of a role, REFUSED, or `BROKEN: ` and the reason why the attempt proves nothing."""
    cause: str = ""
    """The SDK's error message, if it was refused."""

    @property
    def ok(self) -> bool:
        """Whether the outcome is the expected one."""
        return self.got == self.attempt.expected

    def document(self) -> dict[str, object]:
        """Return the eight keys of `runner-platform prove --json`."""
        attempt = self.attempt
        return {
            "class": attempt.runner_class,
            "service_account": attempt.caller,
            "profile": attempt.profile,
            "sdk": attempt.sdk.value,
            "way": attempt.way.value,
            "expected": attempt.expected,
            "got": self.got,
            "ok": self.ok,
        }


def roles_in(attempts: Iterable[Attempt]) -> dict[tuple[str, str], str]:
    """Collect the ARNs of all roles in attempts by account id and role name, because a session's ARN lacks the path."""
    roles = {}
    for attempt in attempts:
        for arn in (attempt.expected, *re.findall(r"role_arn = (\S+)", attempt.identity.profiles)):
            if parts := ROLE.fullmatch(arn):
                roles[parts["account"], parts["role"]] = arn
    return roles


def role_of(session: str, roles: Roles) -> str:
    """Return the ARN of a session's role: without the path if `roles` lacks it, unchanged if it is not a session's ARN."""
    parts = SESSION.fullmatch(session)
    if parts is None:
        return session
    without_path = f"arn:{parts['partition']}:iam::{parts['account']}:role/{parts['role']}"
    return roles.get((parts["account"], parts["role"]), without_path)


def result_of(attempt: Attempt, answer: Answer, roles: Roles) -> Result:
    """Turn an answer into a result, without regard to the control."""
    if answer.arn:
        return Result(attempt=attempt, got=role_of(answer.arn, roles))
    kinds = attempt.refusal_kinds if attempt.expected == REFUSED else REFUSALS
    got = REFUSED if answer.kind in kinds else BROKEN + (answer.error or "no answer")
    return Result(attempt=attempt, got=got, cause=answer.error)


def broken(attempts: Iterable[Attempt], reason: str) -> list[Result]:
    """Return results of attempts that could not be made."""
    return [Result(attempt=attempt, got=BROKEN + reason) for attempt in attempts]


def with_controls(results: Iterable[Result]) -> list[Result]:
    """Mark refusals as BROKEN if their control did not succeed."""
    results = list(results)
    succeeded = {result.attempt.key for result in results if result.ok}
    return [
        replace(result, got=f"{BROKEN}its control ({' '.join(result.attempt.control)}) failed too")
        if result.got == REFUSED and result.attempt.control is not None and result.attempt.control not in succeeded
        else result
        for result in results
    ]
