"""Verifies web-identity tokens as STS does: issuer, provider, signature, times, audience.

The keys of an issuer are those that the sandbox was told (a cluster's API server, GitLab); nothing is fetched. Source of
the error codes: AssumeRoleWithWebIdentity in the STS API reference.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jwt
from ministack.services import iam

from sandbox_aws.records import RECORDS

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
    """What a verified token says."""

    provider: str
    """ARN of the provider in the role's account."""
    host: str
    """The issuer without https://, prefix of the condition keys."""
    subject: str
    audience: str
    claims: dict[str, Any]

    def keys(self) -> dict[str, Any]:
        """Return the condition keys that a trust policy can use."""
        return {
            f"{self.host}:{name}".lower(): self.claims[name] for name in ("aud", "sub", "amr") if name in self.claims
        }


def verify(token: str, account: str) -> WebIdentity:
    """Verify a token for a role of `account`.

    Raises:
        TokenError: with AWS's code.
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
        shown = [datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for at in (now, claims["exp"])]
        raise TokenError(
            "ExpiredTokenException",
            f"Token expired: current date/time {shown[0]} must be before the expiration date/time {shown[1]}",
        )
    if max(claims["iat"], claims.get("nbf", 0)) > now + 1:  # a clock's second, no more
        raise TokenError(_INVALID, "Token not yet valid")


def _audience(claims: dict[str, Any], client_ids: list[str]) -> str:
    """Return the audience that the provider knows; an authorised party, where the token names one, stands for it."""
    named = claims.get("azp") or claims.get("aud") or []
    for audience in [named] if isinstance(named, str) else named:
        if audience in client_ids:
            return str(audience)
    raise TokenError(_INVALID, "Incorrect token audience")
