#!/usr/bin/env python3
"""Who am I, by the AWS CLI on PATH (1 or 2): one JSON line, `{"arn", "account", "expires"}` or `{"error", "kind"}`.

Usage: probe.py PROFILE, where an empty PROFILE names none. The environment is used as it is. `docs/operate/prove.md` lists the kinds.
Standard library alone, so that it runs wherever the CLI does.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

KINDS = (
    (r"An error occurred \((\w+)\)", None),
    (r"config profile \(.*\) could not be found", "ProfileNotFound"),
    (r"[Yy]ou must specify a region", "RegionMissing"),
    (r"[Uu]nable to locate credentials|No AWS credentials|Error when retrieving credentials", "NoCredentials"),
    (r"Could not connect|[Tt]imed? ?out|Connection (was closed|refused)|EndpointConnectionError", "Unreachable"),
    (r"No such file or directory|Permission denied", "TokenFile"),
    (r"Partial credentials|Infinite loop|Unable to parse config|source_profile|source profile", "Configuration"),
)
"""Patterns in what the CLI says, and the kind; the first that fits. None: the code that STS gave stands in the pattern."""


def main(arguments: list[str]) -> int:
    """Print who this process is; exit code 1 where it is nobody."""
    profile = ["--profile", arguments[0]] if any(arguments) else []
    try:
        done = _aws("sts", "get-caller-identity", *profile)
        said = _identity(done.stdout) if done.returncode == 0 else _refusal(done.stderr)
    except FileNotFoundError:
        said = {"error": "the AWS CLI is not on PATH", "kind": "NotInstalled"}
    print(json.dumps(said), flush=True)  # noqa: T201  # the line is the program's answer
    return int("error" in said)


def _aws(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["aws", *arguments, "--output", "json", "--cli-connect-timeout", "10", "--cli-read-timeout", "20"]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


def _identity(text: str) -> dict[str, str | None]:
    caller = json.loads(text)
    return {"arn": caller["Arn"], "account": caller["Account"], "expires": _end(caller["Arn"])}


def _end(arn: str) -> str | None:
    """When the session ends, from the CLI's own cache of assumed roles: asking it would take a second start of the CLI."""
    for file in (Path.home() / ".aws" / "cli" / "cache").glob("*.json"):
        try:
            kept = json.loads(file.read_text())
            if kept["AssumedRoleUser"]["Arn"] == arn:
                end: str = kept["Credentials"]["Expiration"]
                return end.replace("+00:00", "Z")
        except (OSError, ValueError, KeyError):
            continue
    return None


def _refusal(text: str) -> dict[str, str | None]:
    error = " ".join(text.split())
    for pattern, kind in KINDS:
        found = re.search(pattern, error)
        if found:
            return {"error": error, "kind": kind or found[1]}
    return {"error": error or "the AWS CLI failed and said nothing", "kind": "Unknown"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
