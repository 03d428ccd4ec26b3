"""The access matrix: which principal can become which role, as the documents say and as the settings declare.

`derived` follows the documents. `declared` reads the settings alone, no document; whatever is not declared is refused. `differences`
compares the two: this is the promise that the platform makes. The rows are the classes' jobs and managers, nodes, accounts, the platform's
own roles and pipeline, GitLab projects, every other service account, roles of people that documents name, and one stranger of each kind.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from access import globs
from access.callers import ROLE_ARN, Choice, named_accounts
from access.chains import Node
from access.clusters import ServiceAccount
from access.decision import Decision, Undecided
from access.graph import ROLE_KINDS
from components.documents import alarms
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.chains import Chain
    from access.clusters import Cluster
    from access.decision import Truth
    from access.graph import AccessGraph
    from config.foundation import FoundationSettings
    from config.settings import Settings

STRANGER = "stranger"
"""Somebody that nobody thought of: an account, a project, a service account."""
OTHER_AUDIENCE = "(other audience)"
"""Behind a job's service account: a token that was made for somebody else than AWS."""
SYSTEM_ACCOUNTS = (ServiceAccount("default", "default"), ServiceAccount("kube-system", "default"))
SUBJECT_PARTS = 4
EVERY_ACCOUNT = "system:serviceaccount:*:*"


def principals(world: AccessGraph) -> dict[str, Mapping[Node, Truth]]:
    """Where each principal starts, by its name; one name in two clusters is whoever has it in either."""
    found: defaultdict[str, dict[Node, Truth]] = defaultdict(dict)
    for name, node in _all(world):
        found[name][node] = True
    return dict(sorted(found.items()))


def _all(world: AccessGraph) -> Iterator[tuple[str, Node]]:
    for each in world.facts.classes:
        if each.stack in world.clusters:
            yield f"job:{each.stack}/{each.name}", Node("class", f"{each.stack}/{each.name}")
    for cluster in world.clusters.values():
        yield from _of_cluster(world, cluster)
    yield from _accounts(world)
    yield from _platform_roles(world)
    yield from _projects(world)
    yield from ((arn, Node("role", arn)) for arn in _people(world))


def _of_cluster(world: AccessGraph, cluster: Cluster) -> Iterator[tuple[str, Node]]:
    stack = cluster.stack
    classes = {each.manager_namespace: each.name for each in world.facts.classes if each.stack == stack}
    managers = {
        ServiceAccount(namespace, config.manager_account): f"manager:{stack}/{classes.get(namespace, namespace)}"
        for namespace, config in cluster.releases.items()
    }
    runners = [runner for config in cluster.releases.values() for runner in config.runners]
    jobs = {ServiceAccount(each.namespace, name): each.audiences for each in runners for name in each.accounts}
    known = {*world.pods.accounts(cluster), *_subjects(world)}
    others = {*known, *SYSTEM_ACCOUNTS, *(ServiceAccount(namespace, "default") for namespace in cluster.namespaces)}
    for account, name in managers.items():
        yield name, Node("sa", f"{stack}/{account.namespace}/{account.name}")
    for account in sorted(others - set(managers) - set(jobs)):
        yield f"sa:{account.namespace}/{account.name}", Node("sa", f"{stack}/{account.namespace}/{account.name}")
    for account, audiences in jobs.items():
        foreign = Choice(outside=tuple(audiences), optional=False)
        name = f"sa:{account.namespace}/{account.name} {OTHER_AUDIENCE}"
        yield from ((name, node) for node in world.pods.tokens(stack, account, foreign))
    nobody = Choice(
        within=EVERY_ACCOUNT, outside=tuple(each.subject for each in sorted(others | set(managers))), optional=False
    )
    for issuer in sorted(world.providers.of_clusters.get(stack, ())):
        yield f"sa:{STRANGER}/{STRANGER}", world.token(issuer, nobody, Choice(optional=False))
    for role in world.roles.values():
        if role.account == cluster.account and {role.name, role.arn} & cluster.node_roles:
            yield f"node:{stack}", Node("role", role.arn)


def _subjects(world: AccessGraph) -> set[ServiceAccount]:
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
        ServiceAccount(*each[2:])
        for each in parts
        if len(each) == SUBJECT_PARTS and each[:2] == ["system", "serviceaccount"]
    }


