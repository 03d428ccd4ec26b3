"""A cluster's record: created with the caller's fields, ACTIVE once the control plane answers, protected.

MiniStack starts a container and drops half of the request. Here the record waits in CREATING until the supervisor reports
a control plane (`report`), and keeps every field. Not modelled: node groups' instances, add-ons that run, the minutes that
AWS takes.

Dates of Kubernetes versions: https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html. Those of 1.36
are not AWS's: they follow its rule (14 months of standard support, 12 more of extended) from an assumed release.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import ec2, eks, iam

from sandbox_aws import dispatch, kms
from sandbox_aws.answers import as_json, json_error
from sandbox_aws.state import RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_aws.answers import Answer


@dataclass(frozen=True)
class _Version:
    number: str
    released: date
    standard_until: date
    extended_until: date

    def status(self, today: date) -> str:
        if today <= self.standard_until:
            return "STANDARD_SUPPORT"
        return "EXTENDED_SUPPORT" if today <= self.extended_until else "UNSUPPORTED"


_DEFAULT = "1.35"
_VERSIONS = (
    _Version("1.36", date(2026, 6, 2), date(2027, 8, 2), date(2028, 8, 2)),
    _Version("1.35", date(2026, 1, 27), date(2027, 3, 27), date(2028, 3, 27)),
    _Version("1.34", date(2025, 10, 2), date(2026, 12, 2), date(2027, 12, 2)),
    _Version("1.33", date(2025, 5, 29), date(2026, 7, 29), date(2027, 7, 29)),
    _Version("1.32", date(2025, 1, 23), date(2026, 3, 23), date(2027, 3, 23)),
    _Version("1.31", date(2024, 9, 26), date(2025, 11, 26), date(2026, 11, 26)),
    _Version("1.30", date(2024, 5, 23), date(2025, 7, 23), date(2026, 7, 23)),
)


def default_version() -> str:
    """Return the default version of a new cluster."""
    return _DEFAULT


def offered(version: str) -> bool:
    """Whether a cluster of this version can be made today."""
    return any(entry.number == version and entry.status(_today()) != "UNSUPPORTED" for entry in _VERSIONS)


def minor(version: str) -> int:
    """Return the number after the dot."""
    return int(version.partition(".")[2])


def describe_versions(query: dict[str, Any]) -> Answer:
    """DescribeClusterVersions: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeClusterVersions.html."""
    numbers = query.get("clusterVersions", [])
    status = (query.get("versionStatus") or query.get("status") or [""])[0].upper().replace("-", "_")
    only_default = (query.get("defaultOnly") or ["false"])[0] == "true"
    everything = (query.get("includeAll") or ["false"])[0] == "true"
    documents = []
    for version in _VERSIONS:
        now = version.status(_today())
        if (numbers and version.number not in numbers) or (status and now != status):
            continue
        if only_default and version.number != _DEFAULT:
            continue
        if now == "UNSUPPORTED" and not (everything or numbers or status):
            continue
        documents.append(_version_document(version, now))
    return as_json({"clusterVersions": documents})


def _version_document(version: _Version, status: str) -> dict[str, Any]:
    return {
        "clusterVersion": version.number,
        "clusterType": "eks",
        "defaultPlatformVersion": "eks.1",
        "defaultVersion": version.number == _DEFAULT,
        "releaseDate": _epoch(version.released),
        "endOfStandardSupportDate": _epoch(version.standard_until),
        "endOfExtendedSupportDate": _epoch(version.extended_until),
        "status": status.lower(),
        "versionStatus": status,
        "kubernetesPatchVersion": f"{version.number}.0",
    }


def _epoch(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _today() -> date:
    return datetime.now(UTC).date()


_NAME = re.compile(r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}")
_STATUS = ("CREATING", "ACTIVE", "FAILED")
_KEPT = (
    "computeConfig",
    "storageConfig",
    "upgradePolicy",
    "zonalShiftConfig",
    "remoteNetworkConfig",
    "controlPlaneScalingConfig",
)
_LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
AUTO_MODE_WRONG = (
    "For EKS Auto Mode, please ensure that all required configs, including computeConfig, kubernetesNetworkConfig, and "
    "blockStorage are all either fully enabled or fully disabled."
)


def create(request: dict[str, Any], creator: str, access_key: str) -> Answer:
    """CreateCluster: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html."""
    name = request.get("name", "")
    if not _NAME.fullmatch(name):
        return _invalid("The cluster name must start with a letter or number and hold letters, numbers, - and _ only.")
    if name in eks._clusters:
        return json_error(409, "ResourceInUseException", f"Cluster already exists with name: {name}")
    wrong = next(_problems(request), None)
    if wrong is not None:
        return _invalid(wrong)
    if (denied := _key_refused(request, access_key)) is not None:
        return denied
    cluster = _record(request, creator)
    eks._clusters[name] = cluster
    if cluster["tags"]:
        eks._tags[cluster["arn"]] = dict(cluster["tags"])
    eks._bootstrap_creator_access_entry(name, cluster, creator)
    dispatch.CHANGE.get().service = None  # the security group is EC2's
    return as_json({"cluster": eks._sanitize(cluster)})


def _problems(request: dict[str, Any]) -> Iterator[str]:
    """Yield EKS's reasons to refuse the request, in its order."""
    role = request.get("roleArn", "")
    stored = iam._roles.get(role.rpartition("/")[2])
    if stored is None or stored["Arn"] != role:
        yield f"Role with arn: {role}, could not be assumed because it does not exist or the trusted entity is not correct"
    version = request.get("version")
    if version is not None and not offered(version):
        yield f"unsupported Kubernetes version {version}"
    network = request.get("resourcesVpcConfig", {})
    identifiers = network.get("subnetIds", [])
    for missing in [subnet for subnet in identifiers if subnet not in ec2._subnets]:
        yield f"The subnet ID '{missing}' does not exist"
    subnets = [ec2._subnets[subnet] for subnet in identifiers if subnet in ec2._subnets]
    if len({subnet["AvailabilityZone"] for subnet in subnets}) < 2:  # noqa: PLR2004 - AWS's rule
        yield "Subnets specified must be in at least two different AZs"
    if len({subnet["VpcId"] for subnet in subnets}) > 1:
        yield "Subnets specified must belong to the same VPC"
    if not (network.get("endpointPublicAccess", True) or network.get("endpointPrivateAccess", False)):
        yield "Private and public endpoint access cannot both be disabled"
    if not auto_mode_consistent(request):
        yield AUTO_MODE_WRONG
    if auto_mode(request) and request.get("bootstrapSelfManagedAddons", True):
        yield "bootstrapSelfManagedAddons must be false when EKS Auto Mode is enabled"


