"""A cluster for tests with a token webhook, and short functions that compose objects."""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.kubernetes.cluster import Cluster
from runner_platform_sandbox.kubernetes.command_lines import Binaries, ClusterSpec
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF"
RBAC = "rbac.authorization.k8s.io/v1"
KARPENTER = "karpenter.sh/v1"
EKS = "eks.amazonaws.com/v1"

_NUMBERS = itertools.count(1)


@dataclass
class Policies:
    """Users and access as the AWS server has them: users by token, and the namespaces that they may view."""

    users: dict[str, str] = field(default_factory=dict)
    viewers: dict[str, str] = field(default_factory=dict)
    """User to prefix of namespaces."""

    def manifests(self, namespaces: list[str]) -> list[dict[str, Any]]:
        """Compose a binding for each viewer and existing namespace."""
        return [
            binding(user, namespace)
            for user, prefix in self.viewers.items()
            for namespace in namespaces
            if namespace.startswith(prefix)
        ]


@dataclass(frozen=True)
class Trial:
    """A running cluster and its users."""

    cluster: Cluster
    policies: Policies

    @property
    def client(self) -> KubeClient:
        """The administrator's client."""
        return self.cluster.client

    def as_user(self, token: str) -> KubeClient:
        """Open a client with this token."""
        return KubeClient(self.cluster.endpoint, ca_file=self.cluster.control_plane.keys.ca, token=lambda: token)

    def namespace(self, prefix: str = "trial", **labels: str) -> str:
        """Create a namespace with a unique name, and wait for its default service account."""
        name = f"{prefix}-{next(_NUMBERS)}"
        metadata = {"name": name, "labels": {key.replace("__", "/").replace("_", "-"): v for key, v in labels.items()}}
        self.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        until(lambda: self.client.find("v1", "ServiceAccount", "default", name) is not None, "its default account")
        return name

    def phase(self, name: str, namespace: str) -> str | None:
        """Return a pod's phase, or None if it was deleted."""
        body = self.client.find("v1", "Pod", name, namespace)
        return body["status"]["phase"] if body else None

    def runs(self, name: str, namespace: str, seconds: float = 30) -> None:
        """Wait until a pod runs."""
        until(lambda: self.phase(name, namespace) == "Running", f"pod {name} to run", seconds)

    def claims(self, pool: str) -> list[dict[str, Any]]:
        """Return the NodeClaims of a pool."""
        return self.client.list(KARPENTER, "NodeClaim", label_selector=f"karpenter.sh/nodepool={pool}")

    def nodes(self, pool: str) -> list[dict[str, Any]]:
        """Return the nodes of a pool."""
        return self.client.list("v1", "Node", label_selector=f"karpenter.sh/nodepool={pool}")

    @contextmanager
    def pool(self, name: str, *requirements: dict[str, Any], **spec: Any) -> Iterator[str]:
        """Create a NodeClass and a NodePool, and delete both afterwards."""
        self.client.apply(node_class(name))
        self.client.apply(node_pool(name, *requirements, **spec))
        try:
            yield name
        finally:
            self.client.delete(KARPENTER, "NodePool", name)
            for claim in self.claims(name):
                self.client.delete(KARPENTER, "NodeClaim", claim["metadata"]["name"])
            until(lambda: not self.claims(name), "the pool's claims to go")
            self.client.delete(EKS, "NodeClass", name)


def stays(condition: Callable[[], bool], what: str, seconds: float = 3) -> None:
    """Check that a condition stays true for a while."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert condition(), f"{what} did not last {seconds} s"
        time.sleep(0.1)


def binaries() -> Binaries:
    """Find the programs like the sandbox."""
    return Binaries.of(Tools.find(Paths.from_environment()))


def spec(webhook_url: str | None = None) -> ClusterSpec:
    """Describe the cluster of the tests."""
    return ClusterSpec(
        account="222222222222",
        region="eu-central-1",
        name="trial",
        version="1.35",
        issuer=ISSUER,
        service_cidr="172.20.0.0/16",
        webhook_url=webhook_url,
    )


@contextmanager
def trial(folder: Path) -> Iterator[Trial]:
    """Run a cluster with a token webhook, and end both afterwards."""
    policies = Policies()
    with token_webhook(policies) as url:
        cluster = Cluster(folder, spec(url), binaries(), policies.manifests)
        try:
            cluster.start()
            yield Trial(cluster, policies)
        finally:
            cluster.stop()


@contextmanager
def token_webhook(policies: Policies) -> Iterator[str]:
    """Answer token reviews from `policies`, as the AWS server does for access entries."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            user = policies.users.get(review["spec"]["token"])
            status = {"authenticated": True, "user": {"username": user}} if user else {"authenticated": False}
            answer = {"apiVersion": review["apiVersion"], "kind": "TokenReview", "status": status}
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/review"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def binding(user: str, namespace: str) -> dict[str, Any]:
    """Compose the objects of the AWS server for a view policy of one user in one namespace."""
    return {
        "apiVersion": RBAC,
        "kind": "RoleBinding",
        "metadata": {
            "name": f"view-{user}",
            "namespace": namespace,
            "labels": {"ministack.org/eks-access-policy": "view"},
        },
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }


def pod(name: str, namespace: str, *, pool: str | None = None, cpu: str = "1", **more: Any) -> dict[str, Any]:
    """Compose a pod; `container` in `more` adds fields to its container, other keys add fields to its spec."""
    container = {
        "name": "build",
        "image": "image",
        "resources": {"requests": {"cpu": cpu}},
        **more.pop("container", {}),
    }
    body: dict[str, Any] = {"containers": [container], **more}
    if pool is not None:
        body["nodeSelector"] = {"class": pool}
        body["tolerations"] = [{"key": "class", "operator": "Equal", "value": pool, "effect": "NoSchedule"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": body}


def node_class(name: str) -> dict[str, Any]:
    """Compose a NodeClass."""
    terms = {"subnetSelectorTerms": [{"id": "subnet-0a"}], "securityGroupSelectorTerms": [{"id": "sg-0a"}]}
    return {"apiVersion": EKS, "kind": "NodeClass", "metadata": {"name": name}, "spec": {"role": "nodes", **terms}}


def node_pool(name: str, *requirements: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Compose a NodePool with label and taint `class`; it keeps empty nodes unless `spec` changes that."""
    template = {
        "metadata": {"labels": {"class": name}},
        "spec": {
            "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": name},
            "requirements": list(requirements),
            "taints": [{"key": "class", "value": name, "effect": "NoSchedule"}],
            "terminationGracePeriod": "1h",
        },
    }
    disruption = {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "Never", "budgets": [{"nodes": "100%"}]}
    return {
        "apiVersion": KARPENTER,
        "kind": "NodePool",
        "metadata": {"name": name},
        "spec": {"template": template, "disruption": disruption, **spec},
    }


def types(*names: str) -> dict[str, Any]:
    """Require one of these instance types."""
    return {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": list(names)}
