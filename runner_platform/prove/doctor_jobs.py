"""Classes tried inside their cluster: `doctor` as a Job in the jobs' namespace of each class.

The Job's pod is the runner's job pod after its patches, with container `build` alone: same service account, image, node, security
settings and protection from eviction. It requests little, because its identity does not depend on the class's size. What `doctor` itself expects is ignored; the
settings decide. Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
"""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from components.documents import pods
from config.quantities import cpu_text, memory_text
from runner_platform.errors import FailedError
from runner_platform.kube.client import ApiRefusalError
from runner_platform.prove.attempts import REFUSED, Way
from runner_platform.prove.job_pod import BUILD
from runner_platform.prove.results import BROKEN, ROLE, Answer, Result, broken, result_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runner_platform.kube.client import Cluster
    from runner_platform.prove.attempts import Attempt
    from runner_platform.prove.deployed import ClassKey, DeployedClass
    from runner_platform.prove.results import Roles
    from runner_platform.prove.targets import Targets

COMMAND = ["doctor", "--json"]
WAIT_SECONDS = 15 * 60
"""A class without nodes starts one first."""
PAUSE_SECONDS = 2.0
KEPT_SECONDS = 600
"""Kubernetes deletes a Job after this time, if this program could not."""
STUCK = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"})
"""Reasons of a waiting container that waiting longer does not remove."""


class DoctorError(FailedError):
    """The Job of a class gave no report; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a Job, and how often to look."""

    seconds: float = WAIT_SECONDS
    pause: float = PAUSE_SECONDS
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the proof is interrupted."""


def results(targets: Targets, attempts: Sequence[Attempt], roles: Roles, say: Callable[[str], None]) -> list[Result]:
    """Run `doctor` in all classes of the stack's cluster at the same time and return the results of their attempts.

    A class's config lacks the profiles that the class must not have, so `doctor` does not try them and they get no result. If the config
    has such a profile nevertheless, its result is wrong.

    Args:
        targets: deployed classes.
        attempts: attempts of classes, not of strangers.
        roles: role ARNs by account id and name.
        say: prints a line for the reader.
    """
    patience = Patience()

    def results_of(key: ClassKey) -> list[Result]:
        own = [attempt for attempt in attempts if (attempt.identity.stack, attempt.identity.runner_class) == key]
        if key in targets.problems or targets.cluster is None:
            return broken(own, targets.problems[key])
        say(f"running doctor in {targets.pods[key].namespace}; a class without nodes starts one first")
        try:
            return read(own, run_doctor(targets.cluster, targets.pods[key], patience), roles)
        except FailedError as error:
            return broken(own, str(error))

    keys = [(targets.settings.stack, name) for name in targets.settings.kubernetes_classes]
    with ThreadPoolExecutor(max(len(keys), 1)) as pool:
        try:
            return [result for class_results in pool.map(results_of, keys) for result in class_results]
        finally:
            patience.cancelled.set()  # after Ctrl-C every thread deletes its Job at once


def read(attempts: Sequence[Attempt], report: Mapping[str, Any], roles: Roles) -> list[Result]:
    """Return the results of attempts that a report of `doctor` contains.

    Args:
        attempts: attempts of one class.
        report: `rows` with `profile`, `sdk`, `way`, `got` and `cause`; SDK families that the image lacks have no rows.
        roles: role ARNs by account id and name.
    """
    rows = {_key(row): row for row in report.get("rows", [])}
    families = {sdk for _, sdk, _ in rows}
    if not families:
        findings = [str(finding.get("text", "")) for finding in report.get("findings", [])]
        return broken(attempts, f"doctor could try no profile: {'; '.join(findings) or 'it reports no reason'}")
    class_results = []
    for attempt in attempts:
        profile = "" if attempt.way is Way.DEFAULT else attempt.profile
        row = rows.get((profile, attempt.sdk.value, attempt.way.value))
        if row is not None:
            class_results.append(_result(attempt, row, roles))
        elif attempt.expected != REFUSED and attempt.sdk in families:
            class_results += broken([attempt], "doctor in the image has no such row")
    return class_results


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return ("" if row["way"] == Way.DEFAULT else row["profile"], row["sdk"], row["way"])


def _result(attempt: Attempt, row: Mapping[str, Any], roles: Roles) -> Result:
    got, cause = str(row.get("got") or ""), str(row.get("cause") or "")
    if not got.startswith("arn:"):
        return Result(attempt=attempt, got=got if got == REFUSED else BROKEN + (cause or got), cause=cause)
    role = ROLE.fullmatch(got)
    if role is not None:
        return Result(attempt=attempt, got=roles.get((role["account"], role["role"]), got), cause=cause)
    return result_of(attempt, Answer(arn=got), roles)


def run_doctor(cluster: Cluster, deployed: DeployedClass, patience: Patience | None = None) -> dict[str, Any]:
    """Run one Job, return the report that `doctor` printed, and delete the Job.

    Raises:
        DoctorError: the Job did not run, or printed no report.
        ApiRefusalError: the API server refuses.
    """
    path = f"/apis/batch/v1/namespaces/{deployed.namespace}/jobs"
    name = cluster.post(path, manifest(deployed))["metadata"]["name"]
    try:
        pod = _ended_pod(cluster, deployed.namespace, name, patience or Patience())
        log = cluster.send("GET", f"/api/v1/namespaces/{deployed.namespace}/pods/{pod}/log?container={BUILD}")
    finally:
        cluster.send("DELETE", f"{path}/{name}", {"propagationPolicy": "Background"})
    return parse(log)


def parse(log: str) -> dict[str, Any]:
    """Return the report in a log of `doctor --json`, after any output of an entry point.

    Raises:
        DoctorError: the log contains no report.
    """
    try:
        report: dict[str, Any] = json.loads(log[log.index("{") :])
    except ValueError:
        end_of_log = " ".join(log.split())[-300:] or "nothing"
        raise DoctorError(f"doctor in the runner image printed no JSON document: {end_of_log}") from None
    return report


def manifest(deployed: DeployedClass) -> dict[str, Any]:
    """Return the Job: the class's pod with container `build` alone."""
    spec = {key: value for key, value in deployed.pod["spec"].items() if key != "initContainers"}
    build = next(container for container in spec["containers"] if container["name"] == BUILD)
    mounted = {mount["name"] for mount in build.get("volumeMounts", [])}
    requests = {
        "cpu": cpu_text(pods.HELPER.cpu),
        "memory": memory_text(pods.HELPER.memory),
        "ephemeral-storage": memory_text(pods.HELPER.disk),
    }
    limits = {resource: value for resource, value in requests.items() if resource != "cpu"}
    resources = {"requests": requests, "limits": limits}
    spec["containers"] = [{**build, "command": COMMAND, "resources": resources}]
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] in mounted]
    labels = {**deployed.pod["metadata"]["labels"], "app.kubernetes.io/name": "prove"}
    annotations = deployed.pod["metadata"]["annotations"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "prove-", "namespace": deployed.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": WAIT_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec},
        },
    }


