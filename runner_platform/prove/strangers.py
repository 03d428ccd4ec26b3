"""Which strangers try to get in, by one SDK, and by what each must be refused.

Each changes one thing about an attempt that comes through (its control): the service account, the token, or the role that is asked for.
A class's own config has no profile for accounts that it may not enter, which proves nothing about AWS; so jobs bring such profiles of
their own here.
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
from runner_platform.prove.model import REFUSED, TOKEN_FILE, Attempt, Forgery, Identity, Key, Sdk, Token, Way
from runner_platform.prove.plan import BASE_PROFILE, DEFAULT_PROFILE, job_account

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from components.documents.profiles import Account
    from config.settings import Settings

SDK = Sdk.BOTO3
DENIED = frozenset({"AccessDenied"})
INVALID = frozenset({"InvalidIdentityToken"})
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})
OWN_ROLE = "own"
"""Profile that a stranger brings for the role that it really has."""


def attempts(
    settings: Settings,
    accounts: Mapping[str, Account],
    others: Sequence[Settings],
    forgeries: Iterable[Forgery] = tuple(Forgery),
) -> Iterator[Attempt]:
    """All strangers of a stack.

    Args:
        settings: settings of the stack.
        accounts: all accounts of the organisation.
        others: the other stacks that are deployed beside it.
        forgeries: tokens that can be forged here.
    """
    for runner_class in settings.runners:
        yield from _grouped("service accounts beside the job's", _accounts_beside(settings, runner_class))
        yield from _grouped("managers in their own roles", _manager(settings, runner_class))
        yield from _grouped("jobs with another class's config", _other_classes(settings, runner_class))
        yield from _grouped("jobs that ask for roles of others", _roles_of_others(settings, runner_class))
    for other in others:
        yield from _grouped(f"jobs of stack {other.stack}", _other_stack(settings, other))
    for runner_class in _one_of_each_level(settings):
        group = "jobs that ask for the node's, deployer's or reader's role"
        yield from _grouped(group, _platform_roles(settings, runner_class, accounts))
    yield from _grouped("wrong tokens", _forged(settings, forgeries))


def _grouped(group: str, found: Iterable[Attempt]) -> Iterator[Attempt]:
    return (replace(each, group=group) for each in found)


def _forged(settings: Settings, forgeries: Iterable[Forgery]) -> Iterator[Attempt]:
    """The first class's own token, made wrong."""
    first = next(iter(settings.runners))
    for forgery in forgeries:
        token = Token(
            stack=settings.stack, namespace=namespace_jobs(first), account=JOB_SERVICE_ACCOUNT, forgery=forgery
        )
        reasons = EXPIRED if forgery is Forgery.EXPIRED else INVALID
        yield _refused(settings, first, f"{job_account(first)}, token {forgery.value}", token=token, reasons=reasons)


