"""Attempts by strangers: callers that must be refused. They use one SDK.

Strangers of classes on machines are in `strangers_on_machines`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.names import (
    DEPLOYER_ROLE,
    JOB_SERVICE_ACCOUNT,
    MANAGER_SERVICE_ACCOUNT,
    PLATFORM_ROLE_PATH,
    READER_ROLE,
    namespace_jobs,
    namespace_manager,
    role_arn,
)
from config.runners import of_kubernetes
from runner_platform.prove import strangers_on_machines
from runner_platform.prove.attempts import (
    BASE_PROFILE,
    DEFAULT_PROFILE,
    TOKEN_FILE,
    Attempt,
    Forgery,
    Identity,
    Token,
    job_account,
)
from runner_platform.prove.refusals import (
    DENIED,
    EXPIRED,
    INVALID,
    OWN_ROLE,
    delegated_roles,
    grouped,
    in_own_role,
    job_key,
    roles_of_class,
    section,
    sections,
    stranger,
    with_added_profiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from components.documents.profiles import Account
    from config.capabilities import Level
    from config.settings import Settings


def of_stack(
    settings: Settings,
    accounts: Mapping[str, Account],
    neighbours: Sequence[Settings],
    forgeries: Iterable[Forgery] = tuple(Forgery),
) -> Iterator[Attempt]:
    """Plan the attempts of all strangers of a stack.

    Args:
        settings: settings of the stack.
        accounts: all accounts of the organisation.
        neighbours: settings of the other deployed stacks.
        forgeries: forgeries that are possible on this machine.
    """
    pods = of_kubernetes(settings.runners)
    for runner_class in pods:
        yield from grouped("service accounts beside the job's", _accounts_beside(settings, runner_class))
        yield from grouped("managers in their own roles", _manager(settings, runner_class))
        yield from grouped("jobs with another class's config", _jobs_of_other_classes(settings, runner_class))
    for runner_class in settings.runners:
        yield from grouped("jobs that ask for roles of others", _roles_of_other_classes(settings, runner_class))
    yield from strangers_on_machines.of_stack(settings)
    for neighbour in neighbours:
        yield from grouped(f"jobs of stack {neighbour.stack}", _jobs_of_neighbour(settings, neighbour))
    for runner_class in _first_class_of_each_level(settings):
        group = "jobs that ask for the node's, deployer's or reader's role"
        yield from grouped(group, _platform_roles(settings, runner_class, accounts))
    if pods:
        yield from grouped("wrong tokens", _forged_tokens(settings, forgeries))


def _forged_tokens(settings: Settings, forgeries: Iterable[Forgery]) -> Iterator[Attempt]:
    """Forge the own token of the smallest class."""
    first = _smallest_first(settings)[0]
    for forgery in forgeries:
        token = Token(
            stack=settings.stack, namespace=namespace_jobs(first), account=JOB_SERVICE_ACCOUNT, forgery=forgery
        )
        kinds = EXPIRED if forgery is Forgery.EXPIRED else INVALID
        caller = f"{job_account(settings, first)}, token {forgery.value}"
        yield _refused(settings, first, caller, token=token, kinds=kinds)


def _smallest_first(settings: Settings) -> list[str]:
    """List the classes on Kubernetes by the size of their jobs; of equal ones the class with more jobs at once comes first."""
    runners = of_kubernetes(settings.runners)
    return sorted(runners, key=lambda name: (runners[name].cpu, -runners[name].concurrent))


def _accounts_beside(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Use the class's config as the manager, and as the default accounts of both namespaces."""
    jobs, manager = namespace_jobs(runner_class), namespace_manager(runner_class)
    for namespace, account in ((jobs, "default"), (manager, "default"), (manager, MANAGER_SERVICE_ACCOUNT)):
        token = Token(stack=settings.stack, namespace=namespace, account=account)
        yield _refused(settings, runner_class, f"{namespace}/{account}", token=token)


