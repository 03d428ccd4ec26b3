"""Attempts of a proof: each is one process that asks STS for its identity, with the result that the settings promise.

The expected result comes from `accounts` and `runners` of the stack file, never from a deployed document. This module plans the attempts
of runner classes; `strangers` plans those that must be refused. Nothing here touches a cluster or a cloud.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from config.names import JOB_SERVICE_ACCOUNT, namespace_jobs
from config.runners import FargateRunner, KubernetesRunner

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.settings import Settings

REFUSED = "REFUSED"
TOKEN_FILE = "{token_file}"  # noqa: S105  # a placeholder for the path of the token's file
DEFAULT_PROFILE = "default"
BASE_PROFILE = "base"


class Sdk(StrEnum):
    """A family of AWS SDKs; each has a probe in `image/probes`."""

    BOTO3 = "boto3"
    CLI = "cli"
    JAVASCRIPT = "javascript"
    GO = "go"


class Way(StrEnum):
    """How a job selects its profile."""

    NAMED = "named"
    """In code, or with `--profile`."""
    ENV = "env"
    """With the variable `AWS_PROFILE`."""
    DEFAULT = "default"
    """It selects no profile."""


NO_PROFILE = {
    Sdk.BOTO3: frozenset({"ProfileNotFound"}),
    Sdk.CLI: frozenset({"ProfileNotFound"}),
    # The JavaScript SDK goes on to the next source of credentials and finds none. It may miss the region first, which only profiles set.
    Sdk.JAVASCRIPT: frozenset({"RegionMissing", "NoCredentials"}),
    Sdk.GO: frozenset({"ProfileNotFound"}),
}
"""Kinds of failure by which an SDK reports that a profile does not exist."""


class Forgery(StrEnum):
    """How a forged token differs from the real one."""

    OTHER_AUDIENCE = "for another audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    OTHER_KEY = "signed by another key"
    OTHER_CLUSTER = "of another cluster"
    UNSIGNED = "with alg none"


@dataclass(frozen=True, kw_only=True)
class Token:
    """A service account's token."""

    stack: str
    """Stack of the cluster that signs it."""
    namespace: str
    account: str
    forgery: Forgery | None = None


class Place(StrEnum):
    """Where an attempt of a class on machines is made."""

    JOB = "job"
    """In a job's container, with its files and variables. A class on Kubernetes has only this place."""
    BESIDE = "beside"
    """In another container of the same machine, which has neither files nor variables."""
    HOST = "host"
    """On the machine that runs the jobs, with the role of its instance profile."""
    MANAGER = "manager"
    """On the manager's machine, if it runs no jobs itself."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The files and variables of an attempt: those of a job of a class, with changes."""

    stack: str
    runner_class: str
    place: Place = Place.JOB
    """Where the attempt is made."""
    token: Token | None = None
    """Token that replaces the class's own; None keeps the class's."""
    profiles: str = ""
    """AWS config text that a job might append to the class's file, with `TOKEN_FILE` for the token's path."""


AttemptKey = tuple[str, str, Sdk, Way]
"""Caller, profile, SDK and way. A key identifies one attempt of a stack."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One process that asks STS for its identity, and the expected result."""

    runner_class: str | None
    """None for strangers."""
    caller: str
    """`namespace/name` of the service account, or `machine/class`; for a stranger also the difference to a regular job."""
    identity: Identity
    profile: str
    """`default` if the job selects none."""
    sdk: Sdk
    way: Way
    expected: str
    """ARN of a role, or REFUSED."""
    refusal_kinds: frozenset[str] = frozenset()
    """Kinds of failure that count as the expected refusal. Any other failure means that the set-up is broken."""
    control: AttemptKey | None = None
    """Key of a similar attempt that must succeed. If it fails too, the refusal of this one proves nothing."""
    group: str = ""
    """Group of strangers that the output counts together, in the plural."""

    @property
    def key(self) -> AttemptKey:
        """Key of this attempt."""
        return (self.caller, self.profile, self.sdk, self.way)


@dataclass(frozen=True, kw_only=True)
class Scope:
    """SDKs and ways to try."""

    sdks: tuple[Sdk, ...]
    ways: tuple[Way, ...]

    @classmethod
    def of(cls, *, everything: bool) -> Scope:
        """Every SDK in every way, or the quick proof: boto3 in the two ways that always differ."""
        if everything:
            return cls(sdks=tuple(Sdk), ways=tuple(Way))
        return cls(sdks=(Sdk.BOTO3,), ways=(Way.NAMED, Way.DEFAULT))


def job_account(settings: Settings, runner_class: str) -> str:
    """Return what the output calls a class's jobs: `namespace/name` of the service account, `machine/class` or `task/class`."""
    runner = settings.runners[runner_class]
    if isinstance(runner, KubernetesRunner):
        return f"{namespace_jobs(runner_class)}/{JOB_SERVICE_ACCOUNT}"
    return f"{'task' if isinstance(runner, FargateRunner) else 'machine'}/{runner_class}"


def expected_role(settings: Settings, runner_class: str, profile: str) -> str:
    """Return the ARN of the role that the settings promise for a profile of a class, or REFUSED."""
    names = settings.names
    if profile in {DEFAULT_PROFILE, BASE_PROFILE}:
        return names.role_arn(settings.platform_account.id, names.job_role(runner_class))
    account = settings.accounts_of(runner_class).get(profile)
    if account is None:
        return REFUSED
    return names.role_arn(account.id, names.delegated_role(settings.runners[runner_class].level))


def of_classes(settings: Settings, accounts: Mapping[str, object], scope: Scope) -> Iterator[Attempt]:
    """Plan the attempts of every class: profiles `default`, `base`, and one for each account of the organisation."""
    for runner_class in settings.runners:
        for sdk in scope.sdks:
            for way in scope.ways:
                profiles = [DEFAULT_PROFILE] if way is Way.DEFAULT else [BASE_PROFILE, *accounts]
                for profile in profiles:
                    yield _attempt(settings, runner_class, profile, sdk, way)


def _attempt(settings: Settings, runner_class: str, profile: str, sdk: Sdk, way: Way) -> Attempt:
    caller = job_account(settings, runner_class)
    expected = expected_role(settings, runner_class, profile)
    return Attempt(
        runner_class=runner_class,
        caller=caller,
        identity=Identity(stack=settings.stack, runner_class=runner_class),
        profile=profile,
        sdk=sdk,
        way=way,
        expected=expected,
        refusal_kinds=NO_PROFILE[sdk] if expected == REFUSED else frozenset(),
        control=(caller, DEFAULT_PROFILE, sdk, Way.DEFAULT) if expected == REFUSED else None,
    )
