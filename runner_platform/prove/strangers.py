"""Attempts by strangers: callers that must be refused. They use one SDK.

Each attempt differs in one thing from an attempt that succeeds (its control): the service account, the token, or the requested role. A
class's own config has no profile for an account that the class may not enter, and a missing profile proves nothing about AWS. So these jobs
bring profiles of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from components.documents.profiles import aws_config_text
from config.capabilities import Level
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
from runner_platform.prove.attempts import (
    BASE_PROFILE,
    DEFAULT_PROFILE,
    REFUSED,
    TOKEN_FILE,
    Attempt,
    AttemptKey,
    Forgery,
    Identity,
    Sdk,
    Token,
    Way,
    job_account,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from components.documents.profiles import Account
    from config.settings import Settings

SDK = Sdk.BOTO3
DENIED = frozenset({"AccessDenied"})
INVALID = frozenset({"InvalidIdentityToken"})
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})
OWN_ROLE = "own"
"""Profile of a stranger for the role that it really has."""


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
    for runner_class in settings.runners:
        yield from _grouped("service accounts beside the job's", _accounts_beside(settings, runner_class))
        yield from _grouped("managers in their own roles", _manager(settings, runner_class))
        yield from _grouped("jobs with another class's config", _jobs_of_other_classes(settings, runner_class))
        yield from _grouped("jobs that ask for roles of others", _roles_of_other_classes(settings, runner_class))
    for neighbour in neighbours:
        yield from _grouped(f"jobs of stack {neighbour.stack}", _jobs_of_neighbour(settings, neighbour))
    for runner_class in _smallest_class_of_each_level(settings):
        group = "jobs that ask for the node's, deployer's or reader's role"
        yield from _grouped(group, _platform_roles(settings, runner_class, accounts))
    yield from _grouped("wrong tokens", _forged_tokens(settings, forgeries))


def _grouped(group: str, attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    return (replace(attempt, group=group) for attempt in attempts)


def _forged_tokens(settings: Settings, forgeries: Iterable[Forgery]) -> Iterator[Attempt]:
    """Forge the own token of the smallest class."""
    first = _smallest_first(settings)[0]
    for forgery in forgeries:
        token = Token(
            stack=settings.stack, namespace=namespace_jobs(first), account=JOB_SERVICE_ACCOUNT, forgery=forgery
        )
        kinds = EXPIRED if forgery is Forgery.EXPIRED else INVALID
        yield _refused(settings, first, f"{job_account(first)}, token {forgery.value}", token=token, kinds=kinds)


def _smallest_first(settings: Settings) -> list[str]:
    """List the classes by the size of their jobs; of equal ones the class with more jobs at once comes first."""
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
    level = settings.runners[runner_class].level
    roles = {
        f"{name}/{names.delegated_role(level)}": names.role_arn(account.id, names.delegated_role(level))
        for name, account in settings.accounts_of(runner_class).items()
    }
    token = Token(stack=settings.stack, namespace=namespace_manager(runner_class), account=MANAGER_SERVICE_ACCOUNT)
    caller = f"{token.namespace}/{token.account}, in its own role"
    yield from _from_own_role(settings, runner_class, caller, manager_role, roles, token)


def _jobs_of_other_classes(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Use this class's config as jobs of every other class."""
    for name in settings.runners:
        if name != runner_class:
            token = Token(stack=settings.stack, namespace=namespace_jobs(name), account=JOB_SERVICE_ACCOUNT)
            caller = f"{job_account(name)} with the config of {runner_class}"
            yield _refused(settings, runner_class, caller, token=token)


