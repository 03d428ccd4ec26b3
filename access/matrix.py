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
from access.graph import ROLE_KINDS, service_account_node
from components.documents import alarms
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn
from config.runners import MACHINE_RUNNERS, AutoscalerRunner, FargateRunner, of_kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.chains import Chain
    from access.clusters import Cluster
    from access.decision import Truth
    from access.graph import AccessGraph
    from access.policy_documents import Statement
    from config.foundation import FoundationSettings
    from config.settings import Settings

STRANGER = "stranger"
"""An account, a project or a service account that no document names."""
OTHER_AUDIENCE = "(other audience)"
"""After a job's service account: a token for another audience than AWS."""
SYSTEM_ACCOUNTS = (ServiceAccount("default", "default"), ServiceAccount("kube-system", "default"))
EVERY_ACCOUNT = "system:serviceaccount:*:*"
ALARMS_ACCOUNT = f"sa:{alarms.NAMESPACE}/{alarms.SERVICE_ACCOUNT}"


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the access matrix: whether a principal can become a role, and by which chain."""

    principal: str
    """`job:<stack>/<class>`, `manager:<stack>/<class>`, `worker:<stack>/<class>`, `node:<stack>`, `root:<account>`, `deployer`, `reader`,
    `sa:<namespace>/<name>`, `gitlab:<name>`, or a stranger of one of these kinds."""
    account: str
    """Name of the role's account, or its id if it has no name."""
    role: str
    """ARN of the role."""
    decision: Decision
    chain: tuple[str, ...] = ()
    """Shortest chain of ARNs, from the principal's first role to the role itself; empty without a chain."""
    reason: str = ""
    """Why the cell is undecided; of a refused cell, that a trust has ended."""


@dataclass(frozen=True)
class Difference:
    """A cell that is derived otherwise than declared."""

    cell: Cell
    """As derived; if a declared role or principal does not exist, a refusal without chain."""
    declared: Decision

    def __str__(self) -> str:
        cell = self.cell
        reason = f": {cell.reason}" if cell.reason else ""
        if cell.decision is Decision.ALLOWED:
            return (
                f"{cell.principal} can become {cell.role} by {' -> '.join(cell.chain)}; the settings do not declare it"
            )
        if cell.decision is Decision.DENIED:
            return f"{cell.principal} cannot become {cell.role}, and the settings declare that it can{reason}"
        return f"whether {cell.principal} can become {cell.role} is undecided{reason}; the settings say {self.declared}"


# The principals ---------------------------------------------------------------------------------------------------------


def principals(graph: AccessGraph) -> dict[str, Mapping[Node, Truth]]:
    """Return the start nodes of each principal, by name; a name shared by two clusters has both nodes."""
    starts: defaultdict[str, dict[Node, Truth]] = defaultdict(dict)
    for name, node in _all_principals(graph):
        starts[name][node] = True
    return dict(sorted(starts.items()))


def _all_principals(graph: AccessGraph) -> Iterator[tuple[str, Node]]:
    for entry in graph.inventory.classes:
        if entry.stack in graph.clusters or graph.machines.of_stack(entry.stack):
            yield f"job:{entry.stack}/{entry.name}", Node("class", f"{entry.stack}/{entry.name}")
    for cluster in graph.clusters.values():
        yield from _of_cluster(graph, cluster)
    yield from _of_machines(graph)
    yield from _accounts(graph)
    yield from _platform_roles(graph)
    yield from _projects(graph)
    yield from ((arn, Node("role", arn)) for arn in _people(graph))


