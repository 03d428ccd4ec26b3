"""A cluster with the objects of stack dev and an AWS server that trusts its tokens, for job pods that really run."""

from __future__ import annotations

import base64
import copy
import json
import socket
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from config.names import JOB_SERVICE_ACCOUNT, helm_release, namespace_jobs, namespace_manager
from runner_platform.prove.deployed import TEMPLATE_KEY
from runner_platform.prove.job_pod import job_pod, runner_section
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.real_node.isolation import network_of
from runner_platform_sandbox.real_node.network import BRIDGE
from runner_platform_sandbox.real_node.node import RealNode
from runner_platform_sandbox.real_node.programs import Programs, obstacle
from runner_platform_sandbox.real_node.stack import add_images
from runner_platform_sandbox.runner_managers import Surroundings
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support import job_server
from sandbox.tests.support.kubernetes_cases import ISSUER, node_class, trial
from sandbox.tests.support.runner_cluster import NODES, STACK, apply_classes
from tests.support.aws_cases import CICD, REGION, policy
from tests.support.program import mock_run
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from sandbox.tests.support.job_server import JobServer
    from tests.support.aws_cases import Cloud

CLASS = "small"
ROLE = f"runner-{CLASS}-{STACK}"
NAMESPACE = namespace_jobs(CLASS)


@dataclass(frozen=True)
class NodeCase:
    """A real node for class small, and its cluster."""

    client: KubeClient
    node: RealNode
    clusters: Path
    runner: dict[str, Any]
    """The class's `[[runners]]` section."""
    jobs: JobServer
    surroundings: Surroundings

    def run(self, name: str, **change: Any) -> None:
        """Create the job pod that the class's configuration asks for, and wait until it runs; `change` replaces metadata."""
        pod = job_pod(self.runner, name)
        pod["metadata"] |= change
        pod["spec"]["containers"][0]["env"].append({"name": "AWS_ENDPOINT_URL", "value": self.surroundings.aws})
        self.client.create(pod)
        until(lambda: self.phase(name) != "Pending", f"pod {name} to run", 120)
        assert self.phase(name) == "Running"

    def run_elsewhere(self, name: str) -> None:
        """Create a pod on the node, in a namespace without a policy, and wait until it runs."""
        self.client.create(self.simple_pod(name, self.job_image, namespace="default"))
        until(lambda: self.phase(name, "default") == "Running", f"pod {name} to run", 60)

    @property
    def job_image(self) -> str:
        """The image of the class's jobs."""
        return str(self.runner["kubernetes"]["image"])

    def simple_pod(self, name: str, image: str, *, cpu: str = "100m", namespace: str = NAMESPACE) -> dict[str, Any]:
        """Compose a pod for the class's nodes that does nothing."""
        spec = job_pod(self.runner, name)["spec"]
        resources = {"requests": {"cpu": cpu}, "limits": {"memory": "64Mi", "ephemeral-storage": "64Mi"}}
        container = {
            "name": "build",
            "image": image,
            "imagePullPolicy": "Always",  # the admission policy of job pods demands it
            "command": ["sleep", "infinity"],
            "resources": resources,
        }
        placement = {key: spec[key] for key in ("nodeSelector", "tolerations")}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {**placement, "containers": [container], "automountServiceAccountToken": False},
        }

    def phase(self, name: str, namespace: str = NAMESPACE) -> str:
        return str(self.client.get("v1", "Pod", name, namespace)["status"]["phase"])

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl and return its output."""
        program = Tools.find(Paths.from_environment()).kubectl
        done = subprocess.run(
            [str(program), f"--kubeconfig={self.surroundings.kubeconfig}", f"--namespace={NAMESPACE}", *arguments],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def shell(self, pod: str, script: str, namespace: str = NAMESPACE) -> str:
        """Run a script in container build of a pod and return its output."""
        return self.kubectl(
            "exec", pod, f"--namespace={namespace}", "--container=build", "--", "bash", "-c", script
        ).strip()


@contextmanager
def node_case(folder: Path, aws: Cloud) -> Iterator[NodeCase]:
    """Run a cluster of stack dev with a real node for class small; skip the test where the machine cannot."""
    paths = Paths(cache=Paths.from_environment().cache, root=folder)
    reason = obstacle(paths)
    if reason:
        pytest.skip(reason)
    tools = Tools.find(paths)
    clusters = folder / "clusters" / ("long" * 20)  # sockets below it would be longer than the kernel allows
    with trial(clusters / "dev") as cluster, job_server.serving() as jobs:
        runner = apply_stack(cluster.client, tools)
        trust_tokens(aws, cluster.cluster.jwks)
        surroundings = Surroundings(
            program=tools.gitlab_runner,
            root=folder,
            stack=STACK,
            kubeconfig=cluster.cluster.admin_kubeconfig,
            gitlab=jobs.url,
            aws=aws.jobs,
            region=REGION,
        )
        node = RealNode(
            paths,
            cluster.cluster.folder,
            cluster.client,
            Programs.find(paths),
            pool=CLASS,
            region=REGION,
            loopback=[aws.ports[1], int(jobs.url.rpartition(":")[2])],
        )
        add_images(paths, node, runner["kubernetes"]["image"])
        with node:
            yield NodeCase(cluster.client, node, clusters, runner, jobs, surroundings)


def apply_stack(client: KubeClient, tools: Tools) -> dict[str, Any]:
    """Apply the objects that the program registers in the cluster, and return the class's `[[runners]]` section."""
    apply_classes(client, tools.helm)
    resources = mock_run(STACK).resources
    for body in [resource.inputs for resource in resources if resource.type.startswith(NODES)]:
        if body["kind"] == "NodeClass":
            client.apply(node_class(body["metadata"]["name"]))  # the subnets of a mock run have no valid ids
    for body in [resource.inputs for resource in resources if resource.type.startswith(NODES)]:
        if body["kind"] != "NodeClass":
            client.apply(copy.deepcopy(body))
    until(lambda: client.find("v1", "ServiceAccount", JOB_SERVICE_ACCOUNT, NAMESPACE) is not None, "the job's account")
    return runner_section(
        client.get("v1", "ConfigMap", helm_release(CLASS), namespace_manager(CLASS))["data"][TEMPLATE_KEY]
    )


