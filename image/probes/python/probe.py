#!/usr/bin/env python3
"""Print the identity of this process in AWS, through boto3, as one JSON line.

The line is `{"arn", "account", "expires"}` or `{"error", "kind"}`; docs/operate/prove.md lists the kinds.
Usage: probe.py PROFILE. An empty PROFILE selects none. The environment is used as it is.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC
from typing import Any

import boto3
import botocore.config
import botocore.exceptions as failures

KINDS: tuple[tuple[type[Exception], str], ...] = (
    (failures.ProfileNotFound, "ProfileNotFound"),
    (failures.NoRegionError, "RegionMissing"),
    (failures.NoCredentialsError, "NoCredentials"),
    (failures.CredentialRetrievalError, "NoCredentials"),
    (failures.PartialCredentialsError, "Configuration"),
    (failures.InfiniteLoopConfigError, "Configuration"),
    (failures.InvalidConfigError, "Configuration"),
    (failures.ConfigParseError, "Configuration"),
    (failures.ConfigNotFound, "Configuration"),
    (failures.HTTPClientError, "Unreachable"),
    (failures.ConnectionError, "Unreachable"),
    (OSError, "TokenFile"),
)
"""The first match counts. An error of STS keeps its own code."""


def main(arguments: list[str]) -> int:
    """Print the identity or the error, and return the exit code: 1 without an identity."""
    try:
        answer: dict[str, Any] = identity(next(iter(arguments), None) or None)
    except failures.ClientError as error:
        answer = {"error": str(error), "kind": error.response["Error"]["Code"]}
    except (failures.BotoCoreError, OSError, ValueError) as error:
        kind = next((name for failure, name in KINDS if isinstance(error, failure)), "Unknown")
        answer = {"error": str(error), "kind": kind}
    print(json.dumps(answer), flush=True)  # noqa: T201  # the line is the program's answer
    return int("error" in answer)


def identity(profile: str | None) -> dict[str, Any]:
    """Ask STS for the identity; `expires` is null if the credentials do not expire."""
    session = boto3.Session(profile_name=profile)
    patience = botocore.config.Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 2})
    caller = session.client("sts", config=patience).get_caller_identity()
    # botocore has no public attribute for the end of a session; refreshable credentials have had this one since 2013.
    end = getattr(session.get_credentials(), "_expiry_time", None)
    expires = end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if end else None
    return {"arn": caller["Arn"], "account": caller["Account"], "expires": expires}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
