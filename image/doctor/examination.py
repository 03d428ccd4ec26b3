"""One run of `doctor`: arguments, order of the examination, and exit code (0 right, 1 something is wrong, 2 wrong use)."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from typing import TYPE_CHECKING

from image.doctor import aws_config, container, host_session, probes, report, web_token
from image.doctor.diagnosis import Case, Finding, cause_as_it_stands, cause_of, findings, selector_findings
from image.doctor.selectors import SDKS, asked_profile, places, selectors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image.doctor.aws_config import Config, Profile
    from image.doctor.host_session import HostSession
    from image.doctor.selectors import Selector
    from image.doctor.web_token import Token

DESCRIPTION = "Ask AWS for the identity of this job, compare it with the account and role of each profile, and explain differences."


def main(arguments: Sequence[str]) -> int:
    """Examine this container, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="doctor", description=DESCRIPTION)
    parser.add_argument(
        "profiles", nargs="*", metavar="PROFILE", help="profiles to try; without one, every profile of the config"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--sdk", action="append", choices=probes.FAMILIES, help="SDK to try; may be repeated")
    options = parser.parse_args(arguments)
    result = examine(os.environ, options.profiles, options.sdk)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a variable may hold bytes that are no text
    # The reader of a pipe may close it early; that is not a fault of the job.
    try:
        print(json.dumps(result.document(), indent=2) if options.json else result.text(), flush=True)  # noqa: T201  # the answer
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if result.ok else 1


def examine(
    environment: Mapping[str, str], only: Sequence[str] = (), families: Sequence[str] | None = None
) -> report.Report:
    """Examine the container with these environment variables.

    Args:
        environment: environment variables of the container.
        only: profiles to try; empty for all profiles of the config.
        families: SDK families to try; None for all that are installed.
    """
    problems: list[Finding] = []
    config = _config(environment, problems)
    token, session = _token(config, problems), _session(config, problems)
    commands = {
        name: command for name, command in probes.installed(environment).items() if families is None or name in families
    }
    if not commands:
        problems.append(Finding(cause="no-sdk", text="neither boto3 nor the AWS CLI nor another SDK is installed"))
    if config is not None:
        profiles = dict.fromkeys([*only, asked_profile(environment)])
        problems.extend(_missing_profile(name, config) for name in profiles if name not in config.profiles)
    state = container.look(environment, config, time.time)
    all_findings = findings(
        Case(config=config, token=token, session=session, container=state, problems=problems, now=time.time())
    )
    job_selectors = selectors(environment, config)
    all_findings += selector_findings(job_selectors, (set(SDKS) - set(families or SDKS)) | set(commands))
    profile_places = places(environment, config) if config else {}
    elsewhere = dict.fromkeys(
        place
        for profile_selectors in profile_places.values()
        for place in profile_selectors
        if place not in job_selectors
    )
    all_findings += selector_findings(list(elsewhere), SDKS)
    standing: list[report.Row] = []
    rows: list[report.Row] = []
    try:
        standing = _as_it_stands(config, environment, commands, job_selectors, all_findings)
        rows = _rows(config, environment, commands, only, all_findings, profile_places) if config is not None else []
    except OSError as error:  # a read-only root file system without a /tmp
        all_findings.append(
            Finding(cause="read-only-home", text=f"there is no folder for temporary files: {error.strerror}")
        )
    subject, pod = (token.subject, token.pod) if token else ("", "")
    return report.Report(
        runner_class=(token.runner_class if token else "") or (config.runner_class if config else ""),
        stack=config.stack if config else "",
        service_account=subject,
        container=state.kind,
        pipeline=environment.get("CI_PIPELINE_ID", ""),
        job=environment.get("CI_JOB_ID", ""),
        audit=report.audit_line(environment, subject, pod, config.session if config else "", time.time()),
        config=str(aws_config.in_force(environment)),
        as_it_stands=standing,
        selectors=job_selectors,
        rows=rows,
        findings=all_findings,
    )


def _config(environment: Mapping[str, str], problems: list[Finding]) -> Config | None:
    try:
        config = aws_config.read(aws_config.in_force(environment))
    except aws_config.ConfigError as error:
        problems.append(Finding(cause="no-config", text=str(error)))
        return None
    if config.is_without_identity:
        problems.append(
            Finding(cause="no-identity", text=f"{config.file} is the image's own, for containers without an identity")
        )
    elif not config.profiles:
        problems.append(Finding(cause="no-config", text=f"{config.file} has no profile"))
    return config


def _token(config: Config | None, problems: list[Finding]) -> Token | None:
    if config is None or config.is_without_identity or config.token_file is None:
        return None
    try:
        return web_token.read(config.token_file)
    except web_token.TokenError as error:
        problems.append(Finding(cause=error.cause, text=str(error)))
        return None


def _session(config: Config | None, problems: list[Finding]) -> HostSession | None:
    if config is None or config.session_file is None:
        return None
    try:
        return host_session.read(config.session_file)
    except host_session.SessionError as error:
        problems.append(Finding(cause=error.cause, text=str(error)))
        return None


def _missing_profile(profile: str, config: Config) -> Finding:
    classes = [name for name in aws_config.classes_with(profile) if name != config.runner_class]
    profiles = ", ".join(config.profiles)
    if classes:
        text = f"class {config.runner_class} has no profile {profile} (it has {profiles}); classes with it: {', '.join(classes)}"
        return Finding(cause="class-without-account", text=text, profile=profile)
    text = f"there is no profile {profile}; {config.file} has {profiles}"
    return Finding(cause="profile-missing", text=text, profile=profile)


def _as_it_stands(
    config: Config | None,
    environment: Mapping[str, str],
    commands: Mapping[str, Sequence[str]],
    job_selectors: Sequence[Selector],
    earlier: Sequence[Finding],
) -> list[report.Row]:
    """Try every SDK in the job's own environment, in which nothing is removed."""
    profile = config.profiles.get(asked_profile(environment)) if config else None
    attempts = [probes.Attempt(profile="", sdk=sdk, way=probes.JOB) for sdk in commands]
    rows = []
    for attempt, answer in zip(attempts, probes.run(attempts, commands, environment), strict=True):
        harmful = [selector for selector in job_selectors if attempt.sdk in selector.harmed]
        cause = cause_as_it_stands(answer, profile, earlier, harmful, name=asked_profile(environment))
        rows.append(_row(attempt, answer, profile, cause, name=report.AS_IT_STANDS))
    return rows


def _rows(
    config: Config,
    environment: Mapping[str, str],
    commands: Mapping[str, Sequence[str]],
    only: Sequence[str],
    earlier: Sequence[Finding],
    profile_places: Mapping[str, Sequence[Selector]],
) -> list[report.Row]:
    attempts = probes.attempts(config, list(commands), only)
    answers = probes.run(attempts, commands, environment)
    rows = []
    for attempt, answer in zip(attempts, answers, strict=True):
        profile = config.profiles.get(attempt.profile)
        cause = cause_of(answer, profile, earlier, name=attempt.profile)
        if cause and any(attempt.sdk in place.harmed for place in profile_places.get(attempt.profile, ())):
            cause = "misread"
        rows.append(_row(attempt, answer, profile, cause, name=attempt.profile))
    return rows


def _row(
    attempt: probes.Attempt, answer: probes.Answer, profile: Profile | None, cause: str, *, name: str
) -> report.Row:
    expected = profile.role_arn if profile else ""
    return report.Row(
        profile=name,
        sdk=attempt.sdk,
        way=attempt.way,
        expected=expected,
        got=(answer.arn if cause or not expected else expected) or report.REFUSED,
        session_seconds=report.seconds_left(answer.expires, time.time()),
        ok=not cause,
        cause=cause,
        error=answer.error,
    )
