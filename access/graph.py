"""The access graph: nodes are what a caller can be, steps lead from one node to the next.

Built once from all resources, then asked many times. Steps between roles and from tokens into roles are in `AccessGraph`, steps within
Kubernetes clusters in `ClusterSteps`, those on EC2 machines in `machine_steps`. A class's manager gets no step to its own class's jobs: starting them is its purpose, and what they
reach is the class's own row of the matrix. Principals by name, and the matrix: `matrix`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from access import escalation
from access.callers import (
    PRINCIPAL_TAG,
    RESOURCE_TAG,
    Caller,
    Choice,
    aws_service,
    role_session,
    token_bearer,
    unnamed_principal,
)
from access.chains import GROUP, Chain, Node, Step, best_chains
from access.clusters import EVERYWHERE, ServiceAccount, clusters_of
from access.decision import Undecided, every, some
from access.evaluation import EVERYTHING, Permissions, TargetRole, may_assume
from access.machine_steps import MachineSteps
from access.machines import machines_of
from access.policy_documents import normalise
from access.roles import Roles, providers_of
from access.trust_index import (
    SessionGroups,
    TrustIndex,
    assumable_roles,
    depends_on_role_arn,
    trusted_service_accounts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.chains import Reached
    from access.clusters import Cluster, PodIdentity
    from access.decision import Truth
    from access.escalation import RolePower
    from access.inventory import Inventory
    from access.policy_documents import Document
    from access.resource import Resource
    from access.roles import Providers, Role

    Documents = Sequence[Document | Undecided]

ROLE_KINDS = ("role", "escalated", "unbounded")
"""Kinds of nodes that are sessions of a role: with its own permissions, with any within its boundary, with any at all."""
TAG_ROLE = "iam:TagRole"
POD_IDENTITY = "pods.eks.amazonaws.com"


class AccessGraph:
    """Roles, providers and clusters of some resources, and all steps between nodes."""

    def __init__(self, resources: Iterable[Resource], inventory: Inventory) -> None:
        all_resources = list(resources)
        self.inventory = inventory
        self._roles = Roles(all_resources, inventory.partition, inventory.managed_policies)
        self.roles: Mapping[str, Role] = self._roles.by_arn
        self.providers = providers_of(all_resources, inventory)
        self.clusters = clusters_of(all_resources)
        self.trusted_accounts = trusted_service_accounts(self.roles.values())
        self.pods = ClusterSteps(self.clusters, self.providers, inventory, self)
        self.machines = MachineSteps(machines_of(all_resources), self)
        by_arn = {role.arn: depends_on_role_arn(role.trust) for role in self.roles.values()}
        self._index_by_arn = TrustIndex(role for role in self.roles.values() if by_arn[role.arn])
        """Roles whose trust may treat the sessions of a group differently."""
        self._index_by_group = TrustIndex(role for role in self.roles.values() if not by_arn[role.arn])
        self._groups = SessionGroups()
        self._group_of: dict[Node, Node | None] = {}
        self._tokens: dict[Node, tuple[str, str | Choice, str | Choice]] = {}
        self._permissions: dict[Node, Permissions] = {}
        self._entries: dict[tuple[Node, str], Truth] = {}
        self._tagging: dict[Node, bool] = {}
        self._powers: dict[tuple[Node, str], RolePower] = {}
        self._powerful: dict[Node, bool] = {}
        self._steps_to_new: dict[Node, list[Step]] = {}
        self._session_policies: dict[str, Document | Undecided] = {}
        self._sessions = {arn: [arn] for arn in self.roles}
        """Names of the sessions of each role: its own, and those that a session policy limits."""
        self._add_limited_sessions()
        self._of_account: defaultdict[str, set[Node]] = defaultdict(set)
        self._boundaries: defaultdict[str, set[str]] = defaultdict(set)
        for role in self.roles.values():
            kinds = ROLE_KINDS if role.boundary is not None else ROLE_KINDS[:2]
            self._of_account[role.account] |= {Node(kind, name) for kind in kinds for name in self._sessions[role.arn]}
            if role.boundary_arn is not None:
                self._boundaries[role.account].add(role.boundary_arn)
        self._control_policies = {
            account: [[normalise(document) for document in level] for level in levels]
            for account, levels in inventory.service_control_policies.items()
        }

    def _add_limited_sessions(self) -> None:
        for cluster in self.clusters.values():
            for association in cluster.pod_identities:
                if association.limit:
                    self._session_policies[association.limit] = normalise(association.policy)
                    for role in self.roles_given_by(association):
                        self._sessions[role.arn].append(f"{role.arn} {association.limit}")

    @classmethod
    def of(cls, resources: Iterable[Resource], inventory: Inventory) -> AccessGraph:
        """Build the graph of some resources."""
        return cls(resources, inventory)

    def reach(self, starts: Mapping[Node, Truth]) -> dict[Node, Chain]:
        """Return the best chain to every node that can be reached from some nodes."""
        return {node: chain for node, chain in best_chains(starts, self.steps).items() if node.kind != GROUP}

    def best(self, reach: Mapping[Node, Chain], role: str) -> Chain | None:
        """Return the best chain to a role, in a session with any limit; None without a chain.

        Args:
            reach: chains by node.
            role: ARN.
        """
        chains = (reach.get(Node("role", name)) for name in self._sessions.get(role, [role]))
        return min((chain for chain in chains if chain is not None), key=lambda chain: chain.rank, default=None)

    def roles_given_by(self, association: PodIdentity) -> list[Role]:
        """Return the roles that a pod identity association may give."""
        if association.role is None:
            return list(self.roles.values())
        return [self.roles[association.role]] if association.role in self.roles else []

    def token(self, issuer: str, subject: str | Choice, audience: str | Choice) -> Node:
        """Return the node of a caller with a token of an issuer."""
        node = Node("token", f"{issuer} {subject} {audience}")
        self._tokens.setdefault(node, (issuer, subject, audience))
        return node

    def steps(self, node: Node, reached: Reached) -> Iterator[Step]:
        """Yield the steps from a node, at least those to nodes that are not reached yet."""
        if node.kind in ("class", "sa", "pods"):
            yield from self.pods.steps(node)
            entry = self.inventory.class_of(node.name) if node.kind == "class" else None
            yield from self.machines.of_class(entry) if entry is not None else ()
        elif node.kind == GROUP:
            session = self._groups.examples[node]
            yield from self._by_trust(session, [self._index_by_group], reached)
            yield from self._by_power(session, reached)
            yield from self.machines.into(session)
        elif (group := self.group_of(node)) is not None:
            yield Step(group, True)
            yield from self._by_trust(node, [self._index_by_arn], reached)
            yield from self.pods.administered_by(node.identity)
        else:
            yield from self._by_trust(node, [self._index_by_arn, self._index_by_group], reached)
            if node.kind in (*ROLE_KINDS, "new"):
                yield from self._by_power(node, reached)
                yield from self.machines.into(node)
                yield from self.pods.administered_by(node.identity)

    def group_of(self, node: Node) -> Node | None:
        """Return the group node of equivalent sessions, or None if this is not a session of a known role."""
        if node not in self._group_of:
            role = self.roles.get(node.identity) if node.kind in ROLE_KINDS else None
            self._group_of[node] = self._groups.of(node, role, self.permissions(node)) if role is not None else None
        return self._group_of[node]

    # Into roles, by their trust ---------------------------------------------------------------------------------------

    def _by_trust(self, node: Node, indices: Iterable[TrustIndex], reached: Reached) -> Iterator[Step]:
        for candidates in (roles for index in indices for roles in self._candidates(node, index)):
            for role in reached.unreached(candidates):
                truth = self.may_enter(node, self.roles[role.name])
                if truth is not False:
                    yield Step(role, truth)

    def _candidates(self, node: Node, index: TrustIndex) -> list[set[Node]]:
        """Return the roles that are worth evaluating."""
        if node.kind == "token":
            issuer, subject, _ = self._tokens[node]
            arns = [self.providers.arn(*place) for place in self.providers.by_place if place[1] == issuer]
            whole = subject if isinstance(subject, str) else None
            return [roles for arn in arns for roles in index.of_token(arn, whole)]
        if node.kind in ROLE_KINDS:
            targets = assumable_roles(self.permissions(node))
            return index.of_role(node.identity, node.identity.split(":")[4], targets)
        return index.of_account(node.identity)

    def may_enter(self, node: Node, role: Role) -> Truth:
        """Whether a caller may assume a role by its trust."""
        key = (node, role.arn)
        if key not in self._entries:
            can_tag = self._can_tag(node, role)
            self._entries[key] = some(
                every(
                    (accepted, may_assume(caller, self.permissions(node), self._target(role, caller, can_tag=can_tag)))
                )
                for caller, accepted in self._callers(node, role)
            )
        return self._entries[key]

    def admits_service(self, role: Role, name: str, caller: Caller | None = None) -> Truth:
        """Whether a role's trust admits an AWS service."""
        caller = replace(caller or aws_service(name), now=self.inventory.now)
        return may_assume(caller, Permissions(), self._target(role, caller))

    def _target(self, role: Role, caller: Caller, *, can_tag: bool = False) -> TargetRole:
        prefixes = (RESOURCE_TAG, "iam:resourcetag/")
        tags = {key: values for prefix in prefixes for key, values in role.tags.keys(prefix).items()}
        further = {key: values for prefix in prefixes for key, values in role.tags.others(prefix).items()}
        # Transitive tags of a session replace equal tags of the role that it assumes.
        replaces = can_tag or (bool(caller.account) and f"{PRINCIPAL_TAG}*" not in caller.patterns)
        choices = {key: Choice(usual=(values,)) for key, values in tags.items()} if replaces else {}
        if can_tag:
            choices |= {key.removesuffix("*"): Choice(usual=(None,)) for key in further}
        organization = self.inventory.organization_of(role.account)
        return TargetRole(
            arn=role.arn,
            account=role.account,
            trust=role.effective_trust,
            provider=self.providers.arn(role.account, caller.issuer) if caller.issuer else "",
            keys={
                "aws:resourceaccount": (role.account,),
                "aws:resourceorgid": (organization,) if organization else None,
                **({} if replaces else tags),
            },
            choices=choices,
            patterns={} if can_tag else further,
        )

    def _can_tag(self, node: Node, role: Role) -> bool:
        """Whether a caller may be able to change the role's tags."""
        if node.kind == "token":
            return False
        if node not in self._tagging:
            statements = self.permissions(node).statements(limits=False)
            unreadable = any(isinstance(document, Undecided) for document in self.permissions(node).policies)
            allows = (s for s in statements if s.effect == "Allow")
            self._tagging[node] = unreadable or any(s.covers_action(TAG_ROLE) is not False for s in allows)
        return self._tagging[node] and self.caller(node).account == role.account

    def _callers(self, node: Node, role: Role) -> Iterator[tuple[Caller, Truth]]:
        if node.kind != "token":
            yield self.caller(node), True
            if node.kind == "account":
                yield self._unnamed(node.identity, "user"), True
            return
        issuer, subject, audience = self._tokens[node]
        for client, accepted in self.providers.accepted_audiences(role.account, issuer, audience):
            yield replace(token_bearer(issuer, subject, client), now=self.inventory.now), accepted

    def caller(self, node: Node) -> Caller:
        """Return the caller of a node with an AWS identity."""
        inventory = self.inventory
        if node.kind in ROLE_KINDS:
            role = self.roles.get(node.identity)
            account = node.identity.split(":")[4]
            tags, tagged = (role.tags, role.takes_tags) if role else (None, True)
            session = role_session(node.identity, inventory.organization_of(account), tags, tagged=tagged)
            return replace(session, now=inventory.now)
        return self._unnamed(node.identity, "role")

    def _unnamed(self, account: str, kind: str) -> Caller:
        inventory = self.inventory
        organization = inventory.organization_of(account)
        caller = unnamed_principal(account, inventory.partition, organization, inventory.organization, kind)
        return replace(caller, now=inventory.now)

    def permissions(self, node: Node) -> Permissions:
        """Return the documents on a caller's own side."""
        if node.kind == "token":
            return Permissions()
        if node not in self._permissions:
            account = node.identity.split(":")[4] if node.kind in ROLE_KINDS else node.identity
            policies, limits = self._own_side(node)
            organization = self._control_policies.get(account, [])
            self._permissions[node] = Permissions(policies=policies, limits=limits, organization=organization)
        return self._permissions[node]

    def _own_side(self, node: Node) -> tuple[Documents, Sequence[Documents]]:
        role, limit = self.roles.get(node.identity), node.name.partition(" ")[2]
        if node.kind == "new":
            return [EVERYTHING], [[self._roles.document(limit)]] if limit else []
        limits = [[self._session_policies[limit]]] if limit in self._session_policies else []
        if role is None or node.kind == "unbounded":
            # The policies of a role outside these resources are unknown: they are taken to allow everything.
            return [EVERYTHING], limits
        limits += [] if role.boundary is None else [[role.boundary]]
        return ([EVERYTHING] if node.kind == "escalated" else role.policies), limits

    # Into roles, by changing them -------------------------------------------------------------------------------------

    def _by_power(self, node: Node, reached: Reached) -> Iterator[Step]:
        permissions = self.permissions(node)
        if node not in self._powerful:
            is_known = node.kind == "new" or node.identity in self.roles
            self._powerful[node] = is_known and escalation.may_have_any(permissions)
        if not self._powerful[node]:
            return
        account = self.caller(node).account
        for arn in {target.identity for target in reached.unreached(self._of_account[account])}:
            yield from self._over(node, self.roles[arn])
        yield from self._to_new_roles_and_clusters(node)

    def _over(self, node: Node, role: Role) -> Iterator[Step]:
        key = (node, role.arn)
        if key not in self._powers:
            self._powers[key] = escalation.power_over(self.caller(node), self.permissions(node), role)
        power = self._powers[key]
        unbounded = every((power.add_permissions, power.remove_boundary))
        yield Step(Node("role", role.arn), power.become)
        for name in self._sessions[role.arn]:
            yield Step(Node("escalated", name), power.add_permissions, needs=Node("role", name))
            yield Step(Node("unbounded", name), unbounded, needs=Node("role", name))

    def _to_new_roles_and_clusters(self, node: Node) -> list[Step]:
        """Return the steps to roles that a caller can make, and into clusters."""
        if node not in self._steps_to_new:
            caller, permissions, inventory = self.caller(node), self.permissions(node), self.inventory
            boundaries = sorted(self._boundaries[caller.account])
            new = escalation.new_roles(caller, permissions, inventory.partition, boundaries, self.roles)
            steps = [Step(Node("new", f"{caller.account} {role.boundary}".strip()), role.truth) for role in new]
            for cluster in self.clusters.values():
                arn = f"arn:{inventory.partition}:eks:{inventory.region}:{cluster.account}:cluster/{cluster.name}"
                same_account = cluster.account == caller.account
                truth = same_account and escalation.can_administer_cluster(caller, permissions, arn)
                steps.append(Step(Node("pods", f"{cluster.stack}/*"), truth))
            self._steps_to_new[node] = steps
        return self._steps_to_new[node]


