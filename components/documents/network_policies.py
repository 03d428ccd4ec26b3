"""Network policies of a class's job pods and manager; the nodes deny everything else.

Jobs accept no connections. They reach the cluster's DNS service and the internet, but not the metadata addresses, the VPC or
the services' network. A manager reaches GitLab, the API server, STS, S3 and DNS. Policies cannot name hosts, so a
manager's rule is by port.
Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERYWHERE = "0.0.0.0/0"
METADATA = ("169.254.169.254/32", "169.254.170.23/32")
"""Instance metadata, and the Pod Identity agent."""
METRICS_PORT = 9252
HTTPS_PORT = 443


def dns_address(service_cidr: str) -> str:
    """Return the address of the cluster's DNS service: the tenth of the services' network."""
    return str(ipaddress.IPv4Network(service_cidr)[10])


def _dns(service_cidr: str) -> dict[str, Any]:
    ports = [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]
    return {"to": [{"ipBlock": {"cidr": f"{dns_address(service_cidr)}/32"}}], "ports": ports}


def jobs_policy(*, service_cidr: str, vpc_cidrs: Sequence[str], endpoint_cidrs: Sequence[str] = ()) -> dict[str, Any]:
    """Return the specification of the policy of a class's job pods.

    Args:
        service_cidr: network of the cluster's services.
        vpc_cidrs: networks of the VPC, closed to jobs.
        endpoint_cidrs: subnets with interface endpoints, reachable at port 443.
    """
    internet = {"ipBlock": {"cidr": EVERYWHERE, "except": [*METADATA, *vpc_cidrs, service_cidr]}}
    egress: list[dict[str, Any]] = [_dns(service_cidr), {"to": [internet]}]
    if endpoint_cidrs:
        egress.append({"to": [{"ipBlock": {"cidr": cidr}} for cidr in endpoint_cidrs], "ports": [_https()]})
    return {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": egress}


def manager_policy(*, service_cidr: str, gitlab_port: int) -> dict[str, Any]:
    """Return the specification of the policy of a class's manager.

    Args:
        service_cidr: network of the cluster's services.
        gitlab_port: port of the GitLab instance.
    """
    ports = [_https()] if gitlab_port == HTTPS_PORT else [_https(), {"protocol": "TCP", "port": gitlab_port}]
    api_and_internet = {"ipBlock": {"cidr": EVERYWHERE, "except": list(METADATA)}}
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": METRICS_PORT}]}],
        "egress": [_dns(service_cidr), {"to": [api_and_internet], "ports": ports}],
    }


def _https() -> dict[str, Any]:
    return {"protocol": "TCP", "port": HTTPS_PORT}
