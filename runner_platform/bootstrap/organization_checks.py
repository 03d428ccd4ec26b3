"""Checks of an AWS organisation before the platform is deployed into it. Reads only.

A check is fine, a problem that stops the bootstrap, a warning for a person to weigh, or unknown if AWS does not say.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from config.names import state_bucket
from runner_platform.bootstrap.state_backend import bucket_name
from runner_platform.check.notices import needed_vcpus
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.foundation import FoundationSettings
    from config.settings import Settings

ON_DEMAND, SPOT, ADDRESSES = ("ec2", "L-1216C47A"), ("ec2", "L-34B43A08"), ("ec2", "L-0263D0A3")
"""Service and code of the quotas. https://docs.aws.amazon.com/general/latest/gr/ec2-service.html"""
QUOTA_NAMES = {
    ON_DEMAND: "vCPUs of running on-demand standard instances",
    SPOT: "vCPUs of standard spot instances",
    ADDRESSES: "Elastic IP addresses",
}


class State(StrEnum):
    """The result of a check."""

    FINE = "fine"
    PROBLEM = "problem"
    """Stops the bootstrap."""
    WARNING = "warning"
    """Does not stop the bootstrap; a person should know."""
    UNKNOWN = "unknown"
    """AWS did not say."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check and its result."""

    name: str
    state: State
    text: str
    """The result in words, with a remedy if there is one."""


def check_organization(settings: FoundationSettings, stacks: Mapping[str, Settings]) -> list[Check]:
    """Run all checks; those of different accounts in parallel."""
    with ThreadPoolExecutor() as pool:
        identities = list(pool.map(lambda name: check_identity(settings, name), settings.accounts))
        reachable = [
            name for name, check in zip(settings.accounts, identities, strict=True) if check.state is State.FINE
        ]
        buckets = list(pool.map(lambda name: check_bucket(settings, name), reachable))
    checks = [*identities, *buckets, check_membership(settings), check_trail(settings)]
    if settings.platform.account in reachable:
        checks += check_quotas(settings, stacks)
    return checks


def check_identity(settings: FoundationSettings, account: str, *, profiles: str = "foundation") -> Check:
    """Check that the profile `<profiles>-<account>` opens the account."""
    profile, expected = f"{profiles}-{account}", settings.accounts[account].id
    try:
        caller = client(profile, "sts", settings).get_caller_identity()
    except ProfileNotFound:
        role = "foundation" if profiles == "foundation" else "deployer"
        text = f"there is no such profile; append what `runner-platform profiles --platform {role}` prints to your AWS config"
        return Check(name=profile, state=State.PROBLEM, text=text)
    except BotoCoreError as error:  # no session, or AWS cannot be reached
        return Check(name=profile, state=State.PROBLEM, text=str(error))
    except ClientError as error:
        remedy = ". An account that was invited needs the role OrganizationAccountAccessRole first"
        return Check(name=profile, state=State.PROBLEM, text=f"{error}{remedy if profiles == 'foundation' else ''}")
    if caller["Account"] != expected:
        text = f"it opens account {caller['Account']}, and accounts.{account}.id is {expected}: one of them is wrong"
        return Check(name=profile, state=State.PROBLEM, text=text)
    if ":assumed-role/" not in caller["Arn"]:
        text = f"it is {caller['Arn']}, which is no role, so no session of it ends; use a profile with a role"
        return Check(name=profile, state=State.PROBLEM, text=text)
    return Check(name=profile, state=State.FINE, text=caller["Arn"])


def check_bucket(settings: FoundationSettings, account: str) -> Check:
    """Check the name of the account's state bucket: free, or already in this account."""
    owner = settings.accounts[account].id
    name = state_bucket(settings.organization, owner)
    check = f"bucket {name}"
    try:
        client(f"foundation-{account}", "s3", settings).head_bucket(Bucket=name, ExpectedBucketOwner=owner)
    except BotoCoreError as error:
        return Check(name=check, state=State.UNKNOWN, text=f"it cannot be asked for: {error}")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
            return Check(name=check, state=State.FINE, text=f"free for {account}")
        text = (
            f"it exists and is not {account}'s in {settings.organization.region} ({error}). Names of buckets are unique in all of AWS: "
            "find its owner, and have it deleted"
        )
        return Check(name=check, state=State.PROBLEM, text=text)
    return Check(name=check, state=State.FINE, text=f"{account} has it already")


def check_membership(settings: FoundationSettings) -> Check:
    """Check that the organisation's id is the one in every trust policy."""
    name, expected = "organisation", settings.organization.id
    try:
        organizations = client(_state_profile(settings), "organizations", settings)
        actual = organizations.describe_organization()["Organization"]["Id"]
    except (BotoCoreError, ClientError) as error:
        return Check(name=name, state=State.UNKNOWN, text=f"its id cannot be read: {error}")
    if actual != expected:
        text = f"its id is {actual}, and organization.id is {expected}: every trust would refuse everybody. Correct organization.id"
        return Check(name=name, state=State.PROBLEM, text=text)
    return Check(name=name, state=State.FINE, text=actual)


