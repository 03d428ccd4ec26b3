"""STS: AssumeRole and AssumeRoleWithWebIdentity with AWS's checks and limits, and the verification of tokens.

Checked are a call's own fields (session name, durations), the limits of a session (the role's maximum, one hour in a
chain), and a token's issuer, provider, signature, times and audience; `trust` decides about admission. The keys of an
issuer come from the supervisor (a cluster's API server, GitLab); nothing is fetched. Source of the error codes:
AssumeRoleWithWebIdentity in the STS API reference. Not modelled: source identity, transitive tags (sandbox/docs/aws.md).
"""

from __future__ import annotations

import contextvars
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

import jwt
from ministack import app
from ministack.core.iam_evaluator import EvalContext
from ministack.core.responses import get_region
from ministack.services import iam, sts

from sandbox_aws import trust
from sandbox_aws.answers import json_error, query_error
from sandbox_aws.conditions import role_of_session
from sandbox_aws.patching import handlers, replace
from sandbox_aws.state import RECORDS

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer


_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
_INVALID = "InvalidIdentityToken"


class TokenError(Exception):
    """STS refuses the token."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class WebIdentity:
    """A verified token."""

    provider: str
    """ARN of the provider in the role's account."""
    host: str
    """The issuer without https://, prefix of the condition keys."""
    subject: str
    audience: str
    claims: dict[str, Any]

    def keys(self) -> dict[str, Any]:
        """Return the condition keys for trust policies."""
        return {
            f"{self.host}:{name}".lower(): self.claims[name] for name in ("aud", "sub", "amr") if name in self.claims
        }


def verify(token: str, account: str) -> WebIdentity:
    """Verify a token for a role of `account`.

    Raises:
        TokenError: The token is refused; with AWS's code.
    """
    try:
        header = jwt.get_unverified_header(token)
        claims = jwt.decode(token, options={"verify_signature": False})
    except jwt.PyJWTError as error:
        raise TokenError(
            _INVALID, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)"
        ) from error
    issuer = claims.get("iss")
    if not isinstance(issuer, str) or not issuer.startswith("https://"):
        raise TokenError(_INVALID, "Issuer must be a valid URL that begins with https://")
    host = issuer.removeprefix("https://")
    arn = f"arn:aws:iam::{account}:oidc-provider/{host}"
    provider = iam._oidc_providers.get_scoped(account, None, arn)
    if provider is None:
        raise TokenError(_INVALID, f"No OpenIDConnect provider found in your account for {issuer}")
    _check_signature(token, header, issuer)
    _check_times(claims)
    audience = _audience(claims, provider["ClientIDList"])
    subject = claims.get("sub")
    if not isinstance(subject, str) or not subject:
        raise TokenError(_INVALID, "Missing a required claim: sub")
    return WebIdentity(provider=arn, host=host, subject=subject, audience=audience, claims=claims)


def _check_signature(token: str, header: dict[str, Any], issuer: str) -> None:
    algorithm = header.get("alg")
    if algorithm not in _ALGORITHMS:
        raise TokenError(_INVALID, f"Unsupported signature algorithm: {algorithm}")
    keys = RECORDS.issuers.get(issuer, {}).get("keys", [])
    if "kid" in header:
        keys = [key for key in keys if key.get("kid") == header["kid"]]
    if not keys:
        raise TokenError(
            _INVALID,
            "Couldn't retrieve verification key from your identity provider, please reference "
            "AssumeRoleWithWebIdentity documentation for requirements",
        )
    for key in keys:
        try:
            jwt.decode(
                token,
                jwt.PyJWK(key, algorithm=algorithm).key,
                algorithms=[algorithm],
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                    "verify_sub": False,
                },
            )
        except jwt.PyJWTError:
            continue
        return
    raise TokenError(_INVALID, "Token signature is invalid")


def _check_times(claims: dict[str, Any]) -> None:
    now = time.time()
    for name in ("exp", "iat"):
        if not isinstance(claims.get(name), int | float):
            raise TokenError(_INVALID, f"Missing a required claim: {name}")
    if claims["exp"] <= now:
        times = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (now, claims["exp"])]
        raise TokenError(
            "ExpiredTokenException",
            f"Token expired: current date/time {times[0]} must be before the expiration date/time {times[1]}",
        )
    if max(claims["iat"], claims.get("nbf", 0)) > now + 1:  # one second of clock difference
        raise TokenError(_INVALID, "Token not yet valid")


def _audience(claims: dict[str, Any], client_ids: list[str]) -> str:
    """Return the audience that the provider accepts; `azp` takes precedence over `aud`."""
    named = claims.get("azp") or claims.get("aud") or []
    for audience in [named] if isinstance(named, str) else named:
        if audience in client_ids:
            return str(audience)
    raise TokenError(_INVALID, "Incorrect token audience")


_SESSION_NAME = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_SHORTEST, _LONGEST, _CHAINED = 900, 43200, 3600
_VERIFIED: contextvars.ContextVar[WebIdentity | None] = contextvars.ContextVar("sandbox_identity", default=None)
_REQUEST: contextvars.ContextVar[dict[str, Any]] = contextvars.ContextVar("sandbox_sts_request")


class _LimitError(Exception):
    """A session would be longer than AWS allows."""


