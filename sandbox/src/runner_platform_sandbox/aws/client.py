"""Client of the AWS server's control routes: organisation, issuers, clusters and machines. AWS's own APIs are called with botocore."""

from __future__ import annotations

from dataclasses import dataclass, fields
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECONDS = 10.0


class AwsAdminError(SandboxError):
    """The AWS server refused a control request, or does not run."""


@dataclass(frozen=True, kw_only=True)
class EksCluster:
    """An EKS cluster as the AWS server keeps it."""

    account: str
    region: str
    name: str
    arn: str
    version: str
    """Kubernetes minor version, such as 1.35."""
    status: str
    """CREATING until `AwsAdmin.report` sets ACTIVE or FAILED."""
    issuer: str
    """Issuer of service-account tokens; its last part is the cluster's unique id."""
    service_cidr: str
    auth_token: str
    """Secret part of the path of the authentication webhook."""
    endpoint: str
    """URL of the API server, empty until reported."""
    access_version: str
    """Changes with every change of the cluster's access entries and their policies."""

    @property
    def id(self) -> str:
        """The cluster's unique id; a later cluster of the same name has another."""
        return self.issuer.rpartition("/")[2]


class AwsAdmin:
    """Client of the control routes on the deployer's listener, such as http://127.0.0.1:4566."""

    def __init__(self, base_url: str) -> None:
        self._base = base_url.rstrip("/")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands between here and loopback

    def ready(self, pid: int | None = None) -> bool:
        """Whether the server answers. With `pid`, it must be that process: another program may have the port."""
        try:
            answer = self._session.get(f"{self._base}/_sandbox/health", timeout=_SECONDS)
            health = answer.json() if answer.status_code == HTTPStatus.OK else {}
        except (requests.RequestException, ValueError):
            return False
        return health.get("ready") is True and pid in {None, health.get("pid")}

    def organization(self, declared: Mapping[str, Any]) -> None:
        """Declare the organisation: its member accounts and the roles in every account. Idempotent.

        Args:
            declared: `id` (such as o-example1234), `region`, `partition` (only `aws` exists in the sandbox),
                `management` (id of the management account), `accounts` (names to 12-digit ids), `people` (optional:
                ARNs of roles in the stack files; they are made so that the management account may assume them).
        """
        self._call("PUT", "/_sandbox/organization", declared)

    def issuer(self, issuer: str, jwks: Mapping[str, Any]) -> None:
        """Declare the keys that verify an issuer's web-identity tokens."""
        self._call("PUT", "/_sandbox/issuers", {"issuer": issuer, "jwks": dict(jwks)})

    def clusters(self) -> list[EksCluster]:
        """Return every cluster of every account."""
        names = [field.name for field in fields(EksCluster)]
        records = self._call("GET", "/_sandbox/clusters")
        return [EksCluster(**{name: record[name] for name in names}) for record in records]

    def report(self, cluster: EksCluster, condition: Mapping[str, Any]) -> None:
        """Report the condition of a cluster's control plane.

        Args:
            cluster: The cluster.
            condition: `status` (ACTIVE, CREATING or FAILED) and optionally `endpoint` (URL of the API server),
                `certificate_authority` (PEM in base64), `jwks` (keys of service-account tokens).

        Raises:
            AwsAdminError: The cluster is gone, or the server does not answer.
        """
        self._call("PUT", _route(cluster), condition)

    def rbac(self, cluster: EksCluster, namespaces: Iterable[str]) -> list[dict[str, Any]]:
        """Return the RBAC manifests of the cluster's access policies for these namespaces."""
        return list(self._call("GET", f"{_route(cluster)}/rbac?namespaces={','.join(namespaces)}"))

    def machine(self, operation: str, **fields: str) -> dict[str, Any]:
        """Ask what EC2 tells a machine, or ECS a task.

        Args:
            operation: `attach` (with `group`) makes a machine out of an instance in service, `look` (with `group`) only describes one; `state`, `credentials` and
                `detach` take the `instance`; `task` (with `cluster` and `definition`) starts a task.
            fields: `account` and `region`, and what the operation names.

        Raises:
            AwsAdminError: The group has no instance in service without a machine, the instance is gone, or the task's
                role does not trust ECS.
        """
        return dict(self._call("POST", f"/_sandbox/machines/{operation}", fields))

    def save(self) -> None:
        """Write the whole state to disk now. Changes through AWS's APIs are written at once without it."""
        self._call("POST", "/_sandbox/save")

    def _call(self, method: str, route: str, body: Mapping[str, Any] | None = None) -> Any:
        try:
            answer = self._session.request(method, self._base + route, json=body, timeout=_SECONDS)
        except requests.RequestException as error:
            raise AwsAdminError(
                f"no AWS server answers at {self._base}: {error}", "start the sandbox: `runner-platform sandbox start`"
            ) from error
        if answer.status_code != HTTPStatus.OK:
            raise AwsAdminError(f"{method} {route}: {answer.status_code} {answer.text}")
        return answer.json()


def _route(cluster: EksCluster) -> str:
    return f"/_sandbox/clusters/{cluster.account}/{cluster.region}/{cluster.name}"
