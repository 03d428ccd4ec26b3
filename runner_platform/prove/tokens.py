"""Tokens of service accounts: real ones from the cluster's TokenRequest API, and forgeries of them.

An expired token needs the cluster's own signing key, because the API server signs no token for less than ten minutes. Only the sandbox
gives that key away (`RUNNER_PLATFORM_SIGNING_KEYS`). Tokens stay in memory and in the files of attempts, and are never printed.
"""

from __future__ import annotations

import base64
import json
import os
import time
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from runner_platform.errors import FailedError
from runner_platform.prove.attempts import Forgery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform.kube.client import Cluster
    from runner_platform.prove.attempts import Token
    from runner_platform.prove.deployed import TokenFile

OTHER_AUDIENCE = "https://kubernetes.default.svc"
HOUR = 3600
KEY_VARIABLE = "RUNNER_PLATFORM_SIGNING_KEYS"
NEED_THE_CLUSTERS_KEY = frozenset({Forgery.EXPIRED, Forgery.NOT_YET_VALID})


def possible_forgeries() -> tuple[Forgery, ...]:
    """Return the forgeries that this machine can make."""
    return tuple(forgery for forgery in Forgery if KEY_VARIABLE in os.environ or forgery not in NEED_THE_CLUSTERS_KEY)


class Tokens:
    """Requests every token once.

    Args:
        clusters: clusters by stack.
    """

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        self._clusters = clusters
        self._requested = lru_cache(maxsize=None)(self._request)

    def get(self, token: Token, file: TokenFile) -> str:
        """Return a token with the audience and lifetime of a projected file.

        Raises:
            FailedError: the cluster issues no token.
        """
        if token.forgery is Forgery.OTHER_AUDIENCE:
            return self._requested(token.stack, token.namespace, token.account, OTHER_AUDIENCE, file.seconds)
        real = self._requested(token.stack, token.namespace, token.account, file.audience, file.seconds)
        return real if token.forgery is None else self._forge(real, token.forgery)

    @cached_property
    def _foreign_key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def _request(self, stack: str, namespace: str, account: str, audience: str, seconds: int) -> str:
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [audience], "expirationSeconds": seconds},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str(self._clusters[stack].post(path, body)["status"]["token"])

    def _forge(self, real: str, forgery: Forgery) -> str:
        header, claims = (_decoded(part) for part in real.split(".")[:2])
        now = int(time.time())
        if forgery is Forgery.UNSIGNED:
            return f"{_encoded({**header, 'alg': 'none'})}.{_encoded(claims)}."
        key = _signing_key(claims["iss"]) if forgery in NEED_THE_CLUSTERS_KEY else self._foreign_key
        if forgery is Forgery.EXPIRED:
            claims |= {"iat": now - 2 * HOUR, "nbf": now - 2 * HOUR, "exp": now - HOUR}
        elif forgery is Forgery.NOT_YET_VALID:
            claims |= {"iat": now + HOUR, "nbf": now + HOUR, "exp": now + 2 * HOUR}
        elif forgery is Forgery.OTHER_CLUSTER:
            server, _, cluster_id = claims["iss"].rpartition("/")
            claims["iss"] = f"{server}/{cluster_id[::-1]}"
        return _signed(header, claims, key)


def _signed(header: Mapping[str, Any], claims: Mapping[str, Any], key: rsa.RSAPrivateKey) -> str:
    text = f"{_encoded(header)}.{_encoded(claims)}"
    signature = key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def _signing_key(issuer: str) -> rsa.RSAPrivateKey:
    file = Path(os.environ[KEY_VARIABLE]) / issuer.rpartition("/")[2] / "keys" / "service-account.key"
    try:
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (OSError, ValueError) as error:
        raise FailedError(
            f"cannot read the signing key of {issuer} from {file}: {error}. Unset {KEY_VARIABLE} to prove without expired tokens"
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise FailedError(
            f"{file} is not an RSA key, but the cluster signs with RSA; is {KEY_VARIABLE} that of this sandbox?"
        )
    return key


def _decoded(part: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return value


def _encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
