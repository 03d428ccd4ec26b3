"""What container `build` of a class really gets, read from the deployed cluster as the runner and the kubelet would.

The runner's part comes from the manager's ConfigMap (the text that it registers with), the kubelet's from the objects that the pod
names, EKS's from the service account's annotations. Never from the program's own documents: those are what is being tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.names import helm_release, namespace_manager
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError
from runner_platform.prove import runner_pod, webhook
from runner_platform.prove.merge import UnknownPatchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner_platform.kube.client import Cluster

TEMPLATE_KEY = "config.template.toml"
"""Key of the chart's ConfigMap that holds the runner's configuration template."""
TOKEN_SECONDS = 3600
ClassKey = tuple[str, str]
"""Stack and class."""


class ClassProblemError(FailedError):
    """A class is not deployed as it must be; the sentence says what is missing."""


@dataclass(frozen=True, kw_only=True)
class TokenFile:
    """A projected token: what the kubelet asks the API server for."""

    audience: str
    seconds: int


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A class as it is deployed."""

    namespace: str
    account: str
    """Service account of its jobs."""
    pod: Mapping[str, Any]
    """A job pod, patched."""
    variables: Mapping[str, str]
    """Environment of container `build`, as far as the platform makes it."""
    files: Mapping[str, Mapping[str, str | TokenFile]]
    """Files by mount path and relative path: text, or a token to ask for."""


def of_class(cluster: Cluster, runner_class: str, region: str) -> Deployed:
    """Read one class.

    Raises:
        ClassProblemError: something of it is not there, or is not understood.
        FailedError: the cluster cannot be asked.
    """
    values = _config_map(cluster, namespace_manager(runner_class), helm_release(runner_class))
    try:
        runner = runner_pod.runner_section(values[TEMPLATE_KEY])
        pod = runner_pod.job_pod(runner, f"prove-{runner_class}")
    except (KeyError, ValueError, UnknownPatchError) as error:
        where = f"ConfigMap {helm_release(runner_class)} in {namespace_manager(runner_class)}"
        raise ClassProblemError(
            f"the configuration of class {runner_class} ({where}) cannot be used: {error}"
        ) from None
    namespace, account = pod["metadata"]["namespace"], pod["spec"]["serviceAccountName"]
    known = _object(cluster, namespace, "serviceaccounts", account)
    pod = webhook.mutated(pod, known["metadata"].get("annotations") or {}, region)
    build = next(each for each in pod["spec"]["containers"] if each["name"] == runner_pod.BUILD)
    set_here = {each["name"]: each.get("value", "") for each in build.get("env", [])}
    return Deployed(
        namespace=namespace,
        account=account,
        pod=pod,
        variables={**runner_pod.variables(runner), **set_here},
        files=dict(_files(cluster, namespace, pod["spec"], build)),
    )


def _files(
    cluster: Cluster, namespace: str, spec: Mapping[str, Any], build: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, str | TokenFile]]]:
    volumes = {each["name"]: each for each in spec["volumes"]}
    for mount in build.get("volumeMounts", []):
        volume = volumes.get(mount["name"], {})
        if "projected" not in volume:
            raise ClassProblemError(f"container build mounts volume {mount['name']!r}, which is not a projected one")
        found: dict[str, str | TokenFile] = {}
        for source in volume["projected"]["sources"]:
            found |= _source(cluster, namespace, source)
        yield mount["mountPath"], found


def _source(cluster: Cluster, namespace: str, source: Mapping[str, Any]) -> dict[str, str | TokenFile]:
    if token := source.get("serviceAccountToken"):
        audience = token.get("audience", WEB_IDENTITY_AUDIENCE)
        return {token["path"]: TokenFile(audience=audience, seconds=token.get("expirationSeconds", TOKEN_SECONDS))}
    wanted = source.get("configMap")
    if wanted is None:
        raise ClassProblemError(f"container build mounts {', '.join(source)}, which is not understood here")
    values = _config_map(cluster, namespace, wanted["name"])
    items = wanted.get("items") or [{"key": key, "path": key} for key in values]
    missing = [item["key"] for item in items if item["key"] not in values]
    if missing:
        raise ClassProblemError(f"ConfigMap {wanted['name']} in {namespace} has no key {missing[0]!r}")
    return {item["path"]: values[item["key"]] for item in items}


def _config_map(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    values: dict[str, str] = _object(cluster, namespace, "configmaps", name).get("data") or {}
    return values


def _object(cluster: Cluster, namespace: str, kind: str, name: str) -> dict[str, Any]:
    try:
        return cluster.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
    except ApiRefusalError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            raise ClassProblemError(
                f"{kind.removesuffix('s')} {name} in {namespace} is not there; `pulumi up` makes it again"
            ) from None
        raise
