"""The real Helm, 3 or 4: its process, its command line, its records in the cluster.

The process: one at a time for each release, interruptible, and ended with the provider that started it. Helm itself
holds the lock, so a later run knows whether one still works. Values and kubeconfig go through files that only this user
can read, never through arguments (https://helm.sh/docs/helm/helm_upgrade/).

The records: Secrets of type `helm.sh/release.v1`, one for each revision; labels hold owner, name, status and version,
the content is JSON, zipped, twice base64 (https://helm.sh/docs/topics/advanced/#storage-backends). Reading them saves
a Helm process for every question.

Leaves out the life of a release (`helm_releases`) and where charts come from (`charts`).
"""

import base64
import contextlib
import fcntl
import functools
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.providers.kubernetes.cluster_access import Access, private_file
from runner_platform_sandbox.providers.stand_in import ProviderError, StandIn
from runner_platform_sandbox.providers.validation import Failure

OWNER_LABEL: Final = "pulumi-resource"
"""Custom label of a release: which resource of which stack installed it."""


_TICK_SECONDS: Final = 0.1
_PROGRESS_SECONDS: Final = 2.0
_END_SECONDS: Final = 15.0
"""How long an interrupted Helm may take to write down what it has done."""
_TOKEN: Final = re.compile(r"\bgl[a-z]{2,5}-[\w.-]+")
_TETHER: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); "  # PR_SET_PDEATHSIG, SIGTERM
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)
"""Becomes the command, after asking the kernel to end it with its parent."""
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


@dataclass(frozen=True, kw_only=True)
class Record:
    """One revision of a release."""

    secret: str
    """Name of the Secret that holds it."""
    revision: int
    status: str
    """deployed, failed, superseded, uninstalling, pending-install, pending-upgrade or pending-rollback."""
    owner: str
    """Value of the owner label; empty if something else installed it."""
    content: dict[str, Any]
    """Helm's own record: chart, config, info, manifest."""

    @property
    def pending(self) -> bool:
        """Whether a Helm is, or was until it was killed, at work on it."""
        return self.status.startswith("pending-") or self.status == "uninstalling"

    @property
    def metadata(self) -> dict[str, Any]:
        """Name, version and appVersion of the chart."""
        return dict((self.content.get("chart") or {}).get("metadata") or {})

    @property
    def config(self) -> dict[str, Any]:
        """The values that were given."""
        return dict(self.content.get("config") or {})

    @property
    def description(self) -> str:
        """What Helm says about the last operation."""
        return str((self.content.get("info") or {}).get("description") or "")


def latest_record(client: KubeClient, name: str, namespace: str) -> Record | None:
    """Return the newest revision of a release, None if there is none."""
    found = client.list("v1", "Secret", namespace, label_selector=f"owner=helm,name={name}")
    if not found:
        return None
    return _record(max(found, key=lambda item: int(item["metadata"]["labels"]["version"])))


def discard_record(client: KubeClient, record: Record, namespace: str) -> None:
    """Remove the record that a killed Helm left pending, so that the next one goes on from the one before."""
    client.delete("v1", "Secret", record.secret, namespace)


def _record(secret: dict[str, Any]) -> Record:
    labels = secret["metadata"]["labels"]
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    return Record(
        secret=secret["metadata"]["name"],
        revision=int(labels["version"]),
        status=str(labels.get("status", "unknown")),
        owner=str(labels.get(OWNER_LABEL, "")),
        content=json.loads(gzip.decompress(packed)),
    )


class HelmError(ProviderError):
    """Helm ended with an error; the message is its own, shortened."""


@functools.cache
def binary() -> str:
    """Return the path of Helm.

    Raises:
        ProviderError: It is not on PATH.
    """
    found = shutil.which("helm")
    if found is None:
        raise ProviderError(
            "helm was not found on PATH; `make setup` builds it, and `runner-platform sandbox env` adds it"
        )
    return found