def _of_cluster(graph: AccessGraph, cluster: Cluster) -> Iterator[tuple[str, Node]]:
    stack = cluster.stack
    classes = {entry.manager_namespace: entry.name for entry in graph.inventory.classes if entry.stack == stack}
    managers = {
        ServiceAccount(namespace, config.manager_account): f"manager:{stack}/{classes.get(namespace, namespace)}"
        for namespace, config in cluster.releases.items()
    }
    runners = [runner for config in cluster.releases.values() for runner in config.runners]
    jobs = {ServiceAccount(runner.namespace, name): runner.audiences for runner in runners for name in runner.accounts}
    defaults = {ServiceAccount(namespace, "default") for namespace in cluster.namespaces}
    accounts = {*graph.pods.accounts(cluster), *graph.trusted_accounts, *SYSTEM_ACCOUNTS, *defaults}
    for account, name in managers.items():
        yield name, service_account_node(stack, account)
    for account in sorted(accounts - set(managers) - set(jobs)):
        yield f"sa:{account.namespace}/{account.name}", service_account_node(stack, account)
    for account, audiences in jobs.items():
        foreign = Choice(outside=tuple(audiences), optional=False)
        name = f"sa:{account.namespace}/{account.name} {OTHER_AUDIENCE}"
        yield from ((name, node) for node in graph.pods.tokens(stack, account, foreign))
    subjects = tuple(account.subject for account in sorted(accounts | set(managers)))
    stranger = Choice(within=EVERY_ACCOUNT, outside=subjects, optional=False)
    for issuer in sorted(graph.providers.of_clusters.get(stack, ())):
        yield f"sa:{STRANGER}/{STRANGER}", graph.token(issuer, stranger, Choice(optional=False))
    for role in graph.roles.values():
        if role.account == cluster.account and {role.name, role.arn} & cluster.node_roles:
            yield f"node:{stack}", Node("role", role.arn)


def _of_machines(graph: AccessGraph) -> Iterator[tuple[str, Node]]:
    """Yield managers and workers of classes, and machines that belong to no class."""
    names: dict[tuple[str, str], str] = {}
    for entry in graph.inventory.classes:
        names[entry.stack, entry.manager_machine] = f"manager:{entry.stack}/{entry.name}"
        names[entry.stack, entry.worker_machine] = f"worker:{entry.stack}/{entry.name}"
    for machine in graph.machines.all:
        name = names.get((machine.stack, machine.name), f"machine:{machine.stack}/{machine.name}")
        yield from ((name, node) for node, truth in graph.machines.nodes(machine) if truth is True)


def _trust_statements(graph: AccessGraph) -> Iterator[Statement]:
    for role in graph.roles.values():
        yield from role.trust if not isinstance(role.trust, Undecided) else ()


def _accounts(graph: AccessGraph) -> Iterator[tuple[str, Node]]:
    ours = graph.inventory.accounts
    foreign = named_accounts(_trust_statements(graph)) - set(ours.values())
    candidates = (f"{digit}" * 12 for digit in "9876543210")
    stranger = next(account for account in candidates if account not in {*ours.values(), *foreign})
    yield from ((f"root:{name}", Node("account", account)) for name, account in ours.items())
    yield from ((f"root:{account}", Node("account", account)) for account in sorted(foreign))
    yield f"root:{STRANGER}", Node("account", stranger)


def _platform_roles(graph: AccessGraph) -> Iterator[tuple[str, Node]]:
    for name, role in (("deployer", DEPLOYER_ROLE), ("reader", READER_ROLE)):
        for account in graph.inventory.accounts.values():
            yield name, Node("role", role_arn(graph.inventory.partition, account, PLATFORM_ROLE_PATH, role))


def _projects(graph: AccessGraph) -> Iterator[tuple[str, Node]]:
    inventory = graph.inventory
    clusters = {host for hosts in graph.providers.of_clusters.values() for host in hosts}
    anything = Choice(optional=False)
    declared_subjects = [subject for subjects in inventory.gitlab_subjects.values() for subject in subjects]
    stranger = Choice(
        within="project_path:*", outside=(*inventory.pipeline_subjects, *declared_subjects), optional=False
    )
    for host in sorted(graph.providers.hosts - clusters):
        if host != inventory.gitlab_host:
            yield f"issuer:{host}", graph.token(host, anything, anything)
            continue
        for subject in inventory.pipeline_subjects:
            yield "pipeline", graph.token(host, subject, anything)
        for name, subjects in inventory.gitlab_subjects.items():
            for subject in subjects:
                choice = Choice(within=subject, optional=False) if globs.is_pattern(subject) else subject
                yield f"gitlab:{name}", graph.token(host, choice, anything)
        yield f"gitlab:{STRANGER}", graph.token(host, stranger, anything)


