"""The way to one cluster: a client that is made when first needed, and a kubeconfig file for Helm.

Owns what counts as unreachable and how a person is told. Leaves out what is done with the cluster.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.connection import KubeconfigError
from runner_platform_sandbox.kubernetes.errors import ApiError, UnauthorizedError, UnreachableError
from runner_platform_sandbox.providers.base import ProviderError
from runner_platform_sandbox.providers.kubernetes.settings import Settings

_REMEMBERED_SECONDS: Final = 10.0
"""How long a cluster is not asked again, so that a preview of many objects does not wait for each of them."""


class Access:
    """Opens the cluster that the settings name; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._client: KubeClient | None = None
        self._problem = ""
        self._asked = float("-inf")

    @property
    def client(self) -> KubeClient:
        """The client.

        Raises:
            ProviderError: The kubeconfig cannot be used.
        """
        with self._lock:
            if self._client is None:
                try:
                    text = self.settings.kubeconfig_text()
                    self._client = KubeClient.from_kubeconfig_text(text, context=self.settings.context)
                except (OSError, KubeconfigError, ValueError) as error:
                    raise ProviderError(f"the provider's kubeconfig cannot be used: {error}") from error
            return self._client

    @property
    def namespace(self) -> str:
        """Where objects go that name no namespace."""
        if self.settings.namespace:
            return self.settings.namespace
        try:
            return self.client.connection.namespace or "default"
        except ProviderError:
            return "default"

    def problem(self) -> str:
        """Ask the cluster for its version; return why it cannot be used, or nothing."""
        with self._lock:
            if time.monotonic() - self._asked < _REMEMBERED_SECONDS:
                return self._problem
        try:
            self.client.version()
            found = ""
        except (UnreachableError, UnauthorizedError, KubeconfigError, ProviderError) as error:
            found = self.explain(error)
        except ApiError:
            found = ""  # it answers; what it refuses is said where it matters
        with self._lock:
            self._problem, self._asked = found, time.monotonic()
        return found

    def explain(self, error: Exception) -> str:
        """Return an error in words for a person, with the kubeconfig's own hint if its command is missing."""
        hint = ""
        with contextlib.suppress(OSError, yaml.YAMLError):
            hint = _missing_command(yaml.safe_load(self.settings.kubeconfig_text()))
        if isinstance(error, UnauthorizedError):
            return f"the API server does not accept the credentials (401); is there an access entry for them? {error}"
        return f"{hint or error}"

    def require(self) -> KubeClient:
        """Return the client of a cluster that answers.

        Raises:
            ProviderError: It does not.
        """
        problem = self.problem()
        if problem:
            raise ProviderError(f"the Kubernetes cluster cannot be reached: {problem}")
        return self.client

    @contextlib.contextmanager
    def kubeconfig_file(self) -> Iterator[Path]:
        """Write the kubeconfig where only this user can read it, for the time that Helm runs."""
        document = yaml.safe_load(self.settings.kubeconfig_text())
        if self.settings.context:
            document["current-context"] = self.settings.context
        with private_file(yaml.safe_dump(document), ".kubeconfig") as path:
            yield path


@contextlib.contextmanager
def private_file(text: str, suffix: str) -> Iterator[Path]:
    """Write a temporary file with mode 0600 and remove it afterwards."""
    handle, name = tempfile.mkstemp(suffix=suffix)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _missing_command(kubeconfig: Any) -> str:
    """Return what to say if a user's credential command is not installed, or nothing."""
    for entry in (kubeconfig or {}).get("users") or []:
        spec = (entry.get("user") or {}).get("exec") or {}
        path = next((item["value"] for item in spec.get("env") or [] if item.get("name") == "PATH"), None)
        command = spec.get("command")
        if command and not shutil.which(command, path=path):
            hint = spec.get("installHint") or ""
            return f"the kubeconfig's credential command {command!r} was not found. {hint}".strip()
    return ""
