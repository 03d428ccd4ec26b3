"""Building blocks of attempts that must be refused: kinds of refusal, profiles that a stranger writes, and controls.

Each attempt differs in one thing from an attempt that succeeds (its control). A class's own config has no profile for an account that the
class may not enter, and a missing profile proves nothing about AWS. So these callers bring profiles of their own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from components.documents.profiles import aws_config_text
from runner_platform.prove.attempts import (
    BASE_PROFILE,
    DEFAULT_PROFILE,
    REFUSED,
    Attempt,
    AttemptKey,
    Identity,
    Sdk,
    Way,
    job_account,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from config.settings import Settings

SDK = Sdk.BOTO3
DENIED = frozenset({"AccessDenied"})
INVALID = frozenset({"InvalidIdentityToken"})
EXPIRED = frozenset({"ExpiredTokenException", "ExpiredToken"})
NO_CREDENTIALS = frozenset({"NoCredentials"})
OWN_ROLE = "own"
"""Profile of a stranger for the role that it really has."""


def grouped(group: str, attempts: Iterable[Attempt]) -> Iterator[Attempt]:
    """Put attempts into one group of the output."""
    return (replace(attempt, group=group) for attempt in attempts)


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
        way=_way(profile),
        expected=REFUSED,
        refusal_kinds=refusal_kinds,
        control=control,
    )


def in_own_role(
    identity: Identity, caller: str, own_role: str, profiles: Iterable[str], *, own_profile: str = OWN_ROLE
) -> Iterator[Attempt]:
    """Take the stranger's own role by one profile, which is the control, and ask for the roles of further profiles from there."""
    control = Attempt(
        runner_class=None,
        caller=caller,
        identity=identity,
        profile=own_profile,
        sdk=SDK,
        way=_way(own_profile),
        expected=own_role,
    )
    yield control
    for profile in profiles:
        yield stranger(identity, caller, profile, DENIED, control.key)


def with_added_profiles(settings: Settings, runner_class: str, roles: Mapping[str, str]) -> Iterator[Attempt]:
    """Ask for roles, by profile, as a job with profiles of its own."""
    text = sections(settings, roles, "source_profile", BASE_PROFILE)
    identity = Identity(stack=settings.stack, runner_class=runner_class, profiles=text)
    caller = f"{job_account(settings, runner_class)} with a profile of its own"
    for profile in roles:
        yield stranger(identity, caller, profile, DENIED, job_key(settings, runner_class))


def _way(profile: str) -> Way:
    return Way.DEFAULT if profile == DEFAULT_PROFILE else Way.NAMED


def job_key(settings: Settings, runner_class: str) -> AttemptKey:
    """Return the key of the attempt of a regular job of a class."""
    return (job_account(settings, runner_class), DEFAULT_PROFILE, SDK, Way.DEFAULT)


def sections(settings: Settings, roles: Mapping[str, str], source: str, value: str) -> str:
    """Return config text with a profile for each role, all with one source of credentials."""
    return "".join(section(settings, profile, arn, source, value) for profile, arn in roles.items())


def section(settings: Settings, profile: str, arn: str, source: str, value: str) -> str:
    """Return config text with one profile.

    Args:
        settings: settings of the stack, for its region.
        profile: name of the profile.
        arn: role of the profile.
        source: key that says where the credentials for the role come from.
        value: value of that key.
    """
    keys = {"role_arn": arn, source: value, "role_session_name": "stranger", "region": settings.organization.region}
    return "\n" + aws_config_text({f"profile {profile}": {**keys, "sts_regional_endpoints": "regional"}})


def delegated_roles(settings: Settings) -> dict[str, str]:
    """Return the ARN of every delegated role of a stack, by account and name."""
    names = settings.names
    return {
        f"{name}/{names.delegated_role(level)}": names.role_arn(settings.accounts[name].id, names.delegated_role(level))
        for name, level in settings.roles_needed()
    }


def roles_of_class(settings: Settings, runner_class: str) -> dict[str, str]:
    """Return the ARN of the delegated role of each account that a class may enter, by account and name."""
    name = settings.names.delegated_role(settings.runners[runner_class].level)
    return {
        f"{account}/{name}": settings.names.role_arn(entry.id, name)
        for account, entry in settings.accounts_of(runner_class).items()
    }
