"""Causes of a wrong identity: how each is recognised, and the advice for it.

Pure functions. Facts about token and container go before the SDKs' messages, because four SDKs describe the same refusal in four ways.
Messages of STS: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from image.doctor.host_session import RENEWED_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from image.doctor.aws_config import Config, Profile
    from image.doctor.container import Container
    from image.doctor.host_session import HostSession
    from image.doctor.probes import Answer
    from image.doctor.selectors import Selector
    from image.doctor.web_token import Token

AUDIENCE = "sts.amazonaws.com"
"""Audience that STS accepts; the class's volume requests it."""
ON_THE_MACHINE = "`systemctl status runner-platform-credentials` and `journalctl --unit runner-platform-credentials`"
"""Where the machine says why it has no session for jobs."""
CLOCK_SECONDS = 240
"""STS allows a difference of five minutes; a clock this far off is about to fail."""

ADVICE = {
    "wrong-class": "select the class with `tags:`, and do not set AWS_CONFIG_FILE: this config belongs to another class",
    "no-identity": "run the command in container `build` of a class's job: services, helpers and pods made by hand "
    "do not mount /etc/runner-platform/aws and have no AWS identity",
    "no-config": "do not set AWS_CONFIG_FILE, because the class sets it; /etc/runner-platform/classes in the image has the config of each class",
    "no-token": "run the command in container `build` of a class's job, which mounts the volume runner-platform-aws; "
    "if all jobs of the class lack the token, the runner has lost FF_USE_ADVANCED_POD_SPEC_CONFIGURATION: tell the platform team",
    "malformed-token": "mount the token's file again: it must hold one token as Kubernetes wrote it, without quotes or other text",
    "expired-token": "read the mounted file itself: Kubernetes renews it, but neither a copy of it nor a `subPath` mount",
    "audience": f"use the token of the class's volume, which is made for {AUDIENCE}; AWS accepts no token of the Kubernetes API",
    "no-session": "run the command in a job of the class: other containers of the machine do not mount /etc/runner-platform/aws. If all jobs of the "
    f"class lack the session, tell the platform team to look on the machine: {ON_THE_MACHINE}",
    "malformed-session": f"tell the platform team to look on the machine, whose program writes this file: {ON_THE_MACHINE}",
    "expired-session": "read the mounted file itself, since the machine renews it and no copy of it. If the file is the mounted one, tell the platform "
    f"team to look on the machine: {ON_THE_MACHINE}",
    "old-session": f"tell the platform team that the machine fails to renew its jobs' session, and to look there: {ON_THE_MACHINE}",
    "clock": "repair time synchronisation on the node or machine: its clock and AWS's differ by minutes",
    "sts-unreachable": "check NAT, proxy variables, the endpoint's policy and AWS_ENDPOINT_URL_STS; jobs may reach port 443 of the internet",
    "metadata": "tell the platform team: jobs must not reach the metadata service, because an SDK could take the role of the node or machine from it. "
    "On Kubernetes, the class's network policy is not in effect; on a machine, the unit runner-platform-network or the hop limit of 1",
    "profile-missing": "use the name of an account as profile; no class has a profile of this name",
    "class-without-account": "use `tags:` of a class that may enter the account; this class may not",
    "trust-refused": "compare the role's trust with `runner-platform access`: it does not name this class's role or service account",
    "permission-refused": "deploy the platform, or look for a permissions boundary: the class's own role may not assume this role",
    "unknown-issuer": "use a token of this cluster, or deploy the platform if the cluster was replaced: "
    "the account has no OIDC provider for the cluster that signed the token",
    "scp": "ask the organisation's administrators to allow sts:AssumeRole for this role: a policy of the organisation forbids it",
    "overridden": "unset this variable in the job, and in the CI/CD settings of the project and the group; an empty variable is set, too",
    "misread": "write AWS files as the class's config is written, or remove yours: SDKs read this place differently",
    "no-region": "write `region` into the profile, or set AWS_DEFAULT_REGION; some SDKs do not read AWS_REGION",
    "read-only-home": "set HOME to a writable folder, or mount an emptyDir there: tools keep sessions and settings below HOME",
    "no-sdk": "run doctor in the runner image, or put the AWS CLI on PATH: it needs an SDK to ask STS",
    "another-role": "check the profile and its source_profile: the session belongs to another role",
    "unknown": "read the SDK's message: it is not one of the usual causes",
}
"""What to do, by cause. Its keys are the list of causes."""

