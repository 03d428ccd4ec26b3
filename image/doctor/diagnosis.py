"""Why a job is not who it should be: the causes, their words, and how each is told from the others.

Pure: what was found goes in, a cause comes out. What the token and the surroundings prove goes before what an SDK says, for SDKs word the
same refusal in four ways. Texts of STS: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from image.doctor.config import Config, Profile
    from image.doctor.probes import Answer
    from image.doctor.surroundings import Surroundings
    from image.doctor.web_token import Token

AUDIENCE = "sts.amazonaws.com"
"""What STS takes tokens for; the class's volume asks for it."""
CLOCK_SECONDS = 240
"""STS allows five minutes; a clock this far off is about to fail."""

ADVICE = {
    "wrong-class": "the job runs on another class than its AWS config is for: pick the class by `tags:`, and leave AWS_CONFIG_FILE alone",
    "no-identity": "nothing at /etc/runner-platform/aws is mounted: only container `build` of a class's job pods has an AWS identity; "
    "services, helpers and pods made by hand have none",
    "no-config": "leave AWS_CONFIG_FILE as the class sets it; in the image /etc/runner-platform/classes has the config of each class",
    "no-token": "only container `build` of a class's job pods has a token, from the volume runner-platform-aws; "
    "if other jobs of the class lack it too, the runner has dropped FF_USE_ADVANCED_POD_SPEC_CONFIGURATION",
    "malformed-token": "the file must hold one token as Kubernetes made it: no quotes, nothing pasted; mount it again",
    "expired-token": "Kubernetes renews the file; a copy of it, or a `subPath` mount, is never renewed: read the mounted file itself",
    "audience": f"the token must be made for {AUDIENCE}, which the class's volume does; a token of the Kubernetes API is not accepted",
    "clock": "this machine's clock and that of AWS differ by minutes: mend time synchronisation on the node",
    "sts-unreachable": "the network policy of jobs lets 443 out to the internet: look at NAT, proxy variables, the endpoint's policy, "
    "or AWS_ENDPOINT_URL_STS",
    "metadata": "pods must not reach the node's metadata service, whose role an SDK could take: the class's network policy is not in force",
    "profile-missing": "no class has a profile of this name: profiles are named as the accounts",
    "class-without-account": "this class may not enter that account: use `tags:` of a class that may",
    "trust-refused": "the role's trust does not name this class's role, or the service account: `runner-platform access` shows what it should be",
    "permission-refused": "the class's own role is not allowed to assume it: deploy the platform, or look for a permissions boundary",
    "unknown-issuer": "the account has no OIDC provider for this cluster: the token is of another cluster, or the cluster was replaced",
    "scp": "a policy of the organisation forbids it: its administrators must allow sts:AssumeRole for this role",
    "overridden": "these variables win over profiles in some SDKs: unset them in the project's and the group's CI/CD settings",
    "no-region": "write `region` into the profile, or set AWS_DEFAULT_REGION (AWS_REGION alone is not read by all)",
    "read-only-home": "tools keep sessions and settings below HOME: set HOME to a folder that can be written, or mount an emptyDir there",
    "no-sdk": "no SDK family was found here, so nothing could be asked: run it in the runner image, or with the AWS CLI on PATH",
    "another-role": "the session is of another role than the profile names",
    "unknown": "not one of the usual causes",
}
"""What to do, by cause; also the list of causes."""

