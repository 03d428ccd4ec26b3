"""The deployer's exec plugin: print a token for the cluster, as soon as the cluster accepts it.

An access entry takes effect some seconds after it is created; until then the API server answers 401. The access policy of the entry may
take longer; until then it answers 403. So this module takes a token from `aws eks get-token` and tries it until the server accepts it (at
most five minutes), then until the policy is in effect (at most one more minute). It stores nothing and ends at once on a signal.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from runner_platform.kube import request

if TYPE_CHECKING:
    from collections.abc import Sequence

WAIT_SECONDS = 300
POLICY_SECONDS = 60
"""Time that an access policy gets to take effect. After it, the API server itself names what it refuses."""
PAUSE_SECONDS = 2.0
TIMEOUT_SECONDS = 10.0
UNAUTHORIZED = 401
BAD_REQUEST = 400
REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "list", "resource": "namespaces"}},
}
"""A question that every access policy of the platform answers with yes, the reader's too."""


class TokenError(Exception):
    """There is no usable token; the message names the cause and the next step."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """The API server, as client-go describes it to an exec plugin."""

    url: str
    certificate_authority: str
    """PEM."""

    @classmethod
    def from_environment(cls) -> Server | None:
        """Read KUBERNETES_EXEC_INFO; return None if it describes no cluster."""
        text = os.environ.get("KUBERNETES_EXEC_INFO")
        cluster = (json.loads(text).get("spec") or {}).get("cluster") if text else None
        if not cluster:
            return None
        pem = base64.b64decode(cluster.get("certificate-authority-data") or "").decode()
        return cls(url=cluster["server"], certificate_authority=pem)

    def accepts(self, token: str) -> bool:
        """Whether the server knows the token, regardless of its permissions.

        Raises:
            TokenError: the server does not answer.
        """
        return self._ask("GET", "/version", token) is not None

    def permits(self, token: str) -> bool:
        """Whether the access policy of the token's entry is in effect; True if the server does not answer the question.

        Raises:
            TokenError: the server does not answer.
        """
        review = self._ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", token, REVIEW)
        return (review or {}).get("status", {}).get("allowed") is not False

    def _ask(self, method: str, path: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """Return the answer: empty if it is an error, None if the server does not know the token."""
        context = ssl.create_default_context(cadata=self.certificate_authority or None)
        url = f"{self.url}{path}"
        try:
            status, text = request.send(method, url, token, context=context, seconds=TIMEOUT_SECONDS, body=body)
        except request.UnreachableError as error:
            raise TokenError(
                f"the API server {self.url} does not answer: {error}. Check the network between this machine and the cluster"
            ) from None
        if status >= BAD_REQUEST:
            return None if status == UNAUTHORIZED else {}
        document: dict[str, Any] = json.loads(text or "{}")
        return document


def get_token(cluster: str, region: str, profile: str) -> dict[str, Any]:
    """Return the ExecCredential that the AWS CLI makes for a cluster.

    Raises:
        TokenError: the AWS CLI is missing or fails.
    """
    command = ["aws", "eks", "get-token", "--cluster-name", cluster, "--region", region, "--profile", profile]
    try:
        process = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise TokenError("the AWS CLI is not on PATH; install it (version 2, or `pip install awscli`)") from None
    if process.returncode != 0:
        reason = (process.stderr.strip().splitlines() or ["no output"])[-1]
        raise TokenError(f"`{' '.join(command[:3])} --profile {profile}` failed: {reason}")
    credential: dict[str, Any] = json.loads(process.stdout)
    return credential


def accepted_token(cluster: str, region: str, profile: str, *, wait: float = WAIT_SECONDS) -> dict[str, Any]:
    """Return an ExecCredential that the cluster accepts.

    Raises:
        TokenError: the cluster accepts no token within `wait` seconds.
    """
    server, deadline = Server.from_environment(), time.monotonic() + wait
    credential = get_token(cluster, region, profile)
    while server is not None and not server.accepts(credential["status"]["token"]):
        if time.monotonic() > deadline:
            raise TokenError(
                f"cluster {cluster} still refuses profile {profile} after {wait:.0f} s; "
                f"`aws eks list-access-entries --cluster-name {cluster}` lists the roles that it accepts"
            )
        time.sleep(PAUSE_SECONDS)
        credential = get_token(cluster, region, profile)
    policy_deadline = time.monotonic() + min(wait, POLICY_SECONDS)
    while server is not None and not server.permits(credential["status"]["token"]):
        if time.monotonic() >= policy_deadline:
            break
        time.sleep(PAUSE_SECONDS)
    return credential


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the script `runner-platform-kube-token`: print a credential for client-go."""
    parser = argparse.ArgumentParser(
        prog="runner-platform-kube-token",
        description="Print a token that the cluster accepts: an exec plugin of kubectl.",
    )
    for option in ("cluster", "region", "profile"):
        parser.add_argument(f"--{option}", required=True)
    sys.exit(print_token(**vars(parser.parse_args(arguments))))


def print_token(cluster: str, region: str, profile: str) -> int:
    """Print the credential and return the exit code; client-go shows errors from standard error."""
    try:
        sys.stdout.write(json.dumps(accepted_token(cluster, region, profile)))
    except TokenError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
