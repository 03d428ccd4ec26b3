"""AWS's decision about a request, as its documentation tells it.

Sources, below https://docs.aws.amazon.com/IAM/latest/UserGuide/ where no other site stands:
reference_policies_evaluation-logic_policy-eval-denyallow.html and ..._policy-eval-basics.html (one account),
reference_policies_evaluation-logic-cross-account.html (two accounts), access_policies_boundaries.html,
access_policies.html#policies_session, reference_policies_elements_principal.html,
reference_policies_elements_notprincipal.html, https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tests.access.oracle.conditions import Context, hold, like, listed, matches_text
from tests.access.oracle.readings import Readings, under_all_readings
from tests.access.oracle.requests import Caller, RefusedError, Request, requests

if TYPE_CHECKING:
    from tests.access.oracle.world import Document, Question, World

Verdict = Literal["ALLOWED", "DENIED", "OUTSIDE"]
_POSITIVE = frozenset(["StringEquals", "StringLike", "ArnEquals", "ArnLike"])


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What AWS's documentation says, and why."""

    verdict: Verdict
    reason: str


class OutsideError(Exception):
    """The documentation does not say, or AWS does not accept such a document."""


def answer(world: World, question: Question) -> Answer:
    """Answer a question about a world."""
    results = under_all_readings(lambda readings: _answer(world, question, readings))
    verdicts = {result.verdict for result in results}
    if len(verdicts) == 1:
        return next(iter(results))
    statements = sorted({statement for choices in results.values() for statement in choices})
    return Answer(verdict="OUTSIDE", reason="it depends on whether " + ", and whether ".join(statements))


def _answer(world: World, question: Question, readings: Readings) -> Answer:
    reason = "nothing was asked"
    try:
        for request in requests(world, question, readings):
            allowed, reason = decide(request, readings)
            reason = f"{request.action}: {reason}"
            if not allowed:
                return Answer(verdict="DENIED", reason=reason)
    except RefusedError as refusal:
        return Answer(verdict="DENIED", reason=str(refusal))
    except OutsideError as doubt:
        return Answer(verdict="OUTSIDE", reason=str(doubt))
    return Answer(verdict="ALLOWED", reason=reason)


def decide(request: Request, readings: Readings) -> tuple[bool, str]:
    """Decide one request; return the decision with its reason.

    Raises:
        OutsideError: A document is one that AWS does not accept.
    """
    own_context = request.identity_context or request.context
    layers = {
        "an identity-based policy": request.identity_policies,
        "the permissions boundary": () if request.boundary is None else (request.boundary,),
        "the session policy": () if request.session_policy is None else (request.session_policy,),
    }
    effects = {name: _effects(documents, request, own_context) for name, documents in layers.items()}
    grants, denied = _resource_policy(request, readings)
    for name, kinds in {**effects, "the resource's policy": frozenset(["Deny"] if denied else [])}.items():
        if "Deny" in kinds:
            return False, f"{name} denies it"
    identity = "Allow" in effects["an identity-based policy"]
    limits = [name for name in list(layers)[1:] if layers[name] and "Allow" not in effects[name]]
    if request.caller.role is None:
        return bool(grants), "the resource's policy decides alone: " + (
            " and ".join(sorted(grants)) or "no statement allows it"
        )
    if request.caller.account == request.owner:
        return _in_an_account(request, grants, identity=identity, limits=limits, readings=readings)
    if not grants:
        return False, "another account's resource, and its policy does not allow it"
    if limits or not identity:
        return False, f"another account's resource, and {(limits or ['no identity-based policy'])[0]} allows it" + (
            " not" if limits else ""
        )
    return True, "both accounts allow it"


def _in_an_account(
    request: Request, grants: frozenset[str], *, identity: bool, limits: list[str], readings: Readings
) -> tuple[bool, str]:
    """Decide between an account's session and resource, when nothing denies."""
    direct = sorted(grants & {"role", "everybody"})
    delegated = "account" in grants or request.kind not in {"trust", "kms"}
    for holds, reason in (
        ("session" in grants, "the resource's policy names the session, so nothing limits it"),
        (
            "everybody by aws:PrincipalArn" in grants,
            "the resource's policy allows everybody with this aws:PrincipalArn",
        ),
        (direct and not limits, "the resource's policy names the caller's role or everybody"),
        (identity and delegated and not limits, "an identity-based policy allows it"),
    ):
        if holds:
            return True, reason
    if "everybody" in grants and readings("Principal * is not limited by a boundary or session policy"):
        return True, "the resource's policy allows everybody"
    if limits and (direct or (identity and delegated)):
        return False, f"{limits[0]} does not allow it"
    if identity and not delegated:
        return False, "the resource's policy neither names the caller nor hands the decision to the account"
    return False, "no policy allows it"


def _effects(documents: tuple[Document, ...], request: Request, context: Context) -> frozenset[str]:
    """Return the effects of all statements that apply, in policies without a Principal."""
    return frozenset(
        statement["Effect"]
        for document in documents
        for statement in listed(document["Statement"])
        if _applies(statement, request, context, variables=_has_variables(document))
    )


