"""Evaluation: may a caller take an action, by identity policies, trust, boundary, session policies and service control policies together.

The question is always whether some request of the caller is allowed, within an account or across accounts. Within an account, a trust that
names the caller itself is enough: if it names a session, no boundary limits it; if it names the role, the boundary must allow. A trust that
names the account leaves the decision to the identity policies. Across accounts both sides must allow. An explicit Deny always wins.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.callers import PossibleRequests, Request, naming_of, session_names
from access.conditions import holds
from access.decision import Truth, Undecided, every, opposite, some
from access.policy_documents import ALLOW, DENY, normalise, without_variables
from access.policy_variables import filled

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from access.callers import Caller, Choice
    from access.conditions import Values
    from access.policy_documents import Document, Statement

ASSUME, WEB_IDENTITY, TAG_SESSION = "sts:AssumeRole", "sts:AssumeRoleWithWebIdentity", "sts:TagSession"
LISTS_ARNS = frozenset({"arnequals", "arnlike", "stringequals", "stringlike"})
EVERYTHING = normalise({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})


@dataclass(frozen=True, kw_only=True)
class Permissions:
    """The documents on a caller's own side."""

    policies: Sequence[Document | Undecided] = ()
    """Identity policies: one of them must allow."""
    limits: Sequence[Sequence[Document | Undecided]] = ()
    """Boundary and session policies: of every limit one document must allow."""
    organization: Sequence[Sequence[Document | Undecided]] = ()
    """Each level of service control policies, whatever else allows: of every level one document must allow."""

    def statements(self, *, limits: bool = True) -> Iterable[Statement]:
        """Yield all readable statements, with or without those of limits."""
        for document in chain(self.policies, *((*self.limits, *self.organization) if limits else ())):
            if not isinstance(document, Undecided):
                yield from document

    def filled(self, requests: PossibleRequests) -> Permissions:
        """Return the same with the variables that have a fixed value filled in."""
        if not any(statement.has_variables for statement in self.statements()):
            return self

        def documents(originals: Iterable[Document | Undecided]) -> list[Document | Undecided]:
            return [filled(document, requests.fixed) for document in originals]

        return Permissions(
            policies=documents(self.policies),
            limits=[documents(limit) for limit in self.limits],
            organization=[documents(level) for level in self.organization],
        )

    def allow(self, action: str, resource: str, request: Request) -> Truth:
        """Whether identity policies and all limits allow, apart from explicit denials."""
        return every((_allowed(self.policies, action, resource, request), self.within(action, resource, request)))

    def within(self, action: str, resource: str, request: Request) -> Truth:
        """Whether all limits and the organisation allow."""
        limits = every(_allowed(limit, action, resource, request) for limit in self.limits)
        return every((limits, self.within_organization(action, resource, request)))

    def within_organization(self, action: str, resource: str, request: Request) -> Truth:
        """Whether all levels of the organisation allow."""
        return every(_allowed(level, action, resource, request) for level in self.organization)

    def deny(self, action: str, resource: str, request: Request) -> Truth:
        """Whether any document denies; an unreadable document is undecided."""
        documents = chain(self.policies, *self.limits, *self.organization)
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
    all_keys, all_choices = {**caller.keys, **(keys or {})}, {**caller.choices, **(choices or {})}
    requests = PossibleRequests(all_keys, all_choices, caller.patterns, caller.now)
    permissions = permissions.filled(requests)
    relevant = [statement for statement in permissions.statements() if statement.covers_action(action) is not False]

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
    choices: Mapping[str, Choice] = field(default_factory=dict)
    """Condition keys of the role that the caller may be able to change."""
    patterns: Mapping[str, Values] = field(default_factory=dict)
    """Values of all other condition keys that match a pattern."""


