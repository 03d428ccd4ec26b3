#!/usr/bin/env python3
"""Who am I, by boto3: one JSON line, `{"arn", "account", "expires"}` or `{"error", "kind"}`.

Usage: probe.py PROFILE, where an empty PROFILE names none. The environment is used as it is. `docs/operate/prove.md` lists the kinds.
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
"""The first that fits; what STS itself answers keeps the code that STS gave it."""


def main(arguments: list[str]) -> int:
    """Print who this process is; exit code 1 where it is nobody."""
    try:
        said: dict[str, Any] = identity(next(iter(arguments), None) or None)
    except failures.ClientError as error:
        said = {"error": str(error), "kind": error.response["Error"]["Code"]}
    except (failures.BotoCoreError, OSError, ValueError) as error:
        kind = next((name for failure, name in KINDS if isinstance(error, failure)), "Unknown")
        said = {"error": str(error), "kind": kind}
    print(json.dumps(said), flush=True)  # noqa: T201  # the line is the program's answer
    return int("error" in said)


def identity(profile: str | None) -> dict[str, Any]:
    """Ask STS who this is; `expires` is null where the credentials have no end."""
    session = boto3.Session(profile_name=profile)
    patience = botocore.config.Config(connect_timeout=10, read_timeout=20, retries={"total_max_attempts": 2})
    caller = session.client("sts", config=patience).get_caller_identity()
    # botocore keeps the end of a session to itself; refreshable credentials have it under this name since 2013.
    end = getattr(session.get_credentials(), "_expiry_time", None)
    expires = end.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if end else None
    return {"arn": caller["Arn"], "account": caller["Account"], "expires": expires}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
