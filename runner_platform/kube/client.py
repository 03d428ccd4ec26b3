"""The API server of a stack's cluster, reached as the program's own kubeconfig reaches it.

Endpoint and authority come from EKS, the token from `aws eks get-token`, both as the profile `platform-<account>` that the caller
brings; in the sandbox the same calls end there. No kubeconfig on disk is read or written.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import boto3
import botocore.exceptions

from runner_platform.errors import FailedError
from runner_platform.kube import token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings

SECONDS = 30.0
TRIES, PAUSE_SECONDS = 4, 1.0
FRESH_SECONDS = 60.0
"""A token that ends sooner is replaced."""
TRY_AGAIN = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


class ApiRefusalError(FailedError):
    """The API server refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """Speaks to one API server; may be used from several threads.

    Args:
        name: The EKS cluster's name.
        server: Base URL.
        authority: PEM of who signs its certificate; None trusts what the machine trusts.
        credential: Gives an ExecCredential.
    """

    def __init__(self, name: str, server: str, authority: str | None, credential: Callable[[], dict[str, Any]]) -> None:
        self.name, self.server = name, server.rstrip("/")
        self.issuer = ""
        """URL of who issues its service accounts' tokens, where EKS was asked."""
        self._context = ssl.create_default_context(cadata=authority)
        self._credential, self._lock = credential, threading.Lock()
        self._token, self._ends = "", 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The cluster of a deployed stack; None where there is none.

        Raises:
            FailedError: AWS cannot be asked, or the cluster is not usable.
        """
        name, region = settings.names.cluster, settings.organization.region
        profile = f"platform-{settings.platform.account}"
        try:
            eks = boto3.Session(profile_name=profile, region_name=region).client("eks")
            found: dict[str, Any] = eks.describe_cluster(name=name)["cluster"]
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise FailedError(f"AWS refuses to show cluster {name} to profile {profile}: {error}") from None
        except botocore.exceptions.BotoCoreError as error:
            raise FailedError(_unreachable(profile, error)) from None
        if found["status"] not in {"ACTIVE", "UPDATING"}:
            raise FailedError(
                f"cluster {name} is {found['status']}; wait until it is ACTIVE, or look at it with `aws eks`"
            )
        try:
            authority = base64.b64decode(found["certificateAuthority"]["data"]).decode()
            made = cls(name, found["endpoint"], authority, lambda: token.get_token(name, region, profile))
        except (ssl.SSLError, ValueError) as error:
            raise FailedError(f"EKS gives an authority for cluster {name} that is no certificate: {error}") from None
        made.issuer = found.get("identity", {}).get("oidc", {}).get("issuer", "")
        return made

    def get(self, path: str) -> dict[str, Any]:
        """Read one object or list.

        Raises:
            ApiRefusalError: the API server answers with an error.
            FailedError: it cannot be reached.
        """
        found: dict[str, Any] = json.loads(self.send("GET", path))
        return found

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object, or ask a sub-resource; errors as in `get`."""
        made: dict[str, Any] = json.loads(self.send("POST", path, body))
        return made

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Send a request and return the answer's text; errors as in `get`."""
        for left in reversed(range(TRIES)):
            try:
                return self._send(method, path, body)
            except ApiRefusalError as error:
                if error.status == HTTPStatus.UNAUTHORIZED:
                    self._ends = 0.0
                elif error.status not in TRY_AGAIN:
                    raise
                if not left:
                    raise
            time.sleep(PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    def _send(self, method: str, path: str, body: Mapping[str, Any] | None) -> str:
        request = urllib.request.Request(  # noqa: S310  # https, from EKS
            self.server + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._bearer()}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=SECONDS, context=self._context) as answer:  # noqa: S310  # same
                text: str = answer.read().decode()
                return text
        except urllib.error.HTTPError as error:
            raise ApiRefusalError(f"cluster {self.name}: {_message(error)}", error.code) from None
        except (urllib.error.URLError, OSError) as error:
            reason = getattr(error, "reason", error)
            raise FailedError(f"the API server of {self.name}, {self.server}, cannot be reached: {reason}") from None

    def _bearer(self) -> str:
        with self._lock:
            if time.time() > self._ends - FRESH_SECONDS:
                try:
                    status = self._credential()["status"]
                except token.TokenError as error:
                    raise FailedError(str(error)) from None
                ends = datetime.fromisoformat(status["expirationTimestamp"])
                self._token, self._ends = status["token"], ends.replace(tzinfo=ends.tzinfo or UTC).timestamp()
            return self._token


def _message(error: urllib.error.HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{error.code} {text.strip()[:200]}"


def _unreachable(profile: str, error: Exception) -> str:
    return (
        f"AWS cannot be asked as profile {profile}: {error}. In the sandbox: `runner-platform sandbox start`, then "
        'eval "$(runner-platform sandbox env)"; elsewhere bring the config that `runner-platform profiles --platform deployer` prints'
    )
