"""GitLab as an OpenID Connect issuer: its key, its discovery documents, its ID tokens for jobs.

The key is made once and kept beside the state. There are no pipelines: the caller gives the claims of the job. https://docs.gitlab.com/ci/secrets/id_token_authentication/
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
import uuid
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from runner_platform_sandbox.gitlab import errors

if TYPE_CHECKING:
    from pathlib import Path

_BITS: Final = 2048
_DEFAULT_SECONDS: Final = 3600
_REQUIRED: Final = ("aud", "sub")


class Issuer:
    """Signs ID tokens.

    Args:
        folder: Folder of `oidc.pem`; the key is made at its first use.
        url: URL of the issuer in tokens and documents.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        self._file = folder / "oidc.pem"

    @cached_property
    def _key(self) -> rsa.RSAPrivateKey:
        if not self._file.exists():
            _write_key(self._file)
        key = serialization.load_pem_private_key(self._file.read_bytes(), password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError(f"{self._file} holds no RSA key")
        return key

    @cached_property
    def _public(self) -> dict[str, str]:
        numbers = self._key.public_key().public_numbers()
        modulus, exponent = _number(numbers.n), _number(numbers.e)
        identifier = hashlib.sha256(modulus.encode()).hexdigest()[:32]
        return {"kty": "RSA", "kid": identifier, "n": modulus, "e": exponent, "use": "sig", "alg": "RS256"}

    def jwks(self) -> dict[str, Any]:
        """Return the public keys."""
        return {"keys": [self._public]}

    def configuration(self) -> dict[str, Any]:
        """Return the discovery document."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/oauth/discovery/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self, claims: dict[str, Any]) -> str:
        """Sign an ID token.

        Args:
            claims: Must have `aud` and `sub`, such as `project_path:group/project:ref_type:branch:ref:main`;
                `expires_in` sets the lifetime in seconds. Every other claim goes into the token unchanged and may
                replace `iss`, `iat`, `nbf` and `exp`.
        """
        missing = [name for name in _REQUIRED if not claims.get(name)]
        if missing:
            raise errors.malformed(", ".join(f"{name} is missing" for name in missing))
        extra = {key: value for key, value in claims.items() if key != "expires_in"}
        now = int(time.time())
        life = {"iat": now, "nbf": now - 5, "exp": now + int(claims.get("expires_in", _DEFAULT_SECONDS))}
        payload = {"iss": self.url, "jti": str(uuid.uuid4()), **life, **extra}
        header = {"alg": "RS256", "typ": "JWT", "kid": self._public["kid"]}
        text = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(payload).encode())}"
        return f"{text}.{_encoded(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _write_key(file: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=_BITS)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    handle = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream:
        stream.write(pem)


def _number(value: int) -> str:
    return _encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