def _accounts(world: AccessGraph) -> Iterator[tuple[str, Node]]:
    ours = world.facts.accounts
    documents = [role.trust for role in world.roles.values() if not isinstance(role.trust, Undecided)]
    foreign = {each for document in documents for each in named_accounts(document)} - set(ours.values())
    nobody = next(
        each for each in (f"{digit}" * 12 for digit in "9876543210") if each not in {*ours.values(), *foreign}
    )
    yield from ((f"root:{name}", Node("account", account)) for name, account in ours.items())
    yield from ((f"root:{account}", Node("account", account)) for account in sorted(foreign))
    yield f"root:{STRANGER}", Node("account", nobody)


def _platform_roles(world: AccessGraph) -> Iterator[tuple[str, Node]]:
    for name, role in (("deployer", DEPLOYER_ROLE), ("reader", READER_ROLE)):
        for account in world.facts.accounts.values():
            arn = role_arn(world.facts.partition, account, PLATFORM_ROLE_PATH, role)
            if arn in world.roles:
                yield name, Node("role", arn)


def _projects(world: AccessGraph) -> Iterator[tuple[str, Node]]:
    facts = world.facts
    clusters = {host for hosts in world.providers.of_clusters.values() for host in hosts}
    anything = Choice(optional=False)
    named = [*facts.pipeline_subjects, *(each for its in facts.gitlab_subjects.values() for each in its)]
    for host in sorted(world.providers.hosts - clusters):
        if host != facts.gitlab_host:
            yield f"issuer:{host}", world.token(host, anything, anything)
            continue
        for subject in facts.pipeline_subjects:
            yield "pipeline", world.token(host, subject, anything)
        for name, subjects in facts.gitlab_subjects.items():
            for subject in subjects:
                free = Choice(within=subject, optional=False) if globs.is_pattern(subject) else subject
                yield f"gitlab:{name}", world.token(host, free, anything)
        yield (
            f"gitlab:{STRANGER}",
            world.token(host, Choice(within="project_path:*", outside=tuple(named), optional=False), anything),
        )


def _people(world: AccessGraph) -> list[str]:
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


ALARMS_ACCOUNT = f"sa:{alarms.NAMESPACE}/{alarms.SERVICE_ACCOUNT}"


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the access matrix: may a principal become a role, and over which way."""

    principal: str
    """`job:<stack>/<class>`, `manager:<stack>/<class>`, `node:<stack>`, `root:<account>`, `deployer`, `reader`, `sa:<namespace>/<name>`,
    `gitlab:<name>`, and the strangers of `access.principals`."""
    account: str
    """Name of the role's account, its id where it has no name."""
    role: str
    """ARN of the role."""
    decision: Decision
    chain: tuple[str, ...] = ()
    """Shortest chain of ARNs, from the first role of the principal to the role itself; empty where there is none."""
    reason: str = ""
    """Why it could not be decided."""


@dataclass(frozen=True)
class Difference:
    """A cell whose derived answer is not the declared one."""

    cell: Cell
    """As derived; of a role that is declared and not there, a refusal without chain."""
    declared: Decision

    def __str__(self) -> str:
        cell = self.cell
        how = f" by {' -> '.join(cell.chain)}" if cell.chain else ""
        why = f" ({cell.reason})" if cell.reason else ""
        return f"{cell.principal} to {cell.role}: declared {self.declared}, derived {cell.decision}{how}{why}"


def derived(world: AccessGraph) -> list[Cell]:
    """A cell for every principal and every role of a world."""
    cells: list[Cell] = []
    for name, starts in principals(world).items():
        reach = world.reach(starts)
        cells += [_cell(world, name, arn, world.best(reach, arn)) for arn in sorted(world.roles)]
    return cells


def _cell(world: AccessGraph, principal: str, arn: str, way: Chain | None) -> Cell:
    account = world.facts.account_name(world.roles[arn].account)
    if way is None:
        return Cell(principal, account, arn, Decision.DENIED)
    chain = tuple(dict.fromkeys(each for node in way.nodes if (each := _shown(node, world.facts.partition))))
    if way.undecided is None:
        return Cell(principal, account, arn, Decision.ALLOWED, chain)
    return Cell(principal, account, arn, Decision.UNDECIDED, chain, way.undecided.reason)


def _shown(node: Node, partition: str) -> str:
    if node.kind in ROLE_KINDS:
        return node.whose
    return f"arn:{partition}:iam::{node.name}:root" if node.kind == "account" else ""


def declared(stacks: Sequence[Settings], foundation: FoundationSettings | None = None) -> list[Cell]:
    """The cells that the settings allow; every other is refused.

    Args:
        stacks: settings of the platform's stacks.
        foundation: settings of the foundation; without it nothing is said of the platform's own roles and of those who hold them.
    """
    found = [cell for settings in stacks for cell in _of_stack(settings)]
    if foundation is not None:
        found += _of_foundation(foundation, stacks)
    return sorted(set(found))