def _roles_of_other_classes(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Ask, as a job of this class, for every delegated role of the stack that the class must not have."""
    own_level = settings.runners[runner_class].level
    own_accounts = settings.accounts_of(runner_class)
    roles = {
        f"{name}/{settings.names.delegated_role(level)}": settings.names.role_arn(
            settings.accounts[name].id, settings.names.delegated_role(level)
        )
        for name, level in settings.roles_needed()
        if level is not own_level or name not in own_accounts
    }
    yield from _with_added_profiles(settings, runner_class, roles)


def _platform_roles(settings: Settings, runner_class: str, accounts: Mapping[str, Account]) -> Iterator[Attempt]:
    """Ask for the node role and every account's deployer and reader, chained from the job's role and with the token itself."""
    partition, platform_account = settings.organization.partition, settings.platform_account.id
    roles = {"node": settings.names.role_arn(platform_account, settings.names.node_role())}
    for name, account in accounts.items():
        for role in (DEPLOYER_ROLE, READER_ROLE):
            roles[f"{name}/{role}"] = role_arn(partition, account.id, PLATFORM_ROLE_PATH, role)
    yield from _with_added_profiles(settings, runner_class, roles)
    for profile, arn in roles.items():
        # Only the platform's account knows the cluster's issuer; to any other account the token is invalid.
        kinds = DENIED if arn.split(":")[4] == platform_account else INVALID
        text = _section(settings, profile, arn, "web_identity_token_file", TOKEN_FILE)
        caller = f"{job_account(runner_class)}, by its token"
        yield _refused(settings, runner_class, caller, profile=profile, profiles=text, kinds=kinds)


def _jobs_of_neighbour(settings: Settings, neighbour: Settings) -> Iterator[Attempt]:
    """As jobs of another stack: use this stack's config, and chain from their own roles to this stack's delegated roles."""
    first = _smallest_first(settings)[0]
    names = settings.names
    roles = {
        f"{name}/{names.delegated_role(level)}": names.role_arn(settings.accounts[name].id, names.delegated_role(level))
        for name, level in settings.roles_needed()
    }
    for name in neighbour.runners:
        runner_class = name if name in settings.runners else first
        token = Token(stack=neighbour.stack, namespace=namespace_jobs(name), account=JOB_SERVICE_ACCOUNT)
        caller = f"{neighbour.stack}: {job_account(name)}"
        yield _refused(settings, runner_class, f"{caller} with the config of {runner_class}", token=token)
        own_role = neighbour.names.role_arn(neighbour.platform_account.id, neighbour.names.job_role(name))
        yield from _from_own_role(settings, runner_class, f"{caller}, in its own role", own_role, roles, token)


def _from_own_role(
    settings: Settings, runner_class: str, caller: str, own_role: str, roles: Mapping[str, str], token: Token
) -> Iterator[Attempt]:
    """Take the stranger's own role, which is the control, and ask for other roles from there."""
    text = _section(settings, OWN_ROLE, own_role, "web_identity_token_file", TOKEN_FILE)
    text += "".join(_section(settings, profile, arn, "source_profile", OWN_ROLE) for profile, arn in roles.items())
    identity = Identity(stack=settings.stack, runner_class=runner_class, token=token, profiles=text)
    control = Attempt(
        runner_class=None,
        caller=caller,
        identity=identity,
        profile=OWN_ROLE,
        sdk=SDK,
        way=Way.NAMED,
        expected=own_role,
    )
    yield control
    for profile in roles:
        yield stranger(identity, caller, profile, DENIED, control.key)


def _with_added_profiles(settings: Settings, runner_class: str, roles: Mapping[str, str]) -> Iterator[Attempt]:
    """Ask for roles as a job with profiles of its own."""
    text = "".join(_section(settings, profile, arn, "source_profile", BASE_PROFILE) for profile, arn in roles.items())
    identity = Identity(stack=settings.stack, runner_class=runner_class, profiles=text)
    caller = f"{job_account(runner_class)} with a profile of its own"
    for profile in roles:
        yield stranger(identity, caller, profile, DENIED, _job_key(runner_class))


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
    return stranger(identity, caller, profile, kinds, _job_key(runner_class))


def stranger(
    identity: Identity,
    caller: str,
    profile: str,
    refusal_kinds: frozenset[str],
    control: AttemptKey,
    *,
    sdk: Sdk = SDK,
) -> Attempt:
    """Return an attempt of a stranger, which must be refused for one of these kinds."""
    return Attempt(
        runner_class=None,
        caller=caller,
        identity=identity,
        profile=profile,
        sdk=sdk,
        way=Way.DEFAULT if profile == DEFAULT_PROFILE else Way.NAMED,
        expected=REFUSED,
        refusal_kinds=refusal_kinds,
        control=control,
    )


def _job_key(runner_class: str) -> AttemptKey:
    """Key of the attempt of a regular job of a class."""
    return (job_account(runner_class), DEFAULT_PROFILE, SDK, Way.DEFAULT)


def _section(settings: Settings, profile: str, arn: str, source: str, value: str) -> str:
    keys = {"role_arn": arn, source: value, "role_session_name": "stranger", "region": settings.organization.region}
    return "\n" + aws_config_text({f"profile {profile}": {**keys, "sts_regional_endpoints": "regional"}})


def _smallest_class_of_each_level(settings: Settings) -> list[str]:
    classes = {
        level: [name for name in _smallest_first(settings) if settings.runners[name].level is level] for level in Level
    }
    return [names[0] for names in classes.values() if names]