_TEXTS = (
    (r"service control policy|resource control policy", "scp"),
    (r"ExpiredToken|Token expired|token is expired", "expired-token"),
    (r"Incorrect token audience|audience", "audience"),
    (r"Signature (not yet current|expired)|RequestTimeTooSkewed|RequestExpired|not yet valid|in the future", "clock"),
    (
        r"Unable to parse config file|only one credential type|Partial credentials found in shared-credentials",
        "misread",
    ),
    (r"custom-process|credential_process|process provider|ProcessCredentials", "no-session"),
    (r"No OpenIDConnect provider|verification key", "unknown-issuer"),
    (r"no identity-based policy|permissions boundary", "permission-refused"),
    (r"AccessDenied|not authorized", "trust-refused"),
    (
        r"config profile \(.*\) could not be found|failed to get shared config profile|ProfileNotFound",
        "profile-missing",
    ),
    (r"no-identity|no AWS identity", "no-identity"),
    (r"region is missing|Missing Region|specify a region|RegionMissing", "no-region"),
    (r"read-only file system|not writable|Permission denied.*\.aws", "read-only-home"),
    (r"InvalidIdentityToken", "malformed-token"),
    (r"No such file or directory|ENOENT|TokenFile", "no-token"),
    (
        r"Could not connect|Unreachable|ECONNREFUSED|ENOTFOUND|no such host|connection refused|timed? ?out",
        "sts-unreachable",
    ),
)
"""Patterns in the kind and message of an SDK's error, most specific first; the case does not matter."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A problem that does not depend on the SDK."""

    cause: str
    text: str
    """What was seen. The advice for the cause follows it."""
    profile: str = ""
    """Profile of the problem; empty for all profiles."""
    fatal: bool = True
    """Whether it makes the report wrong even if every profile gets its role."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """Facts that are known before any SDK is asked."""

    config: Config | None
    token: Token | None
    container: Container
    session: HostSession | None = None
    """Session that the machine keeps; None for a class on Kubernetes."""
    problems: Sequence[Finding] = ()
    """Problems with reading config and token."""
    now: float
    """Seconds since the epoch."""


def findings(case: Case) -> list[Finding]:
    """Return the problems that are visible before any SDK is asked."""
    return [
        *case.problems,
        *_token_findings(case),
        *_session_findings(case),
        *_class_findings(case),
        *_container_findings(case.container),
    ]


def selector_findings(selectors: Sequence[Selector], tried_sdks: Collection[str]) -> list[Finding]:
    """Return a finding for each selector that changes the identity in some SDK.

    It is fatal if such an SDK was not tried. The row of a tried SDK is right or wrong by what the SDK did.
    """
    return [
        Finding(
            cause=selector.cause,
            text=selector.text(),
            fatal=not set(selector.harmed) <= set(tried_sdks),
        )
        for selector in selectors
        if selector.harmed and not selector.has_own_finding
    ]


def cause_as_it_stands(
    answer: Answer, profile: Profile | None, earlier: Sequence[Finding], harmful: Sequence[Selector], *, name: str
) -> str:
    """Return the cause of a wrong answer in the job's own environment, or an empty string for the right one.

    Args:
        answer: answer of the SDK.
        profile: the profile that the job asks for; None if the config does not have it.
        earlier: findings from before the answer.
        harmful: selectors that change the identity in this SDK.
        name: name of the profile.
    """
    if profile is not None and profile.is_role_of(answer.arn):
        return ""
    causes = [finding.cause for finding in earlier]
    file_cause = next((cause for cause in ("no-identity", "no-config") if cause in causes), "")
    if file_cause or profile is None or not harmful:
        return file_cause or cause_of(answer, profile, earlier, name=name)
    return harmful[0].cause


def _token_findings(case: Case) -> list[Finding]:
    token = case.token
    if token is None:
        return []
    problems = []
    if token.expires and token.expires <= case.now:
        text = f"the token expired {_duration(case.now - token.expires)} ago"
        problems.append(Finding(cause="expired-token", text=text))
    if token.issued - case.now > CLOCK_SECONDS:
        text = f"by this machine's clock, the token is not valid before {_duration(token.issued - case.now)} from now"
        problems.append(Finding(cause="clock", text=text))
    if AUDIENCE not in token.audiences:
        text = f"the token is made for {', '.join(token.audiences) or 'no audience'}, not for {AUDIENCE}"
        problems.append(Finding(cause="audience", text=text))
    return problems


def _session_findings(case: Case) -> list[Finding]:
    if case.session is None:
        return []
    seconds_left = case.session.expires - case.now
    if seconds_left <= 0:
        text = f"the session that the machine keeps in {case.session.file} expired {_duration(-seconds_left)} ago"
        return [Finding(cause="expired-session", text=text)]
    if seconds_left < RENEWED_SECONDS:
        text = f"the session that the machine keeps in {case.session.file} ends in {_duration(seconds_left)}: it was not renewed in time"
        return [Finding(cause="old-session", text=text, fatal=False)]
    return []


def _class_findings(case: Case) -> list[Finding]:
    if case.config is None or case.token is None:
        return []
    token_class, config_class = case.token.runner_class, case.config.runner_class
    if not config_class or token_class == config_class:
        return []
    subject = f"{case.token.subject or 'an unknown subject'}, which is not the job account of a class"
    owner = f"class {token_class}" if token_class else subject
    text = f"the AWS config is for class {config_class}, and the token is of {owner}"
    return [Finding(cause="wrong-class", text=text)]


def _container_findings(container: Container) -> list[Finding]:
    problems = []
    if container.sts_problem:
        text = f"STS at {container.sts} does not answer: {container.sts_problem}"
        problems.append(Finding(cause="sts-unreachable", text=text))
    if abs(container.clock_ahead) > CLOCK_SECONDS:
        side = "ahead of" if container.clock_ahead > 0 else "behind"
        text = f"this machine's clock is {_duration(abs(container.clock_ahead))} {side} that of STS"
        problems.append(Finding(cause="clock", text=text))
    if container.metadata:
        problems.append(Finding(cause="metadata", text=f"a metadata service answers at {container.metadata}"))
    if container.home_problem:
        problems.append(Finding(cause="read-only-home", text=f"HOME is not writable: {container.home_problem}"))
    if container.profiles_without_region:
        text = f"profiles without a region: {', '.join(container.profiles_without_region)}"
        problems.append(Finding(cause="no-region", text=text))
    return problems


def cause_of(answer: Answer, profile: Profile | None, earlier: Sequence[Finding], *, name: str = "") -> str:
    """Return the cause of a wrong answer, or an empty string for the right one.

    Args:
        answer: answer of the SDK.
        profile: the profile that was tried; None if the config does not have it.
        earlier: findings from before the answer.
        name: name of the profile, for one that the config does not have.
    """
    if profile is None:
        return next((finding.cause for finding in earlier if finding.profile == name), "profile-missing")
    causes = [finding.cause for finding in earlier]
    if answer.arn:
        if profile.is_role_of(answer.arn):
            return ""
        return next((cause for cause in ("overridden", "misread", "metadata") if cause in causes), "another-role")
    sufficient = next((cause for cause in _SUFFICIENT if cause in causes), "")
    return sufficient or cause_in(f"{answer.kind}: {answer.error}")


_SUFFICIENT = (
    *("no-identity", "no-config", "no-token", "malformed-token", "expired-token", "audience", "wrong-class"),
    *("no-session", "malformed-session", "expired-session"),
    *("sts-unreachable", "clock"),
)
"""Causes of findings that explain a refusal without the SDK's message, in the order in which to repair them."""


def cause_in(message: str) -> str:
    """Return the cause in an SDK's message, or `unknown`."""
    return next((cause for pattern, cause in _TEXTS if re.search(pattern, message, re.IGNORECASE)), "unknown")


def _duration(seconds: float) -> str:
    minutes, remaining_seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{remaining_seconds} s"
