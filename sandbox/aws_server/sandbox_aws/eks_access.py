"""Access to a cluster: access entries, access policies, and the tokens of `aws eks get-token`.

MiniStack accepts any principal, has no entries of type EC2 (Auto Mode's nodes), and ties policies to STANDARD entries
only. A policy's rights inside the cluster come from MiniStack's own table; the Kubernetes part applies them.

A token is a signed URL of STS. With an endpoint variable in the caller's environment the URL names this server, and
MiniStack's authenticator refuses it. Here our own address stands for the regional STS; the signature, which covers the real
host, is still checked.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from ministack.services import eks, iam

from sandbox_aws.answers import as_json, json_error
from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer


_SESSION = "{{SessionName}}"
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(role|user)/(?:.*/)?([\w+=,.@-]+)")
_TYPES = ("STANDARD", "EC2", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX", "HYPERPOD_LINUX")
_WITH_POLICIES = ("STANDARD", "EC2")
_PREFIX = "arn:aws:eks::aws:cluster-access-policy/"
_POLICIES = (
    "AmazonEKSAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSAutoNodePolicy",
    "AmazonEKSBlockStorageClusterPolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSComputeClusterPolicy",
    "AmazonEKSComputePolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSHybridPolicy",
    "AmazonEKSLoadBalancingClusterPolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingClusterPolicy",
    "AmazonEKSNetworkingPolicy",
    "AmazonEKSViewPolicy",
)


def install() -> None:
    """Put the checks in front of MiniStack's operations."""
    replace("services.eks", "_VALID_ACCESS_ENTRY_TYPES", lambda _original: _TYPES)
    replace("services.eks", "_create_access_entry", _create)
    replace("services.eks", "_associate_access_policy", _associate)
    replace("services.eks", "_access_entry_for_principal", _named)
    replace("services.eks", "_decode_aws_iam_token", _with_our_address)


def list_policies() -> Answer:
    """ListAccessPolicies: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html."""
    return as_json({"accessPolicies": [{"name": name, "arn": _PREFIX + name} for name in _POLICIES]})


def _create(original: Any) -> Any:
    def create(cluster: str, request: dict[str, Any]) -> Answer:
        record = eks._clusters.get(cluster)
        if record is not None and record["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            return json_error(
                400,
                "InvalidRequestException",
                "The cluster's authentication mode must be set to one of "
                "[API, API_AND_CONFIG_MAP] to perform this operation.",
            )
        principal, kind = request.get("principalArn", ""), request.get("type", "STANDARD")
        if record is not None and not _exists(principal):
            return _invalid("The specified principalArn is invalid: invalid principal.")
        groups = request.get("kubernetesGroups", [])
        if any(group.startswith(("system:", "eks:", "aws:", "amazon:", "iam:")) for group in groups):
            return _invalid(f"The kubernetes group name {groups[0]} is invalid: it cannot start with a reserved prefix")
        if kind != "STANDARD" and (groups or request.get("username")):
            return _invalid(f"Cannot set username or kubernetesGroups for an access entry of type {kind}")
        answer: Answer = original(cluster, {**request, **_defaults(principal, kind, request)})
        return answer

    return create


def _defaults(principal: str, kind: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return EKS's default user name and groups."""
    if kind == "EC2":
        return {"username": "system:node:{{EC2PrivateDNSName}}", "kubernetesGroups": ["system:nodes"]}
    if kind in {"EC2_LINUX", "EC2_WINDOWS"}:
        return {
            "username": "system:node:{{EC2PrivateDNSName}}",
            "kubernetesGroups": ["system:bootstrappers", "system:nodes"],
        }
    if request.get("username"):
        return {}
    match = _PRINCIPAL.fullmatch(principal)
    if match is None or match[2] == "user":
        return {"username": principal}
    return {"username": f"arn:aws:sts::{match[1]}:assumed-role/{match[3]}/{_SESSION}"}


def _associate(original: Any) -> Any:
    def associate(cluster: str, principal: str, request: dict[str, Any]) -> Answer:
        policy = request.get("policyArn", "")
        if policy.removeprefix(_PREFIX) not in _POLICIES or not policy.startswith(_PREFIX):
            return json_error(404, "ResourceNotFoundException", f"The specified policyArn could not be found: {policy}")
        entry = eks._access_entries.get(eks._ae_key(cluster, principal))
        if entry is None or entry["type"] not in _WITH_POLICIES:
            refused: Answer = original(cluster, principal, request)
            return refused
        kind, entry["type"] = entry["type"], "STANDARD"  # MiniStack demands this type
        try:
            answer: Answer = original(cluster, principal, request)
        finally:
            entry["type"] = kind
        return answer

    return associate


def _named(original: Any) -> Any:
    """Put the session's name into the user name, as EKS's authenticator does."""

    def find(cluster: str, account: str, region: str, principal: str) -> dict[str, Any] | None:
        entry = original(cluster, account, region, principal)
        if entry is None or entry["type"] != "STANDARD":
            return None  # a node's entry lets nodes in, not other holders of its role
        session = principal.rpartition("/")[2].replace("@", "-")
        return {**entry, "username": entry["username"].replace(_SESSION, session)}

    return find


def _exists(principal: str) -> bool:
    """Whether IAM has exactly this role or user."""
    match = _PRINCIPAL.fullmatch(principal)
    if match is None:
        return False
    account, kind, name = match.groups()
    stored = (iam._roles if kind == "role" else iam._users).get_scoped(account, None, name)
    return stored is not None and stored["Arn"] == principal


def _invalid(message: str) -> Answer:
    return json_error(400, "InvalidParameterException", message)


_LARGEST = 16384


@dataclass(frozen=True)
class _Url:
    """The parts of a URL that the authenticator reads."""

    netloc: str
    """The signed host."""
    hostname: str
    """The host that the authenticator expects."""
    scheme: str = "https"
    path: str = "/"


def _with_our_address(original: Any) -> Any:
    ours = {
        f"{host}:{os.environ[port]}"
        for host in ("127.0.0.1", "localhost")
        for port in ("GATEWAY_PORT", "SANDBOX_JOBS_PORT")
    }

    def decode(token: object) -> tuple[Any, dict[str, list[str]]] | None:
        prefix = eks._EKS_TOKEN_PREFIX
        if not isinstance(token, str) or len(token) > _LARGEST or not token.startswith(prefix):
            return None
        encoded = token[len(prefix) :]
        try:
            url = urlsplit(base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode())
        except ValueError:
            return None
        if url.scheme != "http" or url.netloc not in ours or url.path not in {"", "/"}:
            result: tuple[Any, dict[str, list[str]]] | None = original(token)
            return result
        query = parse_qs(url.query, keep_blank_values=True)
        scope = query.get("X-Amz-Credential", [""])[0].split("/")
        if any(len(values) != 1 for values in query.values()) or len(scope) != 5:  # noqa: PLR2004 - fields of a scope
            return None
        return _Url(netloc=url.netloc, hostname=f"sts.{scope[2]}.amazonaws.com"), query

    return decode
