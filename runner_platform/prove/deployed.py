"""The identity that container `build` of a class on Kubernetes gets: its pod, variables and files, read from the cluster.

The runner's part comes from the manager's ConfigMap (the text that it registers with), the kubelet's part from the objects that the pod
refers to, EKS's part from the annotations of the service account. The program's own documents are never read: the proof is about them.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.names import helm_release, namespace_manager
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError
from runner_platform.prove.job_pod import (
    BUILD,
    UnknownPatchError,
    job_pod,
    runner_section,
    runner_variables,
    with_webhook,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner_platform.kube.client import Cluster

TEMPLATE_KEY = "config.template.toml"
"""Key of the runner's configuration template in the chart's ConfigMap."""
TOKEN_SECONDS = 3600
ClassKey = tuple[str, str]
"""Stack and class."""


class ClassProblemError(FailedError):
    """A class is not deployed as it must be; the message names the missing or unknown object."""


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """A projected token that the kubelet requests from the API server."""

    audience: str
    seconds: int


@dataclass(frozen=True, kw_only=True)
class DeployedClass:
    """A class on Kubernetes as it is deployed."""

    namespace: str
    account: str
    """Service account of its jobs."""
    pod: Mapping[str, Any]
    """A job pod after patch and webhook."""
    variables: Mapping[str, str]
    """Environment of container `build`, as far as the platform sets it."""
    files: Mapping[str, Mapping[str, str | TokenFile]]
    """Files by mount path and relative path: text, or a token to request."""


def read_class(cluster: Cluster, runner_class: str, region: str) -> DeployedClass:
    """Read one class from its cluster.

    Raises:
        ClassProblemError: an object of the class is missing, or this program does not understand it.
        FailedError: the cluster does not answer.
    """
    config_map = _config_map(cluster, namespace_manager(runner_class), helm_release(runner_class))
    try:
        runner = runner_section(config_map[TEMPLATE_KEY])
        pod = job_pod(runner, f"prove-{runner_class}")
    except (KeyError, ValueError, UnknownPatchError) as error:
        where = f"ConfigMap {helm_release(runner_class)} in {namespace_manager(runner_class)}"
        raise ClassProblemError(
            f"the configuration of class {runner_class} ({where}) cannot be used: {error}"
        ) from None
    namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
    service_account = _object(cluster, namespace, "serviceaccounts", account)
    pod = with_webhook(pod, service_account["metadata"].get("annotations") or {}, region)
    build = next(container for container in pod["spec"]["containers"] if container["name"] == BUILD)
    variables = {variable["name"]: variable.get("value", "") for variable in build.get("env", [])}
    return DeployedClass(
        namespace=namespace,
        account=account,
        pod=pod,
        variables={**runner_variables(runner), **variables},
        files=dict(_files(cluster, namespace, pod["spec"], build)),
    )


def _files(
    cluster: Cluster, namespace: str, spec: Mapping[str, Any], build: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, str | TokenFile]]]:
    """Yield the mount path and the files of every volume of container `build`, but for the runner's own empty folders."""
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in build.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        if "emptyDir" in volume:
            continue
        if "projected" not in volume:
            raise ClassProblemError(
                f"container build in {namespace} mounts volume {mount['name']!r}, which is not a projected volume"
            )
        files: dict[str, str | TokenFile] = {}
        for source in volume["projected"]["sources"]:
            files |= _projected(cluster, namespace, source)
        yield mount["mountPath"], files


def _projected(cluster: Cluster, namespace: str, source: Mapping[str, Any]) -> dict[str, str | TokenFile]:
    """Return the files of one source of a projected volume."""
    if token := source.get("serviceAccountToken"):
        audience = token.get("audience", WEB_IDENTITY_AUDIENCE)
        return {token["path"]: TokenFile(audience=audience, seconds=token.get("expirationSeconds", TOKEN_SECONDS))}
    config_map = source.get("configMap")
    if config_map is None:
        raise ClassProblemError(
            f"container build in {namespace} mounts {', '.join(source)}, which this program does not implement"
        )
    values = _config_map(cluster, namespace, config_map["name"])
    items = config_map.get("items") or [{"key": key, "path": key} for key in values]
    missing = [item["key"] for item in items if item["key"] not in values]
    if missing:
        raise ClassProblemError(f"ConfigMap {config_map['name']} in {namespace} has no key {missing[0]!r}")
    return {item["path"]: values[item["key"]] for item in items}


def _config_map(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    values: dict[str, str] = _object(cluster, namespace, "configmaps", name).get("data") or {}
    return values


def _object(cluster: Cluster, namespace: str, plural: str, name: str) -> dict[str, Any]:
    try:
        return cluster.get(f"/api/v1/namespaces/{namespace}/{plural}/{name}")
    except ApiRefusalError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            kind = plural.removesuffix("s")
            raise ClassProblemError(f"{kind} {name} in {namespace} is missing; `pulumi up` creates it again") from None
        raise
