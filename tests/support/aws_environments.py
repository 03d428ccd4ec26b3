"""Environments of jobs from public reports, and what the real SDKs do in each: recorded, and recorded again.

`tests/data/aws-environments.yaml` has the environments, `aws-environment-answers.json` the answers of the SDKs against `aws_stand_in`.
Record with `python -m tests.support.aws_environments <folder>`; the probes of the sandbox's tools must be on PATH. The folder holds `aws` of
version 2, which has no package for Python: unpack Debian's `awscli` and the packages that it depends on.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from components.documents.profiles import class_profiles
from config import load
from runner_platform.prove.attempts import Attempt, Identity, Sdk, Way
from runner_platform.prove.probes import CLI_PROBE, Probes
from tests.support import aws_stand_in
from tests.support.class_settings import settings_of

DATA = load.ROOT / "tests" / "data"
CASES = DATA / "aws-environments.yaml"
ANSWERS = DATA / "aws-environment-answers.json"
SDKS = ("boto3", "cli", "javascript", "go")
CLI_2 = "cli 2"
"""Name of the AWS CLI of version 2 in the recorded answers; `cli` is version 1."""
Answers = dict[str, dict[str, str]]
"""Short name of the identity, or `error`, by case and SDK."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One environment."""

    name: str
    asks: str
    """Short name of the identity that the job's author means."""
    sources: tuple[str, ...]
    """Public reports of the environment."""
    selectors: tuple[str, ...]
    """What doctor must name."""
    variables: dict[str, str | None]
    """Variables beside those of every job; None takes one away."""
    files: dict[str, Any]
    """Text by path below the job's folder; `config` replaces the class's config, `more` is appended to it."""
    encoding: str

    def write(self, folder: Path, server: str) -> dict[str, str]:
        """Write the files and return the whole environment."""
        home = folder / "home"
        home.mkdir(parents=True)
        (folder / "token").write_text("token")
        (folder / "authorization").write_text("from-a-file")
        config = self.files.get("config") or class_config(str(folder / "token"))
        texts = {"config": config + self.files.get("more", "")}
        texts |= {path: text for path, text in self.files.items() if path not in {"config", "more"}}
        for path, text in texts.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(_filled(text, folder, server).encode(self.encoding))
        variables: dict[str, str | None] = {
            "HOME": str(home),
            "AWS_CONFIG_FILE": str(folder / "config"),
            "AWS_SDK_LOAD_CONFIG": "1",
            "AWS_ENDPOINT_URL_STS": server,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{server}/",
            "AWS_MAX_ATTEMPTS": "2",
            "HTTPS_PROXY": "http://127.0.0.1:9",
        }
        variables.update({name: value and _filled(value, folder, server) for name, value in self.variables.items()})
        return {name: value for name, value in variables.items() if value is not None}


def class_config(token_file: str) -> str:
    """Return the config of class small."""
    return class_profiles(settings_of("prod").runner_class("small"), token_file=token_file)


def _filled(text: str, folder: Path, server: str) -> str:
    return text.replace("{folder}", str(folder)).replace("{server}", server)


@functools.cache
def cases() -> tuple[Case, ...]:
    """Read the environments."""
    document = yaml.safe_load(CASES.read_text(encoding="utf-8"))
    return tuple(
        Case(
            name=name,
            asks=case["asks"],
            sources=tuple(case["sources"]),
            selectors=tuple(case.get("selectors", ())),
            variables=case.get("variables", {}),
            files=case.get("files", {}),
            encoding=case.get("encoding", "utf-8"),
        )
        for name, case in document.items()
    )


@functools.cache
def recorded() -> Answers:
    """Read the recorded answers."""
    answers: Answers = json.loads(ANSWERS.read_text(encoding="utf-8"))
    return answers


def ask(folder: Path, *, every_cli: int = 1) -> Answers:
    """Ask the real SDKs in every environment.

    Args:
        folder: an empty folder.
        every_cli: ask the AWS CLI in every n-th environment, because it takes most of the time and does as boto3.
    """
    attempt = Attempt(
        runner_class=None,
        caller="",
        identity=Identity(stack="prod", runner_class="small"),
        profile="",
        sdk=Sdk.BOTO3,
        way=Way.DEFAULT,
        expected="",
    )
    attempts = {
        replace(attempt, caller=case.name, sdk=Sdk(sdk)): (case, sdk)
        for number, case in enumerate(cases())
        for sdk in SDKS
        if sdk != "cli" or number % every_cli == 0
    }
    answers: Answers = {case.name: {} for case in cases()}
    with aws_stand_in.serving() as server, Probes(set(Sdk), workers=2) as probes:

        def environment(attempt: Attempt) -> dict[str, str]:
            case, sdk = attempts[attempt]
            return case.write(folder / case.name / sdk, server)

        for attempt, answer in probes.run(attempts, environment):
            case, sdk = attempts[attempt]
            assert answer.kind != "Crashed", f"{case.name} by {sdk}: {answer.error}"
            answers[case.name][sdk] = aws_stand_in.name_of(answer.arn) if answer.arn else "error"
    return answers


def ask_cli_2(folder: Path, program_folder: str) -> Answers:
    """Ask the AWS CLI of version 2 in every environment."""
    answers: Answers = {}
    with aws_stand_in.serving() as server:
        for case in cases():
            environment = case.write(folder / case.name / "cli-2", server) | {"PATH": f"{program_folder}:{os.defpath}"}
            done = subprocess.run(
                [sys.executable, "-I", str(CLI_PROBE), ""], env=environment, capture_output=True, text=True, check=False
            )
            arn = json.loads(done.stdout).get("arn")
            answers[case.name] = {CLI_2: aws_stand_in.name_of(arn) if arn else "error"}
    return answers


def _record(program_folder: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        answers, of_cli_2 = ask(Path(name)), ask_cli_2(Path(name), program_folder)
    merged = {name: {**answers[name], **of_cli_2[name]} for name in answers}
    lines = [f" {json.dumps(name)}: {json.dumps(row)}" for name, row in merged.items()]
    ANSWERS.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    _record(sys.argv[1])
