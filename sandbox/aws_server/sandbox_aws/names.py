"""Names and sizes that IAM refuses, which MiniStack takes: uniqueness whatever the path, patterns, quotas.

Names of roles and of policies are unique in an account whatever their path; two stacks that differ only in the path
collide. Quotas: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ministack.services import iam

from sandbox_aws.answers import query_error

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/")
_ROLE_NAME, _POLICY_NAME, _PATH_LENGTH = 64, 128, 512
TRUST_SIZE, POLICY_SIZE, INLINE_SIZE = 2048, 6144, 10240
"""Characters of a trust policy, of a managed policy, of all inline policies of a role; white space does not count."""
_SESSION_SHORTEST, _SESSION_LONGEST = 3600, 43200


def role_refused(parameters: dict[str, Any]) -> Answer | None:
    """Return the refusal of a CreateRole for its name, path or session length, or None."""
    return _name_refused("roleName", iam._p(parameters, "RoleName"), _ROLE_NAME, parameters) or session_refused(
        parameters
    )


def session_refused(parameters: dict[str, Any]) -> Answer | None:
    """Return the refusal of a maximum session duration outside of 1 to 12 hours, or None."""
    given = iam._p(parameters, "MaxSessionDuration")
    if not given or (given.isdigit() and _SESSION_SHORTEST <= int(given) <= _SESSION_LONGEST):
        return None
    return _invalid(
        "maxSessionDuration", given, f"Member must have value between {_SESSION_SHORTEST} and {_SESSION_LONGEST}"
    )


def policy_refused(parameters: dict[str, Any]) -> Answer | None:
    """Return the refusal of a CreatePolicy for its name, or None."""
    name = iam._p(parameters, "PolicyName")
    refused = _name_refused("policyName", name, _POLICY_NAME, parameters)
    if refused is None and any(stored["PolicyName"].lower() == name.lower() for stored in iam._policies.values()):
        message = f"A policy called {name} already exists. Duplicate names are not allowed."
        return query_error(409, "EntityAlreadyExists", message, "iam")
    return refused


def role_exists(name: str) -> bool:
    """Whether the account has a role of that name; case does not tell names apart."""
    return any(stored.lower() == name.lower() for stored in iam._roles)


def over_quota(document: str, quota: int, label: str) -> Answer | None:
    """Return the refusal of a document that is longer than its quota, or None."""
    if len(re.sub(r"\s", "", document)) <= quota:
        return None
    return query_error(409, "LimitExceeded", f"Cannot exceed quota for {label}: {quota}", "iam")


def _name_refused(field: str, name: str, longest: int, parameters: dict[str, Any]) -> Answer | None:
    path = iam._p(parameters, "Path") or "/"
    if not _NAME.fullmatch(name):
        return _invalid(field, name, "Member must satisfy regular expression pattern: [\\w+=,.@-]+")
    if len(name) > longest:
        return _invalid(field, name, f"Member must have length less than or equal to {longest}")
    if not _PATH.fullmatch(path) or len(path) > _PATH_LENGTH:
        return _invalid("path", path, "Member must begin and end with / and contain no space")
    return None


def _invalid(field: str, value: str, constraint: str) -> Answer:
    message = f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"
    return query_error(400, "ValidationError", message, "iam")
