"""The runner managers of a deployed stack: GitLab Runner itself, as processes on this machine.

In the cluster, kwok only says that a manager's pod runs. A manager started here does that pod's work: it has the files,
variables, account and role that the class's Helm release gives the pod, read from the cluster, and runs the chart's own
start script, which registers the runner and runs it. Three things differ: the container's folders lie below the
sandbox's; GitLab, STS and the cache's bucket have the sandbox's addresses; tokens are valid for a day and not renewed.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import requests

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.names import helm_release, namespace_manager
from runner_platform_sandbox import ports, processes
from runner_platform_sandbox.deployed_stack import deployed_stack
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER
from runner_platform_sandbox.tools.ensure import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from runner_platform_sandbox.paths import Paths

READY_SECONDS: Final = 60.0
"""Longest wait until a manager asks for jobs."""
GRACEFUL_SECONDS: Final = 10.0
"""How long a manager may finish its jobs after SIGQUIT."""
ABORT_SECONDS: Final = 20.0
"""How long a manager may delete its pods after SIGTERM."""
_UNREGISTER_SECONDS: Final = 10.0
_TOKEN_SECONDS: Final = 24 * 3600
_POLL_SECONDS: Final = 0.1
_LOG_LINES: Final = 12
_RECORD: Final = "process.json"
_HOME: Final = "/home/gitlab-runner"
_ENTRYPOINT: Final = "/entrypoint"
"""The program of the manager's image: it passes its arguments on to gitlab-runner."""
_ASKS: Final = re.compile(
    r"^gitlab_runner_request_concurrency\{[^}]*\} [1-9]"
    r'|^gitlab_runner_api_request_statuses_total\{[^}]*endpoint="request_job"[^}]*status="2',
    re.MULTILINE,
)
"""In a manager's metrics: a request for a job waits for GitLab's answer, or had one."""

Body = dict[str, Any]


class RunnerManagerError(SandboxError):
    """A runner manager cannot be started, or ended too early."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the managers of a stack talk to."""

    program: Path
    """gitlab-runner."""
    root: Path
    """The sandbox, for the record that `make down` reads."""
    stack: str
    kubeconfig: Path
    """The administrator's, of the stack's cluster."""
    gitlab: str
    """Base URL."""
    aws: str
    """URL of the jobs' listener: the manager's role signs the cache's addresses there."""
    region: str

    @property
    def folder(self) -> Path:
        """One folder a class."""
        return folder_of_managers(self.root) / self.stack


def folder_of_managers(root: Path) -> Path:
    """Return the folder with the files and records of all managers of a sandbox."""
    return root / "managers"


@contextlib.contextmanager
def running_managers(paths: Paths, stack: str, classes: Sequence[str]) -> Iterator[list[RunnerManager]]:
    """Run the managers of runner classes of a deployed stack.

    At the end each manager may finish its jobs for some seconds; if the block fails or is interrupted, jobs are aborted
    at once. No process stays.

    Args:
        paths: The sandbox; it runs.
        stack: Name of the stack, such as `dev`.
        classes: Names of runner classes.

    Yields:
        The managers, once each asks GitLab for jobs.

    Raises:
        SandboxError: The sandbox does not run, or the stack or a class is not deployed.
        RunnerManagerError: A manager does not start; the message has the end of its log.
    """
    with running(_surroundings(paths, stack), classes) as managers:
        yield managers


def _surroundings(paths: Paths, stack: str) -> Surroundings:
    deployed = deployed_stack(paths, stack)
    tools = ensure(paths, [GITLAB_RUNNER.name])
    return Surroundings(
        program=tools.gitlab_runner,
        root=paths.root,
        stack=stack,
        kubeconfig=deployed.kubeconfig,
        gitlab=deployed.gitlab,
        aws=deployed.aws,
        region=deployed.cluster.region,
    )


@contextlib.contextmanager
def running(surroundings: Surroundings, classes: Sequence[str]) -> Iterator[list[RunnerManager]]:
    """Run managers in given surroundings; see `running_managers`."""
    managers: list[RunnerManager] = []
    try:
        with KubeClient.from_kubeconfig(surroundings.kubeconfig) as client:
            for name in classes:
                managers.append(RunnerManager(surroundings, name))
                managers[-1].start(client)
        for manager in managers:
            manager.wait_until_it_asks()
        yield managers
    except BaseException:
        _stop(managers, patience=0.0)
        raise
    _stop(managers, patience=GRACEFUL_SECONDS)


def end_leftovers(root: Path) -> int:
    """End the managers of a killed caller and return their number."""
    ended = 0
    for record in folder_of_managers(root).glob(f"*/*/{_RECORD}"):
        process = processes.read_record(record)
        if process is not None:
            ended += processes.end(process, patience=ABORT_SECONDS)
        record.unlink(missing_ok=True)
    return ended


