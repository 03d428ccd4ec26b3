"""The plugin's own configuration.

Owns which of the SDK's provider properties are modelled, and what a change of them means. Properties that the SDK knows
but the stand-in does not model are refused rather than ignored.
https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner_platform_sandbox.providers.base import Diff, Properties
from runner_platform_sandbox.providers.validation import Failure
from runner_platform_sandbox.providers.wire import UNKNOWN, reveal

# They change how the real plugin talks, not what it does.
_WITHOUT_EFFECT: Final = {"kubeClientSettings", "suppressDeprecationWarnings", "suppressHelmHookWarnings"}
_NOT_MODELLED: Final = {
    "alwaysRender": "rendering to files is not modelled",
    "cluster": "name the cluster in the kubeconfig's context",
    "renderYamlToDirectory": "rendering to files is not modelled",
    "helmReleaseSettings": "set HELM_* variables in the environment",
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One explicit provider's configuration."""

    kubeconfig: str = ""
    """Text, or the path of a file; empty means $KUBECONFIG, else the usual file."""
    context: str | None = None
    """Context of the kubeconfig; None means its current one."""
    namespace: str | None = None
    """Where objects go that name no namespace; None means the context's, else `default`."""
    delete_unreachable: bool = False
    """Objects of a cluster that does not answer are dropped from the state."""
    skip_update_unreachable: bool = False
    """Objects of a cluster that does not answer are read as they were."""
    patch_force: bool = False
    """Fields that others own are taken over."""
    secret_mutable: bool = False
    """A Secret's data changes in place."""
    config_map_mutable: bool = False
    """A ConfigMap's data changes in place."""
    upsert: bool = False
    """An object that exists already is taken over by a create."""

    def kubeconfig_text(self) -> str:
        """Return the kubeconfig itself.

        Raises:
            OSError: It is the path of a file that cannot be read.
        """
        given = self.kubeconfig.strip()
        if "\n" in given or given.startswith("{"):
            return given
        path = given or os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0] or "~/.kube/config"
        return Path(path).expanduser().read_text()


def read(config: Mapping[str, Any]) -> Settings:
    """Make the settings from decoded configuration; absent and unknown values become defaults."""
    known = {key: value for key, value in config.items() if value is not None and value is not UNKNOWN}
    return Settings(
        kubeconfig=str(known.get("kubeconfig", "")),
        context=known.get("context"),
        namespace=known.get("namespace"),
        delete_unreachable=bool(known.get("deleteUnreachable", False)),
        skip_update_unreachable=bool(known.get("skipUpdateUnreachable", False)),
        patch_force=bool(known.get("enablePatchForce", False)),
        secret_mutable=bool(known.get("enableSecretMutable", False)),
        config_map_mutable=bool(known.get("enableConfigMapMutable", False)),
        upsert=bool(known.get("upsertExistingObjects", False)),
    )


def refusals(config: Mapping[str, Any]) -> list[Failure]:
    """Return what of the configuration the stand-in cannot honour."""
    failures = [
        Failure(key, f"is not modelled by the sandbox: {why}") for key, why in _NOT_MODELLED.items() if config.get(key)
    ]
    if config.get("enableServerSideApply") is False:
        failures.append(Failure("enableServerSideApply", "must not be false: the sandbox applies server-side only"))
    return failures


def difference(olds: Properties, news: Properties) -> Diff:
    """Compare two configurations: a changed `clusterIdentifier` alone replaces the provider and its objects.

    Adding or removing the identifier replaces nothing. Without one on both sides, a changed API server address is
    another cluster.
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
    """Return the API server's address, or the text itself where there is none to be found."""
    from runner_platform_sandbox.kubernetes.connection import KubeconfigError, read_kubeconfig  # noqa: PLC0415 - rarely needed

    if not isinstance(kubeconfig, str):
        return kubeconfig
    try:
        return read_kubeconfig(Settings(kubeconfig=kubeconfig).kubeconfig_text()).server
    except (KubeconfigError, OSError):
        return kubeconfig
