"""Classes tried where they live: `doctor` as a Job in each jobs' namespace of a real cluster.

The Job's pod is the runner's own, as rendered and patched, with container `build` alone: same service account, image, node and
security. It asks for little, since nothing depends on the class's size. What `doctor` expects is passed over; the settings say it.
Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
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
from runner_platform.prove import judge
from runner_platform.prove.model import REFUSED, Answer, Cell, Way
from runner_platform.prove.runner_pod import BUILD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from runner_platform.kube.client import Cluster
    from runner_platform.prove.deployed import ClassKey, Deployed
    from runner_platform.prove.model import Attempt

COMMAND = ["doctor", "--json"]
WAIT_SECONDS = 15 * 60
"""A class that scales to zero starts a node first."""
PAUSE_SECONDS = 2.0
KEPT_SECONDS = 600
"""A Job that nobody could delete goes by itself."""
STUCK = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainerConfigError"})
"""Reasons of a waiting container that time does not mend."""


class DoctorError(FailedError):
    """The Job of a class told nothing; the sentence says why."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a Job, and how often to look."""

    seconds: float = WAIT_SECONDS
    pause: float = PAUSE_SECONDS
    ended: threading.Event = field(default_factory=threading.Event)
    """Set where somebody will not wait any longer."""


def cells(
    cluster: Cluster,
    classes: Mapping[ClassKey, Deployed],
    problems: Mapping[ClassKey, str],
    attempts: Sequence[Attempt],
    known: Mapping[tuple[str, str], str],
    say: Callable[[str], None],
) -> list[Cell]:
    """Run `doctor` in every class at once, and read its rows as the cells of these attempts.

    A profile that a class does not have is not in its config, so `doctor` does not try it, and there is no cell; one that is there and
    should not be makes a wrong cell.

    Args:
        cluster: where the classes live.
        classes: those that are deployed.
        problems: what is wrong with the others.
        attempts: of classes, not of strangers.
        known: ARNs of roles by account id and name.
        say: takes sentences.
    """

    def of_class(key: ClassKey) -> list[Cell]:
        own = [each for each in attempts if (each.identity.stack, each.identity.runner_class) == key]
        if key in problems:
            return broken(own, problems[key])
        say(f"running doctor in {classes[key].namespace}; a class without nodes starts one first")
        try:
            return read(own, doctor(cluster, classes[key], patience), known)
        except FailedError as error:
            return broken(own, str(error))

    keys, patience = [*classes, *problems], Patience()
    with ThreadPoolExecutor(len(keys)) as pool:
        try:
            return [cell for found in pool.map(of_class, keys) for cell in found]
        finally:
            patience.ended.set()  # after Ctrl-C every thread deletes its Job at once


def broken(attempts: Sequence[Attempt], why: str) -> list[Cell]:
    """Cells of attempts that could not be made."""
    return [Cell(attempt=each, got=judge.BROKEN + why) for each in attempts]


def read(attempts: Sequence[Attempt], said: Mapping[str, Any], known: Mapping[tuple[str, str], str]) -> list[Cell]:
    """The cells that a document of `doctor` makes of attempts.

    Args:
        attempts: those of one class.
        said: `rows` with `profile`, `sdk`, `way`, `got` and `cause` each; an SDK family that the image does not have has none.
        known: ARNs of roles by account id and name.
    """
    rows = {_key(row): row for row in said.get("rows", [])}
    families = {sdk for _, sdk, _ in rows}
    if not families:
        why = "; ".join(str(each.get("text", "")) for each in said.get("findings", [])) or "it says nothing more"
        return broken(attempts, f"doctor could try no profile: {why}")
    found = []
    for attempt in attempts:
        profile = "" if attempt.way is Way.DEFAULT else attempt.profile
        row = rows.get((profile, attempt.sdk.value, attempt.way.value))
        if row is not None:
            found.append(_cell(attempt, row, known))
        elif attempt.expected != REFUSED and attempt.sdk in families:
            found.append(Cell(attempt=attempt, got=f"{judge.BROKEN}doctor in the image has no such row"))
    return found


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return ("" if row["way"] == Way.DEFAULT else row["profile"], row["sdk"], row["way"])


