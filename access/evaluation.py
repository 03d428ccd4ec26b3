"""May a caller take an action: identity policies, the trust of a role, boundary, session policies and service control policies together.

Owns the evaluation within an account and across accounts, as existence: is there any request of this caller that is allowed. Within an
account a trust that names the caller itself is enough, one that names the account leaves it to the identity policies; across accounts both
sides must allow. An explicit Deny anywhere wins.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from access import globs
from access.callers import PossibleRequests, Request, means
from access.conditions import holds
from access.decision import Truth, Undecided, every, opposite, some
from access.policy_documents import ALLOW, DENY, normalise, without_variables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from access.callers import Caller, Choice
    from access.conditions import Values
    from access.policy_documents import Document, Statement

ASSUME, WEB_IDENTITY, TAG_SESSION = "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:TagSession"
EVERYTHING = normalise({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


@dataclass(frozen=True, kw_only=True)
class Rights:
    """What a caller's own side says."""

    policies: Sequence[Document | Undecided] = ()
    """Identity policies: one of them must allow."""
    limits: Sequence[Sequence[Document | Undecided]] = ()
    """Boundary, session policies, each level of service control policies: of each one document must allow."""

    def statements(self, *, limits: bool = True) -> Iterable[Statement]:
        """All statements that could be read, those of limits only if wanted."""
        for document in chain(self.policies, *(self.limits if limits else ())):
            if not isinstance(document, Undecided):
                yield from document

    def allow(self, action: str, resource: str, request: Request) -> Truth:
        """Whether identity policies and all limits allow, explicit denials apart."""
        return every((_allowed(self.policies, action, resource, request), self.within(action, resource, request)))

    def within(self, action: str, resource: str, request: Request) -> Truth:
        """Whether all limits allow."""
        return every(_allowed(limit, action, resource, request) for limit in self.limits)

    def deny(self, action: str, resource: str, request: Request) -> Truth:
        """Whether any document denies; one that could not be read might."""
        return some(_denied(document, action, resource, request) for document in chain(self.policies, *self.limits))


def may(
    caller: Caller,
    rights: Rights,
    action: str,
    resource: str,
    given: Mapping[str, Values] | None = None,
    free: Mapping[str, Choice] | None = None,
) -> Truth:
    """Whether a caller may take an action on a resource of its own account by its own policies.

    Args:
        caller: who calls.
        rights: the caller's own side.
        action: such as `iam:PutRolePolicy`.
        resource: ARN.
        given: condition keys of this action.
        free: condition keys of this action that the caller chooses.
    """
    relevant = [each for each in rights.statements() if each.covers_action(action) is not False]
    universe = PossibleRequests({**caller.given, **(given or {})}, {**caller.free, **(free or {})}, caller.patterns)

    def allowed(request: Request) -> Truth:
        return every((opposite(rights.deny(action, resource, request)), rights.allow(action, resource, request)))

    return universe.any_request((condition for each in relevant for condition in each.conditions), allowed)


def may_somewhere(
    caller: Caller,
    rights: Rights,
    action: str,
    given: Mapping[str, Values] | None = None,
    free: Mapping[str, Choice] | None = None,
) -> Truth:
    """Whether there is any resource on which a caller may take an action."""
    found = places(rights, action)
    if isinstance(found, Undecided):
        return found
    return some(may(caller, rights, action, resource, given, free) for resource in found)


def places(rights: Rights, action: str, within: str = "*") -> tuple[str, ...] | Undecided:
    """Resources that show every way in which the statements about an action can cover one.

    Args:
        rights: whose statements.
        action: what is asked about.
        within: pattern of the resources in question.
    """
    patterns = {
        without_variables(pattern)
        for statement in rights.statements()
        if statement.covers_action(action) is not False
        for pattern in (*statement.resources, *statement.not_resources)
        if isinstance(pattern, str)
    }
    found = globs.witnesses(patterns, within)
    return Undecided(f"there are too many resources to try {action} on") if found is None else found


@dataclass(frozen=True, kw_only=True)
class TargetRole:
    """A role as somebody who wants to become it sees it."""

    arn: str
    account: str
    trust: Document | Undecided
    provider: str = ""
    """ARN of the provider, in the role's account, of the caller's issuer; empty where there is none that takes the token."""
    given: Mapping[str, Values] = field(default_factory=dict)
    """Condition keys about the role."""


def may_assume(caller: Caller, rights: Rights, role: TargetRole) -> Truth:
    """Whether there is any request by which a caller becomes a role."""
    action = WEB_IDENTITY if caller.issuer else ASSUME
    if isinstance(role.trust, Undecided):
        asks = caller.account in ("", role.account) or may(caller, rights, action, role.arn, role.given)
        return every((asks, role.trust))
    own = () if caller.issuer or caller.service else rights.statements()
    relevant = [s for s in (*role.trust, *own) if some(s.covers_action(a) for a in (action, TAG_SESSION)) is not False]
    conditions = [condition for each in relevant for condition in each.conditions]
    universe = PossibleRequests({**caller.given, **role.given}, caller.free, caller.patterns)

    def allowed(request: Request) -> Truth:
        actions = (action, TAG_SESSION) if request.tagged else (action,)
        return every(_becomes(caller, rights, role, each, request) for each in actions)

    return universe.any_request(conditions, allowed)


def _becomes(caller: Caller, rights: Rights, role: TargetRole, action: str, request: Request) -> Truth:
    itself, account, refused = _by_trust(caller, role, action, request)
    if not caller.account:
        return every((opposite(refused), itself))
    refused = some((refused, rights.deny(action, role.arn, request)))
    trusted = some((itself, account))
    if refused is True or trusted is False:
        return False
    by_identity = every((trusted, rights.allow(action, role.arn, request)))
    if caller.account == role.account:
        by_identity = some((by_identity, every((itself, rights.within(action, role.arn, request)))))
    return every((opposite(refused), by_identity))


def _by_trust(caller: Caller, role: TargetRole, action: str, request: Request) -> tuple[Truth, Truth, Truth]:
    """Whether the trust allows the caller itself, its whole account, and whether it refuses it."""
    assert not isinstance(role.trust, Undecided)  # noqa: S101  # asked before
    itself, account, refused = [], [], []
    for statement in role.trust:
        one, all_of_account = means(statement, caller, role.provider)
        if one is False and all_of_account is False:
            continue
        applies = _applies(statement, action, role.arn, request)
        if statement.effect == DENY:
            refused.append(every((some((one, all_of_account)), applies)))
        else:
            itself.append(every((one, applies)))
            account.append(every((all_of_account, applies)))
    return some(itself), some(account), some(refused)


def _allowed(documents: Iterable[Document | Undecided], action: str, resource: str, request: Request) -> Truth:
    return some(_says(document, ALLOW, action, resource, request) for document in documents)


def _denied(document: Document | Undecided, action: str, resource: str, request: Request) -> Truth:
    return _says(document, DENY, action, resource, request)


def _says(document: Document | Undecided, effect: str, action: str, resource: str, request: Request) -> Truth:
    if isinstance(document, Undecided):
        return document
    return some(_applies(each, action, resource, request) for each in document if each.effect == effect)


def _applies(statement: Statement, action: str, resource: str, request: Request) -> Truth:
    covered = every((statement.covers_action(action), statement.covers_resource(resource)))
    if covered is False or not statement.conditions:
        return covered
    return every((covered, *(holds(condition, request) for condition in statement.conditions)))
