"""State of a job's container: clock, STS, metadata service, home, regions."""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image.doctor.aws_config import Config

METADATA = "http://169.254.169.254"
SECONDS = 3.0
"""Time limit for STS."""
POD, DOCKER = "pod", "docker"
"""Kinds of containers."""
STS_DOMAINS = {
    "cn-": "amazonaws.com.cn",
    "eusc-": "amazonaws.eu",
    "us-iso-": "c2s.ic.gov",
    "us-isob-": "sc2s.sgov.gov",
    "us-isof-": "csp.hci.ic.gov",
    "eu-isoe-": "cloud.adc-e.uk",
}
"""Domains of STS by the beginning of the region, where it is not amazonaws.com."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """State of a container."""

    clock_ahead: float = 0.0
    """Seconds by which this machine's clock is ahead of STS's; 0 if unknown."""
    sts: str = ""
    """Endpoint of STS."""
    sts_problem: str = ""
    """Why STS does not answer; empty if it does."""
    metadata: str = ""
    """Address of the metadata service if it answers; empty otherwise."""
    home_problem: str = ""
    """Why HOME is not writable; empty if it is."""
    kind: str = ""
    """`POD` or `DOCKER`; empty if it is neither, or cannot be told."""
    profiles_without_region: tuple[str, ...] = field(default=())
    """Profiles for which some SDK finds no region."""


def look(environment: Mapping[str, str], config: Config | None, now: Callable[[], float]) -> Container:
    """Look at a container. STS and the metadata service get one harmless request each."""
    sts = sts_endpoint(environment, config)
    problem, seconds_ahead = _try(sts, now) if sts else ("", 0.0)
    return Container(
        clock_ahead=seconds_ahead,
        sts=sts,
        sts_problem=problem,
        metadata=_metadata_service(environment),
        home_problem=_home_problem(environment.get("HOME", "")),
        kind=kind_of(environment),
        profiles_without_region=_profiles_without_region(environment, config),
    )


def kind_of(environment: Mapping[str, str], root: str = "/") -> str:
    """Return the kind of a container, by what Kubernetes and Docker put into it."""
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return POD
    return DOCKER if os.path.exists(os.path.join(root, ".dockerenv")) else ""  # noqa: PTH110, PTH118  # the rest of this module does without


def sts_endpoint(environment: Mapping[str, str], config: Config | None) -> str:
    """Return the STS endpoint of SDKs: from its variables, or else from the region; empty if neither is set."""
    endpoint = environment.get("AWS_ENDPOINT_URL_STS") or environment.get("AWS_ENDPOINT_URL")
    regions = [profile.region for profile in config.profiles.values() if profile.region] if config else []
    region = next(iter(regions), environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"))
    if endpoint or not region:
        return endpoint or ""
    domain = next((name for start, name in STS_DOMAINS.items() if region.startswith(start)), "amazonaws.com")
    return f"https://sts.{region}.{domain}"


def _try(url: str, now: Callable[[], float]) -> tuple[str, float]:
    """Return `(problem, seconds ahead)`: why a server does not answer, and the difference to its clock.

    An error status is an answer, too.
    """
    try:
        with urllib.request.urlopen(url, timeout=SECONDS) as response:  # noqa: S310  # the SDKs' own endpoint
            date = response.headers.get("Date")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error)) or type(error).__name__, 0.0
    try:
        return "", now() - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError):
        return "", 0.0


def _metadata_service(environment: Mapping[str, str]) -> str:
    if environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return ""
    address = (environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA).rstrip("/")
    # Not through a proxy: the question is whether this pod reaches the service.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(  # noqa: S310  # the SDKs' own endpoint
            f"{address}/latest/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"}
        )
        with opener.open(request, timeout=1.0):
            return address
    except urllib.error.HTTPError:
        return address
    except (OSError, ValueError, http.client.HTTPException):
        return ""


def _home_problem(home: str) -> str:
    if not home:
        return "HOME is not set"
    try:
        with tempfile.NamedTemporaryFile(dir=home, prefix=".doctor-"):
            return ""
    except OSError as error:
        return f"{home}: {os.strerror(error.errno or 0)}"


def _profiles_without_region(environment: Mapping[str, str], config: Config | None) -> tuple[str, ...]:
    # boto3 and version 1 of the AWS CLI do not read AWS_REGION.
    if config is None or environment.get("AWS_DEFAULT_REGION"):
        return ()
    return tuple(name for name, profile in config.profiles.items() if profile.role and not profile.region)
