"""Command lines of the control plane's processes, and the small files they read.

Every flag is here, with a reason where it is not obvious. Leaves out when the processes run (`control_plane`).
Flags: https://kubernetes.io/docs/reference/command-line-tools-reference/
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import yaml

from runner_platform_sandbox.disk import replace
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.keys import ADMINISTRATORS, Keys
from runner_platform_sandbox.kubernetes.pools import REAL_NODE_LABEL

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform_sandbox.tools.discovery import Tools

DEFAULT_AUDIENCE = "https://kubernetes.default.svc"

REFERENCES_CONDITION = "sandbox.runner-platform/References"
"""Pod condition that kwok waits for before it runs a pod; set by the stand-in kubelet (`kubelet`)."""

PROCESS_CONDITION = "sandbox.runner-platform/Process"
"""Pod condition that keeps kwok away: a process node runs the pod (`process_node`). Set by the stand-in kubelet, too."""

PORTS = "ports.json"
"""File of a control plane's ports in its folder."""

CONTROLLERS = (
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "clusterrole-aggregation-controller",
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "cronjob-controller",
    "ttl-after-finished-controller",
    "garbage-collector-controller",
    "pod-garbage-collector-controller",
    "resourcequota-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "disruption-controller",
    "horizontal-pod-autoscaler-controller",
    "node-lifecycle-controller",  # takes the not-ready taint off a node that kwok reports ready
    "taint-eviction-controller",
)
"""The controllers that the product needs. Those for storage, certificates and cloud addresses are left out, for memory."""

_POD_STAGES = ("pod-ready", "pod-complete", "pod-delete")
_STAGES = ("node-initialize", "node-heartbeat", *_POD_STAGES)
_STAGE_FOLDERS = ("fast", "heartbeat")


@dataclass(frozen=True, kw_only=True)
class Binaries:
    """Paths of the programs."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kube_scheduler: Path
    kwok: Path
    kwok_stages: Path
    """Folder with kwok's own stage files: node initialize and heartbeat, pod ready, complete and delete."""
    karpenter_crds: Path
    """Folder with Karpenter's definitions of NodePool and NodeClaim."""

    @classmethod
    def of(cls, tools: Tools) -> Self:
        """Return the paths of the tools that were found or built."""
        return cls(
            etcd=tools.etcd,
            kube_apiserver=tools.kube_apiserver,
            kube_controller_manager=tools.kube_controller_manager,
            kube_scheduler=tools.kube_scheduler,
            kwok=tools.kwok,
            kwok_stages=tools.kwok_stages[0].parent,
            karpenter_crds=tools.karpenter_crds[0].parent,
        )


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """The settings of a cluster in EKS, for its control plane."""

    account: str
    region: str
    name: str
    version: str
    """Requested minor version, such as `1.35`."""
    issuer: str
    """OIDC issuer URL in every service account token."""
    service_cidr: str
    webhook_url: str | None
    """URL that reviews bearer tokens; None accepts service account tokens and certificates only."""

    @property
    def arn(self) -> str:
        """ARN of the cluster."""
        partition = "aws-cn" if self.region.startswith("cn-") else "aws"
        return f"arn:{partition}:eks:{self.region}:{self.account}:cluster/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Files and ports of one control plane."""

    folder: Path
    keys: Keys
    etcd_port: int
    api_port: int

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Return the layout of a control plane that was started before.

        Raises:
            SandboxError: The folder holds none.
        """
        try:
            ports = json.loads((folder / PORTS).read_text())
            return cls(folder=folder, keys=Keys(folder / "keys"), etcd_port=ports["etcd"], api_port=ports["api"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SandboxError(
                f"{folder} holds no control plane: {error!r}", "`runner-platform sandbox start`"
            ) from error

    @property
    def endpoint(self) -> str:
        """URL of the API server."""
        return f"https://127.0.0.1:{self.api_port}"

    def kubeconfig(self, user: str) -> Path:
        """Return the kubeconfig file of a component or of the administrator."""
        return self.folder / f"{user}.kubeconfig"


def etcd(binaries: Binaries, layout: Layout) -> list[str]:
    """Compose etcd's command line."""
    url = f"http://127.0.0.1:{layout.etcd_port}"
    return [
        str(binaries.etcd),
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",  # data survives a killed process; a power cut may lose the sandbox, nothing real
        "--log-level=warn",
    ]


def api_server(binaries: Binaries, layout: Layout, spec: ClusterSpec) -> list[str]:
    """Compose the API server's command line."""
    keys = layout.keys
    command = [
        str(binaries.kube_apiserver),
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={layout.api_port}",
        # Without these two an offline machine finds no address for itself, or logs an invalid endpoint for ever.
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--tls-cert-file={keys.server_certificate}",
        f"--tls-private-key-file={keys.server_key}",
        f"--kubelet-client-certificate={keys.kubelet_client_certificate}",
        f"--kubelet-client-key={keys.kubelet_client_key}",
        f"--client-ca-file={keys.ca}",
        "--authorization-mode=Node,RBAC",  # as EKS; the kubelet of a real node may read what its pods need
        "--allow-privileged=true",  # as EKS; otherwise the server refuses privileged pods before pod security admission sees them
        f"--service-account-key-file={keys.signing_public_key}",
        f"--service-account-signing-key-file={keys.signing_key}",
        f"--service-account-issuer={spec.issuer}",
        f"--api-audiences={DEFAULT_AUDIENCE},{spec.issuer}",
        f"--service-cluster-ip-range={spec.service_cidr}",
        "--profiling=false",
    ]
    if spec.webhook_url:
        command += [
            f"--authentication-token-webhook-config-file={layout.folder / 'token-webhook.yaml'}",
            "--authentication-token-webhook-version=v1",
            "--authentication-token-webhook-cache-ttl=5s",
        ]
    return command


