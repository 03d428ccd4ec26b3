"""Names of environments: slug and deployment tier, as GitLab derives them.

https://docs.gitlab.com/ci/environments/#deployment-tier-of-environments and lib/gitlab/slug/environment.rb of GitLab
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_TIERS: Final = {
    "development": r"dev|review|trunk",
    "testing": r"test|tst|int|ac(ce|)pt|qa|qc|control|quality",
    "staging": r"st(a|)g|mod(e|)l|pre|demo|non",
    "production": r"pr(o|)d|live",
}
_LONGEST_SLUG: Final = 24
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


def tier(name: str) -> str:
    """Return the deployment tier that follows from an environment's name."""
    return next((tier for tier, pattern in _TIERS.items() if re.search(pattern, name, re.IGNORECASE)), "other")


def slug(name: str) -> str:
    """Return an environment's name for addresses: lower case, at most 24 characters, with a suffix if it differs from the name."""
    text = re.sub(r"[^a-z0-9]", "-", name.lower())
    text = text if re.match(r"[a-z]", text) else f"env-{text}"
    text = re.sub(r"-+", "-", text)
    if len(text) <= _LONGEST_SLUG and text == name:
        return text.removesuffix("-")
    return f"{text[:17].removesuffix('-')}-{_suffix(name)}"


def _suffix(name: str) -> str:
    number = int(hashlib.sha256(name.encode()).hexdigest(), 16)
    digits = ""
    while number and len(digits) < 6:  # noqa: PLR2004  # GitLab takes the last six digits to the base 36
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits


def in_scope(scope: str, environment: str | None) -> bool:
    """Tell whether a variable's environment scope covers a job; `*` in a scope stands for any text."""
    if environment is None:
        return scope == "*"
    return re.fullmatch(".*".join(re.escape(part) for part in scope.split("*")), environment) is not None
