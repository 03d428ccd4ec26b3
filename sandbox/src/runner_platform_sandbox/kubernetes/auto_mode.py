"""Puts into a cluster what EKS Auto Mode puts there: the custom resource definitions.

Leaves out the controllers behind them: `nodes.py` is the small stand-in. As in EKS, no NodePool and no NodeClass exist
at first, since the product switches the built-in pools off.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.eks_schema import node_class
from runner_platform_sandbox.kubernetes.karpenter_schema import node_claim, node_pool

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.kubernetes.schema import Schema

KARPENTER = "karpenter.sh/v1"
EKS = "eks.amazonaws.com/v1"

_ESTABLISHED_SECONDS = 120.0  # a second on idle cores; several clusters may start at once on busy ones
_POLL_SECONDS = 0.05
_KINDS = ((KARPENTER, "NodePool"), (KARPENTER, "NodeClaim"), (EKS, "NodeClass"))


def definitions() -> list[dict[str, Any]]:
    """Return the three CustomResourceDefinition objects."""
    ready = _column("Ready", '.status.conditions[?(@.type=="Ready")].status')
    age = _column("Age", ".metadata.creationTimestamp", kind="date")
    pool_columns = [
        _column("NodeClass", ".spec.template.spec.nodeClassRef.name"),
        _column("Nodes", ".status.nodes", kind="integer"),
        ready,
        age,
    ]
    claim_columns = [
        _column("Type", r".metadata.labels.node\.kubernetes\.io/instance-type"),
        _column("Capacity", r".metadata.labels.karpenter\.sh/capacity-type"),
        _column("Node", ".status.nodeName"),
        ready,
        age,
    ]
    role = _column("Role", ".spec.role")
    return [
        _definition(KARPENTER, "NodePool", node_pool(), pool_columns),
        _definition(KARPENTER, "NodeClaim", node_claim(), claim_columns),
        _definition(EKS, "NodeClass", node_class(), [role, ready, age]),
    ]


def install(client: KubeClient) -> None:
    """Install the definitions, or bring them up to date, and wait until their kinds can be listed.

    Raises:
        SandboxError: The API server does not establish them.
    """
    installed = [client.apply(definition) for definition in definitions()]
    end = time.monotonic() + _ESTABLISHED_SECONDS
    for definition in installed:
        name = definition["metadata"]["name"]
        while not _established(client.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)):
            if time.monotonic() > end:
                raise SandboxError(f"the API server does not establish {name}", "look at its log, then try again")
            time.sleep(_POLL_SECONDS)
    for api_version, kind in _KINDS:
        client.list(api_version, kind)  # waits out the "storage is (re)initializing" that follows


def _established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)


def _column(name: str, path: str, *, kind: str = "string") -> dict[str, str]:
    return {"name": name, "type": kind, "jsonPath": path}


def _definition(api_version: str, kind: str, schema: Schema, columns: list[dict[str, str]]) -> dict[str, Any]:
    group, _, version = api_version.partition("/")
    singular = kind.lower()
    plural = f"{singular}es" if singular.endswith("s") else f"{singular}s"
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular},
            "scope": "Cluster",
            "versions": [served],
        },
    }
