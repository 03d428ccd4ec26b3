"""Tokens of `aws eks get-token`, also when the CLI was pointed at this server.

Such a token is a signed URL of STS. With an endpoint variable in the environment the URL names this server instead, and
MiniStack's authenticator refuses it. Here our own address stands for the regional STS; the signature, which covers the
real host, is still checked.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ministack.services import eks

from sandbox_aws.patching import replace

_LARGEST = 16384


@dataclass(frozen=True)
class _Url:
    """What the authenticator reads of a URL."""

    netloc: str
    """The host that was signed."""
    hostname: str
    """The host that the authenticator expects."""
    scheme: str = "https"
    path: str = "/"


def install() -> None:
    """Replace how tokens are taken apart."""
    replace("services.eks", "_decode_aws_iam_token", _with_our_address)


def _with_our_address(original: Any) -> Any:
    ours = {
        f"{host}:{os.environ[port]}"
        for host in ("127.0.0.1", "localhost")
        for port in ("GATEWAY_PORT", "SANDBOX_JOBS_PORT")
    }

    def decode(token: object) -> tuple[Any, dict[str, list[str]]] | None:
        prefix = eks._EKS_TOKEN_PREFIX
        if not isinstance(token, str) or len(token) > _LARGEST or not token.startswith(prefix):
            return None
        encoded = token[len(prefix) :]
        try:
            url = urlsplit(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode())
        except ValueError:
            return None
        if url.scheme != "http" or url.netloc not in ours or url.path not in {"", "/"}:
            result: tuple[Any, dict[str, list[str]]] | None = original(token)
            return result
        query = parse_qs(url.query, keep_blank_values=True)
        scope = query.get("X-Amz-Credential", [""])[0].split("/")
        if any(len(values) != 1 for values in query.values()) or len(scope) != 5:  # noqa: PLR2004 - fields of a scope
            return None
        return _Url(netloc=url.netloc, hostname=f"sts.{scope[2]}.amazonaws.com"), query

    return decode
