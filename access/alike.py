"""Sessions that no document tells apart: of roles of one account, with equal rights and equal tags.

What one of them may do all may, so it is asked once: a world of thousands of administrators has one of these, not thousands. Owns who is
alike, and which trusts tell even those apart, by their ARNs. Leaves out the steps that follow (`world`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from access.answers import Undecided
from access.callers import ACCOUNT
from access.graph import ALIKE, Node

if TYPE_CHECKING:
    from access.documents import Document
    from access.judgement import Rights
    from access.roles import Role

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
class Groups:
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
