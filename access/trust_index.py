"""An index of trusts: for a caller, the few roles that are worth evaluating.

With thousands of roles, most pairs of caller and role can be ruled out without evaluating them: `TrustIndex` leaves out only pairs that are
certain to be refused. `SessionGroups` joins sessions that every trust treats alike (same account, rights and tags), so that they are
evaluated once. The evaluation itself: `evaluation`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from access import globs
from access.callers import ACCOUNT, ROLE_ARN, SESSION
from access.chains import ALIKE, Node
from access.decision import Undecided
from access.evaluation import ASSUME
from access.resource import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from access.evaluation import Rights
    from access.policy_documents import Document, Principal, Statement
    from access.roles import Role

EXACT = frozenset({"arnequals", "arnlike", "stringequals", "stringlike"})


class TrustIndex:
    """Roles by whom their trust could mean."""

    def __init__(self, roles: Iterable[Role]) -> None:
        self._by_caller: defaultdict[str, set[Node]] = defaultdict(set)
        self._by_account: defaultdict[str, set[Node]] = defaultdict(set)
        self._by_provider: defaultdict[str, set[Node]] = defaultdict(set)
        self._by_subject: defaultdict[tuple[str, str | None], set[Node]] = defaultdict(set)
        """By provider and the whole subject that a statement names; None where it names none."""
        self._by_anybody: set[Node] = set()
        self._by_anybody_in: defaultdict[str, set[Node]] = defaultdict(set)
        """The same by the role's account, in which a trust that means somebody is enough."""
        for role in roles:
            node = Node("role", role.arn)
            if isinstance(role.trust, Undecided):
                self._open(node)
                continue
            for statement in role.trust:
                if statement.effect == "Allow":
                    self._add(node, statement)

    def _add(self, role: Node, statement: Statement) -> None:
        narrowed = _named(statement, "aws:principalarn")
        if statement.not_principals:
            self._open(role)
        for principal in statement.principals:
            if principal.kind == "Federated" and isinstance(principal.value, str) and principal.value != "*":
                self._by_provider[principal.value].add(role)
                subjects = _named(statement, f"{principal.value.rpartition('oidc-provider/')[2]}:sub".lower())
                for subject in (None,) if subjects is None else subjects:
                    self._by_subject[principal.value, subject].add(role)
            elif principal.kind in ("AWS", "Federated"):
                self._add_principal(role, principal, narrowed)

    def _open(self, role: Node) -> None:
        self._by_anybody.add(role)
        self._by_anybody_in[role.name.split(":")[4]].add(role)

    def _add_principal(self, role: Node, principal: Principal, narrowed: set[str] | None) -> None:
        value = principal.value
        if isinstance(value, Unknown):
            self._open(role)
        elif ROLE_ARN.fullmatch(value):
            self._by_caller[value].add(role)
        elif session := SESSION.fullmatch(value):
            self._by_account[session[1]].add(role)
            self._open(role)
        elif narrowed is not None:
            for caller in narrowed:
                self._by_caller[caller].add(role)
        elif account := ACCOUNT.fullmatch(value):
            self._by_account[account[1]].add(role)
        else:
            self._open(role)

    def of_token(self, provider: str, subject: str | None) -> list[set[Node]]:
        """Roles that a token of a provider could enter; the same sets each time, as in all of these.

        Args:
            provider: ARN.
            subject: the token's; None where it can be one of many.
        """
        if subject is None:
            return [self._by_provider[provider], self._by_anybody]
        return [self._by_subject[provider, subject], self._by_subject[provider, None], self._by_anybody]

    def of_account(self, account: str) -> list[set[Node]]:
        """Roles that somebody in an account could enter."""
        return [self._by_account[account], self._by_anybody]

    def of_role(self, arn: str, account: str, targets: set[Node] | None) -> list[set[Node]]:
        """Roles that a session could enter.

        Args:
            arn: of its role; empty for a session that no document tells from others of its account.
            account: of its role.
            targets: the only roles that its policies allow; None if they have wildcards.
        """
        named, of_account = self._by_caller[arn], self._by_account[account]
        if targets is None:
            return [named, of_account, self._by_anybody]
        # Roles that mean it need no permission in its own account.
        allowed = {each for each in targets if each in of_account or each in self._by_anybody}
        return [named, self._by_anybody_in[account], allowed]


def _named(statement: Statement, key: str) -> set[str] | None:
    """The only values of a key that conditions leave; None where they name none whole."""
    for condition in statement.conditions:
        if condition.key == key and condition.operator.lower() in EXACT:
            values = {each for each in condition.values if isinstance(each, str)}
            if len(values) == len(condition.values) and not any(
                globs.is_pattern(each) or "${" in each for each in values
            ):
                return values
    return None


def targets(rights: Rights) -> set[Node] | None:
    """The only roles that a caller's policies can allow it to assume; None if they have wildcards or could not be read."""
    if any(isinstance(each, Undecided) for each in rights.policies):
        return None
    found: set[Node] = set()
    for document in rights.policies:
        for statement in document if not isinstance(document, Undecided) else ():
            if statement.effect == "Allow" and statement.covers_action(ASSUME) is not False:
                named = {each for each in statement.resources if isinstance(each, str) and not globs.is_pattern(each)}
                if (
                    not statement.resources
                    or len(named) != len(set(statement.resources))
                    or any("${" in each for each in named)
                ):
                    return None
                found |= {Node("role", each) for each in named}
    return found


ITS_ARN = "aws:principalarn"
"""The one key that differs between two sessions of an account with the same tags."""


def tells_apart(trust: Document | Undecided) -> bool:
    """Whether a trust may answer differently to two sessions of one account with the same rights and tags."""
    if isinstance(trust, Undecided):
        return False
    return any(
        statement.not_principals
        or any(each.kind == "AWS" and not _whole(each.value) for each in statement.principals)
        or any(each.key == ITS_ARN for each in statement.conditions)
        for statement in trust
    )


def _whole(principal: object) -> bool:
    return isinstance(principal, str) and (principal == "*" or ACCOUNT.fullmatch(principal) is not None)


@dataclass
class SessionGroups:
    """Nodes that stand for all sessions that are alike, each with one of them."""

    members: dict[Node, Node] = field(default_factory=dict)
    """The session by which a group is judged, by the group's node."""
    _by_key: dict[object, Node] = field(default_factory=dict)

    def of(self, session: Node, role: Role, rights: Rights) -> Node | None:
        """The group of a role's session with these rights; None where its own policies ask for its ARN."""
        if any(each.key == ITS_ARN for statement in rights.statements() for each in statement.conditions):
            return None
        limits = tuple(tuple(each) for each in rights.limits)
        key = (role.account, frozenset(role.tags.items()), tuple(rights.policies), limits)
        if key not in self._by_key:
            self._by_key[key] = Node(ALIKE, str(len(self._by_key)))
            self.members[self._by_key[key]] = session
        return self._by_key[key]