def _has_variables(document: Document) -> bool:
    return bool(document.get("Version") == "2012-10-17")


def _applies(statement: dict[str, Any], request: Request, context: Context, *, variables: bool) -> bool:
    """Whether a statement applies to a request, apart from its Principal."""
    action = request.action.lower()
    if "Action" in statement:
        if not any(like(action, pattern.lower()) for pattern in listed(statement["Action"])):
            return False
    elif any(like(action, pattern.lower()) for pattern in listed(statement["NotAction"])):
        return False
    named = statement.get("Resource", statement.get("NotResource"))
    if named is not None:
        match = any(matches_text(request.resource, text, context, variables=variables) for text in listed(named))
        if match != ("Resource" in statement):
            return False
    return hold(statement.get("Condition", {}), context, variables=variables)


def _resource_policy(request: Request, readings: Readings) -> tuple[frozenset[str], bool]:
    """Return how the resource's policy allows the request, and whether it denies it."""
    grants: set[str] = set()
    denied = False
    document = request.resource_policy or {"Statement": []}
    for statement in listed(document["Statement"]):
        _check(statement, request)
        if not _applies(statement, request, request.context, variables=_has_variables(document)):
            continue
        if statement["Effect"] == "Allow":
            grants |= _grants(statement, request, readings)
        elif "NotPrincipal" in statement:
            denied = denied or not _excepted(statement["NotPrincipal"], request, readings)
        else:
            denied = denied or _denies(statement["Principal"], request, readings)
    return frozenset(grants), denied


def _check(statement: dict[str, Any], request: Request) -> None:
    """Refuse statements that AWS does not accept or gives no meaning to."""
    if "NotPrincipal" in statement:
        if request.kind == "trust":
            raise OutsideError("a trust policy cannot have NotPrincipal")
        if statement["Effect"] == "Allow":
            raise OutsideError("NotPrincipal with Allow is not supported")
    for text in _principals(statement.get("Principal", statement.get("NotPrincipal")), "AWS"):
        if text != "*" and re.search(r"[*?]", text):
            raise OutsideError(f"a Principal cannot match a part of an ARN: {text}")


def _principals(element: Any, kind: str) -> list[str]:
    """Return the principals of a kind that a Principal element lists; `*` is short for every AWS principal."""
    if element == "*":
        return ["*"] if kind == "AWS" else []
    return listed(element.get(kind, []))


def _named(element: Any, caller: Caller) -> frozenset[str]:
    """Return in which ways a Principal element names the caller."""
    names: set[str] = set()
    entries = _principals(element, "AWS")
    if "*" in entries:
        names.add("everybody")
    account = caller.account
    if account is not None and {account, f"arn:aws:iam::{account}:root"} & set(entries):
        names.add("account")
    if caller.role in entries:
        names.add("role")
    if caller.session in entries:
        names.add("session")
    if caller.service in _principals(element, "Service"):
        names.add("service")
    if caller.federated in _principals(element, "Federated"):
        names.add("federated")
    return frozenset(names)


def _grants(statement: dict[str, Any], request: Request, readings: Readings) -> frozenset[str]:
    """Return in which ways an Allow statement that applies names the caller."""
    names = set(_named(statement["Principal"], request.caller))
    if "everybody" in names and request.caller.role is None:
        names.discard("everybody")
        if readings("Principal * in an Allow covers services and web identities"):
            names.add("everybody")
    if "everybody" in names and _asks_for_principal_arn(statement):
        names.add("everybody by aws:PrincipalArn")
    return frozenset(names)


def _denies(element: Any, request: Request, readings: Readings) -> bool:
    """Whether the Principal of a Deny covers the caller."""
    names = _named(element, request.caller)
    if request.caller.role is not None or element == "*" or names - {"everybody"}:
        return bool(names)
    if names and readings('{"AWS": "*"} in a Deny covers services and web identities'):
        return True
    account = {request.owner, f"arn:aws:iam::{request.owner}:root"} & set(_principals(element, "AWS"))
    return bool(account) and request.caller.federated is not None and readings("an account covers its web identities")


def _asks_for_principal_arn(statement: dict[str, Any]) -> bool:
    return any(
        operator in _POSITIVE and "aws:principalarn" in {key.lower() for key in keys}
        for operator, keys in statement.get("Condition", {}).items()
    )


def _excepted(element: Any, request: Request, readings: Readings) -> bool:
    """Whether a Deny with NotPrincipal leaves the caller out.

    AWS may look at the account, the role and the session one after the other, so an exception is certain only if all three
    are listed. A principal with a permissions boundary is always denied.
    """
    if request.boundary is not None:
        return False
    names = _named(element, request.caller)
    if "everybody" in names or names >= {"account", "role", "session"}:
        return True
    return bool(names) and readings("NotPrincipal leaves out whom one of account, role and session names")
