"""The deployer's exec plugin: a token for the cluster, once the cluster accepts it.

Access entries take effect some seconds after they are made, and until then the API server answers 401; the access policy of an entry may
take some more, and until then it answers 403. So this asks `aws eks get-token` and tries the token until it is accepted, at most five
minutes, and until it may look around, at most one more. It keeps nothing, and ends at once on a signal.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

WAIT_SECONDS = 300
POLICY_SECONDS = 60
"""What an access policy gets to take effect; after that the API server itself says what it refuses."""
PAUSE_SECONDS = 2.0
UNAUTHORIZED = 401
REVIEW = {
    "apiVersion": "authorization.k8s.io/v1",
    "kind": "SelfSubjectAccessReview",
    "spec": {"resourceAttributes": {"verb": "list", "resource": "namespaces"}},
}
"""What every access policy of the platform allows, the reader's too."""


class TokenError(Exception):
    """No usable token; the message says whose fault it is and what to do."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """The API server, as client-go describes it to an exec plugin."""

    url: str
    certificate_authority: str
    """PEM."""

    @classmethod
    def from_environment(cls) -> Server | None:
        """Read KUBERNETES_EXEC_INFO; None where the caller does not say which cluster it means."""
        text = os.environ.get("KUBERNETES_EXEC_INFO")
        cluster = (json.loads(text).get("spec") or {}).get("cluster") if text else None
        if not cluster:
            return None
        pem = base64.b64decode(cluster.get("certificate-authority-data") or "").decode()
        return cls(url=cluster["server"], certificate_authority=pem)

    def accepts(self, token: str) -> bool:
        """Whether the token is known to the server; what it may do is another question.

        Raises:
            TokenError: the server cannot be reached.
        """
        return self._ask("/version", token) is not None

    def lets_in(self, token: str) -> bool:
        """Whether the access policy of the token's entry has taken effect; yes where the server would not say.

        Raises:
            TokenError: the server cannot be reached.
        """
        answer = self._ask("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", token, REVIEW)
        return (answer or {}).get("status", {}).get("allowed") is not False

    def _ask(self, path: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
        """The answer, empty where it is a refusal; None where the token is not known."""
        context = ssl.create_default_context(cadata=self.certificate_authority or None)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data=data, headers=headers)  # noqa: S310  # https, from the kubeconfig
        try:
            with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310  # same
                found: dict[str, Any] = json.loads(answer.read() or b"{}")
                return found
        except urllib.error.HTTPError as error:
            return None if error.code == UNAUTHORIZED else {}
        except (urllib.error.URLError, OSError) as error:
            raise TokenError(
                f"the API server {self.url} cannot be reached: {getattr(error, 'reason', error)}"
            ) from None


def get_token(cluster: str, region: str, profile: str) -> dict[str, Any]:
    """The ExecCredential that the AWS CLI makes for a cluster.

    Raises:
        TokenError: the AWS CLI is missing or refuses.
    """
    command = [
        "aws",
        "eks",
        "get-token",
        "--cluster-name",
        cluster,
        "--region",
        region,
        "--profile",
        profile,
        "--output",
        "json",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise TokenError("the AWS CLI is not on PATH; install it (version 2, or `pip install awscli`)") from None
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise TokenError(f"`{' '.join(command[:3])} --profile {profile}` failed: {last}")
    credential: dict[str, Any] = json.loads(done.stdout)
    return credential


def accepted_token(cluster: str, region: str, profile: str, *, wait: float = WAIT_SECONDS) -> dict[str, Any]:
    """An ExecCredential that the cluster accepts.

    Raises:
        TokenError: there is none within `wait` seconds.
    """
    server, deadline = Server.from_environment(), time.monotonic() + wait
    credential = get_token(cluster, region, profile)
    while server is not None and not server.accepts(credential["status"]["token"]):
        if time.monotonic() > deadline:
            raise TokenError(
                f"cluster {cluster} still refuses profile {profile} after {wait:.0f} s; "
                f"`aws eks list-access-entries --cluster-name {cluster}` shows who is let in"
            )
        time.sleep(PAUSE_SECONDS)
        credential = get_token(cluster, region, profile)
    patience = time.monotonic() + min(wait, POLICY_SECONDS)
    while server is not None and not server.lets_in(credential["status"]["token"]) and time.monotonic() < patience:
        time.sleep(PAUSE_SECONDS)
    return credential


def main(cluster: str, region: str, profile: str) -> int:
    """Print the credential; errors go to standard error, where client-go shows them."""
    try:
        sys.stdout.write(json.dumps(accepted_token(cluster, region, profile)))
    except TokenError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
