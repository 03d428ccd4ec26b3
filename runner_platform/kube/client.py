"""Client of a stack's API server. It connects as the program's own kubeconfig does.

The server's address and certificate authority come from EKS, the token from `aws eks get-token`, both with the profile
`platform-<account>` of the caller's AWS config. In the sandbox the same calls end in the sandbox. No kubeconfig is read or written.
docs/adr/ says why this is not a library.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

import boto3
import botocore.exceptions

from runner_platform.errors import FailedError
from runner_platform.kube import request, token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings

TIMEOUT_SECONDS = 30.0
TRIES, PAUSE_SECONDS = 4, 1.0
RENEWAL_SECONDS = 60.0
"""A token with less time to live than this is replaced."""
RETRIED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT})


class ApiRefusalError(FailedError):
    """The API server refused a request."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """Client of one API server. Several threads may share it.

    Args:
        name: name of the EKS cluster.
        server: base URL.
        authority: PEM of the server's certificate authority; None trusts the authorities of this machine.
        credential: returns an ExecCredential.
    """

    def __init__(self, name: str, server: str, authority: str | None, credential: Callable[[], dict[str, Any]]) -> None:
        self.name, self.server = name, server.rstrip("/")
        self.issuer = ""
        """URL of the issuer of service account tokens; empty unless EKS was asked."""
        self._context = ssl.create_default_context(cadata=authority)
        self._credential, self._lock = credential, threading.Lock()
        self._token, self._expiry = "", 0.0

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Return the cluster of a stack, or None if it is not deployed.

        Raises:
            FailedError: AWS cannot be reached or refuses, or the cluster is not ready.
        """
        name, region = settings.names.cluster, settings.organization.region
        profile = f"platform-{settings.platform.account}"
        try:
            eks = boto3.Session(profile_name=profile, region_name=region).client("eks")
            description: dict[str, Any] = eks.describe_cluster(name=name)["cluster"]
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise FailedError(
                f"AWS refused profile {profile} the description of cluster {name}: {error}. "
                "The profile needs eks:DescribeCluster and credentials that have not expired"
            ) from None
        except botocore.exceptions.BotoCoreError as error:
            raise FailedError(_unreachable(profile, error)) from None
        if description["status"] not in {"ACTIVE", "UPDATING"}:
            raise FailedError(
                f"cluster {name} is {description['status']}; wait until it is ACTIVE. "
                f"`aws eks describe-cluster --name {name} --region {region} --profile {profile}` shows its state"
            )
        try:
            authority = base64.b64decode(description["certificateAuthority"]["data"]).decode()
            cluster = cls(name, description["endpoint"], authority, lambda: token.get_token(name, region, profile))
        except (ssl.SSLError, ValueError) as error:
            raise FailedError(
                f"EKS describes cluster {name} with a certificate authority that is not a certificate: {error}"
            ) from None
        cluster.issuer = description.get("identity", {}).get("oidc", {}).get("issuer", "")
        return cluster

    def get(self, path: str) -> dict[str, Any]:
        """Read one object or list.

        Raises:
            ApiRefusalError: the API server answers with an error.
            FailedError: the API server does not answer, or there is no token for it.
        """
        document: dict[str, Any] = json.loads(self.send("GET", path))
        return document

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object or call a subresource, and return the answer. Errors are those of `get`."""
        document: dict[str, Any] = json.loads(self.send("POST", path, body))
        return document

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        """Send a request and return the text of the answer. Errors are those of `get`."""
        for remaining_tries in reversed(range(TRIES)):
            try:
                status, text = request.send(
                    method,
                    self.server + path,
                    self._bearer_token(),
                    context=self._context,
                    seconds=TIMEOUT_SECONDS,
                    body=body,
                )
            except request.UnreachableError as error:
                raise FailedError(
                    f"the API server {self.server} of cluster {self.name} does not answer: {error}. "
                    "Check the network between this machine and the cluster's endpoint"
                ) from None
            if status < HTTPStatus.BAD_REQUEST:
                return text
            if status == HTTPStatus.UNAUTHORIZED:
                self._expiry = 0.0
            elif status not in RETRIED:
                break
            if remaining_tries:
                time.sleep(PAUSE_SECONDS)
        raise ApiRefusalError(f"cluster {self.name}: {_message(status, text)}", status)

    def _bearer_token(self) -> str:
        with self._lock:
            if time.time() > self._expiry - RENEWAL_SECONDS:
                try:
                    status = self._credential()["status"]
                except token.TokenError as error:
                    raise FailedError(str(error)) from None
                expiry = datetime.fromisoformat(status["expirationTimestamp"])
                self._token = status["token"]
                self._expiry = expiry.replace(tzinfo=expiry.tzinfo or UTC).timestamp()
            return self._token


def _message(status: int, text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return f"{status} {text.strip()[:200]}"


def _unreachable(profile: str, error: Exception) -> str:
    return (
        f"cannot reach AWS with profile {profile}: {error}. In the sandbox: `runner-platform sandbox start`, then "
        'eval "$(runner-platform sandbox env)". Elsewhere: add the profiles that `runner-platform profiles --platform deployer` '
        "prints to your AWS config"
    )