def _cell(attempt: Attempt, row: Mapping[str, Any], known: Mapping[tuple[str, str], str]) -> Cell:
    got, cause = str(row.get("got") or ""), str(row.get("cause") or "")
    if not got.startswith("arn:"):
        return Cell(attempt=attempt, got=got if got == REFUSED else judge.BROKEN + (cause or got), cause=cause)
    role = judge.ROLE.fullmatch(got)
    if role is not None:
        return Cell(attempt=attempt, got=known.get((role["account"], role["role"]), got), cause=cause)
    return judge.judged(attempt, Answer(arn=got), known)


def doctor(cluster: Cluster, deployed: Deployed, patience: Patience | None = None) -> dict[str, Any]:
    """Run one Job, read what `doctor` printed, and delete the Job.

    Raises:
        DoctorError: it did not run, or printed no document.
        ApiRefusalError: the API server refuses.
    """
    path = f"/apis/batch/v1/namespaces/{deployed.namespace}/jobs"
    name = cluster.post(path, manifest(deployed))["metadata"]["name"]
    try:
        pod = _ended(cluster, deployed.namespace, name, patience or Patience())
        log = cluster.send("GET", f"/api/v1/namespaces/{deployed.namespace}/pods/{pod}/log?container={BUILD}")
    finally:
        cluster.send("DELETE", f"{path}/{name}", {"propagationPolicy": "Background"})
    return document(log)


def document(log: str) -> dict[str, Any]:
    """What `doctor --json` printed, whatever an entry point printed before it.

    Raises:
        DoctorError: there is no document in the log.
    """
    try:
        said: dict[str, Any] = json.loads(log[log.index("{") :])
    except ValueError:
        shown = " ".join(log.split())[-300:] or "nothing"
        raise DoctorError(f"doctor in the runner image printed no JSON document: {shown}") from None
    return said


def manifest(deployed: Deployed) -> dict[str, Any]:
    """The Job: the class's pod with container `build` alone."""
    spec = {key: value for key, value in deployed.pod["spec"].items() if key != "initContainers"}
    build = next(each for each in spec["containers"] if each["name"] == BUILD)
    mounted = {each["name"] for each in build.get("volumeMounts", [])}
    little = {
        "cpu": cpu_text(pods.HELPER.cpu),
        "memory": memory_text(pods.HELPER.memory),
        "ephemeral-storage": memory_text(pods.HELPER.disk),
    }
    spec["containers"] = [
        {**build, "command": COMMAND, "resources": {"requests": little, "limits": {"memory": little["memory"]}}}
    ]
    spec["volumes"] = [each for each in spec["volumes"] if each["name"] in mounted]
    labels = {**deployed.pod["metadata"]["labels"], "app.kubernetes.io/name": "prove"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": "prove-", "namespace": deployed.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": WAIT_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _ended(cluster: Cluster, namespace: str, job: str, patience: Patience) -> str:
    """Wait for the Job's pod to end, well or not; returns its name."""
    deadline = time.monotonic() + patience.seconds
    selector = f"?labelSelector=batch.kubernetes.io/job-name%3D{job}"
    why = "no pod was made"
    while time.monotonic() < deadline:
        for pod in cluster.get(f"/api/v1/namespaces/{namespace}/pods{selector}")["items"]:
            status = pod.get("status", {})
            if status.get("phase") in {"Succeeded", "Failed"}:
                return str(pod["metadata"]["name"])
            why, hopeless = _state(status)
            if hopeless:
                raise DoctorError(f"the pod of Job {job} in {namespace} does not start: {why}")
        if patience.ended.wait(patience.pause):
            raise DoctorError(f"nobody waits for Job {job} in {namespace} any more")
    refused = next(_refusals(cluster, namespace, job), why)
    raise DoctorError(f"Job {job} in {namespace} did not end within {patience.seconds:.0f} s: {refused}")


def _state(status: Mapping[str, Any]) -> tuple[str, bool]:
    """Why a pod does not run yet, and whether waiting is in vain."""
    for container in status.get("containerStatuses") or []:
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting['reason']}: {waiting.get('message', '')}", waiting["reason"] in STUCK
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"]), False
    return f"it is {status.get('phase', 'Pending')}", False


def _refusals(cluster: Cluster, namespace: str, job: str) -> Iterator[str]:
    """Why the Job's controller could make no pod: admission and quota speak through events alone."""
    selector = f"?fieldSelector=involvedObject.name%3D{job},type%3DWarning"
    try:
        for event in cluster.get(f"/api/v1/namespaces/{namespace}/events{selector}")["items"]:
            yield str(event.get("message", ""))
    except ApiRefusalError as error:
        if error.status != HTTPStatus.FORBIDDEN:
            raise
