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
"""Label of a release with the resource of the stack that installed it."""


_TICK_SECONDS: Final = 0.1
_PROGRESS_SECONDS: Final = 2.0
_END_SECONDS: Final = 15.0
"""Seconds that an interrupted Helm may take to write its record."""
_TOKEN: Final = re.compile(r"\bgl[a-z]{2,5}-[\w.-]+")
_TETHER: Final = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); "  # PR_SET_PDEATHSIG, SIGTERM
    "os.getppid() == int(sys.argv[1]) and os.execv(sys.argv[2], sys.argv[2:])"
)
"""Python code that asks the kernel to end the process with its parent, and then executes the command."""
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
    """Name of the record's Secret."""
    revision: int
    status: str
    """deployed, failed, superseded, uninstalling, pending-install, pending-upgrade or pending-rollback."""
    owner: str
    """Value of the owner label; empty if no stack installed the release."""
    content: dict[str, Any]
    """Helm's own record: chart, config, info, manifest."""

    @property
    def pending(self) -> bool:
        """Whether a Helm works on the release, or did until it was killed."""
        return self.status.startswith("pending-") or self.status == "uninstalling"

    @property
    def metadata(self) -> dict[str, Any]:
        """Name, version and appVersion of the chart."""
        return dict((self.content.get("chart") or {}).get("metadata") or {})

    @property
    def config(self) -> dict[str, Any]:
        """Values of the release."""
        return dict(self.content.get("config") or {})

    @property
    def description(self) -> str:
        """Helm's description of the last operation."""
        return str((self.content.get("info") or {}).get("description") or "")


def latest_record(client: KubeClient, name: str, namespace: str) -> Record | None:
    """Return the newest revision of a release, or None."""
    secrets = client.list("v1", "Secret", namespace, label_selector=f"owner=helm,name={name}")
    if not secrets:
        return None
    return _record(max(secrets, key=lambda item: int(item["metadata"]["labels"]["version"])))


def discard_record(client: KubeClient, record: Record, namespace: str) -> None:
    """Remove the pending record of a killed Helm, so that the next Helm continues from the previous record."""
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
    """Helm ended with an error; the message is Helm's, shortened."""


@functools.cache
def binary() -> str:
    """Return the path of Helm.

    Raises:
        ProviderError: Helm is not on PATH.
    """
    path = shutil.which("helm")
    if path is None:
        raise ProviderError(
            "helm was not found on PATH; `make setup` builds it, and `runner-platform sandbox env` adds it"
        )
    return path


@functools.cache
def major() -> int:
    """Return Helm's major version; Helm 4 renamed some options."""
    text = subprocess.run([binary(), "version", "--short"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v(\d+)\.", text)
    return int(match.group(1)) if match else 3


def cache_folder() -> Path:
    """Return Helm's cache folder, which also holds the stand-in's charts and records."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HELM_CACHE_HOME") or Path(base) / "helm")


def tethered(command: Sequence[str]) -> list[str]:
    """Return a command line that runs `command` and ends it with this process, even if the process is killed.

    After a kill of the engine its providers end within a second; a Helm that continued alone would change the cluster
    unwatched.
    """
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command]


class Helm:
    """Runs Helm against one cluster.

    Args:
        stand_in: Its interruption ends a running Helm.
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
        """Run a command without a cluster and return the output."""
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
            arguments: Helm's arguments, without kubeconfig and values.
            values: The release's values; None for commands without values.
            lock: Handle of the held lock; the process inherits it.
            progress: Called every two seconds while Helm runs.

        Raises:
            HelmError: Helm failed.
            CancelledError: The engine asked to stop; Helm was ended in order.
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
            process_group=0,  # Ctrl-C goes to the engine, which cancels the operation
            pass_fds=[] if lock is None else [lock],
        )
        reported = time.monotonic()
        while True:
            try:
                output, problem = process.communicate(timeout=_TICK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if self._stand_in.cancelled.is_set():
                    _end(process)
                    self._stand_in.wait(0)
                if time.monotonic() - reported > _PROGRESS_SECONDS:
                    progress()
                    reported = time.monotonic()
        if process.returncode != 0:
            raise HelmError(_shortened(problem) or f"helm ended with {process.returncode}")
        return output


@contextlib.contextmanager
def release_lock(
    stand_in: StandIn, name: str, namespace: str, cluster: str, tell: Callable[[str], None]
) -> Iterator[int]:
    """Hold the lock of one release, after waiting for a Helm that still works on it; yield the lock's handle.

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
    """Return Helm's error without warnings, log lines and GitLab tokens (a failing chart may print its values)."""
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    noise = ("WARNING", "level=", "time=", "W0", "I0", "E0", "Flag --")
    kept = [line for line in lines if not line.startswith(noise)]
    return _TOKEN.sub("[hidden]", " ".join(kept or lines))[:2000].removeprefix("Error: ")


def unsupported_inputs(inputs: dict[str, Any]) -> list[Failure]:
    """Return a failure for each input of a release that the stand-in does not support."""
    return [
        Failure(key, f"is not modelled by the sandbox: {why}") for key, why in _NOT_MODELLED.items() if inputs.get(key)
    ]


def install_arguments(chart: Path, inputs: dict[str, Any], owner: str) -> list[str]:
    """Return Helm's arguments for installing or upgrading a release.

    Args:
        chart: Folder or archive.
        inputs: Inputs of the release, with name and namespace.
        owner: Value of the owner label.
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
    """Return Helm's arguments for removing a release and waiting.

    Args:
        name: Name of the release.
        namespace: Namespace of its record.
        inputs: Inputs of the release.
        allowed: Seconds that the program allows; 0 for the release's own timeout.
    """
    seconds = int(allowed or inputs.get("timeout") or DEFAULT_SECONDS)
    arguments = ["uninstall", name, "--namespace", namespace, "--timeout", f"{seconds}s"]
    arguments += ["--no-hooks"] if inputs.get("disableWebhooks") else []
    return arguments if inputs.get("skipAwait") else [*arguments, "--wait"]
