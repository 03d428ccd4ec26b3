"""Secrets in text: recognised by their form, and hidden in messages.

A short list of our own, since the scanners of secrets (detect-secrets, gitleaks) look for the tokens of every vendor in whole repositories and
would be imported by each command; the platform's pipeline may run one of them as well.
Source: https://docs.gitlab.com/security/tokens/#token-prefixes
"""

from __future__ import annotations

import re
from typing import Any

HIDDEN = "<hidden>"
REVOKE = "take it out, revoke it, and store a new one with `pulumi config set --secret`"
"""Remedy for a secret in clear."""
_FORMS = {
    "a GitLab token": r"(?<![A-Za-z0-9])(?:gl(?:pat|rtr|rt|dt|cbt|ptt|ft|imt|agent|soat|ffct|wt)-|gloas-|GR1348941)[\w.-]+",
    "an AWS access key": r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "a GitHub token": r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,})",
    "a Pulumi token": r"(?<![A-Za-z0-9])pul-[0-9a-f]{32,}",
    "a Slack token": r"(?<![A-Za-z0-9])xox[abeoprs]-[\w-]{8,}",
    "a JSON Web Token": r"(?<![A-Za-z0-9])eyJ[\w-]{8,}\.eyJ[\w-]{8,}(?:\.[\w-]*)?",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?:.*?-----END [A-Z ]*PRIVATE KEY-----|.*)",
    "a password in a URL": r"(?<=://)[^\s/@'\"]+:[^\s/@'\"]+(?=@)",
}
_PATTERNS = {kind: re.compile(regex, re.DOTALL) for kind, regex in _FORMS.items()}
_RANDOM = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9_+/=.-]{20,}|(?=.*[a-f])(?=.*\d)[0-9a-f]{32,}")
"""A whole value that only a generator writes: letters of both cases and digits, without a space or colon, or hexadecimal digits."""


def kind_of(text: str) -> str | None:
    """Name the first kind of secret that stands in a text; None if there is none."""
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.search(text)), None)


def redacted(text: str) -> str:
    """Replace every secret in a text."""
    for pattern in _PATTERNS.values():
        text = pattern.sub(HIDDEN, text)
    return text


def shown(value: Any) -> Any:
    """Return a value as a message may show it: text that is, or looks like, a secret is hidden, also in lists and objects."""
    if isinstance(value, str):
        return HIDDEN if _RANDOM.fullmatch(value) else redacted(value)
    if isinstance(value, list | tuple):
        return [shown(member) for member in value]
    if isinstance(value, dict):
        return {shown(key): shown(member) for key, member in value.items()}
    return value
