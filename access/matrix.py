"""The matrix: who becomes which role, as the documents say and as the settings declare it, and where the two differ.

Owns the comparison that the platform's promise rests on. `derived` walks the documents; `declared` is read from the settings alone, without
any document; every cell that is not declared is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from access.answers import Answer, Cell
from access.principals import principals
from access.world import ROLE_KINDS
from components.documents import alarms
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, role_arn

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from access.graph import Node, Way
    from access.world import World
    from config.foundation import FoundationSettings
    from config.settings import Settings

ALARMS_ACCOUNT = f"sa:{alarms.NAMESPACE}/{alarms.SERVICE_ACCOUNT}"


@dataclass(frozen=True)
class Difference:
    """A cell whose derived answer is not the declared one."""

    cell: Cell
    """As derived; of a role that is declared and not there, a refusal without chain."""
    declared: Answer

    def __str__(self) -> str:
        cell = self.cell
        how = f" by {' -> '.join(cell.chain)}" if cell.chain else ""
        why = f" ({cell.reason})" if cell.reason else ""
        return f"{cell.principal} to {cell.role}: declared {self.declared}, derived {cell.answer}{how}{why}"


def derived(world: World) -> list[Cell]:
    """A cell for every principal and every role of a world."""
    cells: list[Cell] = []
    for name, starts in principals(world).items():
        reach = world.reach(starts)
        cells += [_cell(world, name, arn, world.best(reach, arn)) for arn in sorted(world.roles)]
    return cells


def _cell(world: World, principal: str, arn: str, way: Way | None) -> Cell:
    account = world.facts.account_name(world.roles[arn].account)
    if way is None:
        return Cell(principal, account, arn, Answer.DENIED)
    chain = tuple(dict.fromkeys(each for node in way.nodes if (each := _shown(node, world.facts.partition))))
    if way.undecided is None:
        return Cell(principal, account, arn, Answer.ALLOWED, chain)
    return Cell(principal, account, arn, Answer.UNDECIDED, chain, way.undecided.reason)


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
        Difference(cell, expected[place].answer if place in expected else Answer.DENIED)
        for place, cell in sorted(found.items())
        if cell.answer is not (expected[place].answer if place in expected else Answer.DENIED)
    ]
    missing = [cell for place, cell in sorted(expected.items()) if place not in found]
    return wrong + [
        Difference(
            Cell(cell.principal, cell.account, cell.role, Answer.DENIED, reason="there is no such principal or role"),
            cell.answer,
        )
        for cell in missing
    ]


def _allowed(principal: str, account: str, *chain: str) -> Cell:
    return Cell(principal, account, chain[-1], Answer.ALLOWED, chain)