def _stop(managers: Sequence[RunnerManager], patience: float) -> None:
    try:
        if patience:
            for manager in managers:
                manager.ask_to_end()
            deadline = time.monotonic() + patience
            for manager in managers:
                manager.wait(deadline - time.monotonic())
    finally:
        for manager in managers:
            manager.end()


class RunnerManager:
    """The manager of one runner class.

    Args:
        surroundings: What it talks to.
        runner_class: Name of the class.
    """

    def __init__(self, surroundings: Surroundings, runner_class: str) -> None:
        self._surroundings = surroundings
        self._process: subprocess.Popen[bytes] | None = None
        self._port = ports.free()
        self._environment: dict[str, str] = {}
        self._stop_command: list[str] = []
        self.runner_class = runner_class
        self.folder = surroundings.folder / runner_class

    @property
    def log(self) -> Path:
        """The manager's output."""
        return self.folder / "manager.log"

    @property
    def config_file(self) -> Path:
        """The configuration that `register` wrote from the chart's template."""
        return self._local(f"{_HOME}/.gitlab-runner/config.toml")

    @property
    def pid(self) -> int | None:
        """Process id, or None while the manager does not run."""
        return None if self._process is None else self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the manager runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, client: KubeClient) -> None:
        """Write the files of the manager's container and start its program.

        Raises:
            RunnerManagerError: The class has no release in the cluster.
        """
        release = Release.read(client, self.runner_class)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, mode=0o700)
        self._write_files(release)
        self._write_credentials(client, release)
        self._environment = self._variables(release)
        self._stop_command = [self._replaced(word) for word in release.stop_command]
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [self._replaced(word) for word in release.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in the terminal is for the caller, who decides about jobs
            )
        identity = ProcessId.of(self._process.pid)
        if identity is not None:
            processes.write_record(self.folder / _RECORD, identity)

    def wait_until_it_asks(self) -> None:
        """Wait until the manager, registered, asks GitLab for jobs.

        Raises:
            RunnerManagerError: The manager ended, or did not get so far in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if not self.alive:
                raise RunnerManagerError(f"the runner manager of {self.runner_class} ended at once\n{self.log_end()}")
            with contextlib.suppress(requests.RequestException):
                if _ASKS.search(requests.get(f"http://127.0.0.1:{self._port}/metrics", timeout=2).text):
                    return
            time.sleep(_POLL_SECONDS)
        raise RunnerManagerError(
            f"the runner manager of {self.runner_class} did not ask GitLab for a job within {READY_SECONDS:.0f} s\n"
            f"{self.log_end()}"
        )

    def ask_to_end(self) -> None:
        """Do what Kubernetes does at a pod's end: the release's hook, then SIGQUIT. The manager finishes its jobs."""
        if self._process is None or self._process.poll() is not None:
            return
        if self._stop_command:
            with contextlib.suppress(subprocess.TimeoutExpired), self.log.open("ab") as output:
                subprocess.run(
                    self._stop_command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._environment,
                    cwd=self.folder,
                    timeout=_UNREGISTER_SECONDS,
                    check=False,
                )
        self._process.send_signal(signal.SIGQUIT)

    def wait(self, seconds: float) -> None:
        """Wait for the manager's own end, no longer than that."""
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(max(0.0, seconds))

    def end(self) -> None:
        """End the manager if it still runs; it aborts its jobs and deletes their pods."""
        if self._process is not None:
            identity = ProcessId.of(self._process.pid)
            if self._process.poll() is None and identity is not None:
                processes.end(identity, patience=ABORT_SECONDS)
            self._process.wait()
            self._process = None
        (self.folder / _RECORD).unlink(missing_ok=True)

    def log_end(self) -> str:
        """Return the last lines of the log, for a message."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if self.log.exists() else []
        return "\n".join([f"the end of {self.log}:", *lines])

    def _local(self, path: str) -> Path:
        """Return the place of a path of the manager's container."""
        return self.folder / path.removeprefix("/")

    def _replaced(self, text: str) -> str:
        """Replace the container's paths in a script or an argument."""

        def place(match: re.Match[str]) -> str:
            return str(self._surroundings.program if match[0] == _ENTRYPOINT else self._local(match[0]))

        return re.sub(rf"(?<![\w./-])(?:{_ENTRYPOINT}|/configmaps|/secrets|{_HOME})(?![\w-])", place, text)

    def _write_files(self, release: Release) -> None:
        self._local(_HOME).mkdir(parents=True)
        for mount, files in release.files.items():
            self._local(mount).mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                # The configuration stays as the chart rendered it.
                content = text if name.endswith(".toml") else self._replaced(text)
                (self._local(mount) / name).write_text(content)

    def _write_credentials(self, client: KubeClient, release: Release) -> None:
        connection = client.connection
        authority = base64.b64encode((connection.ca_pem or "").encode()).decode()
        token = release.token(client)
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "c", "cluster": {"server": connection.server, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "c",
        }
        (self.folder / "kubeconfig").write_text(json.dumps(document))
        (self.folder / "aws-token").write_text(release.token(client, WEB_IDENTITY_AUDIENCE))

    def _variables(self, release: Release) -> dict[str, str]:
        """Return the manager's whole environment: the release's, with the sandbox's addresses."""
        surroundings = self._surroundings
        return {
            **{name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ},
            **release.variables,
            "HOME": str(self._local(_HOME)),
            "CONFIG_FILE": str(self.config_file),
            "LISTEN_ADDRESS": f"127.0.0.1:{self._port}",
            "CI_SERVER_URL": surroundings.gitlab,
            "KUBECONFIG": str(self.folder / "kubeconfig"),
            "RUNNER_PLATFORM_SANDBOX": str(surroundings.root),
            # EKS's identity webhook sets the first four.
            "AWS_ROLE_ARN": release.role_arn,
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.folder / "aws-token"),
            "AWS_REGION": surroundings.region,
            "AWS_DEFAULT_REGION": surroundings.region,
            "AWS_ENDPOINT_URL_STS": surroundings.aws,
            "AWS_EC2_METADATA_DISABLED": "true",
            "CACHE_S3_SERVER_ADDRESS": urlsplit(surroundings.aws).netloc,
            "CACHE_S3_INSECURE": "true",
            "CACHE_S3_PATH_STYLE": "true",
        }


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a class's Helm release and its service account give the manager's container."""

    namespace: str
    account: str
    """Name of the service account."""
    role_arn: str
    """AWS role of the account; empty without one."""
    command: list[str]
    stop_command: list[str]
    """The hook before the container's end; empty without one."""
    variables: dict[str, str]
    files: dict[str, dict[str, str]] = field(repr=False)
    """Texts by mount path and name; the runner's token is among them."""

    @classmethod
    def read(cls, client: KubeClient, runner_class: str) -> Release:
        """Read a release from the cluster.

        Raises:
            RunnerManagerError: It is not there, or uses something that this module does not know.
        """
        name, namespace = helm_release(runner_class), namespace_manager(runner_class)
        deployment = client.find("apps/v1", "Deployment", name, namespace)
        if deployment is None:
            raise RunnerManagerError(
                f"class {runner_class} has no Deployment {name} in {namespace}", "deploy its stack: `make up`"
            )
        spec = deployment["spec"]["template"]["spec"]
        container = spec["containers"][0]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        mounts = [(mount["mountPath"], volumes[mount["name"]]) for mount in container.get("volumeMounts", [])]
        account = spec.get("serviceAccountName", "default")
        annotations = client.get("v1", "ServiceAccount", account, namespace)["metadata"].get("annotations", {})
        hook = container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
        return cls(
            namespace=namespace,
            account=account,
            role_arn=annotations.get("eks.amazonaws.com/role-arn", ""),
            command=_after_init(container["command"]),
            stop_command=hook.get("command", []),
            variables={variable["name"]: _value(variable, name) for variable in container.get("env", [])},
            files={path: _files(client, namespace, volume) for path, volume in mounts},
        )

    def token(self, client: KubeClient, audience: str | None = None) -> str:
        """Return a new token of the manager's account, for the API server or for an audience."""
        audiences = {"audiences": [audience]} if audience else {}
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {"namespace": self.namespace},
            "spec": {"expirationSeconds": _TOKEN_SECONDS, **audiences},
        }
        return str(client.create(request, subresource="token", name=self.account)["status"]["token"])