def _key_refused(request: dict[str, Any], access_key: str) -> Answer | None:
    """Refuse a key of secrets if it does not exist or the caller may not grant its use; None accepts it."""
    for config in request.get("encryptionConfig", []):
        arn = config.get("provider", {}).get("keyArn", "")
        key = kms.find(arn, get_account_id()) if arn.startswith("arn:") else None
        if key is None or key["KeyState"] != "Enabled":
            return _invalid(f"Invalid keyArn {arn}: the key does not exist or is not enabled")
        for action in ("kms:DescribeKey", "kms:CreateGrant"):
            reason = kms.refused(access_key, action, key, "eks", {})
            if reason is not None:
                return json_error(403, "AccessDeniedException", reason)
    return None


def auto_mode(cluster: dict[str, Any]) -> bool:
    """Whether a record or a request switches Auto Mode's nodes on."""
    return bool(cluster.get("computeConfig", {}).get("enabled", False))


def auto_mode_consistent(cluster: dict[str, Any]) -> bool:
    """Whether the three switches of Auto Mode agree."""
    balancing = cluster.get("kubernetesNetworkConfig", {}).get("elasticLoadBalancing", {}).get("enabled", False)
    storage = cluster.get("storageConfig", {}).get("blockStorage", {}).get("enabled", False)
    return {auto_mode(cluster), bool(balancing), bool(storage)} in ({True}, {False})