def trust_tokens(aws: Cloud, keys: dict[str, Any]) -> None:
    """Make the class's role, which tokens of the cluster's job account open."""
    aws.admin.issuer(ISSUER, keys)
    host = ISSUER.removeprefix("https://")
    iam = aws.root(CICD).client("iam")
    iam.create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com"])
    subject = f"system:serviceaccount:{NAMESPACE}:{JOB_SERVICE_ACCOUNT}"
    trust = {
        "Principal": {"Federated": f"arn:aws:iam::{CICD}:oidc-provider/{host}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{host}:sub": subject, f"{host}:aud": "sts.amazonaws.com"}},
    }
    iam.create_role(RoleName=ROLE, Path=f"/cicd-{STACK}/", AssumeRolePolicyDocument=policy(trust))


def claims(token: str) -> dict[str, Any]:
    """Return the claims of a token."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded


@contextmanager
def answering(node: RealNode, addresses: list[str]) -> Iterator[int]:
    """Answer connections to foreign addresses inside the node's network, and yield the port."""
    inside = ["nsenter", f"--net=/proc/{node.first_process}/ns/net", "ip", "address"]
    for address in addresses:
        subprocess.run([*inside, "add", f"{address}/32", "dev", "lo"], check=True)
    with network_of(node.first_process):
        listener = socket.create_server(("0.0.0.0", 0))  # noqa: S104  # in the node's network, not the host's
    thread = threading.Thread(target=_accept, args=[listener], daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        connection.close()


@dataclass(frozen=True)
class Traces:
    """What a running node could leave on the machine."""

    folder: Path
    cgroup: str
    namespace: str
    """Link of the processes' namespace."""

    @classmethod
    def of(cls, node: RealNode) -> Traces:
        """Take down where the traces of a running node would be."""
        link = Path(f"/proc/{node.first_process}/ns/pid").readlink()
        return cls(folder=node.folder, cgroup=node.cgroup, namespace=str(link))

    def found(self) -> list[str]:
        """Return the processes, mounts, control groups and interfaces that are there now."""
        processes = [str(process) for process in Path("/proc").glob("[0-9]*") if _link(process) == self.namespace]
        mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if self._is_own(line)]
        cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}")]
        interfaces = [name for name in psutil.net_if_addrs() if name == BRIDGE or name.startswith("veth")]
        return [*processes, *mounts, *cgroups, *interfaces]

    def _is_own(self, mount: str) -> bool:
        return str(self.folder) in mount or "netns" in mount


def _link(process: Path) -> str:
    try:
        return str((process / "ns" / "pid").readlink())
    except OSError:
        return ""