_TEXTS = (
    (r"service control policy|resource control policy", "scp"),
    (r"ExpiredToken|Token expired|token is expired", "expired-token"),
    (r"Incorrect token audience|audience", "audience"),
    (r"Signature (not yet current|expired)|RequestTimeTooSkewed|RequestExpired|not yet valid|in the future", "clock"),
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
"""What SDKs say, most telling first; searched in the error's kind and text, whatever the case."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is wrong, whichever profile is asked."""

    cause: str
    text: str
    """What was seen; the advice of the cause comes after it."""
    profile: str = ""
    """The profile that it is about; empty: all of them."""
    fatal: bool = True
    """Whether the job is sick by it even where every profile answers well."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """All that is known before anybody asks STS for a role."""

    config: Config | None
    token: Token | None
    surroundings: Surroundings
    troubles: Sequence[Finding] = ()
    """What reading config and token found."""
    now: float
    """Seconds since the epoch."""


def findings(case: Case) -> list[Finding]:
    """What is wrong before any profile is asked."""
    return [*case.troubles, *_of_token(case), *_of_class(case), *_of_surroundings(case.surroundings)]


def _of_token(case: Case) -> list[Finding]:
    token = case.token
    if token is None:
        return []
    found = []
    if token.expires and token.expires <= case.now:
        found.append(Finding(cause="expired-token", text=f"the token expired {_ago(case.now - token.expires)} ago"))
    if token.issued - case.now > CLOCK_SECONDS:
        text = f"the token counts only in {_ago(token.issued - case.now)}, says this machine's clock"
        found.append(Finding(cause="clock", text=text))
    if AUDIENCE not in token.audiences:
        text = f"the token is made for {', '.join(token.audiences) or 'nobody'}"
        found.append(Finding(cause="audience", text=text))
    return found


def _of_class(case: Case) -> list[Finding]:
    if case.config is None or case.token is None:
        return []
    ours, theirs = case.token.runner_class, case.config.runner_class
    if not theirs or ours == theirs:
        return []
    who = f"class {ours}" if ours else f"{case.token.subject or 'an unknown subject'}, which is no class's job account"
    return [Finding(cause="wrong-class", text=f"the AWS config is for class {theirs}, and the token is of {who}")]


def _of_surroundings(around: Surroundings) -> list[Finding]:
    found = []
    if around.sts_trouble:
        found.append(Finding(cause="sts-unreachable", text=f"{around.sts} cannot be reached: {around.sts_trouble}"))
    if abs(around.clock_ahead) > CLOCK_SECONDS:
        side = "ahead of" if around.clock_ahead > 0 else "behind"
        text = f"this machine's clock is {_ago(abs(around.clock_ahead))} {side} that of STS"
        found.append(Finding(cause="clock", text=text))
    if around.metadata:
        found.append(Finding(cause="metadata", text=f"a metadata service answers at {around.metadata}"))
    if around.overriding:
        # Every SDK may still agree, when the job means it so; a profile that went wrong by it is a row of its own.
        found.append(Finding(cause="overridden", text=f"set: {', '.join(around.overriding)}", fatal=False))
    if around.home_trouble:
        found.append(Finding(cause="read-only-home", text=f"the home cannot be written: {around.home_trouble}"))
    if around.regionless:
        found.append(Finding(cause="no-region", text=f"no region in profile {', '.join(around.regionless)}"))
    return found


def cause(answer: Answer, profile: Profile | None, known: Sequence[Finding], *, name: str = "") -> str:
    """The cause of an answer that is not as it should be; empty where it is.

    Args:
        answer: what the SDK said.
        profile: the profile that was asked; None: the config has none of that name.
        known: what was found before.
        name: what was asked for, where there is no such profile.
    """
    if profile is None:
        return next((finding.cause for finding in known if finding.profile == name), "profile-missing")
    causes = [finding.cause for finding in known]
    if answer.arn:
        if profile.is_held_by(answer.arn):
            return ""
        return next((each for each in ("overridden", "metadata") if each in causes), "another-role")
    proven = next((each for each in _PROVEN if each in causes), "")
    return proven or of_text(f"{answer.kind}: {answer.error}")


_PROVEN = (
    *("no-identity", "no-config", "no-token", "malformed-token", "expired-token", "audience", "wrong-class"),
    *("sts-unreachable", "clock"),
)
"""Findings that explain a refusal by themselves; the first one would have to be mended first."""


def of_text(text: str) -> str:
    """The cause that an SDK's words tell, `unknown` where they tell none."""
    return next((name for pattern, name in _TEXTS if re.search(pattern, text, re.IGNORECASE)), "unknown")


def _ago(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{rest} s"
