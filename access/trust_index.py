"""An index of trusts: for a caller, the few roles that are worth evaluating.

With thousands of roles, most pairs of caller and role can be ruled out without evaluating them: `TrustIndex` leaves out only pairs that are
certain to be refused. `SessionGroups` joins sessions that every trust treats alike (same account, permissions and tags), so that they are
evaluated once. The evaluation itself: `evaluation`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from access import globs
from access.callers import ACCOUNT, ROLE_ARN, SESSION
from access.chains import GROUP, Node
from access.clusters import ServiceAccount
from access.decision import Undecided
from access.evaluation import ASSUME
from access.resource import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from access.evaluation import Permissions
    from access.policy_documents import Document, Principal, Statement
    from access.roles import Role

EXACT = frozenset({"arnequals", "arnlike", "stringequals", "stringlike"})
SUBJECT_PARTS = 4
PRINCIPAL_ARN = "aws:principalarn"
"""The one condition key that differs between two sessions of an account with the same tags."""


class TrustIndex:
    """Roles by the callers that their trust could name."""

    def __init__(self, roles: Iterable[Role]) -> None:
        self._by_caller: defaultdict[str, set[Node]] = defaultdict(set)
        self._by_account: defaultdict[str, set[Node]] = defaultdict(set)
        self._by_provider: defaultdict[str, set[Node]] = defaultdict(set)
        self._by_subject: defaultdict[tuple[str, str | None], set[Node]] = defaultdict(set)
        """By provider and whole subject of a statement; None if the statement names no whole subject."""
        self._by_anybody: set[Node] = set()
        self._by_anybody_in: defaultdict[str, set[Node]] = defaultdict(set)
        """The same by account of the role: there a trust that names the caller is enough."""
        for role in roles:
            node = Node("role", role.arn)
            if isinstance(role.trust, Undecided):
                self._add_for_anybody(node)
                continue
            for statement in role.trust:
                if statement.effect == "Allow":
                    self._add(node, statement)

    def _add(self, role: Node, statement: Statement) -> None:
        callers = _exact_values(statement, PRINCIPAL_ARN)
        if statement.not_principals:
            self._add_for_anybody(role)
        for principal in statement.principals:
            if principal.kind == "Federated" and isinstance(principal.value, str) and principal.value != "*":
                self._by_provider[principal.value].add(role)
                subjects = _exact_values(statement, f"{principal.value.rpartition('oidc-provider/')[2]}:sub".lower())
                for subject in (None,) if subjects is None else subjects:
                    self._by_subject[principal.value, subject].add(role)
            elif principal.kind in ("AWS", "Federated"):
                self._add_principal(role, principal, callers)

    def _add_for_anybody(self, role: Node) -> None:
        self._by_anybody.add(role)
        self._by_anybody_in[role.name.split(":")[4]].add(role)

    def _add_principal(self, role: Node, principal: Principal, callers: set[str] | None) -> None:
        value = principal.value
        if isinstance(value, Unknown):
            self._add_for_anybody(role)
        elif ROLE_ARN.fullmatch(value):
            self._by_caller[value].add(role)
        elif session := SESSION.fullmatch(value):
            self._by_account[session[1]].add(role)
            self._add_for_anybody(role)
        elif callers is not None:
            for caller in callers:
                self._by_caller[caller].add(role)
        elif account := ACCOUNT.fullmatch(value):
            self._by_account[account[1]].add(role)
        else:
            self._add_for_anybody(role)

    def of_token(self, provider: str, subject: str | None) -> list[set[Node]]:
        """Return the roles that a token of a provider could assume; like the other methods, the same sets every time.

        Args:
            provider: ARN.
            subject: subject of the token; None if it can be one of many.
        """
        if subject is None:
            return [self._by_provider[provider], self._by_anybody]
        return [self._by_subject[provider, subject], self._by_subject[provider, None], self._by_anybody]

    def of_account(self, account: str) -> list[set[Node]]:
        """Return the roles that a principal of an account could assume."""
        return [self._by_account[account], self._by_anybody]

    def of_role(self, arn: str, account: str, targets: set[Node] | None) -> list[set[Node]]:
        """Return the roles that a session could assume.

        Args:
            arn: ARN of the session's role.
            account: account of the role.
            targets: the only roles that the session's policies allow; None if they have wildcards.
        """
        for_caller, for_account = self._by_caller[arn], self._by_account[account]
        if targets is None:
            return [for_caller, for_account, self._by_anybody]
        # A role whose trust names the caller needs no permission in its own account.
        allowed = {role for role in targets if role in for_account or role in self._by_anybody}
        return [for_caller, self._by_anybody_in[account], allowed]


def _exact_values(statement: Statement, key: str) -> set[str] | None:
    """Return the only allowed values of a key, or None if conditions do not list whole texts."""
    for condition in statement.conditions:
        if condition.key == key and condition.operator.lower() in EXACT:
            values = {value for value in condition.values if isinstance(value, str)}
            whole = not any(globs.is_pattern(value) or "${" in value for value in values)
            if whole and len(values) == len(condition.values):
                return values
    return None


def assumable_roles(permissions: Permissions) -> set[Node] | None:
    """Return all roles that a caller's policies can allow; None if the policies have wildcards or are unreadable."""
    if any(isinstance(document, Undecided) for document in permissions.policies):
        return None
    roles: set[Node] = set()
    for document in permissions.policies:
        for statement in document if not isinstance(document, Undecided) else ():
            if statement.effect == "Allow" and statement.covers_action(ASSUME) is not False:
                arns = {arn for arn in statement.resources if isinstance(arn, str) and not globs.is_pattern(arn)}
                if (
                    not statement.resources
                    or len(arns) != len(set(statement.resources))
                    or any("${" in arn for arn in arns)
                ):
                    return None
                roles |= {Node("role", arn) for arn in arns}
    return roles