def _of_stack(settings: Settings) -> Iterator[Cell]:
    names, platform = settings.names, settings.platform.account
    stack = settings.stack
    home = settings.platform_account.id
    yield _allowed(f"node:{stack}", platform, names.role_arn(home, names.node_role()))
    if settings.alarms.topic is not None:
        yield _allowed(ALARMS_ACCOUNT, platform, names.role_arn(home, names.alarms_role()))
    for name, runner in settings.runners.items():
        job, manager = names.role_arn(home, names.job_role(name)), names.role_arn(home, names.manager_role(name))
        yield _allowed(f"manager:{stack}/{name}", platform, manager)
        yield _allowed(f"job:{stack}/{name}", platform, job)
        for account, its in settings.accounts_of(name).items():
            delegated = names.role_arn(its.id, names.delegated_role(runner.level))
            yield _allowed(f"job:{stack}/{name}", account, job, delegated)
    for name, role in settings.gitlab_oidc.items():
        account_id = settings.accounts[role.account].id
        yield _allowed(f"gitlab:{name}", role.account, names.role_arn(account_id, names.gitlab_role(name)))
    in_cluster = {arn for name in settings.runners for arn in _of_class(settings, name)}
    for administrator in settings.cluster.administrators:
        for account, arn in sorted(in_cluster):
            yield _allowed(administrator, account, arn)


def _of_class(settings: Settings, name: str) -> Iterator[tuple[str, str]]:
    """Roles that a class's service accounts reach, with their accounts."""
    names, platform, home = settings.names, settings.platform.account, settings.platform_account.id
    yield platform, names.role_arn(home, names.job_role(name))
    yield platform, names.role_arn(home, names.manager_role(name))
    for account, its in settings.accounts_of(name).items():
        yield account, names.role_arn(its.id, names.delegated_role(settings.runners[name].level))


def _of_foundation(foundation: FoundationSettings, stacks: Sequence[Settings]) -> Iterator[Cell]:
    """What the platform's own roles hold, and who holds them: the pipeline and named operators."""
    partition = foundation.organization.partition
    holders = ("pipeline", *foundation.platform.operators)
    own = {
        role: [
            (account, role_arn(partition, its.id, PLATFORM_ROLE_PATH, role))
            for account, its in foundation.accounts.items()
        ]
        for role in (DEPLOYER_ROLE, READER_ROLE)
    }
    yield from (_allowed("reader", account, arn) for account, arn in own[READER_ROLE])
    # The deployer makes and mends the stacks' roles, and gives them rights without a boundary: it is as much as any of them, and by such
    # a role as much as the account's administrator.
    everything = {each for settings in stacks for each in _roles_of(settings)} | {
        *own[DEPLOYER_ROLE],
        *own[READER_ROLE],
    }
    yield from (_allowed(who, account, arn) for account, arn in sorted(everything) for who in ("deployer", *holders))


def _roles_of(settings: Settings) -> Iterator[tuple[str, str]]:
    """All roles of a stack, with their accounts."""
    names, platform, home = settings.names, settings.platform.account, settings.platform_account.id
    own = [names.cluster_role(), names.node_role()]
    own += [names.flow_log_role()] if settings.network.existing is None else []
    own += [names.alarms_role()] if settings.alarms.topic is not None else []
    yield from ((platform, names.role_arn(home, each)) for each in own)
    for name in settings.runners:
        yield from _of_class(settings, name)
    for name, role in settings.gitlab_oidc.items():
        yield role.account, names.role_arn(settings.accounts[role.account].id, names.gitlab_role(name))


def differences(declared: Iterable[Cell], derived: Iterable[Cell]) -> list[Difference]:
    """Where the two differ: access that nobody declared, declared access that is not there, and what could not be decided."""
    expected = {(cell.principal, cell.role): cell for cell in declared}
    found = {(cell.principal, cell.role): cell for cell in derived}
    wrong = [
        Difference(cell, expected[place].decision if place in expected else Decision.DENIED)
        for place, cell in sorted(found.items())
        if cell.decision is not (expected[place].decision if place in expected else Decision.DENIED)
    ]
    missing = [cell for place, cell in sorted(expected.items()) if place not in found]
    return wrong + [
        Difference(
            Cell(cell.principal, cell.account, cell.role, Decision.DENIED, reason="there is no such principal or role"),
            cell.decision,
        )
        for cell in missing
    ]


def _allowed(principal: str, account: str, *chain: str) -> Cell:
    return Cell(principal, account, chain[-1], Decision.ALLOWED, chain)
