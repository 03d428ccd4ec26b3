"""EKS operations that MiniStack lacks or answers wrongly, and a cluster's updates.

`eks_clusters` has a cluster's record and the Kubernetes versions, `eks_access` access entries and tokens. An update is
applied at once and Successful at the first look; in AWS it takes minutes. As in EKS, a call makes one kind of change, and
a call without a change is refused.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from ministack.core.iam_evaluator import resolve_caller_identity
from ministack.core.responses import get_region
from ministack.core.router import extract_access_key_id
from ministack.services import eks

from sandbox_aws import eks_access, eks_clusters
from sandbox_aws.answers import as_json, json_error
from sandbox_aws.patching import handlers, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer


_CLUSTER = re.compile(r"/clusters/(?P<name>[A-Za-z0-9_-]+)(?P<rest>/updates|/updates/(?P<update>[^/]+)|/update-config)")

_UPDATES = "_updates"
_AUTO_MODE = frozenset({"computeConfig", "kubernetesNetworkConfig", "storageConfig"})
_TYPES = {
    "logging": "LoggingUpdate",
    "accessConfig": "AccessConfigUpdate",
    "upgradePolicy": "UpgradePolicyUpdate",
    "zonalShiftConfig": "ZonalShiftConfigUpdate",
    "remoteNetworkConfig": "RemoteNetworkConfigUpdate",
    "deletionProtection": "DeletionProtectionUpdate",
    "controlPlaneScalingConfig": "ControlPlaneScalingConfigUpdate",
}
_ENDPOINT_FIELDS = frozenset({"endpointPublicAccess", "endpointPrivateAccess", "publicAccessCidrs"})
_MODES = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")


def install() -> None:
    """Put the routes in front of MiniStack's, and give issuers the URL of AWS."""
    table = handlers("app", "SERVICE_HANDLERS")
    table["eks"] = _with_routes(table["eks"])
    replace("services.eks", "_ministack_issuer_base", lambda _original: _issuer_base)
    replace("services.eks", "_delete_cluster", eks_clusters.protected)


def _issuer_base() -> str:
    return f"https://oidc.eks.{get_region()}.amazonaws.com"


