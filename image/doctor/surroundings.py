"""What a container has around it: variables that win over a profile, the clock, STS, the metadata service, its home."""

from __future__ import annotations

import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image.doctor.config import Config

OVERRIDING = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
)
"""With any of them some SDK takes another identity than the profile's."""
METADATA = "http://169.254.169.254"
SECONDS = 3.0
"""How long a silent endpoint is waited for."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What was found."""

    overriding: tuple[str, ...] = ()
    """Names of variables that win over a profile."""
    clock_ahead: float = 0.0
    """Seconds that this machine's clock is ahead of STS's; unknown is 0."""
    sts: str = ""
    """The STS endpoint that was tried."""
    sts_trouble: str = ""
    """Why it cannot be reached; empty where it can."""
    metadata: str = ""
    """The address of a metadata service that answers; empty where none does."""
    home_trouble: str = ""
    """Why the home cannot be written; empty where it can."""
    regionless: tuple[str, ...] = field(default=())
    """Profiles for which some SDK knows no region."""


def look(environment: Mapping[str, str], config: Config | None, now: Callable[[], float]) -> Surroundings:
    """Look around; asks STS and the metadata service for an answer, and nothing more."""
    sts = sts_endpoint(environment, config)
    trouble, ahead = _reach(sts, now) if sts else ("", 0.0)
    return Surroundings(
        overriding=tuple(name for name in OVERRIDING if environment.get(name)),
        clock_ahead=ahead,
        sts=sts,
        sts_trouble=trouble,
        metadata=_metadata(environment),
        home_trouble=_home_trouble(environment.get("HOME", "")),
        regionless=_regionless(environment, config),
    )


def sts_endpoint(environment: Mapping[str, str], config: Config | None) -> str:
    """Where SDKs ask STS: the variables for it, else the endpoint of the config's region; empty where nothing says."""
    named = environment.get("AWS_ENDPOINT_URL_STS") or environment.get("AWS_ENDPOINT_URL")
    regions = [each.region for each in config.profiles.values() if each.region] if config else []
    region = next(iter(regions), environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"))
    if named or not region:
        return named or ""
    return f"https://sts.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def _reach(url: str, now: Callable[[], float]) -> tuple[str, float]:
    """Why a server cannot be reached, and how far this clock is ahead of its own; any answer is an answer."""
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310  # the SDKs' own endpoint
            date = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__, 0.0
    try:
        return "", now() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return "", 0.0


def _metadata(environment: Mapping[str, str]) -> str:
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return ""
    address = (environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA).rstrip("/")
    request = urllib.request.Request(  # noqa: S310  # the SDKs' own endpoint
        f"{address}/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    )
    # Never through a proxy: the question is who answers from this pod.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=1.0):
            return address
    except urllib.error.HTTPError:
        return address
    except (OSError, ValueError):
        return ""


def _home_trouble(home: str) -> str:
    if not home:
        return "HOME is not set"
    try:
        with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-"):
            return ""
    except OSError as error:
        return f"{home}: {os.strerror(error.errno or 0)}"


def _regionless(environment: Mapping[str, str], config: Config | None) -> tuple[str, ...]:
    # boto3 and the first CLI read AWS_DEFAULT_REGION alone.
    if config is None or environment.get("AWS_DEFAULT_REGION"):
        return ()
    return tuple(name for name, each in config.profiles.items() if each.role_arn and not each.region)