@functools.cache
def major() -> int:
    """Return Helm's major version: 4 renamed some options of 3."""
    text = subprocess.run([binary(), "version", "--short"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v(\d+)\.", text)
    return int(found.group(1)) if found else 3


def cache_folder() -> Path:
    """Return Helm's cache folder, where the stand-in keeps charts and findings, too."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HELM_CACHE_HOME") or Path(base) / "helm")


def tethered(command: Sequence[str]) -> list[str]:
    """Return a command line that runs `command` and ends it when this process ends, however that happens.

    The engine may be killed, and its providers then end within a second: a Helm that went on alone would change a
    cluster that nobody watches.
    """
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command]


class Helm:
    """Runs Helm against one cluster.

    Args:
        stand_in: Whose interruption ends a running Helm.
        access: The cluster.
    """

    def __init__(self, stand_in: StandIn, access: Access) -> None:
        self._stand_in = stand_in
        self._access = access

    def template(self, arguments: Sequence[str], values: dict[str, Any]) -> str:
        """Render a chart without a cluster and return the manifest."""
        with private_file(json.dumps(values), ".json") as file:
            return self._run([*arguments, "--values", str(file)], None, lambda: None)

    def local(self, arguments: Sequence[str]) -> str:
        """Run a command that needs no cluster and return its output."""
        return self._run(arguments, None, lambda: None)

    def release(
        self,
        arguments: Sequence[str],
        values: dict[str, Any] | None,
        *,
        lock: int,
        progress: Callable[[], None],
    ) -> str:
        """Run a command that changes a release.

        Args:
            arguments: Of Helm, without kubeconfig and values.
            values: The release's values, None for commands that take none.
            lock: Handle of the held lock; the process inherits it.
            progress: Called every two seconds while Helm runs.

        Raises:
            HelmError: Helm failed.
            CancelledError: The engine asked to stop; Helm has been ended in order.
        """
        with contextlib.ExitStack() as stack:
            kubeconfig = stack.enter_context(self._access.kubeconfig_file())
            command = [*arguments, "--kubeconfig", str(kubeconfig)]
            if values is not None:
                command += ["--values", str(stack.enter_context(private_file(json.dumps(values), ".json")))]
            return self._run(command, lock, progress)

    def _run(self, arguments: Sequence[str], lock: int | None, progress: Callable[[], None]) -> str:
        process = subprocess.Popen(
            tethered([binary(), *arguments]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C goes to the engine, which tells us
            pass_fds=[] if lock is None else [lock],
        )
        told = time.monotonic()
        while True:
            try:
                output, problem = process.communicate(timeout=_TICK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if self._stand_in.cancelled.is_set():
                    _end(process)
                    self._stand_in.wait(0)
                if time.monotonic() - told > _PROGRESS_SECONDS:
                    progress()
                    told = time.monotonic()
        if process.returncode != 0:
            raise HelmError(_shortened(problem) or f"helm ended with {process.returncode}")
        return output


@contextlib.contextmanager
def release_lock(
    stand_in: StandIn, name: str, namespace: str, cluster: str, tell: Callable[[str], None]
) -> Iterator[int]:
    """Hold the lock of one release, waiting for a Helm that still works on it; yield the handle to pass on.

    Raises:
        CancelledError: The engine asked to stop while waiting.
    """
    folder = cache_folder() / "runner-platform-locks"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(f"{cluster}/{namespace}/{name}".encode()).hexdigest()[:16]
    handle = os.open(folder / digest, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                tell("waiting: Helm of an earlier run still works on this release")
                stand_in.wait(1.0)
        yield handle
    finally:
        os.close(handle)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.communicate(timeout=_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _shortened(problem: str) -> str:
    """Return Helm's error without warnings, log lines and GitLab tokens: a chart may print its values when it fails."""
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    noise = ("WARNING", "level=", "time=", "W0", "I0", "E0", "Flag --")
    kept = [line for line in lines if not line.startswith(noise)]
    return _TOKEN.sub("[hidden]", " ".join(kept or lines))[:2000].removeprefix("Error: ")


def unsupported_inputs(inputs: dict[str, Any]) -> list[Failure]:
    """Return what of a release's inputs the stand-in cannot honour."""
    return [
        Failure(key, f"is not modelled by the sandbox: {why}") for key, why in _NOT_MODELLED.items() if inputs.get(key)
    ]


def install_arguments(chart: Path, inputs: dict[str, Any], owner: str) -> list[str]:
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


def uninstall_arguments(name: str, namespace: str, inputs: dict[str, Any], allowed: float) -> list[str]:
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