def _with_routes(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        answer = _route(method, path, headers, body, query)
        if answer is None:
            answer = await original(method, path, headers, body, query)
        return answer

    return handle


def _route(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer | None:
    """Return our answer, or None to let MiniStack answer."""
    request = json.loads(body) if body and method in {"POST", "PUT"} else {}
    match = _CLUSTER.fullmatch(path)
    if match is None:
        routes = {
            ("POST", "/clusters"): lambda: eks_clusters.create(
                request, _caller(headers, query), extract_access_key_id(headers, query)
            ),
            ("GET", "/cluster-versions"): lambda: eks_clusters.describe_versions(query),
            ("GET", "/access-policies"): eks_access.list_policies,
        }
        answer = routes.get((method, path))
    else:
        name, update = match["name"], match["update"]
        kind = "/updates/" if update else match["rest"]
        cluster_routes = {
            ("POST", "/update-config"): lambda: update_config(name, request),
            ("POST", "/updates"): lambda: update_version(name, request),
            ("GET", "/updates"): lambda: list_updates(name),
            ("GET", "/updates/"): lambda: describe_update(name, update),
        }
        answer = cluster_routes.get((method, kind))
    return None if answer is None else answer()


def _caller(headers: dict[str, str], query: dict[str, Any]) -> str:
    """Return the caller's role, without the session."""
    arn: str = (resolve_caller_identity(extract_access_key_id(headers, query)) or {}).get("userArn", "")
    return eks._role_arn_from_assumed_role(arn) or arn


def update_config(name: str, request: dict[str, Any]) -> Answer:
    """UpdateClusterConfig: https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html."""
    cluster = eks._clusters.get(name)
    if cluster is None:
        return _no_cluster(name)
    if cluster["status"] != "ACTIVE":
        return json_error(
            409, "ResourceInUseException", f"Cannot update cluster {name}: its status is {cluster['status']}"
        )
    requested = {field: value for field, value in request.items() if field not in {"clientRequestToken", "name"}}
    kinds = {"autoMode" if field in _AUTO_MODE else field for field in requested}
    if len(kinds) != 1:
        return _invalid("Only one type of update can be allowed." if kinds else "No changes needed for the cluster")
    kind = kinds.pop()
    changed = _changed(cluster, kind, requested)
    if isinstance(changed, str):
        return _invalid(changed)
    if all(cluster.get(field) == value for field, value in changed.items()):
        return _invalid(f"Cluster is already at the desired configuration with {_in_words(requested)}")
    cluster.update(changed)
    return _recorded(cluster, _type(kind, requested), requested)


def _type(kind: str, requested: dict[str, Any]) -> str:
    if kind == "autoMode":
        return "AutoModeUpdate"
    if kind == "resourcesVpcConfig":
        return "EndpointAccessUpdate" if requested[kind].keys() <= _ENDPOINT_FIELDS else "VpcConfigUpdate"
    return _TYPES[kind]


def _changed(cluster: dict[str, Any], kind: str, requested: dict[str, Any]) -> dict[str, Any] | str:
    """Return the changed fields of the record, or the reason of a refusal."""
    special: dict[str, Callable[[], dict[str, Any] | str]] = {
        "autoMode": lambda: _auto_mode(cluster, requested),
        "resourcesVpcConfig": lambda: _network(cluster, requested["resourcesVpcConfig"]),
        "logging": lambda: {"logging": eks_clusters.logging_of(requested["logging"], _enabled_logs(cluster))},
        "accessConfig": lambda: _access_mode(cluster, requested["accessConfig"]),
    }
    if kind in special:
        return special[kind]()
    return {kind: requested[kind]} if kind in _TYPES else f"Unknown field {kind}"


def _auto_mode(cluster: dict[str, Any], requested: dict[str, Any]) -> dict[str, Any] | str:
    changed = {field: {**cluster.get(field, {}), **value} for field, value in requested.items()}
    return changed if eks_clusters.auto_mode_consistent(cluster | changed) else eks_clusters.AUTO_MODE_WRONG


def _network(cluster: dict[str, Any], requested: dict[str, Any]) -> dict[str, Any] | str:
    network = cluster["resourcesVpcConfig"] | requested
    if not (network["endpointPublicAccess"] or network["endpointPrivateAccess"]):
        return "Private and public endpoint access cannot both be disabled"
    return {"resourcesVpcConfig": network}


def _enabled_logs(cluster: dict[str, Any]) -> list[str]:
    return [log for group in cluster["logging"]["clusterLogging"] if group["enabled"] for log in group["types"]]


def _access_mode(cluster: dict[str, Any], requested: dict[str, Any]) -> dict[str, Any] | str:
    before, after = cluster["accessConfig"]["authenticationMode"], requested.get("authenticationMode", "")
    if after not in _MODES:
        return f"Invalid authentication mode {after}"
    if _MODES.index(after) < _MODES.index(before):
        return f"Unsupported authentication mode update from {before} to {after}"
    return {"accessConfig": cluster["accessConfig"] | {"authenticationMode": after}}


def update_version(name: str, request: dict[str, Any]) -> Answer:
    """UpdateClusterVersion: one minor version up."""
    cluster = eks._clusters.get(name)
    if cluster is None:
        return _no_cluster(name)
    before, after = cluster["version"], request.get("version", next_version(cluster["version"]))
    if before == after:
        return _invalid(f"Cluster is already at the desired version {after}")
    if not eks_clusters.offered(after):
        return _invalid(f"unsupported Kubernetes version {after}")
    if eks_clusters.minor(after) != eks_clusters.minor(before) + 1:
        return _invalid(f"Unsupported Kubernetes minor version update from {before} to {after}")
    cluster["version"] = after
    return _recorded(cluster, "VersionUpdate", {"version": after, "platformVersion": cluster["platformVersion"]})


def next_version(version: str) -> str:
    """Return the following minor version, the default of UpdateClusterVersion."""
    return f"1.{eks_clusters.minor(version) + 1}"


def list_updates(name: str) -> Answer:
    """ListUpdates, newest last."""
    cluster = eks._clusters.get(name)
    if cluster is None:
        return _no_cluster(name)
    return as_json({"updateIds": [update["id"] for update in cluster.get(_UPDATES, [])]})


def describe_update(name: str, identifier: str) -> Answer:
    """DescribeUpdate: every update has ended at the first look."""
    cluster = eks._clusters.get(name)
    if cluster is None:
        return _no_cluster(name)
    for update in cluster.get(_UPDATES, []):
        if update["id"] == identifier:
            update["status"] = "Successful"
            return as_json({"update": update})
    return json_error(404, "ResourceNotFoundException", f"No update found for ID: {identifier}")


def _recorded(cluster: dict[str, Any], kind: str, requested: dict[str, Any]) -> Answer:
    update = {
        "id": str(uuid.uuid4()),
        "status": "InProgress",
        "type": kind,
        "params": [{"type": _parameter(field), "value": _text(value)} for field, value in _flat(requested).items()],
        "createdAt": time.time(),
        "errors": [],
    }
    cluster.setdefault(_UPDATES, []).append(update)
    return as_json({"update": update})


def _flat(requested: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an update; AWS lists the fields of the network one by one."""
    network = requested.get("resourcesVpcConfig")
    return dict(network) if network is not None else requested


def _parameter(field: str) -> str:
    return "ClusterLogging" if field == "logging" else field[0].upper() + field[1:]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _in_words(requested: dict[str, Any]) -> str:
    return ", ".join(f"{field}: {_text(value)}" for field, value in _flat(requested).items())


def _no_cluster(name: str) -> Answer:
    return json_error(404, "ResourceNotFoundException", f"No cluster found for name: {name}.")


def _invalid(message: str) -> Answer:
    return json_error(400, "InvalidParameterException", message)
