"""Job pods as processes: real pods in the real API server, attached to, logged, killed, and gone without a trace."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import ssl
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from runner_platform_sandbox import process_node
from runner_platform_sandbox.process_node import ProcessNode, ProcessNodeError
from sandbox.tests.support.kubernetes_cases import Trial, pod, types
from sandbox.tests.support.process_pods import LOG, REGISTRY, job_pod, kubectl, surroundings
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.process_node import Surroundings

pytestmark = pytest.mark.sandbox
NOBODY = 65534
pytest_plugins = ("sandbox.tests.support.kubernetes_fixture",)


@pytest.fixture(scope="module")
def pool(kubernetes: Trial) -> Iterator[str]:
    with kubernetes.pool("processes", types("m7i.2xlarge")) as name:
        yield name


@pytest.fixture(scope="module")
def node(kubernetes: Trial, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessNode]:
    if process_node.obstacle():
        pytest.skip(process_node.obstacle())
    with process_node.running(surroundings(kubernetes, tmp_path_factory.mktemp("node"))) as running:
        yield running


@pytest.fixture
def namespace(kubernetes: Trial) -> str:
    """A namespace with the AWS config that a class's jobs have."""
    name = kubernetes.namespace("jobs")
    metadata = {"name": "aws-config", "namespace": name}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"config": "[default]\n"}}
    kubernetes.client.create(body)
    return name


def status(kubernetes: Trial, name: str, namespace: str) -> dict[str, Any]:
    return dict(kubernetes.client.get("v1", "Pod", name, namespace)["status"])


def container_states(kubernetes: Trial, name: str, namespace: str) -> dict[str, Any]:
    statuses = status(kubernetes, name, namespace)
    entries = [*statuses.get("initContainerStatuses", []), *statuses.get("containerStatuses", [])]
    return {entry["name"]: entry["state"] for entry in entries}


def processes_of(node: ProcessNode) -> list[psutil.Process]:
    assert node.pid is not None
    return psutil.Process(node.pid).children(recursive=True)


@contextmanager
def running_job(kubernetes: Trial, name: str, namespace: str, pool: str, **changes: Any) -> Iterator[str]:
    kubernetes.client.create(job_pod(name, namespace, pool, **changes))
    try:
        kubernetes.runs(name, namespace, 60)
        yield name
    finally:
        remove(kubernetes, name, namespace)


def remove(kubernetes: Trial, name: str, namespace: str) -> None:
    kubernetes.client.delete("v1", "Pod", name, namespace, grace_seconds=1)
    until(lambda: kubernetes.phase(name, namespace) is None, "the pod to go")


