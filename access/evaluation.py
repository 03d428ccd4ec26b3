"""Evaluation: may a caller take an action, by identity policies, trust, boundary, session policies and service control policies together.

The question is always whether some request of the caller is allowed, within an account or across accounts. Within an account, a trust that
names the caller itself is enough; a trust that names the account leaves the decision to the identity policies. Across accounts both sides
must allow. An explicit Deny always wins.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from access import globs
from access.callers import PossibleRequests, Request, names_caller
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
class Permissions:
    """The documents on a caller's own side."""

    policies: Sequence[Document | Undecided] = ()
    """Identity policies: one of them must allow."""
    limits: Sequence[Sequence[Document | Undecided]] = ()
    """Boundary, session policies, each level of service control policies: of every limit one document must allow."""

    def statements(self, *, limits: bool = True) -> Iterable[Statement]:
        """Yield all readable statements, with or without those of limits."""
        for document in chain(self.policies, *(self.limits if limits else ())):
            if not isinstance(document, Undecided):
                yield from document

    def allow(self, action: str, resource: str, request: Request) -> Truth:
        """Whether identity policies and all limits allow, apart from explicit denials."""
        return every((_allowed(self.policies, action, resource, request), self.within(action, resource, request)))

    def within(self, action: str, resource: str, request: Request) -> Truth:
        """Whether all limits allow."""
        return every(_allowed(limit, action, resource, request) for limit in self.limits)

    def deny(self, action: str, resource: str, request: Request) -> Truth:
        """Whether any document denies; an unreadable document is undecided."""
        documents = chain(self.policies, *self.limits)
        return some(_has_effect(document, DENY, action, resource, request) for document in documents)


def is_allowed(
    caller: Caller,
    permissions: Permissions,
    action: str,
    resource: str,
    keys: Mapping[str, Values] | None = None,
    choices: Mapping[str, Choice] | None = None,
) -> Truth:
    """Whether a caller's own policies allow an action on a resource of the same account.

    Args:
        caller: the caller.
        permissions: the caller's own side.
        action: such as `iam:PutRolePolicy`.
        resource: ARN.
        keys: condition keys of this action with fixed values.
        choices: condition keys of this action that the caller chooses.
    """
    relevant = [statement for statement in permissions.statements() if statement.covers_action(action) is not False]
    requests = PossibleRequests({**caller.keys, **(keys or {})}, {**caller.choices, **(choices or {})}, caller.patterns)

    def allowed(request: Request) -> Truth:
        denied = permissions.deny(action, resource, request)
        return every((opposite(denied), permissions.allow(action, resource, request)))

    return requests.any_allowed((c for statement in relevant for c in statement.conditions), allowed)


def is_allowed_anywhere(
    caller: Caller,
    permissions: Permissions,
    action: str,
    keys: Mapping[str, Values] | None = None,
    choices: Mapping[str, Choice] | None = None,
) -> Truth:
    """Whether a caller may take an action on some resource."""
    resources = witness_resources(permissions, action)
    if isinstance(resources, Undecided):
        return resources
    return some(is_allowed(caller, permissions, action, resource, keys, choices) for resource in resources)


def witness_resources(permissions: Permissions, action: str, within: str = "*") -> tuple[str, ...] | Undecided:
    """Return one resource for every way in which the statements about an action can cover a resource.

    Args:
        permissions: the documents with the statements.
        action: the action.
        within: pattern of the resources in question.
    """
    patterns = {
        without_variables(pattern)
        for statement in permissions.statements()
        if statement.covers_action(action) is not False
        for pattern in (*statement.resources, *statement.not_resources)
        if isinstance(pattern, str)
    }
    resources = globs.witnesses(patterns, within)
    return Undecided(f"there are too many resources to try {action} on") if resources is None else resources


@dataclass(frozen=True, kw_only=True)
class TargetRole:
    """A role that a caller wants to assume."""

    arn: str
    account: str
    trust: Document | Undecided
    provider: str = ""
    """ARN of the provider of the caller's issuer in the role's account; empty if no provider there takes the token."""
    keys: Mapping[str, Values] = field(default_factory=dict)
    """Condition keys of the role."""


def may_assume(caller: Caller, permissions: Permissions, role: TargetRole) -> Truth:
    """Whether some request lets a caller assume a role."""
    action = WEB_IDENTITY if caller.issuer else ASSUME
    if isinstance(role.trust, Undecided):
        permitted = caller.account in ("", role.account) or is_allowed(caller, permissions, action, role.arn, role.keys)
        return every((permitted, role.trust))
    own = () if caller.issuer or caller.service else permissions.statements()
    relevant = [s for s in (*role.trust, *own) if some(s.covers_action(a) for a in (action, TAG_SESSION)) is not False]
    conditions = [condition for statement in relevant for condition in statement.conditions]
    requests = PossibleRequests({**caller.keys, **role.keys}, caller.choices, caller.patterns)

    def allowed(request: Request) -> Truth:
        actions = (action, TAG_SESSION) if request.tagged else (action,)
        return every(_assumes(caller, permissions, role, needed, request) for needed in actions)

    return requests.any_allowed(conditions, allowed)


def _assumes(caller: Caller, permissions: Permissions, role: TargetRole, action: str, request: Request) -> Truth:
    itself, account, denied = _by_trust(caller, role, action, request)
    if not caller.account:
        return every((opposite(denied), itself))
    denied = some((denied, permissions.deny(action, role.arn, request)))
    trusted = some((itself, account))
    if denied is True or trusted is False:
        return False
    allowed = every((trusted, permissions.allow(action, role.arn, request)))
    if caller.account == role.account:
        allowed = some((allowed, every((itself, permissions.within(action, role.arn, request)))))
    return every((opposite(denied), allowed))


def _by_trust(caller: Caller, role: TargetRole, action: str, request: Request) -> tuple[Truth, Truth, Truth]:
    """Whether the trust `(allows the caller itself, allows its whole account, denies the caller)`."""
    assert not isinstance(role.trust, Undecided)  # noqa: S101  # may_assume has checked
    itself, account, denied = [], [], []
    for statement in role.trust:
        names_itself, names_account = names_caller(statement, caller, role.provider)
        if names_itself is False and names_account is False:
            continue
        applies = _applies(statement, action, role.arn, request)
        if statement.effect == DENY:
            denied.append(every((some((names_itself, names_account)), applies)))
        else:
            itself.append(every((names_itself, applies)))
            account.append(every((names_account, applies)))
    return some(itself), some(account), some(denied)


def _allowed(documents: Iterable[Document | Undecided], action: str, resource: str, request: Request) -> Truth:
    return some(_has_effect(document, ALLOW, action, resource, request) for document in documents)


def _has_effect(document: Document | Undecided, effect: str, action: str, resource: str, request: Request) -> Truth:
    if isinstance(document, Undecided):
        return document
    return some(_applies(s, action, resource, request) for s in document if s.effect == effect)


def _applies(statement: Statement, action: str, resource: str, request: Request) -> Truth:
    covered = every((statement.covers_action(action), statement.covers_resource(resource)))
    if covered is False or not statement.conditions:
        return covered
    return every((covered, *(holds(condition, request) for condition in statement.conditions)))