def install() -> None:
    """Put the checks around MiniStack's STS."""
    trust.install()
    table = handlers("app", "SERVICE_HANDLERS")
    table["sts"] = _checking(table["sts"])
    replace("services.sts", "_web_identity_trust_denied", lambda _original: _web_identity_denied)
    replace("services.sts", "register_session", _limited)


def _checking(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        parameters = _parameters(method, path, headers, body, query)
        action = iam._p(parameters, "Action")
        as_json = "amz-json" in headers.get("content-type", "")
        if not action.startswith("AssumeRole"):
            plain: Answer = await original(method, path, headers, body, query)
            return plain
        if (wrong := _wrong_field(parameters)) is not None:
            return _refuse(400, "ValidationError", wrong, as_json=as_json)
        _VERIFIED.set(None)
        _REQUEST.set(parameters)
        try:
            answer: Answer = await original(method, path, headers, body, query)
        except _LimitError as error:
            return _refuse(400, "ValidationError", str(error), as_json=as_json)
        identity = _VERIFIED.get()
        return answer if identity is None else _with_identity(answer, identity)

    return handle


def _parameters(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a call in either protocol, as lists with one value."""
    parameters = dict(app._routing_params(method, path, headers, body, query))
    target = headers.get("x-amz-target", "")
    if target:
        document = json.loads(body or b"{}")
        parameters |= {name: [str(value)] for name, value in document.items() if not isinstance(value, list)}
        parameters["Action"] = [target.rpartition(".")[2]]
    return parameters


def _wrong_field(parameters: dict[str, Any]) -> str | None:
    """Return the validation error of a call's own fields, or None."""
    name, duration = iam._p(parameters, "RoleSessionName"), iam._p(parameters, "DurationSeconds")
    if not _SESSION_NAME.fullmatch(name):
        return (
            f"1 validation error detected: Value '{name}' at 'roleSessionName' failed to satisfy constraint: "
            "Member must satisfy regular expression pattern: [\\w+=,.@-]* and have a length of 2 to 64"
        )
    if duration and not (duration.isdigit() and _SHORTEST <= int(duration) <= _LONGEST):
        bound = (
            f"less than or equal to {_LONGEST}"
            if duration.isdigit() and int(duration) > _LONGEST
            else (f"greater than or equal to {_SHORTEST}")
        )
        return (
            f"1 validation error detected: Value '{duration}' at 'durationSeconds' failed to satisfy constraint: "
            f"Member must have value {bound}"
        )
    return None


def _limited(original: Any) -> Any:
    def register(key: str, session: dict[str, Any]) -> None:
        role = role_of_session(session.get("Arn", ""))
        lasts = round(session["Expiration"] - time.time())
        if role is not None and session.get("PrincipalType") == "AssumedRole":
            if ":assumed-role/" in session.get("SourcePrincipalArn", "") and lasts > _CHAINED:
                raise _LimitError(
                    "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
                )
            if lasts > role.get("MaxSessionDuration", _CHAINED):
                raise _LimitError("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
        original(key, session)
        if _VERIFIED.get() is not None:  # MiniStack ignores the session policy of a web identity
            policies, _error = sts._session_policies(_REQUEST.get(), session["AccountId"])
            session["SessionPolicies"] = policies if policies and any(policies.values()) else None

    return register


def _web_identity_denied(role_arn: str, parameters: dict[str, Any], use_json: bool) -> Answer | None:
    """Verify the token and evaluate the role's trust policy; None admits the caller."""
    account = role_arn.split(":")[4]
    try:
        identity = verify(iam._p(parameters, "WebIdentityToken"), account)
    except TokenError as error:
        return _refuse(400, error.code, error.message, as_json=use_json)
    _policies, malformed = sts._session_policies(parameters, account)
    if malformed is not None:
        answer: Answer = malformed
        return answer
    role = iam._roles.get_scoped(account, None, role_arn.rpartition("/")[2])
    context = EvalContext(
        principal_arn=identity.provider,
        principal_type="WebIdentityUser",
        principal_account=account,
        action="sts:AssumeRoleWithWebIdentity",
        resource_arn=role_arn,
        region=get_region(),
        service_context={**identity.keys(), "sts:rolesessionname": iam._p(parameters, "RoleSessionName")},
    )
    from ministack.core.iam_evaluator import evaluate_trust_policy  # noqa: PLC0415 - `trust` replaces it at start

    if role is None or not evaluate_trust_policy(role["AssumeRolePolicyDocument"], identity.provider, context):
        message = "Not authorized to perform sts:AssumeRoleWithWebIdentity"
        return _refuse(403, "AccessDenied", message, as_json=use_json)
    _VERIFIED.set(identity)
    return None


def _with_identity(answer: Answer, identity: WebIdentity) -> Answer:
    """Put the token's own subject, audience and provider into the answer."""
    status, headers, body = answer
    fields = {
        "SubjectFromWebIdentityToken": identity.subject,
        "Audience": identity.audience,
        "Provider": identity.provider,
    }
    if body.lstrip().startswith(b"{"):
        return status, headers, json.dumps(json.loads(body) | fields).encode()
    text = body.decode()
    for name, value in fields.items():
        before, opening, remainder = text.partition(f"<{name}>")
        _old, closing, after = remainder.partition(f"</{name}>")
        text = before + opening + escape(value) + closing + after
    return status, headers, text.encode()


def _refuse(status: int, code: str, message: str, *, as_json: bool) -> Answer:
    return json_error(status, code, message) if as_json else query_error(status, code, message)