def _accounts_beside(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Default accounts of both namespaces, and the manager, with the class's config."""
    jobs, manager = namespace_jobs(runner_class), namespace_manager(runner_class)
    for namespace, account in ((jobs, "default"), (manager, "default"), (manager, MANAGER_SERVICE_ACCOUNT)):
        token = Token(stack=settings.stack, namespace=namespace, account=account)
        yield _refused(settings, runner_class, f"{namespace}/{account}", token=token)


def _manager(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """A manager in its own role, on to the delegated roles of its class."""
    names = settings.names
    own = names.role_arn(settings.platform_account.id, names.manager_role(runner_class))
    level = settings.runners[runner_class].level
    wanted = {
        f"{name}/{names.delegated_role(level)}": names.role_arn(account.id, names.delegated_role(level))
        for name, account in settings.accounts_of(runner_class).items()
    }
    token = Token(stack=settings.stack, namespace=namespace_manager(runner_class), account=MANAGER_SERVICE_ACCOUNT)
    who = f"{token.namespace}/{token.account}, in its own role"
    yield from _in_own_role(settings, runner_class, who, own, wanted, token)


def _other_classes(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """Jobs of every other class with this class's config."""
    for other in settings.runners:
        if other != runner_class:
            token = Token(stack=settings.stack, namespace=namespace_jobs(other), account=JOB_SERVICE_ACCOUNT)
            yield _refused(
                settings, runner_class, f"{job_account(other)} with the config of {runner_class}", token=token
            )


def _roles_of_others(settings: Settings, runner_class: str) -> Iterator[Attempt]:
    """A job that writes profiles of its own: every delegated role of the stack that its class must not have."""
    own = settings.runners[runner_class].level
    reachable = settings.accounts_of(runner_class)
    wanted = {
        f"{name}/{settings.names.delegated_role(level)}": settings.names.role_arn(
            settings.accounts[name].id, settings.names.delegated_role(level)
        )
        for name, level in settings.roles_needed()
        if level is not own or name not in reachable
    }
    yield from _with_own_profiles(settings, runner_class, wanted)


def _platform_roles(settings: Settings, runner_class: str, accounts: Mapping[str, Account]) -> Iterator[Attempt]:
    """From a runner: the node role, and the platform's deployer and reader of every account, chained and by the token itself."""
    partition, home = settings.organization.partition, settings.platform_account.id
    wanted = {"node": settings.names.role_arn(home, settings.names.node_role())}
    for name, account in accounts.items():
        for role in (DEPLOYER_ROLE, READER_ROLE):
            wanted[f"{name}/{role}"] = role_arn(partition, account.id, PLATFORM_ROLE_PATH, role)
    yield from _with_own_profiles(settings, runner_class, wanted)
    for profile, arn in wanted.items():
        # Only the platform's account knows the cluster's issuer; elsewhere the token itself is foreign.
        reasons = DENIED if arn.split(":")[4] == home else INVALID
        text = _section(settings, profile, arn, "web_identity_token_file", TOKEN_FILE)
        who = f"{job_account(runner_class)}, by its token"
        yield _refused(settings, runner_class, who, profile=profile, profiles=text, reasons=reasons)


def _other_stack(settings: Settings, other: Settings) -> Iterator[Attempt]:
    """Jobs of another stack: with this stack's config, and in their own roles on to this stack's delegated roles."""
    first = next(iter(settings.runners))
    names = settings.names
    wanted = {
        f"{name}/{names.delegated_role(level)}": names.role_arn(settings.accounts[name].id, names.delegated_role(level))
        for name, level in settings.roles_needed()
    }
    for runner_class in other.runners:
        like = runner_class if runner_class in settings.runners else first
        token = Token(stack=other.stack, namespace=namespace_jobs(runner_class), account=JOB_SERVICE_ACCOUNT)
        who = f"{other.stack}: {job_account(runner_class)}"
        yield _refused(settings, like, f"{who} with the config of {like}", token=token)
        own = other.names.role_arn(other.platform_account.id, other.names.job_role(runner_class))
        yield from _in_own_role(settings, like, f"{who}, in its own role", own, wanted, token)


def _in_own_role(
    settings: Settings, runner_class: str, who: str, own: str, wanted: Mapping[str, str], token: Token
) -> Iterator[Attempt]:
    """A stranger that really has a role, which is the control, and goes on from there."""
    text = _section(settings, OWN_ROLE, own, "web_identity_token_file", TOKEN_FILE)
    text += "".join(_section(settings, profile, arn, "source_profile", OWN_ROLE) for profile, arn in wanted.items())
    identity = Identity(stack=settings.stack, runner_class=runner_class, token=token, profiles=text)
    control = Attempt(
        runner_class=None,
        service_account=who,
        identity=identity,
        profile=OWN_ROLE,
        sdk=SDK,
        way=Way.NAMED,
        expected=own,
    )
    yield control
    for profile in wanted:
        yield _stranger(identity, who, profile, DENIED, control.key)


def _with_own_profiles(settings: Settings, runner_class: str, wanted: Mapping[str, str]) -> Iterator[Attempt]:
    text = "".join(_section(settings, profile, arn, "source_profile", BASE_PROFILE) for profile, arn in wanted.items())
    identity = Identity(stack=settings.stack, runner_class=runner_class, profiles=text)
    who = f"{job_account(runner_class)} with a profile of its own"
    for profile in wanted:
        yield _stranger(identity, who, profile, DENIED, _own_cell(runner_class))


def _refused(
    settings: Settings,
    runner_class: str,
    who: str,
    *,
    token: Token | None = None,
    profile: str = DEFAULT_PROFILE,
    profiles: str = "",
    reasons: frozenset[str] = DENIED,
) -> Attempt:
    identity = Identity(stack=settings.stack, runner_class=runner_class, token=token, profiles=profiles)
    return _stranger(identity, who, profile, reasons, _own_cell(runner_class))


def _stranger(identity: Identity, who: str, profile: str, reasons: frozenset[str], control: Key) -> Attempt:
    return Attempt(
        runner_class=None,
        service_account=who,
        identity=identity,
        profile=profile,
        sdk=SDK,
        way=Way.DEFAULT if profile == DEFAULT_PROFILE else Way.NAMED,
        expected=REFUSED,
        reasons=reasons,
        control=control,
    )


def _own_cell(runner_class: str) -> Key:
    return (job_account(runner_class), DEFAULT_PROFILE, SDK, Way.DEFAULT)


def _section(settings: Settings, profile: str, arn: str, source: str, value: str) -> str:
    keys = {"role_arn": arn, source: value, "role_session_name": "stranger", "region": settings.organization.region}
    return "\n" + aws_config_text({f"profile {profile}": {**keys, "sts_regional_endpoints": "regional"}})


def _one_of_each_level(settings: Settings) -> list[str]:
    found = (next((name for name, its in settings.runners.items() if its.level is level), None) for level in Level)
    return [name for name in found if name is not None]
