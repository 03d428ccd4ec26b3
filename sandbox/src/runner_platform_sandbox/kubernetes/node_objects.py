"""The NodeClaim and Node that a launch makes. Pure functions.

A claim carries everything its node needs (labels, type, disk, the node's name), so that a sandbox that was killed
between the two writes goes on from the claim alone. Leaves out when they are written (`nodes.py`). Names and labels
are Auto Mode's: a node is called like its instance.
"""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any, Final

from config.instance_types import BY_NAME
from runner_platform_sandbox.kubernetes.auto_mode import EKS, KARPENTER
from runner_platform_sandbox.kubernetes.placement import DISRUPTED_TAINT
from runner_platform_sandbox.kubernetes.pools import HOST_LABEL, TYPE_LABEL, ZONE_LABEL, Offer, Pool, sizes
from runner_platform_sandbox.kubernetes.quantities import Amounts, text

if TYPE_CHECKING:
    from collections.abc import Mapping

TERMINATION_FINALIZER: Final = "karpenter.sh/termination"
CLASS_FINALIZER: Final = "eks.amazonaws.com/termination"
CLASS_LABEL: Final = "eks.amazonaws.com/nodeclass"
NODE_ANNOTATION: Final = "sandbox.runner-platform/node"
DISK_ANNOTATION: Final = "sandbox.runner-platform/disk-bytes"
DEFAULT_GRACE: Final = "24h"
"""What Auto Mode writes into a claim whose pool has no terminationGracePeriod."""

_ALPHABET = string.ascii_lowercase + string.digits
_SUFFIX = 5


def node_claim(pool: Pool, offer: Offer, wanted: Amounts) -> dict[str, Any]:
    """Compose the claim for one launch.

    Args:
        pool: Who launches.
        offer: What is launched.
        wanted: Requests of the pod that it is launched for.
    """
    template = pool.template["spec"]
    suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))
    chosen = [{"key": TYPE_LABEL, "operator": "In", "values": [offer.instance.name]}]
    spec = {
        "nodeClassRef": template["nodeClassRef"],
        "requirements": [*(each for each in pool.requirements if each["key"] != TYPE_LABEL), *chosen],
        "taints": pool.taints,
        "terminationGracePeriod": template.get("terminationGracePeriod", DEFAULT_GRACE),
        "resources": {"requests": quantities(wanted)},
    }
    if "expireAfter" in template:
        spec["expireAfter"] = template["expireAfter"]
    annotations = (pool.template.get("metadata") or {}).get("annotations") or {}
    return {
        "apiVersion": KARPENTER,
        "kind": "NodeClaim",
        "metadata": {
            "name": f"{pool.name}-{suffix}",
            "labels": {**offer.labels, CLASS_LABEL: template["nodeClassRef"]["name"]},
            "annotations": {
                **annotations,
                NODE_ANNOTATION: f"i-{secrets.token_hex(9)[:17]}",
                DISK_ANNOTATION: str(offer.capacity["ephemeral-storage"]),
            },
            "ownerReferences": [_owner("NodePool", pool.body)],
            "finalizers": [TERMINATION_FINALIZER],
        },
        "spec": spec,
    }


def node_of(claim: Mapping[str, Any]) -> dict[str, Any]:
    """Compose the node that a claim stands for."""
    metadata = claim["metadata"]
    name = node_name(claim)
    capacity, allocatable = _sizes(claim)
    address = ".".join(str(byte) for byte in (10, *bytes.fromhex(name[-6:])))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                **metadata["labels"],
                HOST_LABEL: name,
                "karpenter.sh/registered": "true",
                "karpenter.sh/initialized": "true",
            },
            "annotations": {key: value for key, value in metadata["annotations"].items() if key != DISK_ANNOTATION},
            "ownerReferences": [_owner("NodeClaim", claim)],
            "finalizers": [TERMINATION_FINALIZER],
        },
        "spec": {"providerID": provider_id(claim), "taints": list(claim["spec"].get("taints") or [])},
        "status": {
            "capacity": quantities(capacity),
            "allocatable": quantities(allocatable),
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "nodeInfo": {"architecture": metadata["labels"]["kubernetes.io/arch"], "operatingSystem": "linux"},
        },
    }


def claim_status(claim: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Compose the status of a claim whose node has joined.

    Args:
        claim: The claim.
        now: Time of the transition, RFC 3339.
    """
    capacity, allocatable = _sizes(claim)
    return {
        "nodeName": node_name(claim),
        "providerID": provider_id(claim),
        "capacity": quantities(capacity),
        "allocatable": quantities(allocatable),
        "conditions": [
            condition(kind, holds=True, now=now) for kind in ("Launched", "Registered", "Initialized", "Ready")
        ],
    }


def condition(kind: str, *, holds: bool, now: str, message: str = "") -> dict[str, Any]:
    """Compose one condition.

    Args:
        kind: Its type; also its reason.
        holds: Its status.
        now: Time of the transition, RFC 3339.
        message: For people; empty where it holds.
    """
    reason = kind if holds else f"{kind}False"
    status = "True" if holds else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now}


def node_name(claim: Mapping[str, Any]) -> str:
    """Return the name of a claim's node."""
    return str(claim["metadata"]["annotations"][NODE_ANNOTATION])


def provider_id(claim: Mapping[str, Any]) -> str:
    """Return the cloud's name of a claim's node."""
    return f"aws:///{claim['metadata']['labels'][ZONE_LABEL]}/{node_name(claim)}"


def uses_class(claim: Mapping[str, Any], name: str) -> bool:
    """Tell whether a claim was made from this NodeClass."""
    reference = claim["spec"]["nodeClassRef"]
    return bool(reference["name"] == name and f"{reference['group']}/v1" == EKS)


def is_leaving(node: Mapping[str, Any]) -> bool:
    """Tell whether a node is on its way out: deleted, or tainted for it."""
    taints = node["spec"].get("taints") or []
    return bool(node["metadata"].get("deletionTimestamp")) or any(
        taint["key"] == DISRUPTED_TAINT["key"] for taint in taints
    )


def quantities(values: Amounts) -> dict[str, str]:
    """Write amounts as an object's quantities."""
    return {resource: text(resource, value) for resource, value in sorted(values.items())}


def _owner(kind: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Refer to an owner whose foreground deletion waits for what it owns."""
    metadata = body["metadata"]
    names = {"apiVersion": KARPENTER, "kind": kind, "name": metadata["name"], "uid": metadata["uid"]}
    return {**names, "blockOwnerDeletion": True}


def _sizes(claim: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
    metadata = claim["metadata"]
    return sizes(BY_NAME[metadata["labels"][TYPE_LABEL]], int(metadata["annotations"][DISK_ANNOTATION]))