def controller_manager(binaries: Binaries, layout: Layout) -> list[str]:
    """Compose the controller manager's command line."""
    return [
        str(binaries.kube_controller_manager),
        f"--kubeconfig={layout.kubeconfig('controller-manager')}",
        f"--root-ca-file={layout.keys.ca}",
        f"--service-account-private-key-file={layout.keys.signing_key}",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
        "--node-monitor-grace-period=120s",  # kwok's heartbeats are slow, and this machine may be busy
        f"--controllers={','.join(CONTROLLERS)}",
    ]


def scheduler(binaries: Binaries, layout: Layout) -> list[str]:
    """Compose the scheduler's command line."""
    return [str(binaries.kube_scheduler), f"--config={layout.folder / 'scheduler.yaml'}", "--secure-port=0"]


def kwok(binaries: Binaries, layout: Layout) -> list[str]:
    """Compose kwok's command line."""
    return [
        str(binaries.kwok),
        f"--kubeconfig={layout.kubeconfig('kwok')}",
        f"--config={layout.folder / 'kwok.yaml'}",
        f"--manage-nodes-with-label-selector=!{REAL_NODE_LABEL}",
        # Without leases: kwok ignores a pod's changes until it holds its node's lease, which costs seconds, or the change.
        "--node-lease-duration-seconds=0",
        "--cidr=10.244.0.0/16",
        "--v=WARN",
    ]


def write_files(binaries: Binaries, layout: Layout, spec: ClusterSpec) -> None:
    """Write the files that the command lines refer to, except keys."""
    write_kubeconfig(layout.kubeconfig("admin"), layout, "runner-platform-sandbox", cluster=spec.name)
    for user in ("controller-manager", "scheduler", "kwok"):
        write_kubeconfig(layout.kubeconfig(user), layout, f"system:sandbox-{user}", cluster=spec.name)
    if spec.webhook_url:
        _write(layout.folder / "token-webhook.yaml", _kubeconfig("webhook", {"server": spec.webhook_url}, {}))
    scheduler_config = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {"kubeconfig": str(layout.kubeconfig("scheduler"))},
        "enableProfiling": False,
        # A pod that waited long for its node would otherwise sit out a back-off of up to 10 s after the node is there.
        "podMaxBackoffSeconds": 2,
    }
    _write(layout.folder / "scheduler.yaml", scheduler_config)
    _write(layout.folder / "kwok.yaml", *stages(binaries.kwok_stages))


def stages(folder: Path) -> list[dict[str, Any]]:
    """Read kwok's stages; make a pod wait until everything that it references exists, and leave pods of a process node alone.

    Raises:
        SandboxError: The folder lacks a stage.
    """
    by_name: dict[str, dict[str, Any]] = {}
    for stage, preferred in _read_stages(folder):
        name = stage["metadata"]["name"]
        if name in _STAGES and (preferred or name not in by_name):
            by_name[name] = stage
    missing = [name for name in _STAGES if name not in by_name]
    if missing:
        raise SandboxError(f"{folder} has no kwok stage {', '.join(missing)}", "`make distclean`, then `make up`")
    by_name["pod-ready"]["spec"]["selector"]["matchExpressions"].append(
        {"key": _condition_status(REFERENCES_CONDITION), "operator": "In", "values": ["True"]}
    )
    for name in _POD_STAGES:
        by_name[name]["spec"]["selector"]["matchExpressions"].append(
            {"key": _condition_status(PROCESS_CONDITION), "operator": "NotIn", "values": ["True"]}
        )
    return [by_name[name] for name in _STAGES]


def _condition_status(condition: str) -> str:
    return f'.status.conditions.[] | select( .type == "{condition}" ) | .status'


def _read_stages(folder: Path) -> Iterator[tuple[dict[str, Any], bool]]:
    for file in sorted(folder.rglob("*.yaml")):
        for document in yaml.safe_load_all(file.read_text()):
            if isinstance(document, dict) and document.get("kind") == "Stage":
                yield document, file.parent.name in _STAGE_FOLDERS


def write_kubeconfig(file: Path, layout: Layout, user: str, group: str = ADMINISTRATORS, *, cluster: str) -> None:
    """Write the kubeconfig of a user with a certificate.

    Args:
        file: The kubeconfig.
        layout: The control plane.
        user: Name in the certificate, which is made on first use.
        group: Group in the certificate.
        cluster: Name of the cluster, for the context.
    """
    certificate, key = layout.keys.client(user, group)
    server = {"server": layout.endpoint, "certificate-authority-data": _base64(layout.keys.ca.read_text())}
    credentials = {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)}
    _write(file, _kubeconfig(cluster, server, credentials))


def _kubeconfig(name: str, cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _write(file: Path, *documents: dict[str, Any]) -> None:
    replace(file, yaml.safe_dump_all(documents, sort_keys=False))
