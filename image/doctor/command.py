"""Arguments, order of the examination, and exit code: 0 all is well, 1 something is wrong, 2 wrong use."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from image.doctor import config as configs
from image.doctor import probes, report, surroundings, web_token
from image.doctor.diagnosis import Case, Finding, cause, findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image.doctor.config import Config
    from image.doctor.web_token import Token

DESCRIPTION = "Who is this job to AWS, is that the account and role that each profile names, and if not, why."


def main(arguments: Sequence[str]) -> int:
    """Examine this container; print what was found; return the exit code."""
    parser = argparse.ArgumentParser(prog="doctor", description=DESCRIPTION)
    parser.add_argument(
        "profiles", nargs="*", metavar="PROFILE", help="only these; every profile of the config by default"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--sdk", action="append", choices=probes.FAMILIES, help="only this family; may be repeated")
    options = parser.parse_args(arguments)
    found = examine(os.environ, options.profiles, options.sdk)
    # Standard output may be a pipe that nobody reads to the end; that is not the job's illness.
    try:
        print(json.dumps(found.document(), indent=2) if options.json else found.text(), flush=True)  # noqa: T201  # the answer
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if found.ok else 1


def examine(
    environment: Mapping[str, str], only: Sequence[str] = (), families: Sequence[str] | None = None
) -> report.Report:
    """Examine the container that has this environment.

    Args:
        environment: its variables.
        only: profiles to ask; all of the config where none is named.
        families: SDK families to ask; all that are here where None.
    """
    troubles: list[Finding] = []
    config = _config(environment, troubles)
    token = _token(config, troubles)
    commands = {name: each for name, each in probes.here(environment).items() if families is None or name in families}
    if not commands:
        troubles.append(Finding(cause="no-sdk", text="there is neither boto3, nor the AWS CLI, nor another SDK here"))
    if config is not None:
        named = dict.fromkeys([*only, *filter(None, [environment.get("AWS_PROFILE")])])
        troubles.extend(_missing(name, config) for name in named if name not in config.profiles)
    around = surroundings.look(environment, config, time.time)
    known = findings(Case(config=config, token=token, surroundings=around, troubles=troubles, now=time.time()))
    try:
        rows = _rows(config, environment, commands, only, known) if config is not None else []
    except OSError as error:  # a root file system that is read-only, with no /tmp of its own
        rows = []
        known.append(Finding(cause="read-only-home", text=f"there is no folder for temporary files: {error.strerror}"))
    subject, pod = (token.subject, token.pod) if token else ("", "")
    return report.Report(
        runner_class=(token.runner_class if token else "") or (config.runner_class if config else ""),
        stack=config.stack if config else "",
        service_account=subject,
        pipeline=environment.get("CI_PIPELINE_ID", ""),
        job=environment.get("CI_JOB_ID", ""),
        audit=report.audit_line(environment, subject, pod, config.session if config else "", time.time()),
        config=str(configs.in_force(environment)),
        rows=rows,
        findings=known,
    )


def _config(environment: Mapping[str, str], troubles: list[Finding]) -> Config | None:
    try:
        config = configs.read(configs.in_force(environment))
    except configs.ConfigError as error:
        troubles.append(Finding(cause="no-config", text=str(error)))
        return None
    if config.is_baked_refusal:
        troubles.append(
            Finding(cause="no-identity", text=f"{config.file} is the image's own, for containers without one")
        )
    elif not config.profiles:
        troubles.append(Finding(cause="no-config", text=f"{config.file} has no profile"))
    return config


def _token(config: Config | None, troubles: list[Finding]) -> Token | None:
    if config is None or config.is_baked_refusal or config.token_file is None:
        return None
    try:
        return web_token.read(config.token_file)
    except web_token.TokenError as error:
        troubles.append(Finding(cause=error.cause, text=str(error)))
        return None


def _missing(profile: str, config: Config) -> Finding:
    classes = [name for name in configs.classes_with(profile) if name != config.runner_class]
    has = ", ".join(config.profiles)
    if classes:
        text = f"class {config.runner_class} has no profile {profile} (it has {has}); classes that do: {', '.join(classes)}"
        return Finding(cause="class-without-account", text=text, profile=profile)
    text = f"there is no profile {profile}; {config.file} has {has}"
    return Finding(cause="profile-missing", text=text, profile=profile)


def _rows(
    config: Config,
    environment: Mapping[str, str],
    commands: Mapping[str, Sequence[str]],
    only: Sequence[str],
    known: Sequence[Finding],
) -> list[report.Row]:
    wanted = probes.attempts(config, list(commands), only)
    answers = probes.run(wanted, commands, environment, config.file)
    rows = []
    for attempt, answer in zip(wanted, answers, strict=True):
        profile = config.profiles.get(attempt.profile)
        why = cause(answer, profile, known, name=attempt.profile)
        expected = profile.role_arn if profile else ""
        rows.append(
            report.Row(
                profile=attempt.profile,
                sdk=attempt.sdk,
                way=attempt.way,
                expected=expected,
                got=(expected if not why else answer.arn) or report.REFUSED,
                session_seconds=report.seconds_left(answer.expires, time.time()),
                ok=not why,
                cause=why,
                error=answer.error,
            )
        )
    return rows