def check_trail(settings: FoundationSettings) -> Check:
    """Check that the whole organisation has a CloudTrail trail; members see it too."""
    name, refusal = "organisation trail", ""
    for profile in _trail_profiles(settings):
        try:
            trails = client(profile, "cloudtrail", settings).describe_trails(includeShadowTrails=True)["trailList"]
        except (BotoCoreError, ClientError) as error:
            refusal = str(error)
            continue
        for trail in trails:
            if trail.get("IsOrganizationTrail") and trail.get("IsMultiRegionTrail"):
                return Check(name=name, state=State.FINE, text=trail["TrailARN"])
    if refusal:
        return Check(name=name, state=State.UNKNOWN, text=f"it cannot be looked for everywhere: {refusal}")
    text = "there is no trail of all regions, so you could not find out later who did what; make one in the management account (docs/operate/bootstrap.md)"
    return Check(name=name, state=State.WARNING, text=text)


def check_quotas(settings: FoundationSettings, stacks: Mapping[str, Settings]) -> list[Check]:
    """Check that the quotas of the platform's account suffice for the full load of all stacks together."""
    profile = f"foundation-{settings.platform.account}"
    return [_check_quota(settings, profile, quota, need) for quota, need in full_load(list(stacks.values())).items()]


def full_load(stacks: Sequence[Settings]) -> dict[tuple[str, str], int]:
    """Return how much of each quota the stacks take when all classes run all their jobs."""
    vcpus = [needed_vcpus(settings) for settings in stacks]
    networks = [settings.network for settings in stacks if settings.network.existing is None]
    addresses = sum({"single": 1, "none": 0}.get(str(network.nat), int(network.zones or 0)) for network in networks)
    return {
        ON_DEMAND: sum(on_demand for on_demand, _ in vcpus),
        SPOT: sum(spot for _, spot in vcpus),
        ADDRESSES: addresses,
    }


def _check_quota(settings: FoundationSettings, profile: str, quota: tuple[str, str], need: int) -> Check:
    service, code = quota
    name = f"quota {code}"
    text = f"{QUOTA_NAMES[quota]} in {settings.platform.account}: full load needs {need}"
    try:
        answer = client(profile, "service-quotas", settings).get_service_quota(ServiceCode=service, QuotaCode=code)
        allowed = float(answer["Quota"]["Value"])
    except (BotoCoreError, ClientError, KeyError) as error:
        return Check(name=name, state=State.UNKNOWN, text=f"{text}; the allowed value cannot be read: {error}")
    if allowed < need:
        request = f"aws service-quotas request-service-quota-increase --service-code {service} --quota-code {code} --desired-value {need}"
        remedy = f"{text}, {allowed:g} are allowed; ask days before: {request} --profile {profile}"
        return Check(name=name, state=State.WARNING, text=remedy)
    return Check(name=name, state=State.FINE, text=f"{text}, {allowed:g} are allowed")


def client(profile: str, service: str, settings: FoundationSettings) -> Any:
    """Make a client of a profile. It asks twice at most, so that a wrong profile shows soon."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=10, read_timeout=30)
    session = boto3.Session(profile_name=profile, region_name=settings.organization.region)
    return session.client(service, config=config)  # type: ignore[call-overload]  # the stubs know literal names only


def bucket_exists(settings: FoundationSettings) -> bool:
    """Whether the bucket of the platform's own state exists.

    Raises:
        FailedError: the bucket belongs to another account, or cannot be asked for.
    """
    name = bucket_name(settings)
    try:
        client(_state_profile(settings), "s3", settings).head_bucket(Bucket=name)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
            return False
        raise FailedError(f"bucket {name} exists and is not yours: {error}") from None
    except BotoCoreError as error:
        raise FailedError(f"bucket {name} cannot be asked for: {error}") from None
    return True


def _state_profile(settings: FoundationSettings) -> str:
    return f"foundation-{settings.platform.state_account}"


def _trail_profiles(settings: FoundationSettings) -> list[str]:
    """Return profiles that may see the trail: a member's, and the management account's."""
    import botocore.session  # noqa: PLC0415  # only here

    member = _state_profile(settings)
    try:
        profiles = botocore.session.Session().full_config.get("profiles", {})
    except BotoCoreError:  # an AWS file that botocore does not read; the client of the member says so
        return [member]
    source = profiles.get(member, {}).get("source_profile")
    return [member, *([source] if source else [])]