def _ended_pod(cluster: Cluster, namespace: str, job: str, patience: Patience) -> str:
    """Wait until the Job's pod has ended, successfully or not, and return its name."""
    deadline = time.monotonic() + patience.seconds
    selector = f"?labelSelector=batch.kubernetes.io/job-name%3D{job}"
    reason = "it has no pod"
    while time.monotonic() < deadline:
        for pod in cluster.get(f"/api/v1/namespaces/{namespace}/pods{selector}")["items"]:
            status = pod.get("status", {})
            if status.get("phase") in {"Succeeded", "Failed"}:
                return str(pod["metadata"]["name"])
            reason, stuck = _waiting_reason(status)
            if stuck:
                raise DoctorError(f"the pod of Job {job} in {namespace} does not start: {reason}")
        if patience.cancelled.wait(patience.pause):
            raise DoctorError(f"the proof was interrupted before Job {job} in {namespace} ended")
    reason = next(_warnings(cluster, namespace, job), reason)
    raise DoctorError(f"Job {job} in {namespace} did not end within {patience.seconds:.0f} s: {reason}")


def _waiting_reason(status: Mapping[str, Any]) -> tuple[str, bool]:
    """Return `(reason, is_stuck)` of a pod that does not run yet."""
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting['reason']}: {waiting.get('message', '')}", waiting["reason"] in STUCK
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"]), False
    return f"it is {status.get('phase', 'Pending')}", False


def _warnings(cluster: Cluster, namespace: str, job: str) -> Iterator[str]:
    """Yield the warnings of a Job's events: admission and quota report in events alone."""
    selector = f"?fieldSelector=involvedObject.name%3D{job},type%3DWarning"
    try:
        for event in cluster.get(f"/api/v1/namespaces/{namespace}/events{selector}")["items"]:
            yield str(event.get("message", ""))
    except ApiRefusalError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
