"""Runs the probes as a job's tools would run: one process for each profile, SDK family and way.

A probe (`image/probes`) takes a profile or an empty string as its argument, and prints one JSON line. It gets a new HOME with links to
everything in the real one except cached sessions, which would answer instead of STS. No other variable is changed for the way `job`.
"""

from __future__ import annotations

import contextlib
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

    from image.doctor.aws_config import Config

FOLDER = Path(__file__).resolve().parent.parent / "probes"
PYTHON_WITH_BOTO3 = Path("/opt/runner-platform/bin/python")
"""Python environment of the image."""
FAMILIES = ("boto3", "cli", "javascript", "go")
JOB = "job"
"""The way of an attempt in the job's own environment, with nothing removed."""
CACHES = ("cli", "boto")
"""Folders below `~/.aws` with cached sessions."""
SECONDS = 70
AT_ONCE = 4


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run of a probe."""

    profile: str
    sdk: str
    way: str
    """How the profile is selected: in code (`named`), with AWS_PROFILE (`env`), not at all (`default`), or as the job stands (`job`)."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer of a probe: an identity, or an error."""

    arn: str = ""
    expires: str = ""
    """End of the session in ISO 8601; empty if the SDK does not know it."""
    error: str = ""
    kind: str = ""
    """Kind of the error; docs/operate/prove.md lists them."""


def installed(environment: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the command of each installed SDK family."""
    search = environment.get("PATH")
    commands: dict[str, list[str]] = {}
    python = _python_with_boto3()
    if python:
        commands["boto3"] = [python, str(FOLDER / "python" / "probe.py")]
    if shutil.which("aws", path=search):
        commands["cli"] = [sys.executable, str(FOLDER / "cli" / "probe.py")]
    compiled = {"javascript": FOLDER / "javascript" / "probe-javascript", "go": FOLDER / "go" / "probe-go"}
    for family, file in compiled.items():
        program = str(file) if file.exists() else shutil.which(file.name, path=search)
        if program:
            commands[family] = [program]
    return commands


def attempts(config: Config, families: Sequence[str], only: Sequence[str] = ()) -> list[Attempt]:
    """Return every combination of profile, family and way. `default` stands for no profile."""
    ways = {name: ("named", "env") if name != "default" else ("default",) for name in config.profiles}
    return [
        Attempt(profile=profile, sdk=sdk, way=way)
        for profile in (only or ways)
        for sdk in families
        for way in ways.get(profile, ("named", "env"))
    ]


def run(
    attempts: Sequence[Attempt], commands: Mapping[str, Sequence[str]], environment: Mapping[str, str]
) -> list[Answer]:
    """Run some attempts at a time, and return their answers in order."""
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder, ThreadPoolExecutor(AT_ONCE) as pool:

        def run_one(number: int, attempt: Attempt) -> Answer:
            home = Path(folder) / str(number)
            _copy_home(Path(environment.get("HOME") or "/nowhere"), home)
            return _run(attempt, commands[attempt.sdk], {**environment, "HOME": str(home)})

        return list(pool.map(run_one, range(len(attempts)), attempts))


def _copy_home(real: Path, home: Path) -> None:
    """Make a home with links to the entries of the real one, without cached sessions."""
    (home / ".aws").mkdir(parents=True)
    for source, target, left_out in ((real, home, (".aws",)), (real / ".aws", home / ".aws", CACHES)):
        with contextlib.suppress(OSError):  # a home that cannot be listed; SDKs do not read it either
            for entry in source.iterdir():
                if entry.name not in left_out:
                    (target / entry.name).symlink_to(entry)


def _run(attempt: Attempt, command: Sequence[str], environment: dict[str, str]) -> Answer:
    if attempt.way != JOB:
        for name in ("AWS_PROFILE", "AWS_DEFAULT_PROFILE"):
            environment.pop(name, None)
    if attempt.way == "env":
        environment["AWS_PROFILE"] = attempt.profile
    argument = attempt.profile if attempt.way == "named" else ""
    try:
        process = subprocess.run(
            [*command, argument],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return Answer(error=f"the probe did not end within {SECONDS} s", kind="Unreachable")
    except OSError as error:
        return Answer(error=f"the probe {command[0]} does not run: {error.strerror}", kind="NotInstalled")
    return answer_of(process.stdout, process.stderr)


def answer_of(output: str, errors: str) -> Answer:
    """Return the answer on a probe's last line."""
    try:
        document: Any = json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError):
        document = None
    if not isinstance(document, dict):
        lines = errors.strip().splitlines()
        return Answer(error=lines[-1] if lines else "the probe printed nothing", kind="Unknown")
    return Answer(**{name: str(document.get(name) or "") for name in ("arn", "expires", "error", "kind")})


def _python_with_boto3() -> str:
    if os.access(PYTHON_WITH_BOTO3, os.X_OK):
        return str(PYTHON_WITH_BOTO3)
    return sys.executable if importlib.util.find_spec("boto3") else ""