def _people(graph: AccessGraph) -> list[str]:
    """Return the ARNs of roles outside the resources, named whole in a document."""
    arns = {grant.principal for cluster in graph.clusters.values() for grant in cluster.access_grants}
    for statement in _trust_statements(graph):
        values = [principal.value for principal in statement.principals]
        values += [
            v for condition in statement.conditions if condition.key == "aws:principalarn" for v in condition.values
        ]
        arns |= {value for value in values if isinstance(value, str) and not globs.is_pattern(value)}
    platform_roles = {
        role_arn(graph.inventory.partition, account, PLATFORM_ROLE_PATH, role)
        for account in graph.inventory.accounts.values()
        for role in (DEPLOYER_ROLE, READER_ROLE)
    }
    return sorted(arn for arn in arns - platform_roles - set(graph.roles) if ROLE_ARN.fullmatch(arn))


# As the documents say ---------------------------------------------------------------------------------------------------


def derived(graph: AccessGraph) -> list[Cell]:
    """Return a cell for every principal and every role of a graph."""
    cells: list[Cell] = []
    for name, starts in principals(graph).items():
        reach = graph.reach(starts)
        cells += [_cell(graph, name, arn, graph.best(reach, arn)) for arn in sorted(graph.roles)]
    return cells


def _cell(graph: AccessGraph, principal: str, arn: str, chain: Chain | None) -> Cell:
    account = graph.inventory.account_name(graph.roles[arn].account)
    if chain is None:
        return Cell(principal, account, arn, Decision.DENIED, reason=graph.roles[arn].ended(graph.inventory.now))
    names = (_displayed(node, graph.inventory.partition) for node in chain.nodes)
    arns = tuple(dict.fromkeys(name for name in names if name))
    if chain.undecided is None:
        return Cell(principal, account, arn, Decision.ALLOWED, arns)
    return Cell(principal, account, arn, Decision.UNDECIDED, arns, chain.undecided.reason)


def _displayed(node: Node, partition: str) -> str:
    """Return the ARN of a node in a chain; empty for nodes that a chain does not show."""
    if node.kind in ROLE_KINDS:
        return node.identity
    return f"arn:{partition}:iam::{node.name}:root" if node.kind == "account" else ""


# As the settings declare ------------------------------------------------------------------------------------------------


def declared(stacks: Sequence[Settings], foundation: FoundationSettings | None = None) -> list[Cell]:
    """Return the cells that the settings allow; every other cell is refused.

    Args:
        stacks: settings of the platform's stacks.
        foundation: settings of the foundation; without it, the platform's own roles and their holders are left out.
    """
    cells = [cell for settings in stacks for cell in _of_stack(settings)]
    if foundation is not None:
        cells += _of_foundation(foundation, stacks)
    return sorted(set(cells))


def _of_stack(settings: Settings) -> Iterator[Cell]:
    names, platform = settings.names, settings.platform.account
    stack = settings.stack
    home = settings.platform_account.id
    if settings.cluster is not None:
        yield _allowed(f"node:{stack}", platform, names.role_arn(home, names.node_role()))
    if settings.alarms.topic is not None:
        yield _allowed(ALARMS_ACCOUNT, platform, names.role_arn(home, names.alarms_role()))
    for name, runner in settings.runners.items():
        job, manager = names.role_arn(home, names.job_role(name)), names.role_arn(home, names.manager_role(name))
        yield _allowed(f"manager:{stack}/{name}", platform, manager)
        yield _allowed(f"job:{stack}/{name}", platform, job)
        yield from _of_hosts(settings, name)
        for account_name, account in settings.accounts_of(name).items():
            delegated = names.role_arn(account.id, names.delegated_role(runner.level))
            yield _allowed(f"job:{stack}/{name}", account_name, job, delegated)
    for name, role in settings.gitlab_oidc.items():
        account_id = settings.accounts[role.account].id
        yield _allowed(f"gitlab:{name}", role.account, names.role_arn(account_id, names.gitlab_role(name)))
    in_cluster = {role for name in of_kubernetes(settings.runners) for role in _of_class(settings, name)}
    administrators = settings.cluster.administrators if settings.cluster is not None else ()
    for administrator in (*administrators, "deployer"):
        for account_name, arn in sorted(in_cluster):
            yield _allowed(administrator, account_name, arn)