def _after_init(command: Sequence[str]) -> list[str]:
    """Return a command without the init process of the image."""
    return list(command[command.index("--") + 1 :]) if "--" in command else list(command)


def _value(variable: Mapping[str, Any], release: str) -> str:
    if "valueFrom" in variable:
        raise RunnerManagerError(
            f"the Deployment {release} takes {variable['name']} from another object, which the sandbox does not follow",
            "set `value` in the chart's values",
        )
    return str(variable.get("value", ""))


def _files(client: KubeClient, namespace: str, volume: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a volume by file name."""
    if "configMap" in volume:
        return _data(client, namespace, "ConfigMap", volume["configMap"])
    if "secret" in volume:
        return _data(client, namespace, "Secret", {**volume["secret"], "name": volume["secret"]["secretName"]})
    texts: dict[str, str] = {}
    for source in volume.get("projected", {}).get("sources", []):
        for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            if key in source:
                texts |= _data(client, namespace, kind, source[key])
    return texts


def _data(client: KubeClient, namespace: str, kind: str, source: Mapping[str, Any]) -> dict[str, str]:
    data = client.get("v1", kind, source["name"], namespace).get("data") or {}
    texts = {key: base64.b64decode(value).decode() if kind == "Secret" else value for key, value in data.items()}
    items = source.get("items")
    return texts if items is None else {item["path"]: texts[item["key"]] for item in items}