def _manager(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Chain from a manager's own role to the delegated roles of its class."""
    names = settings.names
    manager_role = names.role_arn(settings.platform_account.id, names.manager_role(runner_class))
    token = Token(stack=settings.stack, namespace=namespace_manager(runner_class), account=MANAGER_SERVICE_ACCOUNT)
    caller = f"{token.namespace}/{token.account}, in its own role"
    yield from _from_own_role(
        settings, runner_class, caller, manager_role, token, roles_of_class(settings, runner_class)
    )


def _jobs_of_other_classes(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Use this class's config as jobs of every other class on Kubernetes."""
    for name in of_kubernetes(settings.runners):
        if name != runner_class:
            token = Token(stack=settings.stack, namespace=namespace_jobs(name), account=JOB_SERVICE_ACCOUNT)
            caller = f"{job_account(settings, name)} with the config of {runner_class}"
            yield _refused(settings, runner_class, caller, token=token)


def _roles_of_other_classes(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Ask, as a job of this class, for every delegated role that the class must not have, and for the roles of machines and their jobs."""
    own = roles_of_class(settings, runner_class)
    roles = {name: arn for name, arn in delegated_roles(settings).items() if name not in own}
    roles |= strangers_on_machines.roles_beside(settings, runner_class)
    yield from with_added_profiles(settings, runner_class, roles)


def _platform_roles(settings: Settings, runner_class: str, accounts: Mapping[str, Account]) -> Iterator[Attempt]:
    """Ask for the node role and every account's deployer and reader, chained from the job's role and with the token itself."""
    partition, platform_account = settings.organization.partition, settings.platform_account.id
    pods = of_kubernetes(settings.runners)
    roles = {"node": settings.names.role_arn(platform_account, settings.names.node_role())} if pods else {}
    for name, account in accounts.items():
        for role in (DEPLOYER_ROLE, READER_ROLE):
            roles[f"{name}/{role}"] = role_arn(partition, account.id, PLATFORM_ROLE_PATH, role)
    yield from with_added_profiles(settings, runner_class, roles)
    if runner_class not in pods:
        return
    for profile, arn in roles.items():
        # Only the platform's account knows the cluster's issuer; to any other account the token is invalid.
        kinds = DENIED if arn.split(":")[4] == platform_account else INVALID
        text = section(settings, profile, arn, "web_identity_token_file", TOKEN_FILE)
        caller = f"{job_account(settings, runner_class)}, by its token"
        yield _refused(settings, runner_class, caller, profile=profile, profiles=text, kinds=kinds)


def _jobs_of_neighbour(settings: Settings, neighbour: Settings) -> Iterator[Attempt]:
    """As jobs of another stack: use this stack's config, and chain from their own roles to this stack's delegated roles."""
    smallest, roles = _smallest_first(settings), delegated_roles(settings)
    for name, runner in neighbour.runners.items():
        caller = f"{neighbour.stack}: {job_account(neighbour, name)}"
        own_role = neighbour.names.role_arn(neighbour.platform_account.id, neighbour.names.job_role(name))
        if not smallest or runner.executor != "kubernetes":
            # Its jobs have no token, or this stack has no config that takes one.
            text = sections(neighbour, roles, "source_profile", BASE_PROFILE)
            identity = Identity(stack=neighbour.stack, runner_class=name, profiles=text)
            yield from in_own_role(identity, f"{caller}, in its own role", own_role, roles, own_profile=DEFAULT_PROFILE)
            continue
        runner_class = name if name in smallest else smallest[0]
        token = Token(stack=neighbour.stack, namespace=namespace_jobs(name), account=JOB_SERVICE_ACCOUNT)
        yield _refused(settings, runner_class, f"{caller} with the config of {runner_class}", token=token)
        yield from _from_own_role(settings, runner_class, f"{caller}, in its own role", own_role, token, roles)


def _from_own_role(
    settings: Settings, runner_class: str, caller: str, own_role: str, token: Token, roles: Mapping[str, str]
) -> Iterator[Attempt]:
    """Take the stranger's own role by its token, and ask for other roles from there."""
    text = section(settings, OWN_ROLE, own_role, "web_identity_token_file", TOKEN_FILE)
    text += sections(settings, roles, "source_profile", OWN_ROLE)
    identity = Identity(stack=settings.stack, runner_class=runner_class, token=token, profiles=text)
    yield from in_own_role(identity, caller, own_role, roles)


def _refused(
    settings: Settings,
    runner_class: str,
    caller: str,
    *,
    token: Token | None = None,
    profile: str = DEFAULT_PROFILE,
    profiles: str = "",
    kinds: frozenset[str] = DENIED,
) -> Attempt:
    identity = Identity(stack=settings.stack, runner_class=runner_class, token=token, profiles=profiles)
    return stranger(identity, caller, profile, kinds, job_key(settings, runner_class))


def _first_class_of_each_level(settings: Settings) -> list[str]:
    """Return the smallest class on Kubernetes of each level, and the first class of each level on machines."""
    classes = [*_smallest_first(settings), *settings.machine_classes]
    by_level: dict[tuple[Level, bool], str] = {}
    for name in classes:
        by_level.setdefault((settings.runners[name].level, name in settings.machine_classes), name)
    return sorted(by_level.values(), key=classes.index)