def may_assume(caller: Caller, permissions: Permissions, role: TargetRole) -> Truth:
    """Whether some request lets a caller assume a role."""
    action = WEB_IDENTITY if caller.issuer else ASSUME
    if isinstance(role.trust, Undecided):
        permitted = caller.account in ("", role.account) or is_allowed(caller, permissions, action, role.arn, role.keys)
        return every((permitted, role.trust))
    requests = PossibleRequests(
        {**caller.keys, **role.keys},
        {**caller.choices, **role.choices},
        {**caller.patterns, **role.patterns},
        caller.now,
    )
    permissions = permissions.filled(requests)
    trust = filled(role.trust, requests.fixed)
    assert not isinstance(trust, Undecided)  # noqa: S101  # it was readable before
    role = replace(role, trust=trust) if trust is not role.trust else role
    own = () if caller.issuer or caller.service else permissions.statements()
    relevant = [s for s in (*trust, *own) if some(s.covers_action(a) for a in (action, TAG_SESSION)) is not False]
    conditions = [condition for statement in relevant for condition in statement.conditions]

    def allowed(request: Request) -> Truth:
        actions = (action, TAG_SESSION) if request.tagged else (action,)
        return some(
            every(_assumes(session, permissions, role, needed, request) for needed in actions) for session in sessions
        )

    sessions = [replace(caller, session=name) for name in session_names(trust, caller)]
    return requests.any_allowed(conditions, allowed)


def _assumes(caller: Caller, permissions: Permissions, role: TargetRole, action: str, request: Request) -> Truth:
    trust = _by_trust(caller, role, action, request)
    trusted = some((trust.session, trust.itself, trust.everybody, trust.account))
    if not caller.account:
        return every((opposite(trust.denied), trusted))
    denied = some((trust.denied, permissions.deny(action, role.arn, request)))
    if denied is True or trusted is False:
        return False
    allowed = every((trusted, permissions.allow(action, role.arn, request)))
    if caller.account == role.account:
        allowed = some((allowed, _by_trust_alone(permissions, trust, action, role.arn, request)))
    return every((opposite(denied), allowed))


def _by_trust_alone(permissions: Permissions, trust: _Trust, action: str, arn: str, request: Request) -> Truth:
    """Whether a trust of the caller's account allows without an identity policy.

    If it names the role or everybody, the boundary and session policies must allow; if it names the session, they do not matter.
    AWS does not say how they limit a star alone.
    """
    limited = every((some((trust.itself, trust.everybody)), permissions.within(action, arn, request)))
    star = every((trust.everybody, Undecided("AWS does not say whether a boundary limits a trust of everybody")))
    organization = permissions.within_organization(action, arn, request)
    return some((limited, every((some((trust.session, trust.by_arn, star)), organization))))


class _Trust(NamedTuple):
    """The ways in which a trust allows and denies a caller."""

    session: Truth
    itself: Truth
    everybody: Truth
    account: Truth
    by_arn: Truth
    """Everybody with an ARN that the statement lists: it counts as naming the session."""
    denied: Truth


def _by_trust(caller: Caller, role: TargetRole, action: str, request: Request) -> _Trust:
    assert not isinstance(role.trust, Undecided)  # noqa: S101  # may_assume has checked
    allowed: list[tuple[Truth, ...]] = [(False,) * 5]
    denied: list[Truth] = []
    for statement in role.trust:
        naming = naming_of(statement, caller, role.provider)
        if all(way is False for way in naming):
            continue
        applies = _applies(statement, action, role.arn, request)
        if statement.effect == DENY:
            denied.append(every((some(naming), applies)))
        else:
            by_arn = naming.everybody if _lists_arns(statement) else False
            allowed.append(tuple(every((way, applies)) for way in (*naming, by_arn)))
    session, itself, everybody, account, by_arn = (some(ways) for ways in zip(*allowed, strict=True))
    return _Trust(session, itself, everybody, account, by_arn, some(denied))


def _lists_arns(statement: Statement) -> bool:
    return any(c.key == "aws:principalarn" and c.operator.lower() in LISTS_ARNS for c in statement.conditions)


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
