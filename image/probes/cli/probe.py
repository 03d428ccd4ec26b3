#!/usr/bin/env python3
"""Print the identity of this process in AWS, through the AWS CLI on PATH (version 1 or 2), as one JSON line.

The line is `{"arn", "account", "expires"}` or `{"error", "kind"}`; docs/operate/prove.md lists the kinds.
Usage: probe.py PROFILE. An empty PROFILE selects none. The environment is used as it is.
The standard library alone, so that it runs wherever the CLI runs.
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
"""Patterns in the CLI's message, and the kind; the first match counts. None: the pattern's group is the code of STS."""


def main(arguments: list[str]) -> int:
    """Print the identity or the error, and return the exit code: 1 without an identity."""
    profile = ["--profile", arguments[0]] if any(arguments) else []
    try:
        process = _aws("sts", "get-caller-identity", *profile)
        answer = _identity(process.stdout) if process.returncode == 0 else _refusal(process.stderr)
    except FileNotFoundError:
        answer = {"error": "the AWS CLI is not on PATH", "kind": "NotInstalled"}
    print(json.dumps(answer), flush=True)  # noqa: T201  # the line is the program's answer
    return int("error" in answer)


def _aws(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["aws", *arguments, "--output", "json", "--cli-connect-timeout", "10", "--cli-read-timeout", "20"]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", errors="replace", check=False, stdin=subprocess.DEVNULL
    )


def _identity(text: str) -> dict[str, str | None]:
    caller = json.loads(text)
    return {"arn": caller["Arn"], "account": caller["Account"], "expires": _end(caller["Arn"])}


def _end(arn: str) -> str | None:
    """Return the end of a session from the CLI's cache of assumed roles; a second start of the CLI would take a second."""
    for file in (Path.home() / ".aws" / "cli" / "cache").glob("*.json"):
        try:
            cached = json.loads(file.read_text())
            if cached["AssumedRoleUser"]["Arn"] == arn:
                end: str = cached["Credentials"]["Expiration"]
                return end.replace("+00:00", "Z")
        except (OSError, ValueError, KeyError):
            continue
    return None


def _refusal(text: str) -> dict[str, str | None]:
    error = " ".join(text.split())
    for pattern, kind in KINDS:
        match = re.search(pattern, error)
        if match:
            return {"error": error, "kind": kind or match[1]}
    return {"error": error or "the AWS CLI failed and printed nothing", "kind": "Unknown"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
