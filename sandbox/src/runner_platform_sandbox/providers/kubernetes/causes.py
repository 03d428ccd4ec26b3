"""Why pods do not run, in one line: the result of four kubectl commands.

Reads ReplicaSet conditions (pod security, quota), missing Secrets, Secret keys and ConfigMaps, container states,
scheduling and warning events. Skips objects that it cannot read, and raises no error.
"""

from typing import Any, Final

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.errors import ApiError, UnreachableError
from runner_platform_sandbox.kubernetes.kubeconfig import KubeconfigError
from runner_platform_sandbox.kubernetes.references import references

Manifest = dict[str, Any]

_TROUBLE: Final = (ApiError, UnreachableError, KubeconfigError, LookupError, ValueError)
_CONTROLLERS: Final = (
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("batch/v1", "Job"),
)
_HARMLESS_WAITS: Final = {"ContainerCreating", "PodInitializing"}
_MOST: Final = 3
"""Most causes in one message; further causes of a workload repeat the first ones."""


def of_workload(client: KubeClient, live: Manifest) -> str:
    """Return why the pods of a Deployment, StatefulSet, DaemonSet, Job or Pod do not run, or an empty text."""
    try:
        if live["kind"] == "Pod":
            return _joined(_of_pod(client, live))
        return _joined(_of_controller(client, live))
    except _TROUBLE:
        return ""


def of_release(client: KubeClient, name: str, namespace: str) -> str:
    """Return why the workloads of a Helm release do not run, or an empty text."""
    release_causes = []
    try:
        for api_version, kind in _CONTROLLERS:
            for live in client.list(api_version, kind, namespace):
                notes = live["metadata"].get("annotations") or {}
                if notes.get("meta.helm.sh/release-name") == name:
                    cause = of_workload(client, live)
                    release_causes += [f"{kind} {live['metadata']['name']}: {cause}"] if cause else []
    except _TROUBLE:
        return _joined(release_causes)
    return _joined(release_causes)


def _joined(causes: list[str]) -> str:
    return "; ".join(list(dict.fromkeys(causes))[:_MOST])


def _of_controller(client: KubeClient, live: Manifest) -> list[str]:
    namespace, owner = live["metadata"]["namespace"], live["metadata"]["uid"]
    owners, causes = {owner}, _refusals(live)
    if live["kind"] == "Deployment":
        sets = [item for item in client.list("apps/v1", "ReplicaSet", namespace) if _owned(item, owners)]
        sets.sort(
            key=lambda item: int(
                (item["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", 0)
            )
        )
        newest = sets[-1:]
        owners = {item["metadata"]["uid"] for item in newest}
        for item in newest:
            causes += _refusals(item)
    for item in [pod for pod in client.list("v1", "Pod", namespace) if _owned(pod, owners)]:
        causes += _of_pod(client, item)
    if not causes:
        causes = _events(client, live)
    return causes


def _owned(item: Manifest, owners: set[str]) -> bool:
    return any(reference.get("uid") in owners for reference in item["metadata"].get("ownerReferences") or [])


def _refusals(live: Manifest) -> list[str]:
    """Return why admission or quota kept a controller from creating pods."""
    conditions = (live.get("status") or {}).get("conditions") or []
    return [
        str(item.get("message"))
        for item in conditions
        if item.get("type") in {"ReplicaFailure", "FailureTarget"} and item.get("status") == "True"
    ]


def _of_pod(client: KubeClient, pod: Manifest) -> list[str]:
    status = pod.get("status") or {}
    causes = _missing_references(client, pod)
    for item in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (item.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in _HARMLESS_WAITS:
            causes.append(f"container {item['name']}: {waiting['reason']} {waiting.get('message') or ''}".strip())
    for item in status.get("conditions") or []:
        if item.get("type") == "PodScheduled" and item.get("status") == "False":
            causes.append(f"pod {pod['metadata']['name']} cannot be scheduled: {item.get('message')}")
    if not causes and status.get("phase") == "Pending":
        causes = _events(client, pod)
    return causes


def _events(client: KubeClient, live: Manifest) -> list[str]:
    """Return the newest warning events of an object."""
    events = client.list(
        "v1",
        "Event",
        live["metadata"]["namespace"],
        field_selector=f"involvedObject.uid={live['metadata']['uid']},type=Warning",
    )
    events.sort(key=lambda item: str(item.get("lastTimestamp") or item.get("eventTime") or ""))
    return [f"{item.get('reason')}: {item.get('message')}" for item in events[-_MOST:]]


def _missing_references(client: KubeClient, pod: Manifest) -> list[str]:
    """Return the Secrets, ConfigMaps and keys that a pod references and that do not exist."""
    namespace, causes = pod["metadata"]["namespace"], []
    keys_by_object: dict[tuple[str, str], list[str]] = {}
    for reference in references(pod):
        keys_by_object.setdefault((reference.kind, reference.name), []).extend([reference.key] if reference.key else [])
    for (kind, name), keys in keys_by_object.items():
        try:
            live = client.find("v1", kind, name, namespace)
        except _TROUBLE:
            continue  # no permission to read Secrets; the events may still tell the cause
        if live is None:
            causes.append(f"{kind} {name!r} does not exist in namespace {namespace}")
            continue
        present = (live.get("data") or {}).keys() | (live.get("binaryData") or {}).keys()
        causes += [f"{kind} {name!r} in namespace {namespace} has no key {key!r}" for key in keys if key not in present]
    return causes
