"""Trust policies of roles: checks of a document, and the admission of a caller.

MiniStack stores any text, looks a role up by the last part of its ARN, and lets every root into a role that trusts a
service. Here a document is checked as IAM checks it, and the whole ARN counts. A role that a document names is remembered
by its unique id: made again under the same name it is not admitted, as in AWS.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ministack.services import iam

from sandbox_aws.conditions import role_of_session
from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ministack.core import iam_evaluator

TRUSTED_IDS = "_trusted_ids"
"""Field of a stored role: unique ids, at the time of writing, by ARN of the roles and users in its trust."""
_ACCOUNT = re.compile(r"(?:arn:aws[a-z-]*:iam::)?(\d{12})(?::root)?")
_ENTITY = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(role|user)/(?:.*/)?([\w+=,.@-]+)")
_KINDS = {"AWS", "Service", "Federated", "CanonicalUser"}


def install() -> None:
    """Replace how trust policies and principals are evaluated."""
    replace("core.iam_evaluator", "evaluate_trust_policy", _whole_arn)
    replace("core.iam_evaluator", "_principal_matches", lambda _original: principal_matches)


def problem(document: str) -> str | None:
    """Return IAM's message if a trust document is invalid, or None."""
    try:
        parsed = json.loads(document)
    except ValueError:
        return "This policy contains invalid Json"
    statements = parsed.get("Statement") if isinstance(parsed, dict) else None
    statements = [statements] if isinstance(statements, dict) else statements
    if not isinstance(statements, list) or not statements:
        return "Syntax errors in policy."
    return next((wrong for statement in statements for wrong in _problems(statement)), None)


def _problems(statement: Any) -> Iterator[str]:
    """Yield the problems of a statement, in IAM's order."""
    if not isinstance(statement, dict) or statement.get("Effect") not in {"Allow", "Deny"}:
        yield "Syntax errors in policy."
        return
    if "Resource" in statement or "NotResource" in statement:
        yield "Has prohibited field Resource"
    if not ({"Action", "NotAction"} & statement.keys()):
        yield "Missing required field Action"
    if any(action != "*" and not action.lower().startswith("sts:") for action in _listed(statement.get("Action"))):
        yield "AssumeRole policy may only specify STS AssumeRole actions."
    yield from _principal_problems(statement.get("Principal"))


def _principal_problems(principal: Any) -> Iterator[str]:
    if principal is None:
        yield "Missing required field Principal"
    elif isinstance(principal, dict) and principal and not principal.keys() - _KINDS:
        for name in _listed(principal.get("AWS")):
            if name != "*" and not _ACCOUNT.fullmatch(name) and _entity_id(name) is None:
                yield f'Invalid principal in policy: "AWS":"{name}"'
    elif principal != "*":
        yield "Syntax errors in policy."


def trusted_ids(document: str) -> dict[str, str]:
    """Return the unique ids of the roles and users in a document."""
    statements = json.loads(document)["Statement"]
    statements = [statements] if isinstance(statements, dict) else statements
    principals = [statement.get("Principal") for statement in statements]
    arns = [arn for principal in principals if isinstance(principal, dict) for arn in _listed(principal.get("AWS"))]
    return {arn: identifier for arn in arns if (identifier := _entity_id(arn)) is not None}


def principal_matches(principal: Any, caller: str) -> bool:
    """Whether a Principal element names the caller: `*`, the account, the role, or the ARN itself."""
    if principal == "*":
        return True
    if not isinstance(principal, dict):
        return False
    role = role_of_session(caller)
    for name in _listed(principal.get("AWS")):
        account = _ACCOUNT.fullmatch(name)
        if name in {"*", caller} or (role is not None and name == role["Arn"]):
            return True
        if account is not None and caller.count(":") > 4 and caller.split(":")[4] == account[1]:  # noqa: PLR2004 - fields of an ARN
            return True
    return False


def _whole_arn(original: Any) -> Any:
    def evaluate(document: Any, caller: str, context: iam_evaluator.EvalContext | None = None) -> bool:
        if context is None or not context.action.startswith("sts:"):
            return bool(original(document, caller, context))
        account, name = context.resource_arn.split(":")[4], context.resource_arn.rpartition("/")[2]
        role = iam._roles.get_scoped(account, None, name)
        if role is None or role["Arn"] != context.resource_arn:
            return False
        return bool(original(_without_deleted(document, role), caller, context))

    return evaluate


def _without_deleted(document: Any, role: dict[str, Any]) -> Any:
    """Remove deleted principals from a document, also those made again under the same name: their unique id differs."""
    gone = {arn for arn, identifier in role.get(TRUSTED_IDS, {}).items() if _entity_id(arn) != identifier}
    if not gone:
        return document
    parsed = json.loads(document) if isinstance(document, str) else document
    statements = parsed["Statement"] if isinstance(parsed["Statement"], list) else [parsed["Statement"]]
    kept = []
    for statement in statements:
        principal = statement["Principal"]
        if isinstance(principal, dict) and "AWS" in principal:
            principal = principal | {"AWS": [arn for arn in _listed(principal["AWS"]) if arn not in gone]}
        kept.append(statement | {"Principal": principal})
    return parsed | {"Statement": kept}


def _entity_id(arn: str) -> str | None:
    """Return the unique id of the role or user with exactly this ARN."""
    match = _ENTITY.fullmatch(arn)
    if match is None:
        return None
    account, kind, name = match.groups()
    stored = (iam._roles if kind == "role" else iam._users).get_scoped(account, None, name)
    if stored is None or stored["Arn"] != arn:
        return None
    return str(stored["RoleId" if kind == "role" else "UserId"])


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
