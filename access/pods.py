"""Steps within clusters: from a class's jobs to service accounts, from one account to others, and to the tokens that they hold.

Owns what a job of a class can be in its cluster, and what whoever runs pods can be. A class's manager is not given its own class's jobs:
that it starts them is what it is for, and what they reach is the class's own row. Leaves out roles (`world`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from access.answers import every
from access.callers import service
from access.clusters import EVERYWHERE, Account
from access.graph import Node, Step
from access.universe import Free

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from access.answers import Truth
    from access.callers import Caller
    from access.clusters import Cluster, PodIdentity
    from access.facts import ClassFacts, Facts
    from access.providers import Providers
    from access.roles import Role

POD_IDENTITY = "pods.eks.amazonaws.com"


class Roles(Protocol):
    """What pods need to know of roles."""

    def given_by(self, association: PodIdentity) -> Iterable[Role]:
        """Roles that an association may give."""

    def token(self, issuer: str, subject: str | Free, audience: str | Free) -> Node:
        """The node of somebody with a token."""

    def admits_service(self, role: Role, name: str, caller: Caller | None = None) -> Truth:
        """Whether a role's trust admits an AWS service."""


class PodSteps:
    """Steps within clusters."""

    def __init__(self, clusters: Mapping[str, Cluster], providers: Providers, facts: Facts, roles: Roles) -> None:
        self._clusters, self._providers, self._facts, self._roles = clusters, providers, facts, roles

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
            yield from self._of_account(cluster, Account(rest[0], rest[1]))

    def accounts(self, cluster: Cluster) -> list[Account]:
        """All service accounts that are known: made by the program, or named by a runner's configuration."""
        runners = [runner for config in cluster.releases.values() for runner in config.runners]
        named = {Account(each.namespace, name) for each in runners for name in each.accounts}
        return sorted({*cluster.annotated, *named, *cluster.takers})

    def held_by(self, principal: str) -> Iterator[Step]:
        """Namespaces that an AWS principal holds by the cluster's access entries."""
        for stack, cluster in self._clusters.items():
            for holder in cluster.holders:
                if holder.principal == principal:
                    yield from (
                        Step(Node("pods", f"{stack}/{each}"), holder.truth) for each in sorted(holder.namespaces)
                    )

    def tokens(self, stack: str, account: Account, audience: str | Free) -> Iterator[Node]:
        """Nodes of an account's tokens, one per issuer of the cluster."""
        for issuer in sorted(self._providers.of_clusters.get(stack, ())):
            yield self._roles.token(issuer, account.subject, audience)

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

    def _of_account(self, cluster: Cluster, account: Account) -> Iterator[Step]:
        # Whoever runs pods asks for a token with whatever audience.
        yield from (Step(node, True) for node in self.tokens(cluster.stack, account, Free(optional=False)))
        yield from self._by_association(cluster, account, True)
        for namespace, truth in sorted(cluster.takers.get(account, {}).items(), key=lambda item: item[0]):
            if not self._runs_own_jobs(cluster.stack, account, namespace):
                yield Step(Node("pods", f"{cluster.stack}/{namespace}"), truth)

    def _runs_own_jobs(self, stack: str, account: Account, namespace: str) -> bool:
        return any(
            each.stack == stack and each.manager_namespace == account.namespace and each.jobs_namespace == namespace
            for each in self._facts.classes
        )

    def _by_association(self, cluster: Cluster, account: Account, truth: Truth) -> Iterator[Step]:
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
            for role in self._roles.given_by(each):
                admitted = every((truth, each.known, self._roles.admits_service(role, POD_IDENTITY, caller)))
                if admitted is not False:
                    yield Step(Node("role", f"{role.arn} {each.limit}".strip()), admitted)

    def _class(self, stack: str, name: str) -> ClassFacts | None:
        return next((each for each in self._facts.classes if each.stack == stack and each.name == name), None)


def _node(stack: str, account: Account) -> Node:
    return Node("sa", f"{stack}/{account.namespace}/{account.name}")