def _of_hosts(settings: Settings, name: str) -> Iterator[Cell]:
    """Yield the cells of the machines of a class: who runs its jobs can be them, and a manager can be its workers, by SSH."""
    runner, names = settings.runners[name], settings.names
    if not isinstance(runner, MACHINE_RUNNERS):
        return
    home, platform = settings.platform_account.id, settings.platform.account
    hosts = ["manager"]
    if isinstance(runner, AutoscalerRunner):
        hosts.append("worker")
        worker = names.role_arn(home, names.worker_role(name))
        yield from (_allowed(f"{host}:{settings.stack}/{name}", platform, worker) for host in hosts)
    if isinstance(runner, FargateRunner):
        # The manager passes both roles to the tasks that it starts.
        yield _allowed(f"manager:{settings.stack}/{name}", platform, names.role_arn(home, names.task_role(name)))
    jobs = [cell for cell in _of_class(settings, name) if cell[1] != names.role_arn(home, names.manager_role(name))]
    for host in hosts:
        yield from (_allowed(f"{host}:{settings.stack}/{name}", account, arn) for account, arn in jobs)


def _of_class(settings: Settings, name: str) -> Iterator[tuple[str, str]]:
    """Yield account name and ARN of every role that a class's service accounts reach."""
    names, platform, home = settings.names, settings.platform.account, settings.platform_account.id
    yield platform, names.role_arn(home, names.job_role(name))
    yield platform, names.role_arn(home, names.manager_role(name))
    for account_name, account in settings.accounts_of(name).items():
        yield account_name, names.role_arn(account.id, names.delegated_role(settings.runners[name].level))


def _of_foundation(foundation: FoundationSettings, stacks: Sequence[Settings]) -> Iterator[Cell]:
    """Yield the cells of the platform's own roles and of their holders: the pipeline and named operators."""
    partition = foundation.organization.partition
    holders = ("pipeline", *foundation.platform.operators)
    deployers, readers = (
        [
            (name, role_arn(partition, account.id, PLATFORM_ROLE_PATH, role))
            for name, account in foundation.accounts.items()
        ]
        for role in (DEPLOYER_ROLE, READER_ROLE)
    )
    yield from (_allowed("reader", account, arn) for account, arn in readers)
    # The deployer makes and changes the stacks' roles, and gives them permissions without a boundary: it can become any of them, and by
    # such a role it can do as much as the account's administrator.
    everything = {*deployers, *readers, *(role for settings in stacks for role in _roles_of(settings))}
    for account, arn in sorted(everything):
        yield from (_allowed(holder, account, arn) for holder in ("deployer", *holders))


def _roles_of(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield account name and ARN of every role of a stack."""
    names, platform, home = settings.names, settings.platform.account, settings.platform_account.id
    platform_roles = [names.cluster_role(), names.node_role()] if settings.cluster is not None else []
    platform_roles += [names.flow_log_role()] if settings.network.existing is None else []
    platform_roles += [names.alarms_role()] if settings.alarms.topic is not None else []
    yield from ((platform, names.role_arn(home, role)) for role in platform_roles)
    for name, runner in settings.runners.items():
        yield from _of_class(settings, name)
        if isinstance(runner, AutoscalerRunner):
            yield platform, names.role_arn(home, names.worker_role(name))
        if isinstance(runner, FargateRunner):
            yield platform, names.role_arn(home, names.task_role(name))
    for name, gitlab_role in settings.gitlab_oidc.items():
        account_id = settings.accounts[gitlab_role.account].id
        yield gitlab_role.account, names.role_arn(account_id, names.gitlab_role(name))


def _allowed(principal: str, account: str, *chain: str) -> Cell:
    return Cell(principal, account, chain[-1], Decision.ALLOWED, chain)


# The differences --------------------------------------------------------------------------------------------------------


def differences(declared: Iterable[Cell], derived: Iterable[Cell]) -> list[Difference]:
    """Return undeclared access, declared access that does not exist, and undecided cells."""
    expected = {(cell.principal, cell.role): cell for cell in declared}
    actual = {(cell.principal, cell.role): cell for cell in derived}
    wrong = []
    for place, cell in sorted(actual.items()):
        decision = expected[place].decision if place in expected else Decision.DENIED
        if cell.decision is not decision:
            wrong.append(Difference(cell, decision))
    missing = (cell for place, cell in sorted(expected.items()) if place not in actual)
    return wrong + [Difference(_missing(cell), cell.decision) for cell in missing]


def _missing(cell: Cell) -> Cell:
    reason = "there is no such principal or role"
    return Cell(cell.principal, cell.account, cell.role, Decision.DENIED, reason=reason)
