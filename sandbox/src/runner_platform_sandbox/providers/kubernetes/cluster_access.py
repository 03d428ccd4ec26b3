"""The provider's configuration, and the cluster that it names.

Owns which provider properties of the SDK are modelled (others are refused, not ignored), what a change of them means,
a client that is opened on first use, a kubeconfig file for Helm, and what counts as unreachable.
https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/
"""

import contextlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError, UnauthorizedError, UnreachableError
from runner_platform_sandbox.kubernetes.kubeconfig import KubeconfigError, read_kubeconfig
from runner_platform_sandbox.providers.stand_in import Diff, Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure
from runner_platform_sandbox.providers.wire import UNKNOWN, reveal

# These properties change how the real plugin connects, not what it does.
_WITHOUT_EFFECT: Final = {"kubeClientSettings", "suppressDeprecationWarnings", "suppressHelmHookWarnings"}
_NOT_MODELLED: Final = {
    "alwaysRender": "rendering to files is not modelled",
    "cluster": "name the cluster in the kubeconfig's context",
    "renderYamlToDirectory": "rendering to files is not modelled",
    "helmReleaseSettings": "set HELM_* variables in the environment",
}


_REMEMBERED_SECONDS: Final = 10.0
"""Seconds until the cluster is asked again, so that a preview of many objects waits only once."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One explicit provider's configuration."""

    kubeconfig: str = ""
    """Text or path of a file; empty for $KUBECONFIG or the default file."""
    context: str | None = None
    """Context of the kubeconfig; None for the current one."""
    namespace: str | None = None
    """Namespace for objects that name none; None for the context's namespace or `default`."""
    delete_unreachable: bool = False
    """Drop objects from the state if the cluster does not answer."""
    skip_update_unreachable: bool = False
    """Read objects as they were if the cluster does not answer."""
    patch_force: bool = False
    """Take over fields of other managers."""
    secret_mutable: bool = False
    """Change a Secret's data in place."""
    config_map_mutable: bool = False
    """Change a ConfigMap's data in place."""
    upsert: bool = False
    """Take over an existing object when creating it."""

    def kubeconfig_text(self) -> str:
        """Return the text of the kubeconfig.

        Raises:
            OSError: The setting is a path and the file cannot be read.
        """
        setting = self.kubeconfig.strip()
        if "\n" in setting or setting.startswith("{"):
            return setting
        path = setting or os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0] or "~/.kube/config"
        return Path(path).expanduser().read_text()


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Return the settings of a decoded configuration; absent and unknown values become defaults."""
    values = {key: value for key, value in config.items() if value is not None and value is not UNKNOWN}
    return Settings(
        kubeconfig=str(values.get("kubeconfig", "")),
        context=values.get("context"),
        namespace=values.get("namespace"),
        delete_unreachable=bool(values.get("deleteUnreachable", False)),
        skip_update_unreachable=bool(values.get("skipUpdateUnreachable", False)),
        patch_force=bool(values.get("enablePatchForce", False)),
        secret_mutable=bool(values.get("enableSecretMutable", False)),
        config_map_mutable=bool(values.get("enableConfigMapMutable", False)),
        upsert=bool(values.get("upsertExistingObjects", False)),
    )


def unsupported_settings(config: Mapping[str, Any]) -> list[Failure]:
    """Return a failure for each setting that the stand-in does not support."""
    failures = [
        Failure(key, f"is not modelled by the sandbox: {why}") for key, why in _NOT_MODELLED.items() if config.get(key)
    ]
    if config.get("enableServerSideApply") is False:
        failures.append(Failure("enableServerSideApply", "must not be false: the sandbox applies server-side only"))
    return failures


def compare_settings(olds: Properties, news: Properties) -> Diff:
    """Compare two configurations: a changed `clusterIdentifier` alone replaces the provider and its objects.

    Adding or removing the identifier replaces nothing. Without an identifier on both sides, a changed API server address
    replaces the provider.
    """
    old, new = reveal(olds), reveal(news)
    changes = sorted(key for key in (old.keys() | new.keys()) - _WITHOUT_EFFECT if old.get(key) != new.get(key))
    before, after = old.get("clusterIdentifier"), new.get("clusterIdentifier")
    if before and after:
        return Diff(changes=changes, replaces=["clusterIdentifier"] if before != after else [])
    if "kubeconfig" in changes and _server(old.get("kubeconfig")) != _server(new.get("kubeconfig")):
        return Diff(changes=changes, replaces=["kubeconfig"])
    return Diff(changes=changes)


def _server(kubeconfig: Any) -> Any:
    """Return the API server's address, or the setting itself if it cannot be read."""
    if not isinstance(kubeconfig, str):
        return kubeconfig
    try:
        return read_kubeconfig(Settings(kubeconfig=kubeconfig).kubeconfig_text()).server
    except (KubeconfigError, OSError):
        return kubeconfig


class Access:
    """The cluster that the settings name; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._client: KubeClient | None = None
        self._problem = ""
        self._asked = float("-inf")

    @property
    def client(self) -> KubeClient:
        """The client, opened on first use.

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
        """Namespace for objects that name none."""
        if self.settings.namespace:
            return self.settings.namespace
        try:
            return self.client.connection.namespace or "default"
        except ProviderError:
            return "default"

    def problem(self) -> str:
        """Ask the cluster for its version, and return the problem or an empty text."""
        with self._lock:
            if time.monotonic() - self._asked < _REMEMBERED_SECONDS:
                return self._problem
        try:
            self.client.version()
            problem = ""
        except (UnreachableError, UnauthorizedError, KubeconfigError, ProviderError) as error:
            problem = self.explain(error)
        except ApiError:
            problem = ""  # the cluster answers; the operation itself reports a refusal
        with self._lock:
            self._problem, self._asked = problem, time.monotonic()
        return problem

    def explain(self, error: Exception) -> str:
        """Return an error's text for a person, with the kubeconfig's hint if its credential command is missing."""
        hint = ""
        with contextlib.suppress(OSError, yaml.YAMLError):
            hint = _missing_command(yaml.safe_load(self.settings.kubeconfig_text()))
        if isinstance(error, UnauthorizedError):
            return f"the API server does not accept the credentials (401); is there an access entry for them? {error}"
        return f"{hint or error}"

    def require(self) -> KubeClient:
        """Return the client.

        Raises:
            ProviderError: The cluster does not answer.
        """
        problem = self.problem()
        if problem:
            raise ProviderError(f"the Kubernetes cluster cannot be reached: {problem}")
        return self.client

    @contextlib.contextmanager
    def kubeconfig_file(self) -> Iterator[Path]:
        """Write the kubeconfig to a private file for a run of Helm."""
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
    """Return a message about a credential command that is not installed, or an empty text."""
    for entry in (kubeconfig or {}).get("users") or []:
        spec = (entry.get("user") or {}).get("exec") or {}
        path = next((item["value"] for item in spec.get("env") or [] if item.get("name") == "PATH"), None)
        command = spec.get("command")
        if command and not shutil.which(command, path=path):
            hint = spec.get("installHint") or ""
            return f"the kubeconfig's credential command {command!r} was not found. {hint}".strip()
    return ""
