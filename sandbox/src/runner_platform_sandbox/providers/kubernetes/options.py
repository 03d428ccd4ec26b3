"""The inputs of a release as arguments of Helm, 3 or 4.

Owns which inputs are modelled and how each is said to Helm. Values and credentials never become arguments.
https://helm.sh/docs/helm/helm_upgrade/
"""

from pathlib import Path
from typing import Any, Final

from runner_platform_sandbox.providers.kubernetes.helm import major
from runner_platform_sandbox.providers.kubernetes.records import OWNER_LABEL
from runner_platform_sandbox.providers.validation import Failure

DEFAULT_SECONDS: Final = 300
_HELM_4: Final = 4

_NOT_MODELLED: Final = {
    "disableCRDHooks": "use disableWebhooks",
    "manifest": "the real plugin does not support it either",
    "postrender": "commands of a program are not run",
    "recreatePods": "Helm has removed it; change a pod annotation instead",
    "replace": "a failed or uninstalled release is upgraded anyway",
    "valueYamlFiles": "read the files in the program and pass `values`",
}
_SWITCHES: Final = {
    "cleanupOnFail": "--cleanup-on-fail",
    "createNamespace": "--create-namespace",
    "dependencyUpdate": "--dependency-update",
    "devel": "--devel",
    "disableOpenapiValidation": "--disable-openapi-validation",
    "disableWebhooks": "--no-hooks",
    "renderSubchartNotes": "--render-subchart-notes",
    "resetValues": "--reset-values",
    "reuseValues": "--reuse-values",
    "skipCrds": "--skip-crds",
    "takeOwnership": "--take-ownership",
    "verify": "--verify",
}


def refusals(inputs: dict[str, Any]) -> list[Failure]:
    """Return what of a release's inputs the stand-in cannot honour."""
    return [
        Failure(key, f"is not modelled by the sandbox: {why}") for key, why in _NOT_MODELLED.items() if inputs.get(key)
    ]


def install(chart: Path, inputs: dict[str, Any], owner: str) -> list[str]:
    """Return the arguments that install a release, or upgrade the one that is there.

    Args:
        chart: Folder or archive.
        inputs: Of the release, with name and namespace.
        owner: Value of the label that marks the release as this resource's.
    """
    arguments = ["upgrade", "--install", str(inputs["name"]), str(chart), "--namespace", str(inputs["namespace"])]
    arguments += ["--labels", f"{OWNER_LABEL}={owner}", "--output", "json"]
    arguments += [flag for key, flag in _SWITCHES.items() if inputs.get(key)]
    atomic = bool(inputs.get("atomic"))
    if atomic:
        arguments.append("--rollback-on-failure" if major() >= _HELM_4 else "--atomic")
    if inputs.get("forceUpdate"):
        arguments += ["--force-replace", "--server-side=false"] if major() >= _HELM_4 else ["--force"]
    if atomic or not inputs.get("skipAwait"):
        arguments += ["--wait", "--timeout", f"{int(inputs.get('timeout') or DEFAULT_SECONDS)}s"]
        arguments += ["--wait-for-jobs"] if inputs.get("waitForJobs") else []
    for key, flag in (("description", "--description"), ("maxHistory", "--history-max"), ("keyring", "--keyring")):
        arguments += [flag, str(inputs[key])] if inputs.get(key) is not None else []
    return arguments


def uninstall(name: str, namespace: str, inputs: dict[str, Any], allowed: float) -> list[str]:
    """Return the arguments that remove a release and wait.

    Args:
        name: Of the release.
        namespace: Where its record is.
        inputs: Of the release.
        allowed: Seconds that the program allows, 0 for the release's own timeout.
    """
    seconds = int(allowed or inputs.get("timeout") or DEFAULT_SECONDS)
    arguments = ["uninstall", name, "--namespace", namespace, "--timeout", f"{seconds}s"]
    arguments += ["--no-hooks"] if inputs.get("disableWebhooks") else []
    return arguments if inputs.get("skipAwait") else [*arguments, "--wait"]
