"""Principals of the matrix: everybody that a role could let in, by the names that people read, strangers of every class among them.

Owns who is asked about: the classes' jobs and managers, nodes, accounts, the platform's own roles and pipeline, GitLab's projects, every other
service account, roles of people that documents name, and of each kind somebody that nobody thought of. Leaves out what they reach.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from access import globs
from access.answers import Undecided
from access.callers import ROLE_ARN, named_accounts
from access.clusters import Account
from access.graph import Node
from access.universe import Free
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from access.answers import Truth
    from access.clusters import Cluster
    from access.world import World

STRANGER = "stranger"
"""Somebody that nobody thought of: an account, a project, a service account."""
OTHER_AUDIENCE = "(other audience)"
"""Behind a job's service account: a token that was made for somebody else than AWS."""
SYSTEM_ACCOUNTS = (Account("default", "default"), Account("kube-system", "default"))
SUBJECT_PARTS = 4
EVERY_ACCOUNT = "system:serviceaccount:*:*"


def principals(world: World) -> dict[str, Mapping[Node, Truth]]:
    """Where each principal starts, by its name; one name in two clusters is whoever has it in either."""
    found: defaultdict[str, dict[Node, Truth]] = defaultdict(dict)
    for name, node in _all(world):
        found[name][node] = True
    return dict(sorted(found.items()))


def _all(world: World) -> Iterator[tuple[str, Node]]:
    for each in world.facts.classes:
        if each.stack in world.clusters:
            yield f"job:{each.stack}/{each.name}", Node("class", f"{each.stack}/{each.name}")
    for cluster in world.clusters.values():
        yield from _of_cluster(world, cluster)
    yield from _accounts(world)
    yield from _platform_roles(world)
    yield from _projects(world)
    yield from ((arn, Node("role", arn)) for arn in _people(world))


def _of_cluster(world: World, cluster: Cluster) -> Iterator[tuple[str, Node]]:
    stack = cluster.stack
    classes = {each.manager_namespace: each.name for each in world.facts.classes if each.stack == stack}
    managers = {
        Account(namespace, config.manager_account): f"manager:{stack}/{classes.get(namespace, namespace)}"
        for namespace, config in cluster.releases.items()
    }
    runners = [runner for config in cluster.releases.values() for runner in config.runners]
    jobs = {Account(each.namespace, name): each.audiences for each in runners for name in each.accounts}
    known = {*world.pods.accounts(cluster), *_subjects(world)}
    others = {*known, *SYSTEM_ACCOUNTS, *(Account(namespace, "default") for namespace in cluster.namespaces)}
    for account, name in managers.items():
        yield name, Node("sa", f"{stack}/{account.namespace}/{account.name}")
    for account in sorted(others - set(managers) - set(jobs)):
        yield f"sa:{account.namespace}/{account.name}", Node("sa", f"{stack}/{account.namespace}/{account.name}")
    for account, audiences in jobs.items():
        foreign = Free(outside=tuple(audiences), optional=False)
        name = f"sa:{account.namespace}/{account.name} {OTHER_AUDIENCE}"
        yield from ((name, node) for node in world.pods.tokens(stack, account, foreign))
    nobody = Free(
        within=EVERY_ACCOUNT, outside=tuple(each.subject for each in sorted(others | set(managers))), optional=False
    )
    for issuer in sorted(world.providers.of_clusters.get(stack, ())):
        yield f"sa:{STRANGER}/{STRANGER}", world.token(issuer, nobody, Free(optional=False))
    for role in world.roles.values():
        if role.account == cluster.account and {role.name, role.arn} & cluster.node_roles:
            yield f"node:{stack}", Node("role", role.arn)


def _subjects(world: World) -> set[Account]:
    """Service accounts that trusts name whole."""
    values = (
        value
        for role in world.roles.values()
        for statement in (role.trust if not isinstance(role.trust, Undecided) else ())
        for condition in statement.conditions
        for value in condition.values
    )
    parts = (each.split(":") for each in values if isinstance(each, str) and not globs.is_pattern(each))
    return {
        Account(*each[2:]) for each in parts if len(each) == SUBJECT_PARTS and each[:2] == ["system", "serviceaccount"]
    }


def _accounts(world: World) -> Iterator[tuple[str, Node]]:
    ours = world.facts.accounts
    documents = [role.trust for role in world.roles.values() if not isinstance(role.trust, Undecided)]
    foreign = {each for document in documents for each in named_accounts(document)} - set(ours.values())
    nobody = next(
        each for each in (f"{digit}" * 12 for digit in "9876543210") if each not in {*ours.values(), *foreign}
    )
    yield from ((f"root:{name}", Node("account", account)) for name, account in ours.items())
    yield from ((f"root:{account}", Node("account", account)) for account in sorted(foreign))
    yield f"root:{STRANGER}", Node("account", nobody)


def _platform_roles(world: World) -> Iterator[tuple[str, Node]]:
    for name, role in (("deployer", DEPLOYER_ROLE), ("reader", READER_ROLE)):
        for account in world.facts.accounts.values():
            arn = role_arn(world.facts.partition, account, PLATFORM_ROLE_PATH, role)
            if arn in world.roles:
                yield name, Node("role", arn)


def _projects(world: World) -> Iterator[tuple[str, Node]]:
    facts = world.facts
    clusters = {host for hosts in world.providers.of_clusters.values() for host in hosts}
    anything = Free(optional=False)
    named = [*facts.pipeline_subjects, *(each for its in facts.gitlab_subjects.values() for each in its)]
    for host in sorted(world.providers.hosts - clusters):
        if host != facts.gitlab_host:
            yield f"issuer:{host}", world.token(host, anything, anything)
            continue
        for subject in facts.pipeline_subjects:
            yield "pipeline", world.token(host, subject, anything)
        for name, subjects in facts.gitlab_subjects.items():
            for subject in subjects:
                free = Free(within=subject, optional=False) if globs.is_pattern(subject) else subject
                yield f"gitlab:{name}", world.token(host, free, anything)
        yield (
            f"gitlab:{STRANGER}",
            world.token(host, Free(within="project_path:*", outside=tuple(named), optional=False), anything),
        )


def _people(world: World) -> list[str]:
    """ARNs of roles that documents name whole and that are not among the resources."""
    found = {holder.principal for cluster in world.clusters.values() for holder in cluster.holders}
    for role in world.roles.values():
        for statement in role.trust if not isinstance(role.trust, Undecided) else ():
            values = [each.value for each in statement.principals]
            values += [
                value for each in statement.conditions if each.key == "aws:principalarn" for value in each.values
            ]
            found |= {each for each in values if isinstance(each, str) and not globs.is_pattern(each)}
    own = {
        role_arn(world.facts.partition, account, PLATFORM_ROLE_PATH, role)
        for account in world.facts.accounts.values()
        for role in (DEPLOYER_ROLE, READER_ROLE)
    }
    return sorted(each for each in found - own - set(world.roles) if ROLE_ARN.fullmatch(each))
