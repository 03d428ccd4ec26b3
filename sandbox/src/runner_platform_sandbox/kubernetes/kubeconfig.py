"""Kubeconfigs, and the connection that one describes: address, TLS, client certificate or token.

The sandbox's loops (an administrator's certificate) and the stand-in provider (an exec command) both read kubeconfigs
with it. Leaves out requests (`transport`).
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import PreparedRequest

EXEC_TIMEOUT_SECONDS = 390.0
"""A credential command may wait 5 minutes for a fresh access entry; 90 s more are for its start."""

_EXPIRY_MARGIN = timedelta(seconds=60)


class KubeconfigError(ValueError):
    """A kubeconfig, or the credential command in it, cannot be used."""


class TlsAdapter(HTTPAdapter):
    """An adapter with one fixed SSL context: it trusts the cluster's own authority and no public one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__(pool_maxsize=16)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: bool | str, cert: Any = None
    ) -> tuple[Any, Any]:
        """Use the context instead of the TLS settings that requests derives from `verify`."""
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._context} if host["scheme"] == "https" else {}

    def cert_verify(self, conn: Any, url: str | bytes, verify: Any, cert: Any) -> None:
        """Do nothing: the context verifies."""


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Everything needed to open a session with one API server."""

    server: str
    """Base URL, without a trailing slash."""
    ca_pem: str | None = None
    """Authorities to trust, PEM; None for the system's."""
    certificate: tuple[str, str] | None = None
    """Client certificate and key, PEM."""
    token: Callable[[], str] | None = None
    """Returns the bearer token; called for every request."""
    namespace: str | None = None
    """Namespace of the kubeconfig's context."""
    verify: bool = True
    """False only if the kubeconfig has insecure-skip-tls-verify."""

    def ssl_context(self) -> ssl.SSLContext:
        """Build the context: it trusts `ca_pem` only and presents the client certificate.

        Raises:
            KubeconfigError: The authority or the certificate is not valid PEM.
        """
        try:
            context = ssl.create_default_context(cadata=self.ca_pem)
            if not self.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if self.certificate is not None:
                _load_certificate(context, *self.certificate)
        except (ssl.SSLError, ValueError) as error:
            raise KubeconfigError(f"the TLS data for {self.server} is not valid PEM: {error}") from error
        return context


def _load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    # OpenSSL reads a client certificate from a file only; the file exists for this call and only its owner can read it.
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate.rstrip() + "\n" + key)
        file.flush()
        context.load_cert_chain(file.name)


class ExecToken:
    """The token of a kubeconfig's exec command (client.authentication.k8s.io), cached until shortly before it expires.

    Args:
        spec: The `exec` object of the kubeconfig's user.
        cluster: The `cluster` object of the kubeconfig, passed to a command with `provideClusterInfo` as client-go does.
        environment: Environment variables of the command; by default those of this process.
    """

    def __init__(
        self,
        spec: Mapping[str, Any],
        cluster: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._cluster = cluster if spec.get("provideClusterInfo") else None
        self._spec = spec
        self._environment = environment
        self._lock = threading.Lock()
        self._token: str | None = None
        self._expires: datetime | None = None

    def __call__(self) -> str:
        """Return a token that is valid for at least a minute; run the command if needed."""
        with self._lock:
            if self._token is None or (
                self._expires is not None and datetime.now(UTC) > self._expires - _EXPIRY_MARGIN
            ):
                self._run()
            if self._token is None:
                raise KubeconfigError(f"{self._spec.get('command')} printed no token")
            return self._token

    def invalidate(self) -> None:
        """Forget the token: the API server refused it."""
        with self._lock:
            self._token = None

    def _run(self) -> None:
        environment = dict(os.environ if self._environment is None else self._environment)
        environment |= {item["name"]: item["value"] for item in self._spec.get("env") or []}
        asked = {"interactive": False, **({"cluster": dict(self._cluster)} if self._cluster else {})}
        information = {"apiVersion": self._spec["apiVersion"], "kind": "ExecCredential", "spec": asked}
        environment["KUBERNETES_EXEC_INFO"] = json.dumps(information)
        command = [self._spec["command"], *(self._spec.get("args") or [])]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=EXEC_TIMEOUT_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise KubeconfigError(f"the kubeconfig's credential command {command[0]!r} failed: {error}") from error
        if done.returncode != 0:
            problem = done.stderr.strip()
            raise KubeconfigError(f"the credential command {command[0]!r} ended with {done.returncode}: {problem}")
        try:
            status = json.loads(done.stdout)["status"]
            self._token = status["token"]
            expiry = status.get("expirationTimestamp")
        except (ValueError, KeyError, TypeError) as error:
            raise KubeconfigError(f"{command[0]!r} did not print an ExecCredential with a token") from error
        self._expires = datetime.fromisoformat(expiry) if expiry else None


def read_kubeconfig(text: str, *, context: str | None = None, folder: Path | None = None) -> Connection:
    """Read the current (or named) context of a kubeconfig, YAML or JSON.

    Args:
        text: The kubeconfig.
        context: Name of the context; None for `current-context`.
        folder: Base of relative file names; None for the working directory.

    Raises:
        KubeconfigError: The context, or a part that it names, is missing.
    """
    import yaml  # noqa: PLC0415 - a provider that gets no kubeconfig starts faster without it

    try:
        document = yaml.safe_load(text)
        context_entry = _named(document, "contexts", context or document["current-context"])["context"]
        cluster = _named(document, "clusters", context_entry["cluster"])["cluster"]
        user = _named(document, "users", context_entry["user"])["user"] if context_entry.get("user") else {}
        server = str(cluster["server"]).rstrip("/")
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise KubeconfigError(f"the kubeconfig is not usable: {error!r} is missing or malformed") from error
    base = folder or Path()
    certificate = _material(user, "client-certificate", base)
    key = _material(user, "client-key", base)
    return Connection(
        server=server,
        ca_pem=_material(cluster, "certificate-authority", base),
        certificate=(certificate, key) if certificate and key else None,
        token=_token_source(user, cluster, base),
        namespace=context_entry.get("namespace"),
        verify=not cluster.get("insecure-skip-tls-verify", False),
    )


def _named(document: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in document.get(section) or []:
        if entry.get("name") == name:
            return dict(entry)
    raise KeyError(f"{section}[{name}]")


def _material(entry: dict[str, Any], key: str, folder: Path) -> str | None:
    data = entry.get(f"{key}-data")
    if data:
        return base64.b64decode(data).decode()
    file = entry.get(key)
    return (folder / file).read_text() if file else None


def _token_source(user: dict[str, Any], cluster: dict[str, Any], folder: Path) -> Callable[[], str] | None:
    if user.get("exec"):
        return ExecToken(user["exec"], cluster)
    if user.get("tokenFile"):
        file = folder / user["tokenFile"]
        return lambda: file.read_text().strip()
    if user.get("token"):
        token = str(user["token"])
        return lambda: token
    return None