def script(kubernetes: Trial, name: str, namespace: str, text: str, container: str = "build") -> str:
    """Run a script in a job's container by exec, and return its output."""
    answer = kubectl(kubernetes, "exec", "-i", "-n", namespace, name, "-c", container, "--", "bash", text=text)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def test_a_script_that_is_attached_to_the_shell_runs_and_its_output_is_logged(
    kubernetes: Trial, node: ProcessNode, pool: str, namespace: str
) -> None:
    assert node.pid
    with running_job(kubernetes, "attached", namespace, pool) as name:
        text = f"echo to the file > {LOG}; greet; echo $GREETING; echo $POD; pwd; id -u; echo warned >&2; exit 3\n"
        kubectl(kubernetes, "attach", "-i", "-n", namespace, name, "-c", "build", text=text)
        until(lambda: "terminated" in container_states(kubernetes, name, namespace)["build"], "the script to end")
        ended = container_states(kubernetes, name, namespace)["build"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (3, "Error")
        log = kubectl(kubernetes, "logs", "-n", namespace, name, "-c", "build").stdout
        expected = ["hello from the image", "job 11, $HOME and $(UNKNOWN)", name, "/home/runner", "1000", "warned"]
        assert sorted(log.splitlines()) == sorted(expected)
        assert kubectl(kubernetes, "logs", "-n", namespace, name, "-c", "build", "--tail=1").stdout.count("\n") == 1
        text = f"cat {LOG}; id -u; gitlab-runner-helper; echo echo built | gitlab-runner-build"
        assert script(kubernetes, name, namespace, text, "helper") == "to the file\n0\nbuilt\n"
        assert status(kubernetes, name, namespace)["phase"] == "Running", "the helper's shell still waits"


def test_build_alone_has_the_identity_of_the_class(
    kubernetes: Trial, node: ProcessNode, pool: str, namespace: str
) -> None:
    assert node.pid
    with running_job(kubernetes, "identity", namespace, pool) as name:
        folder = "/etc/runner-platform/aws"
        text = f"cat {folder}/token; stat -c ' %a' -L {folder}/token; echo $AWS_CONFIG_FILE; cat $AWS_CONFIG_FILE"
        token, mode, file, config = script(kubernetes, name, namespace, text).split()
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        assert claims["aud"] == ["sts.amazonaws.com"]
        assert claims["kubernetes.io"]["pod"]["name"] == name
        assert claims["exp"] - claims["iat"] == 3600
        assert (mode, file, config) == ("444", f"{folder}/config", "[default]")
        other = script(kubernetes, name, namespace, f"ls {folder} 2>&1; env | grep AWS; true", "helper")
        assert "No such file" in other
        assert "AWS_" not in other


def test_a_job_sees_the_hosts_programs_read_only_and_no_home_of_the_host(
    kubernetes: Trial, node: ProcessNode, pool: str, namespace: str
) -> None:
    assert node.pid
    with running_job(kubernetes, "inside", namespace, pool) as name:
        tries = "touch /usr/bin/x; touch /etc/runner-platform/aws/x; echo 1 > /proc/sys/vm/drop_caches; cat /etc/shadow"
        answer = script(
            kubernetes, name, namespace, f"({tries}) 2>&1; ls /root; ls /home; ps -e | wc -l; hostname; true"
        )
        assert answer.count("Read-only file system") == 3, answer
        assert "No such file" in answer
        assert answer.split()[-2:] == [answer.split()[-2], name]
        assert int(answer.split()[-2]) < 10, "other processes of the host are not seen"
        assert "runner" in answer.split()
        assert script(kubernetes, name, namespace, "echo x > /tmp/a && touch ~/b /builds/c && echo fine") == "fine\n"


def test_deleting_a_pod_waits_for_its_grace_and_leaves_no_process(
    kubernetes: Trial, node: ProcessNode, pool: str, namespace: str
) -> None:
    build = {"command": ["sh", "-c", "setsid sleep 987 & sleep 987; true"]}
    kubernetes.client.create(job_pod("killed", namespace, pool, build=build))
    kubernetes.runs("killed", namespace, 60)
    until(lambda: ["sleep", "987"] in [process.cmdline() for process in processes_of(node)], "the job's program")
    kubernetes.client.delete("v1", "Pod", "killed", namespace, grace_seconds=3)
    duration = until(lambda: kubernetes.phase("killed", namespace) is None, "the pod to go")
    assert duration > 2, "the shell is process 1 and ignores SIGTERM, as in a real pod"
    assert not processes_of(node)


def test_a_job_that_is_too_long_is_ended_with_the_kubelets_reason(
    kubernetes: Trial, node: ProcessNode, pool: str, namespace: str
) -> None:
    body = job_pod("late", namespace, pool, activeDeadlineSeconds=2, terminationGracePeriodSeconds=1)
    kubernetes.client.create(body)
    until(lambda: kubernetes.phase("late", namespace) == "Failed", "the deadline")
    assert status(kubernetes, "late", namespace)["reason"] == "DeadlineExceeded"
    until(lambda: not processes_of(node), "its processes to end")
    kubernetes.client.delete("v1", "Pod", "late", namespace)
    until(lambda: kubernetes.phase("late", namespace) is None, "the pod to go")


@pytest.mark.parametrize(
    ("build", "reason", "words"),
    [
        ({"image": f"{REGISTRY}/open/apps/x:1"}, "ErrImagePull", f"{REGISTRY}/open/apps/x:1: not found"),
        ({"image": "debian:13"}, "ErrImagePull", 'image "debian:13" needs real pods'),
        ({"image": f"{REGISTRY}/protected/../x:1"}, "InvalidImageName", "invalid reference format"),
        (
            {"securityContext": {"privileged": True}},
            "CreateContainerConfigError",
            "privileged containers need real pods",
        ),
    ],
)
def test_what_processes_cannot_do_is_said_in_the_containers_status(
    kubernetes: Trial, node: ProcessNode, pool: str, namespace: str, build: dict[str, Any], reason: str, words: str
) -> None:
    assert node.pid
    kubernetes.client.create(job_pod("refused", namespace, pool, build=build))

    def waiting() -> dict[str, Any]:
        state: dict[str, Any] = container_states(kubernetes, "refused", namespace).get("build", {}).get("waiting", {})
        return state

    until(lambda: waiting().get("reason") == reason, reason)
    assert words in waiting()["message"]
    kubernetes.client.delete("v1", "Pod", "refused", namespace)
    until(lambda: kubernetes.phase("refused", namespace) is None, "the pod to go")


def test_a_service_is_refused_by_name(kubernetes: Trial, node: ProcessNode, pool: str, namespace: str) -> None:
    assert node.pid
    body = job_pod("served", namespace, pool)
    body["spec"]["containers"].append({"name": "postgres", "image": "postgres:17"})
    kubernetes.client.create(body)
    until(
        lambda: "services need real pods" in json.dumps(container_states(kubernetes, "served", namespace)), "the words"
    )
    kubernetes.client.delete("v1", "Pod", "served", namespace)
    until(lambda: kubernetes.phase("served", namespace) is None, "the pod to go")


def test_kwok_runs_all_other_pods_as_before(kubernetes: Trial, node: ProcessNode, pool: str, namespace: str) -> None:
    kubernetes.client.create(pod("manager", namespace, pool=pool))
    kubernetes.runs("manager", namespace)
    assert not processes_of(node)
    kubernetes.client.delete("v1", "Pod", "manager", namespace)


def test_only_the_api_server_may_run_commands(kubernetes: Trial, node: ProcessNode, pool: str, namespace: str) -> None:
    with running_job(kubernetes, "guarded", namespace, pool) as name:
        assert node.pid
        own = kubernetes.client.get("v1", "Pod", name, namespace)["spec"]["nodeName"]
        port = kubernetes.client.get("v1", "Node", own)["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        with pytest.raises((urllib.error.URLError, ssl.SSLError)):
            urllib.request.urlopen(
                f"https://127.0.0.1:{port}/containerLogs/{namespace}/{name}/build",
                context=ssl._create_unverified_context(),  # noqa: S323
            ).read()


def test_the_end_of_the_node_ends_its_jobs_and_their_pods(
    kubernetes: Trial, pool: str, namespace: str, node: ProcessNode
) -> None:
    kubernetes.client.create(job_pod("open", namespace, pool))
    kubernetes.runs("open", namespace, 60)
    jobs = processes_of(node)
    node.stop()
    assert not [process for process in jobs if process.is_running()]
    assert kubernetes.phase("open", namespace) is None
    assert not (node.folder / "pods").exists()
    kubernetes.client.create(job_pod("afterwards", namespace, pool))
    kubernetes.runs("afterwards", namespace)
    assert kubernetes.client.get("v1", "Pod", "afterwards", namespace)["status"]["podIP"].startswith("10.244."), (
        "kwok's"
    )
    node.start()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_node_leaves_no_process_and_no_pod_that_cannot_be_deleted(
    kubernetes: Trial, pool: str, namespace: str, node: ProcessNode, number: signal.Signals
) -> None:
    kubernetes.client.create(job_pod("orphan", namespace, pool))
    kubernetes.runs("orphan", namespace, 60)
    jobs = processes_of(node)
    assert node.pid is not None
    os.kill(node.pid, number)
    _, alive = psutil.wait_procs(jobs, timeout=10)
    assert not alive
    node.stop()
    if number is signal.SIGKILL:
        until(lambda: kubernetes.phase("orphan", namespace) == "Failed", "the stand-in kubelet to take it back")
        kubernetes.client.delete("v1", "Pod", "orphan", namespace)
    until(lambda: kubernetes.phase("orphan", namespace) is None, "the pod to go")
    node.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; else all tests run without root")
def test_a_person_without_root_runs_jobs(kubernetes: Trial, pool: str, namespace: str, node: ProcessNode) -> None:
    node.stop()
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        usual = without_root(surroundings(kubernetes, Path(name) / "node"), Path(name))
        with process_node.running(usual) as own, running_job(kubernetes, "rootless", namespace, pool) as job:
            assert {process.uids().real for process in processes_of(own)} == {NOBODY}
            text = "id -u; touch /builds/x && test -s /etc/runner-platform/aws/token && echo fine"
            assert script(kubernetes, job, namespace, text) == "1000\nfine\n"
    node.start()


def without_root(usual: Surroundings, folder: Path) -> Surroundings:
    """Return surroundings whose files a person without root can read, and a program that is run as this person."""
    program = folder / "as-nobody"
    person = f"setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups"
    program.write_text(f'#!/bin/sh\nchown {NOBODY} "$1"\nexec {person} {folder}/process-node "$@"\n')
    for file, name in ((usual.program, "process-node"), (usual.kubeconfig, "kubeconfig"), (usual.authority, "ca.crt")):
        shutil.copy(file, folder / name)
    usual.folder.mkdir()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    os.chown(usual.folder, NOBODY, NOBODY)
    return replace(usual, program=program, kubeconfig=folder / "kubeconfig", authority=folder / "ca.crt", programs=())


def test_ctrl_c_in_the_middle_of_a_job_leaves_nothing(
    kubernetes: Trial, pool: str, namespace: str, node: ProcessNode, tmp_path: Path
) -> None:
    node.stop()
    jobs: list[psutil.Process] = []

    def interrupted() -> None:
        with process_node.running(surroundings(kubernetes, tmp_path)) as own:
            kubernetes.client.create(job_pod("interrupted", namespace, pool))
            kubernetes.runs("interrupted", namespace, 60)
            jobs.extend(processes_of(own))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert jobs
    assert not [process for process in jobs if process.is_running()]
    assert kubernetes.phase("interrupted", namespace) is None
    assert not (tmp_path / "pods").exists()
    mounts = Path("/proc/self/mountinfo").read_text()
    assert str(tmp_path) not in mounts, "mounts were in the job's namespace only"
    node.start()


def test_a_second_node_of_a_cluster_is_refused(kubernetes: Trial, node: ProcessNode, tmp_path: Path) -> None:
    with pytest.raises(ProcessNodeError, match=f"another process node \\(process {node.pid}\\)"):
        process_node.ProcessNode(surroundings(kubernetes, tmp_path)).start()