def trusted_service_accounts(roles: Iterable[Role]) -> set[ServiceAccount]:
    """Return the service accounts that the trusts of some roles name whole."""
    trusts = (role.trust for role in roles if not isinstance(role.trust, Undecided))
    conditions = (c for trust in trusts for statement in trust for c in statement.conditions)
    values = (value for condition in conditions for value in condition.values if isinstance(value, str))
    subjects = (value.split(":") for value in values if not globs.is_pattern(value))
    return {
        ServiceAccount(*subject[2:])
        for subject in subjects
        if len(subject) == SUBJECT_PARTS and subject[:2] == ["system", "serviceaccount"]
    }


def depends_on_role_arn(trust: Document | Undecided) -> bool:
    """Whether a trust may treat two sessions of one account with the same permissions and tags differently."""
    if isinstance(trust, Undecided):
        return False
    return any(
        statement.not_principals
        or any(principal.kind == "AWS" and not _names_account(principal.value) for principal in statement.principals)
        or any(condition.key == PRINCIPAL_ARN for condition in statement.conditions)
        for statement in trust
    )


def _names_account(principal: object) -> bool:
    return isinstance(principal, str) and (principal == "*" or ACCOUNT.fullmatch(principal) is not None)


@dataclass
class SessionGroups:
    """Group nodes for sessions that every trust treats alike, each with one session as its example."""

    examples: dict[Node, Node] = field(default_factory=dict)
    """The session that is evaluated for a group, by the group's node."""
    _by_key: dict[object, Node] = field(default_factory=dict)

    def of(self, session: Node, role: Role, permissions: Permissions) -> Node | None:
        """Return the group of a session, or None if the session's own policies depend on the role's ARN."""
        if any(condition.key == PRINCIPAL_ARN for s in permissions.statements() for condition in s.conditions):
            return None
        limits = tuple(tuple(limit) for limit in permissions.limits)
        organization = tuple(tuple(level) for level in permissions.organization)
        tags = (frozenset(role.tags.values.items()), role.tags.complete, role.takes_tags)
        key = (role.account, tags, tuple(permissions.policies), limits, organization)
        if key not in self._by_key:
            self._by_key[key] = Node(GROUP, str(len(self._by_key)))
            self.examples[self._by_key[key]] = session
        return self._by_key[key]
