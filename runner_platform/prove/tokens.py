"""Tokens of service accounts: real ones from the cluster's TokenRequest API, and forged ones made of them.

An expired token needs the cluster's own signing key, since the API server signs none that ends within ten minutes; only the sandbox has
that key to give (`RUNNER_PLATFORM_SIGNING_KEYS`). Tokens are kept in memory and in the attempts' own files, and are never shown.
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
from runner_platform.prove.model import Forgery

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform.kube.client import Cluster
    from runner_platform.prove.deployed import TokenFile
    from runner_platform.prove.model import Token

OTHER_AUDIENCE = "https://kubernetes.default.svc"
HOUR = 3600
KEY_VARIABLE = "RUNNER_PLATFORM_SIGNING_KEYS"
NEED_THE_CLUSTERS_KEY = frozenset({Forgery.EXPIRED, Forgery.NOT_YET_VALID})


def possible_forgeries() -> tuple[Forgery, ...]:
    """Those that can be made here."""
    return tuple(each for each in Forgery if KEY_VARIABLE in os.environ or each not in NEED_THE_CLUSTERS_KEY)


class Tokens:
    """Gets tokens, each once.

    Args:
        clusters: By stack.
    """

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        self._clusters = clusters
        self._requested = lru_cache(maxsize=None)(self._request)

    def get(self, token: Token, file: TokenFile) -> str:
        """A token as a file of that kind would hold it.

        Raises:
            FailedError: the cluster gives none.
        """
        if token.forgery is Forgery.OTHER_AUDIENCE:
            return self._requested(token.stack, token.namespace, token.account, OTHER_AUDIENCE, file.seconds)
        real = self._requested(token.stack, token.namespace, token.account, file.audience, file.seconds)
        return real if token.forgery is None else self._forged(real, token.forgery)

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

    def _forged(self, real: str, forgery: Forgery) -> str:
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
            server, _, own = claims["iss"].rpartition("/")
            claims["iss"] = f"{server}/{own[::-1]}"
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
        raise FailedError(f"the signing key of {issuer} cannot be read from {file}: {error}") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise FailedError(f"{file} is not an RSA key, and the cluster signs with one")
    return key


def _decoded(part: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return value


def _encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
