"""The access graph: nodes are what a caller can be, steps lead from one node to the next.

Built once from all resources, then asked many times. Steps between roles and from tokens into roles are in `AccessGraph`, steps within
Kubernetes clusters in `ClusterSteps`. A class's manager gets no step to its own class's jobs: starting them is its purpose, and what they
reach is the class's own row of the matrix. Principals by name, and the matrix: `matrix`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from access import callers, escalation
from access.callers import Caller, Choice, service, session, token
from access.chains import ALIKE, Chain, Node, Step, ways
from access.clusters import EVERYWHERE, ServiceAccount, clusters_of
from access.decision import Undecided, every, some
from access.evaluation import EVERYTHING, Rights, TargetRole, may_assume
from access.policy_documents import normalise
from access.roles import Roles, providers_of
from access.trust_index import SessionGroups, TrustIndex, targets, tells_apart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.chains import Reached
    from access.clusters import PodIdentity
    from access.decision import Truth
    from access.escalation import Power
    from access.inventory import Inventory
    from access.policy_documents import Document
    from access.resource import Resource
    from access.roles import Role

    Documents = Sequence[Document | Undecided]
    from access.callers import Caller
    from access.clusters import Cluster
    from access.inventory import InventoryClass
    from access.roles import Providers

ROLE_KINDS = ("role", "escalated", "unbounded")
"""Kinds of nodes that are sessions of a role: with its own rights, with any within its boundary, with any."""


class AccessGraph:
    """Everything that is known, and the steps that there are."""

    def __init__(self, resources: Iterable[Resource], facts: Inventory) -> None:
        everything = list(resources)
        self.facts = facts
        self._roles = Roles(everything, facts.partition)
        self.roles: Mapping[str, Role] = self._roles.by_arn
        self.providers = providers_of(everything, facts)
        self.clusters = clusters_of(everything)
        self.pods = ClusterSteps(self.clusters, self.providers, facts, self)
        apart = {role.arn: tells_apart(role.trust) for role in self.roles.values()}
        self._apart = TrustIndex(role for role in self.roles.values() if apart[role.arn])
        self._rest = TrustIndex(role for role in self.roles.values() if not apart[role.arn])
        self._groups = SessionGroups()
        self._group_of: dict[Node, Node | None] = {}
        self._tokens: dict[Node, tuple[str, str | Choice, str | Choice]] = {}
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
    def of(cls, resources: Iterable[Resource], facts: Inventory) -> AccessGraph:
        """The world of some resources."""
        return cls(resources, facts)

    def reach(self, starts: Mapping[Node, Truth]) -> dict[Node, Chain]:
        """The best way to everybody that one can be from somewhere."""
        return {node: way for node, way in ways(starts, self.steps).items() if node.kind != ALIKE}

    def best(self, reach: Mapping[Node, Chain], role: str) -> Chain | None:
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

    def token(self, issuer: str, subject: str | Choice, audience: str | Choice) -> Node:
        """The node of somebody with a token of an issuer."""
        node = Node("token", f"{issuer} {subject} {audience}")
        self._tokens.setdefault(node, (issuer, subject, audience))
        return node

    def steps(self, node: Node, known: Reached) -> Iterator[Step]:
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

    def _by_trust(self, node: Node, indices: Iterable[TrustIndex], known: Reached) -> Iterator[Step]:
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
                every((taken, may_assume(caller, self.rights(node), self._entrance(role, caller))))
                for caller, taken in self._callers(node, role)
            )
        return self._entered[key]

    def admits_service(self, role: Role, name: str, caller: Caller | None = None) -> Truth:
        """Whether a role's trust admits an AWS service."""
        caller = caller or service(name)
        return may_assume(caller, Rights(), self._entrance(role, caller))

    def _entrance(self, role: Role, caller: Caller) -> TargetRole:
        tags = {f"aws:resourcetag/{key.lower()}": (value,) for key, value in role.tags.items()}
        organization = self.facts.organization_of(role.account)
        return TargetRole(
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

    def _by_power(self, node: Node, known: Reached) -> Iterator[Step]:
        rights = self.rights(node)
        if node not in self._powerful:
            known_rights = node.kind == "new" or node.whose in self.roles
            self._powerful[node] = known_rights and escalation.has_any(rights)
        if not self._powerful[node]:
            return
        caller = self.caller(node)
        for arn in {each.whose for each in known.beyond(self._of_account[caller.account])}:
            yield from self._over(node, self.roles[arn])
        yield from self._beyond(node)

    def _over(self, node: Node, role: Role) -> Iterator[Step]:
        key = (node, role.arn)
        if key not in self._powers:
            self._powers[key] = escalation.over(self.caller(node), self.rights(node), role)
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
            new = escalation.new_roles(caller, rights, facts.partition, bounds, self.roles)
            self._made[node] = [
                Step(Node("new", f"{caller.account} {each.boundary}".strip()), each.truth) for each in new
            ]
            for cluster in self.clusters.values():
                arn = f"arn:{facts.partition}:eks:{facts.region}:{cluster.account}:cluster/{cluster.name}"
                holds = cluster.account == caller.account and escalation.holds_cluster(caller, rights, arn)
                self._made[node].append(Step(Node("pods", f"{cluster.stack}/*"), holds))
        return self._made[node]


POD_IDENTITY = "pods.eks.amazonaws.com"


class ClusterSteps:
    """Steps within clusters."""

    def __init__(
        self, clusters: Mapping[str, Cluster], providers: Providers, facts: Inventory, graph: AccessGraph
    ) -> None:
        self._clusters, self._providers, self._facts, self._graph = clusters, providers, facts, graph

    def steps(self, node: Node) -> Iterator[Step]:
        """Steps from a class, an account, or the right to run pods in a namespace."""
        stack, *rest = node.name.split("/")
        cluster = self._clusters.get(stack)
        if cluster is None:
            return
        if node.kind == "class":
            yield from self._of_class(cluster, rest[0])
        elif node.kind == "pods":
            wanted = [each for each in self.accounts(cluster) if rest[0] in (EVERYWHERE, each.namespace)]
            yield from (Step(_node(stack, each), True) for each in wanted)
        else:
            yield from self._of_account(cluster, ServiceAccount(rest[0], rest[1]))

    def accounts(self, cluster: Cluster) -> list[ServiceAccount]:
        """All service accounts that are known: made by the program, or named by a runner's configuration."""
        runners = [runner for config in cluster.releases.values() for runner in config.runners]
        named = {ServiceAccount(each.namespace, name) for each in runners for name in each.accounts}
        return sorted({*cluster.annotated, *named, *cluster.takers})

    def held_by(self, principal: str) -> Iterator[Step]:
        """Namespaces that an AWS principal holds by the cluster's access entries."""
        for stack, cluster in self._clusters.items():
            for holder in cluster.holders:
                if holder.principal == principal:
                    yield from (
                        Step(Node("pods", f"{stack}/{each}"), holder.truth) for each in sorted(holder.namespaces)
                    )

    def tokens(self, stack: str, account: ServiceAccount, audience: str | Choice) -> Iterator[Node]:
        """Nodes of an account's tokens, one per issuer of the cluster."""
        for issuer in sorted(self._providers.of_clusters.get(stack, ())):
            yield self._graph.token(issuer, account.subject, audience)

    def _of_class(self, cluster: Cluster, name: str) -> Iterator[Step]:
        facts = self._class(cluster.stack, name)
        config = cluster.releases.get(facts.manager_namespace) if facts else None
        if config is None:
            return
        if config.undecided is not None:
            yield Step(Node("pods", f"{cluster.stack}/{EVERYWHERE}"), config.undecided)
        for runner in config.runners:
            for account in self.accounts(cluster):
                truth = runner.may_run_as(account.namespace, account.name)
                if truth is False:
                    continue
                annotated = cluster.annotated.get(account)
                for audience in dict.fromkeys((*runner.audiences, *([annotated] if annotated else []))):
                    yield from (Step(node, truth) for node in self.tokens(cluster.stack, account, audience))
                yield from self._by_association(cluster, account, truth)

    def _of_account(self, cluster: Cluster, account: ServiceAccount) -> Iterator[Step]:
        # Whoever runs pods asks for a token with whatever audience.
        yield from (Step(node, True) for node in self.tokens(cluster.stack, account, Choice(optional=False)))
        yield from self._by_association(cluster, account, True)
        for namespace, truth in sorted(cluster.takers.get(account, {}).items(), key=lambda item: item[0]):
            if not self._runs_own_jobs(cluster.stack, account, namespace):
                yield Step(Node("pods", f"{cluster.stack}/{namespace}"), truth)

    def _runs_own_jobs(self, stack: str, account: ServiceAccount, namespace: str) -> bool:
        return any(
            each.stack == stack and each.manager_namespace == account.namespace and each.jobs_namespace == namespace
            for each in self._facts.classes
        )

    def _by_association(self, cluster: Cluster, account: ServiceAccount, truth: Truth) -> Iterator[Step]:
        """Roles that EKS Pod Identity gives an account; their trust must let the service assume, and tag unless that is off."""
        tags = {
            "kubernetes-namespace": account.namespace,
            "kubernetes-service-account": account.name,
            "eks-cluster-name": cluster.name,
        }
        for each in cluster.pod_identities:
            if each.account not in (None, account):
                continue
            given = {f"aws:requesttag/{key}": (value,) if each.tagged else None for key, value in tags.items()}
            caller = service(POD_IDENTITY, given)
            for role in self._graph.given_by(each):
                admitted = every((truth, each.known, self._graph.admits_service(role, POD_IDENTITY, caller)))
                if admitted is not False:
                    yield Step(Node("role", f"{role.arn} {each.limit}".strip()), admitted)

    def _class(self, stack: str, name: str) -> InventoryClass | None:
        return next((each for each in self._facts.classes if each.stack == stack and each.name == name), None)


def _node(stack: str, account: ServiceAccount) -> Node:
    return Node("sa", f"{stack}/{account.namespace}/{account.name}")
