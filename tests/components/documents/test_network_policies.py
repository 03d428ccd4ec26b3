"""Network policies of jobs and managers."""

from __future__ import annotations

import pytest

from components.documents import network_policies


def test_jobs_reach_the_internet_and_no_address_of_the_vpc() -> None:
    policy = network_policies.jobs_policy(
        service_cidr="172.20.0.0/16", vpc_cidrs=["10.40.0.0/16"], endpoint_cidrs=["10.40.9.0/24"]
    )
    dns, internet, endpoints = policy["egress"]
    assert policy["ingress"] == [], "no job accepts a connection"
    assert dns["to"] == [{"ipBlock": {"cidr": "172.20.0.10/32"}}], "DNS is the tenth address of the services' network"
    assert internet["to"][0]["ipBlock"]["except"] == [
        *("169.254.169.254/32", "169.254.170.23/32", "10.40.0.0/16", "172.20.0.0/16"),
    ], "both metadata addresses, the VPC and the services are out of reach"
    assert endpoints == {"to": [{"ipBlock": {"cidr": "10.40.9.0/24"}}], "ports": [{"protocol": "TCP", "port": 443}]}
    assert len(network_policies.jobs_policy(service_cidr="172.20.0.0/16", vpc_cidrs=[])["egress"]) == 2


@pytest.mark.parametrize(("port", "ports"), [(443, [443]), (8443, [443, 8443])])
def test_a_manager_reaches_gitlab_at_its_port(port: int, ports: list[int]) -> None:
    policy = network_policies.manager_policy(service_cidr="172.20.0.0/16", gitlab_port=port)
    assert [port_entry["port"] for port_entry in policy["egress"][1]["ports"]] == ports
    assert policy["egress"][1]["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32", "169.254.170.23/32"]