def _record(request: dict[str, Any], creator: str) -> dict[str, Any]:
    name, account = request["name"], get_account_id()
    access = request.get("accessConfig", {})
    kubernetes = request.get("kubernetesNetworkConfig", {})
    record = {
        "name": name,
        "arn": f"arn:aws:eks:{get_region()}:{account}:cluster/{name}",
        "createdAt": int(time.time()),
        "version": request.get("version") or default_version(),
        "roleArn": request["roleArn"],
        "resourcesVpcConfig": _network(name, request["resourcesVpcConfig"]),
        "kubernetesNetworkConfig": {
            "serviceIpv4Cidr": kubernetes.get("serviceIpv4Cidr", "10.100.0.0/16"),
            "ipFamily": kubernetes.get("ipFamily", "ipv4"),
            "elasticLoadBalancing": kubernetes.get("elasticLoadBalancing", {"enabled": False}),
        },
        "logging": logging_of(request.get("logging", {}), []),
        "identity": {"oidc": {"issuer": eks._issuer_url(eks._new_oidc_id())}},
        "status": "CREATING",
        "certificateAuthority": {},
        "platformVersion": "eks.1",
        "tags": request.get("tags", {}),
        "encryptionConfig": request.get("encryptionConfig", []),
        "accessConfig": {
            "authenticationMode": access.get("authenticationMode", "CONFIG_MAP"),
            "bootstrapClusterCreatorAdminPermissions": access.get("bootstrapClusterCreatorAdminPermissions", True),
        },
        "deletionProtection": request.get("deletionProtection", False),
        "health": {"issues": []},
        "_creator_arn": creator,
        "_auth_token": secrets.token_urlsafe(32),
        "_docker_id": None,
    }
    defaults = {"upgradePolicy": {"supportType": "EXTENDED"}}
    return record | defaults | {field: request[field] for field in _KEPT if field in request}


def _network(name: str, request: dict[str, Any]) -> dict[str, Any]:
    vpc = ec2._subnets[request["subnetIds"][0]]["VpcId"]
    return {
        "subnetIds": request["subnetIds"],
        "securityGroupIds": request.get("securityGroupIds", []),
        "clusterSecurityGroupId": _security_group(name, vpc),
        "vpcId": vpc,
        "endpointPublicAccess": request.get("endpointPublicAccess", True),
        "endpointPrivateAccess": request.get("endpointPrivateAccess", False),
        "publicAccessCidrs": request.get("publicAccessCidrs") or ["0.0.0.0/0"],
    }


def logging_of(request: dict[str, Any], enabled: list[str]) -> dict[str, Any]:
    """Return the record's log set-up after a request: enabled types, then disabled types, as AWS lists them."""
    on = set(enabled)
    for group in request.get("clusterLogging", []):
        (on.update if group.get("enabled") else on.difference_update)(group.get("types", []))
    groups = [{"types": [log for log in _LOGS if (log in on) is state], "enabled": state} for state in (True, False)]
    return {"clusterLogging": [group for group in groups if group["types"]]}


def _security_group(name: str, vpc: str) -> str:
    """Make EKS's security group of a cluster, open within itself."""
    group = f"eks-cluster-sg-{name}-{secrets.randbelow(10**9)}"
    description = "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, as well as any managed workloads."
    ec2._ensure_defaults_initialized()
    ec2._create_security_group({"GroupName": [group], "GroupDescription": [description], "VpcId": [vpc]})
    identifier = next(key for key, stored in ec2._security_groups.items() if stored["GroupName"] == group)
    within = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": identifier, "UserId": get_account_id()}]}
    ec2._security_groups[identifier]["IpPermissions"] = [
        {**within, "IpRanges": [], "Ipv6Ranges": [], "PrefixListIds": []}
    ]
    ec2._tags[identifier] = [{"Key": "aws:eks:cluster-name", "Value": name}, {"Key": "Name", "Value": group}]
    return str(identifier)


