"""What must be true of an organisation before the platform can live in it. Only reads.

Each check is fine, a problem that stops the bootstrap, a warning that a person weighs, or unknown where AWS does not say.
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
from runner_platform.bootstrap import backend
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
    """How a check ended."""

    FINE = "fine"
    PROBLEM = "problem"
    """The bootstrap does not go on."""
    WARNING = "warning"
    """It goes on; a person should know."""
    UNKNOWN = "unknown"
    """AWS did not say."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question and its answer."""

    name: str
    state: State
    text: str
    """The answer, and the remedy where there is one to give."""


def organization(settings: FoundationSettings, stacks: Mapping[str, Settings]) -> list[Check]:
    """Ask all questions; those about one account side by side."""
    with ThreadPoolExecutor() as pool:
        identities = list(pool.map(lambda name: identity(settings, name), settings.accounts))
        entered = [name for name, each in zip(settings.accounts, identities, strict=True) if each.state is State.FINE]
        buckets = list(pool.map(lambda name: bucket(settings, name), entered))
    found = [*identities, *buckets, membership(settings), trail(settings)]
    if settings.platform.account in entered:
        found += quotas(settings, stacks)
    return found


def identity(settings: FoundationSettings, account: str, *, who: str = "foundation") -> Check:
    """Whether the profile `<who>-<account>` opens that account."""
    profile, wanted = f"{who}-{account}", settings.accounts[account].id
    try:
        got = client(profile, "sts", settings).get_caller_identity()
    except ProfileNotFound:
        kind = "foundation" if who == "foundation" else "deployer"
        text = f"there is no such profile; append what `runner-platform profiles --platform {kind}` prints to your AWS config"
        return Check(name=profile, state=State.PROBLEM, text=text)
    except BotoCoreError as error:  # no session, or no way to AWS
        return Check(name=profile, state=State.PROBLEM, text=str(error))
    except ClientError as error:
        remedy = ". An account that was invited needs the role OrganizationAccountAccessRole first"
        return Check(name=profile, state=State.PROBLEM, text=f"{error}{remedy if who == 'foundation' else ''}")
    if got["Account"] != wanted:
        text = f"it opens account {got['Account']}, and accounts.{account}.id is {wanted}: one of them is wrong"
        return Check(name=profile, state=State.PROBLEM, text=text)
    if ":assumed-role/" not in got["Arn"]:
        text = f"it is {got['Arn']}, which is no role, so no session of it ends"
        return Check(name=profile, state=State.PROBLEM, text=text)
    return Check(name=profile, state=State.FINE, text=got["Arn"])


def bucket(settings: FoundationSettings, account: str) -> Check:
    """Whether the name of the account's state bucket is free, or the account's own already."""
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
            "find out whose it is, and have it deleted"
        )
        return Check(name=check, state=State.PROBLEM, text=text)
    return Check(name=check, state=State.FINE, text=f"{account} has it already")


def membership(settings: FoundationSettings) -> Check:
    """Whether the organisation is the one that every trust names."""
    name, wanted = "organisation", settings.organization.id
    try:
        got = client(_state_profile(settings), "organizations", settings).describe_organization()["Organization"]["Id"]
    except (BotoCoreError, ClientError) as error:
        return Check(name=name, state=State.UNKNOWN, text=f"its id cannot be read: {error}")
    if got != wanted:
        text = f"its id is {got}, and organization.id is {wanted}: every trust would refuse everybody"
        return Check(name=name, state=State.PROBLEM, text=text)
    return Check(name=name, state=State.FINE, text=got)


def trail(settings: FoundationSettings) -> Check:
    """Whether a trail of the whole organisation is written: members see it, too."""
    name, refused = "organisation trail", ""
    for profile in _asked(settings):
        try:
            trails = client(profile, "cloudtrail", settings).describe_trails(includeShadowTrails=True)["trailList"]
        except (BotoCoreError, ClientError) as error:
            refused = str(error)
            continue
        for each in trails:
            if each.get("IsOrganizationTrail") and each.get("IsMultiRegionTrail"):
                return Check(name=name, state=State.FINE, text=each["TrailARN"])
    if refused:
        return Check(name=name, state=State.UNKNOWN, text=f"it cannot be looked for everywhere: {refused}")
    text = "none of all regions exists, so nobody could say later who did what; make one in the management account (docs/operate/bootstrap.md)"
    return Check(name=name, state=State.WARNING, text=text)


def quotas(settings: FoundationSettings, stacks: Mapping[str, Settings]) -> list[Check]:
    """Whether the platform's account may have what the stacks need at full load, all of them together."""
    profile = f"foundation-{settings.platform.account}"
    return [_quota(settings, profile, which, need) for which, need in needed(list(stacks.values())).items()]


def needed(stacks: Sequence[Settings]) -> dict[tuple[str, str], int]:
    """Most of each quota that stacks take when all classes run all their jobs."""
    vcpus = [needed_vcpus(each) for each in stacks]
    networks = [each.network for each in stacks if each.network.existing is None]
    addresses = sum(1 if each.nat == "single" else int(each.zones or 0) for each in networks)
    return {ON_DEMAND: sum(each for each, _ in vcpus), SPOT: sum(each for _, each in vcpus), ADDRESSES: addresses}


def _quota(settings: FoundationSettings, profile: str, which: tuple[str, str], need: int) -> Check:
    service, code = which
    name = f"quota {code}"
    what = f"{QUOTA_NAMES[which]} in {settings.platform.account}: full load needs {need}"
    try:
        quota = client(profile, "service-quotas", settings).get_service_quota(ServiceCode=service, QuotaCode=code)
        allowed = float(quota["Quota"]["Value"])
    except (BotoCoreError, ClientError, KeyError) as error:
        return Check(name=name, state=State.UNKNOWN, text=f"{what}; what is allowed cannot be read: {error}")
    if allowed < need:
        request = f"aws service-quotas request-service-quota-increase --service-code {service} --quota-code {code} --desired-value {need}"
        text = f"{what}, {allowed:g} are allowed; ask days before: {request} --profile {profile}"
        return Check(name=name, state=State.WARNING, text=text)
    return Check(name=name, state=State.FINE, text=f"{what}, {allowed:g} are allowed")


def client(profile: str, service: str, settings: FoundationSettings) -> Any:
    """A client of a profile; asks twice at most, so that a wrong profile is known soon."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 2}, connect_timeout=10, read_timeout=30)
    session = boto3.Session(profile_name=profile, region_name=settings.organization.region)
    return session.client(service, config=config)  # type: ignore[call-overload]  # the stubs know literal names only


def bucket_exists(settings: FoundationSettings) -> bool:
    """Whether the bucket for the platform's own state is there.

    Raises:
        FailedError: it belongs to somebody else, or cannot be asked for.
    """
    name = backend.bucket(settings)
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


def _asked(settings: FoundationSettings) -> list[str]:
    """Profiles that may see the trail: a member's, and the management account's, which is their source."""
    import botocore.session  # noqa: PLC0415  # only here

    profiles = botocore.session.Session().full_config.get("profiles", {})
    member = _state_profile(settings)
    source = profiles.get(member, {}).get("source_profile")
    return [member, *([source] if source else [])]