class ClusterSteps:
    """Steps within clusters: from jobs to service accounts, from service accounts to others, to tokens and to roles."""

    def __init__(
        self, clusters: Mapping[str, Cluster], providers: Providers, inventory: Inventory, graph: AccessGraph
    ) -> None:
        self._clusters, self._providers, self._inventory, self._graph = clusters, providers, inventory, graph

    def steps(self, node: Node) -> Iterator[Step]:
        """Yield the steps from a class, a service account, or the right to run pods in a namespace."""
        stack, *parts = node.name.split("/")
        cluster = self._clusters.get(stack)
        if cluster is None:
            return
        if node.kind == "class":
            yield from self._of_class(cluster, parts[0])
        elif node.kind == "pods":
            accounts = [account for account in self.accounts(cluster) if parts[0] in (EVERYWHERE, account.namespace)]
            yield from (Step(service_account_node(stack, account), True) for account in accounts)
        else:
            yield from self._of_account(cluster, ServiceAccount(parts[0], parts[1]))

    def accounts(self, cluster: Cluster) -> list[ServiceAccount]:
        """Return all service accounts of the program, of runner configurations and of bindings."""
        runners = [runner for config in cluster.releases.values() for runner in config.runners]
        named = {ServiceAccount(runner.namespace, name) for runner in runners for name in runner.accounts}
        return sorted({*cluster.audiences, *named, *cluster.controlled_namespaces})

    def administered_by(self, principal: str) -> Iterator[Step]:
        """Yield steps to the namespaces that an AWS principal administers by the cluster's access entries."""
        for stack, cluster in self._clusters.items():
            for grant in cluster.access_grants:
                if grant.principal == principal:
                    for namespace in sorted(grant.namespaces):
                        yield Step(Node("pods", f"{stack}/{namespace}"), grant.truth)

    def tokens(self, stack: str, account: ServiceAccount, audience: str | Choice) -> Iterator[Node]:
        """Yield the nodes of a service account's tokens, one for each issuer of the cluster."""
        for issuer in sorted(self._providers.of_clusters.get(stack, ())):
            yield self._graph.token(issuer, account.subject, audience)

    def _of_class(self, cluster: Cluster, name: str) -> Iterator[Step]:
        runner_class = self._inventory.class_of(f"{cluster.stack}/{name}")
        config = cluster.releases.get(runner_class.manager_namespace) if runner_class else None
        if config is None:
            return
        if config.undecided is not None:
            yield Step(Node("pods", f"{cluster.stack}/{EVERYWHERE}"), config.undecided)
            for account in sorted(self._graph.trusted_accounts):
                yield Step(service_account_node(cluster.stack, account), config.undecided)
        for runner in config.runners:
            declared = set(self.accounts(cluster))
            for account in sorted(declared | self._graph.trusted_accounts):
                truth = runner.may_run_as(account.namespace, account.name)
                if truth is False:
                    continue
                if account not in declared:
                    truth = Undecided(f"nothing says whether {account.subject} exists, which a job may choose")
                annotated = cluster.audiences.get(account)
                for audience in dict.fromkeys((*runner.audiences, *([annotated] if annotated else []))):
                    yield from (Step(node, truth) for node in self.tokens(cluster.stack, account, audience))
                yield from self._by_association(cluster, account, truth)

    def _of_account(self, cluster: Cluster, account: ServiceAccount) -> Iterator[Step]:
        # A caller that runs pods can request a token for any audience.
        yield from (Step(node, True) for node in self.tokens(cluster.stack, account, Choice(optional=False)))
        yield from self._by_association(cluster, account, True)
        namespaces = cluster.controlled_namespaces.get(account, {})
        for namespace, truth in sorted(namespaces.items(), key=lambda item: item[0]):
            if not self._runs_own_jobs(cluster.stack, account, namespace):
                yield Step(Node("pods", f"{cluster.stack}/{namespace}"), truth)

    def _runs_own_jobs(self, stack: str, account: ServiceAccount, namespace: str) -> bool:
        return any(
            entry.stack == stack and entry.manager_namespace == account.namespace and entry.jobs_namespace == namespace
            for entry in self._inventory.classes
        )

    def _by_association(self, cluster: Cluster, account: ServiceAccount, truth: Truth) -> Iterator[Step]:
        """Yield steps to the roles that EKS Pod Identity gives a service account.

        The role's trust must let the service assume it and, unless that is off, tag the session.
        """
        tags = {
            "kubernetes-namespace": account.namespace,
            "kubernetes-service-account": account.name,
            "eks-cluster-name": cluster.name,
        }
        for association in cluster.pod_identities:
            if association.account not in (None, account):
                continue
            keys = {f"aws:requesttag/{tag}": (value,) if association.tagged else None for tag, value in tags.items()}
            caller = aws_service(POD_IDENTITY, keys)
            for role in self._graph.roles_given_by(association):
                admitted = self._graph.admits_service(role, POD_IDENTITY, caller)
                step_truth = every((truth, association.truth, admitted))
                if step_truth is not False:
                    yield Step(Node("role", f"{role.arn} {association.limit}".strip()), step_truth)


def service_account_node(stack: str, account: ServiceAccount) -> Node:
    """Return the node of a service account."""
    return Node("sa", f"{stack}/{account.namespace}/{account.name}")
