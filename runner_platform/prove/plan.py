"""Which attempts a proof makes for the classes of a stack, and what the settings promise for each.

The promise is the declared matrix (`accounts` and `runners` of the stack file), never a deployed document. Strangers are planned in
`strangers`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.names import JOB_SERVICE_ACCOUNT, namespace_jobs
from runner_platform.prove.model import REFUSED, Attempt, Identity, Sdk, Way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.settings import Settings

DEFAULT_PROFILE = "default"
BASE_PROFILE = "base"

NO_PROFILE = {
    Sdk.BOTO3: frozenset({"ProfileNotFound"}),
    Sdk.CLI: frozenset({"ProfileNotFound"}),
    # It goes on to the next source of credentials and finds none; the region, which only profiles name, may be missed first.
    Sdk.JAVASCRIPT: frozenset({"RegionMissing", "NoCredentials"}),
    Sdk.GO: frozenset({"ProfileNotFound"}),
}
"""How each SDK says that a profile does not exist."""


@dataclass(frozen=True, kw_only=True)
class Scope:
    """How much is tried."""

    sdks: tuple[Sdk, ...]
    ways: tuple[Way, ...]

    @classmethod
    def of(cls, *, everything: bool) -> Scope:
        """Every SDK by every way, or the quick proof: one SDK, and the two ways that always differ."""
        if everything:
            return cls(sdks=tuple(Sdk), ways=tuple(Way))
        return cls(sdks=(Sdk.BOTO3,), ways=(Way.NAMED, Way.DEFAULT))


def job_account(runner_class: str) -> str:
    """A class's job account as cells name it."""
    return f"{namespace_jobs(runner_class)}/{JOB_SERVICE_ACCOUNT}"


def promised(settings: Settings, runner_class: str, profile: str) -> str:
    """ARN of the role behind a profile of a class, or REFUSED."""
    names = settings.names
    if profile in {DEFAULT_PROFILE, BASE_PROFILE}:
        return names.role_arn(settings.platform_account.id, names.job_role(runner_class))
    account = settings.accounts_of(runner_class).get(profile)
    if account is None:
        return REFUSED
    return names.role_arn(account.id, names.delegated_role(settings.runners[runner_class].level))


def attempts(settings: Settings, accounts: Mapping[str, object], scope: Scope) -> Iterator[Attempt]:
    """Every class by every profile: default, base, and one for each account of the organisation, whether the class has it or not."""
    for runner_class in settings.runners:
        for sdk in scope.sdks:
            for way in scope.ways:
                profiles = [DEFAULT_PROFILE] if way is Way.DEFAULT else [BASE_PROFILE, *accounts]
                for profile in profiles:
                    yield _attempt(settings, runner_class, profile, sdk, way)


def _attempt(settings: Settings, runner_class: str, profile: str, sdk: Sdk, way: Way) -> Attempt:
    account = job_account(runner_class)
    expected = promised(settings, runner_class, profile)
    return Attempt(
        runner_class=runner_class,
        service_account=account,
        identity=Identity(stack=settings.stack, runner_class=runner_class),
        profile=profile,
        sdk=sdk,
        way=way,
        expected=expected,
        reasons=NO_PROFILE[sdk] if expected == REFUSED else frozenset(),
        control=(account, DEFAULT_PROFILE, sdk, Way.DEFAULT) if expected == REFUSED else None,
    )