def protected(original: Any) -> Any:
    """DeleteCluster: refused under deletion protection and with node groups; also deletes the security group."""

    def delete(name: str) -> Answer:
        cluster = eks._clusters.get(name)
        if cluster is not None and cluster.get("deletionProtection"):
            message = f"Cluster {name} has deletion protection enabled. Disable deletion protection before deleting it."
            return json_error(400, "InvalidRequestException", message)
        if cluster is not None and any(key.startswith(f"{name}/") for key in eks._nodegroups):
            return json_error(409, "ResourceInUseException", f"Cluster has nodegroups attached: {name}")
        answer: Answer = original(name)
        if cluster is not None:
            group = cluster["resourcesVpcConfig"]["clusterSecurityGroupId"]
            ec2._security_groups.pop(group, None)
            ec2._tags.pop(group, None)
            RECORDS.issuers.pop(cluster["identity"]["oidc"]["issuer"], None)
            dispatch.CHANGE.get().service = None
        return answer

    return delete


def listing() -> list[dict[str, Any]]:
    """Return every cluster of every account, for the supervisor."""
    return [
        {
            "account": account,
            "region": region,
            "name": name,
            "arn": cluster["arn"],
            "version": cluster["version"],
            "status": cluster["status"],
            "issuer": cluster["identity"]["oidc"]["issuer"],
            "service_cidr": cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"],
            "auth_token": cluster["_auth_token"],
            "endpoint": cluster.get("endpoint", ""),
            "access_version": _access_version(account, region, name),
        }
        for (account, region, name), cluster in sorted(eks._clusters.all_items(), key=lambda item: str(item[0]))
    ]


def _access_version(account: str, region: str, name: str) -> str:
    """Return a fingerprint of the cluster's access entries and their policies."""
    parts = [
        (str(key), {field: value for field, value in stored.items() if not field.endswith("At")})
        for store in (eks._access_entries, eks._access_policies)
        for (owner, where, key), stored in store.all_items()
        if (owner, where) == (account, region) and str(key).startswith(f"{name}\x00")
    ]
    return hashlib.sha256(json.dumps(sorted(parts, key=lambda part: part[0]), sort_keys=True).encode()).hexdigest()[:16]


def rbac(account: str, region: str, name: str, namespaces: list[str]) -> list[dict[str, Any]]:
    """Return the RBAC objects of the cluster's access policies for these namespaces."""
    objects = eks._access_policy_rbac_objects(name, account, region, namespaces)
    for rbac_object in objects:
        metadata = rbac_object["metadata"]
        metadata["labels"] = {**metadata["labels"], eks._ACCESS_POLICY_BINDING_LABEL: "true"}
    return list(objects)


def report(account: str, region: str, name: str, condition: dict[str, Any]) -> bool:
    """Write the supervisor's report about a control plane into the record; False if the cluster does not exist.

    Raises:
        ValueError: The status is unknown.
    """
    cluster = eks._clusters.get_scoped(account, region, name)
    if cluster is None:
        return False
    if condition["status"] not in _STATUS:
        raise ValueError(f"status {condition['status']!r} is none of {', '.join(_STATUS)}")
    with request_scope(account, region):
        cluster["status"] = condition["status"]
        cluster["endpoint"] = condition.get("endpoint", cluster.get("endpoint", ""))
        if "certificate_authority" in condition:
            cluster["certificateAuthority"] = {"data": condition["certificate_authority"]}
        if "jwks" in condition:
            RECORDS.issuers[cluster["identity"]["oidc"]["issuer"]] = condition["jwks"]
    return True


def _invalid(message: str) -> Answer:
    return json_error(400, "InvalidParameterException", message)
