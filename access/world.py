"""The world: roles, issuers and clusters of some resources, and every step from somebody that one can be to somebody else.

Built once and asked many times. Owns the steps between roles and from tokens into them; those of clusters are in `pods`. Leaves out
principals by name (`principals`) and the matrix (`matrix`).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from access import callers, powers
from access.alike import Groups, tells_apart
from access.answers import Undecided, every, some
from access.callers import Caller, service, session, token
from access.clusters import clusters_of
from access.documents import normalise
from access.graph import ALIKE, Node, Step, Way, ways
from access.index import TrustIndex, targets
from access.judgement import EVERYTHING, Entrance, Rights, may_become
from access.pods import PodSteps
from access.providers import providers_of
from access.roles import Roles

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.answers import Truth
    from access.clusters import PodIdentity
    from access.documents import Document
    from access.facts import Facts
    from access.graph import Known
    from access.powers import Power
    from access.resources import Resource
    from access.roles import Role
    from access.universe import Free

    Documents = Sequence[Document | Undecided]

ROLE_KINDS = ("role", "escalated", "unbounded")
"""Kinds of nodes that are sessions of a role: with its own rights, with any within its boundary, with any."""


class World:
    """Everything that is known, and the steps that there are."""

    def __init__(self, resources: Iterable[Resource], facts: Facts) -> None:
        everything = list(resources)
        self.facts = facts
        self._roles = Roles(everything, facts.partition)
        self.roles: Mapping[str, Role] = self._roles.by_arn
        self.providers = providers_of(everything, facts)
        self.clusters = clusters_of(everything)
        self.pods = PodSteps(self.clusters, self.providers, facts, self)
        apart = {role.arn: tells_apart(role.trust) for role in self.roles.values()}
        self._apart = TrustIndex(role for role in self.roles.values() if apart[role.arn])
        self._rest = TrustIndex(role for role in self.roles.values() if not apart[role.arn])
        self._groups = Groups()
        self._group_of: dict[Node, Node | None] = {}
        self._tokens: dict[Node, tuple[str, str | Free, str | Free]] = {}
        self._rights: dict[Node, Rights] = {}
        self._entered: dict[tuple[Node, str], Truth] = {}
        self._powers: dict[tuple[Node, str], Power] = {}
        self._powerful: dict[Node, bool] = {}
        self._made: dict[Node, list[Step]] = {}
        self._session_policies: dict[str, Document | Undecided] = {}
        self._sessions = {arn: [arn] for arn in self.roles}
        """Names of the sessions of each role: of its own, and of those that a session policy limits."""
        for cluster in self.clusters.values():
            for each in cluster.pod_identities:
                if each.limit:
                    self._session_policies[each.limit] = normalise(each.policy)
                    for role in self.given_by(each):
                        self._sessions[role.arn].append(f"{role.arn} {each.limit}")
        self._of_account: defaultdict[str, set[Node]] = defaultdict(set)
        self._boundaries: defaultdict[str, set[str]] = defaultdict(set)
        for role in self.roles.values():
            kinds = ROLE_KINDS if role.boundary is not None else ROLE_KINDS[:2]
            self._of_account[role.account] |= {Node(kind, name) for kind in kinds for name in self._sessions[role.arn]}
            if role.boundary_arn is not None:
                self._boundaries[role.account].add(role.boundary_arn)
        given = facts.service_control_policies
        self._limits = {
            account: [[normalise(each) for each in level] for level in its] for account, its in given.items()
        }

    @classmethod
    def of(cls, resources: Iterable[Resource], facts: Facts) -> World:
        """The world of some resources."""
        return cls(resources, facts)

    def reach(self, starts: Mapping[Node, Truth]) -> dict[Node, Way]:
        """The best way to everybody that one can be from somewhere."""
        return {node: way for node, way in ways(starts, self.steps).items() if node.kind != ALIKE}

    def best(self, reach: Mapping[Node, Way], role: str) -> Way | None:
        """The best of some ways to a role, by its ARN, in a session of whatever limits; None where none leads there."""
        found = (reach.get(Node("role", name)) for name in self._sessions.get(role, [role]))
        return min(
            (each for each in found if each is not None),
            key=lambda way: way.rank,
            default=None,
        )

    def given_by(self, association: PodIdentity) -> list[Role]:
        """Roles that an association may give."""
        if association.role is None:
            return list(self.roles.values())
        return [self.roles[association.role]] if association.role in self.roles else []

    def token(self, issuer: str, subject: str | Free, audience: str | Free) -> Node:
        """The node of somebody with a token of an issuer."""
        node = Node("token", f"{issuer} {subject} {audience}")
        self._tokens.setdefault(node, (issuer, subject, audience))
        return node

    def steps(self, node: Node, known: Known) -> Iterator[Step]:
        """Steps from a node, at least those to nodes that are not known."""
        if node.kind in ("class", "sa", "pods"):
            yield from self.pods.steps(node)
        elif node.kind == ALIKE:
            session = self._groups.members[node]
            yield from self._by_trust(session, [self._rest], known)
            yield from self._by_power(session, known)
        elif (group := self.alike(node)) is not None:
            yield Step(group, True)
            yield from self._by_trust(node, [self._apart], known)
            yield from self.pods.held_by(node.whose)
        else:
            yield from self._by_trust(node, [self._apart, self._rest], known)
            if node.kind in (*ROLE_KINDS, "new"):
                yield from self._by_power(node, known)
                yield from self.pods.held_by(node.whose)

    def alike(self, node: Node) -> Node | None:
        """The node that stands for all sessions that no document tells from this one; None for what is none of a known role."""
        if node not in self._group_of:
            role = self.roles.get(node.whose) if node.kind in ROLE_KINDS else None
            self._group_of[node] = self._groups.of(node, role, self.rights(node)) if role is not None else None
        return self._group_of[node]

    # Into roles -------------------------------------------------------------------------------------------------------

    def _by_trust(self, node: Node, indices: Iterable[TrustIndex], known: Known) -> Iterator[Step]:
        for doors in (each for index in indices for each in self._doors(node, index)):
            for to in known.beyond(doors):
                truth = self.may_enter(node, self.roles[to.name])
                if truth is not False:
                    yield Step(to, truth)

    def _doors(self, node: Node, index: TrustIndex) -> list[set[Node]]:
        """Roles that it could be of use to ask about."""
        if node.kind == "token":
            issuer, subject, _ = self._tokens[node]
            arns = [self.providers.arn(*place) for place in self.providers.by_place if place[1] == issuer]
            whole = subject if isinstance(subject, str) else None
            return [doors for arn in arns for doors in index.of_token(arn, whole)]
        if node.kind in ROLE_KINDS:
            return index.of_role(node.whose, node.whose.split(":")[4], targets(self.rights(node)))
        return index.of_account(node.whose)

    def may_enter(self, node: Node, role: Role) -> Truth:
        """Whether somebody may become a role by its trust."""
        key = (node, role.arn)
        if key not in self._entered:
            self._entered[key] = some(
                every((taken, may_become(caller, self.rights(node), self._entrance(role, caller))))
                for caller, taken in self._callers(node, role)
            )
        return self._entered[key]

    def admits_service(self, role: Role, name: str, caller: Caller | None = None) -> Truth:
        """Whether a role's trust admits an AWS service."""
        caller = caller or service(name)
        return may_become(caller, Rights(), self._entrance(role, caller))

    def _entrance(self, role: Role, caller: Caller) -> Entrance:
        tags = {f"aws:resourcetag/{key.lower()}": (value,) for key, value in role.tags.items()}
        organization = self.facts.organization_of(role.account)
        return Entrance(
            arn=role.arn,
            account=role.account,
            trust=role.entrance,
            provider=self.providers.arn(role.account, caller.issuer) if caller.issuer else "",
            given={
                "aws:resourceaccount": (role.account,),
                "aws:resourceorgid": (organization,) if organization else None,
                **tags,
            },
        )

    def _callers(self, node: Node, role: Role) -> Iterator[tuple[Caller, Truth]]:
        if node.kind != "token":
            yield self.caller(node), True
            return
        issuer, subject, audience = self._tokens[node]
        for client, taken in self.providers.takes(role.account, issuer, audience):
            yield token(issuer, subject, client), taken

    def caller(self, node: Node) -> Caller:
        """Who calls from a node with an AWS identity."""
        facts = self.facts
        if node.kind in ROLE_KINDS:
            role = self.roles.get(node.whose)
            account = node.whose.split(":")[4]
            return session(node.whose, facts.organization_of(account), role.tags if role else None)
        account = node.whose
        return callers.somebody(account, facts.partition, facts.organization_of(account), facts.organization)

    def rights(self, node: Node) -> Rights:
        """What somebody's own policies say."""
        if node.kind == "token":
            return Rights()
        if node not in self._rights:
            account = node.whose.split(":")[4] if node.kind in ROLE_KINDS else node.whose
            policies, limits = self._own_side(node)
            self._rights[node] = Rights(policies=policies, limits=[*limits, *self._limits.get(account, [])])
        return self._rights[node]

    def _own_side(self, node: Node) -> tuple[Documents, Sequence[Documents]]:
        role, limit = self.roles.get(node.whose), node.name.partition(" ")[2]
        if node.kind == "new":
            return [EVERYTHING], [[self._roles.document(limit)]] if limit else []
        limits = [[self._session_policies[limit]]] if limit in self._session_policies else []
        if role is None or node.kind == "unbounded":
            # Of a role outside these resources nothing is known: its own side is taken to allow.
            return [EVERYTHING], limits
        limits += [] if role.boundary is None else [[role.boundary]]
        return ([EVERYTHING] if node.kind == "escalated" else role.policies), limits

    # By changing roles ------------------------------------------------------------------------------------------------

    def _by_power(self, node: Node, known: Known) -> Iterator[Step]:
        rights = self.rights(node)
        if node not in self._powerful:
            known_rights = node.kind == "new" or node.whose in self.roles
            self._powerful[node] = known_rights and powers.has_any(rights)
        if not self._powerful[node]:
            return
        caller = self.caller(node)
        for arn in {each.whose for each in known.beyond(self._of_account[caller.account])}:
            yield from self._over(node, self.roles[arn])
        yield from self._beyond(node)

    def _over(self, node: Node, role: Role) -> Iterator[Step]:
        key = (node, role.arn)
        if key not in self._powers:
            self._powers[key] = powers.over(self.caller(node), self.rights(node), role)
        power = self._powers[key]
        yield Step(Node("role", role.arn), power.become)
        for name in self._sessions[role.arn]:
            yield Step(Node("escalated", name), power.give, needs=Node("role", name))
            yield Step(Node("unbounded", name), every((power.give, power.unbind)), needs=Node("role", name))

    def _beyond(self, node: Node) -> list[Step]:
        """Steps to roles that are not there yet, and into clusters."""
        if node not in self._made:
            caller, rights, facts = self.caller(node), self.rights(node), self.facts
            bounds = sorted(self._boundaries[caller.account])
            new = powers.new_roles(caller, rights, facts.partition, bounds, self.roles)
            self._made[node] = [
                Step(Node("new", f"{caller.account} {each.boundary}".strip()), each.truth) for each in new
            ]
            for cluster in self.clusters.values():
                arn = f"arn:{facts.partition}:eks:{facts.region}:{cluster.account}:cluster/{cluster.name}"
                holds = cluster.account == caller.account and powers.holds_cluster(caller, rights, arn)
                self._made[node].append(Step(Node("pods", f"{cluster.stack}/*"), holds))
        return self._made[node]
