"""Runs the probes: one process per profile, SDK family and way, as a job's tool would run.

A probe takes a profile or nothing as its argument, and prints one JSON line (`image/probes`). Each gets a home of its own, so that no session
that a tool cached answers for STS; files that SDKs look for in the real home are named to it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image.doctor.config import Config

FOLDER = Path(__file__).resolve().parent.parent / "probes"
PYTHON_WITH_BOTO3 = Path("/opt/runner-platform/bin/python")
"""The image's environment of this program."""
FAMILIES = ("boto3", "cli", "javascript", "go")
SECONDS = 70
AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One question: which profile, asked by which SDK, in which way."""

    profile: str
    sdk: str
    way: str
    """`named` in code, by the variable AWS_PROFILE (`env`), or `default`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a probe said: an identity, or an error."""

    arn: str = ""
    expires: str = ""
    """ISO 8601; empty where the SDK does not know."""
    error: str = ""
    kind: str = ""
    """The error's name, as `docs/operate/prove.md` lists them."""


def here(environment: Mapping[str, str]) -> dict[str, list[str]]:
    """The families that can be asked here, with the command of each."""
    search = environment.get("PATH")
    found: dict[str, list[str]] = {}
    python = _python_with_boto3()
    if python:
        found["boto3"] = [python, str(FOLDER / "python" / "probe.py")]
    if shutil.which("aws", path=search):
        found["cli"] = [sys.executable, str(FOLDER / "cli" / "probe.py")]
    compiled = {"javascript": FOLDER / "javascript" / "probe-javascript", "go": FOLDER / "go" / "probe-go"}
    for family, file in compiled.items():
        program = str(file) if file.exists() else shutil.which(file.name, path=search)
        if program:
            found[family] = [program]
    return found


def attempts(config: Config, families: Sequence[str], only: Sequence[str] = ()) -> list[Attempt]:
    """Every profile by every family and way; `default` is the config without a name."""
    ways = {name: ("named", "env") for name in config.profiles if name != "default"} | {"default": ("default",)}
    return [
        Attempt(profile=profile, sdk=sdk, way=way)
        for profile in (only or ways)
        for sdk in families
        for way in ways.get(profile, ("named", "env"))
    ]


def run(
    wanted: Sequence[Attempt], commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], config: Path
) -> list[Answer]:
    """Ask everything, a few at once; answers in the order of the questions."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as home, ThreadPoolExecutor(AT_ONCE) as pool:
        real = environment.get("HOME") or "/"
        surroundings = {
            **environment,
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{real}/.aws/credentials",
        }

        def ask(number: int, attempt: Attempt) -> Answer:
            own = Path(home) / str(number)
            own.mkdir()
            return _ask(attempt, commands[attempt.sdk], {**surroundings, "HOME": str(own)})

        return list(pool.map(ask, range(len(wanted)), wanted))


def _ask(attempt: Attempt, command: Sequence[str], environment: dict[str, str]) -> Answer:
    for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
        environment.pop(name, None)
    if attempt.way == "env":
        environment["AWS_PROFILE"] = attempt.profile
    argument = attempt.profile if attempt.way == "named" else ""
    try:
        done = subprocess.run(
            [*command, argument],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"the probe did not end within {SECONDS} s", kind="Unreachable")
    except OSError as error:
        return Answer(error=f"the probe {command[0]} does not run: {error.strerror}", kind="NotInstalled")
    return answer_of(done.stdout, done.stderr)


def answer_of(output: str, errors: str) -> Answer:
    """Read a probe's line."""
    try:
        said: Any = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        said = None
    if not isinstance(said, dict):
        last = errors.strip().splitlines()
        return Answer(error=last[-1] if last else "the probe said nothing", kind="Unknown")
    return Answer(**{name: str(said.get(name) or "") for name in ("arn", "expires", "error", "kind")})


def _python_with_boto3() -> str:
    if os.access(PYTHON_WITH_BOTO3, os.X_OK):
        return str(PYTHON_WITH_BOTO3)
    return sys.executable if importlib.util.find_spec("boto3") else ""
