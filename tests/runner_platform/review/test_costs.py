"""Costs of a change: prices with source and date, and quantities of the stacks."""

from __future__ import annotations

from typing import Any

import pytest

from access.resource import Resource
from runner_platform.review.costs import costs, quantities
from tests.support.program import mock_run

POOL, LOGS = "kubernetes:karpenter.sh/v1:NodePool", "aws:cloudwatch/logGroup:LogGroup"


def resource(token: str, name: str = "it", /, *, options: dict[str, Any] | None = None, **inputs: Any) -> Resource:
    provider = "urn:p::cicd" if token.startswith("aws:") else ""
    urn = f"urn:{token}::{name}"
    return Resource(urn=urn, type=token, name=name, provider=provider, inputs=inputs, **(options or {}))


def pool(cpu: str, memory: str) -> Resource:
    return resource(POOL, metadata={"name": "big"}, spec={"limits": {"cpu": cpu, "memory": memory}})


def test_a_higher_ceiling_costs_its_processors_at_full_load() -> None:
    region = resource("pulumi:providers:aws", region="eu-central-1")
    cpu, memory = costs([region, pool("32", "128Gi")], [region, pool("64", "256Gi")])
    assert (cpu.name, cpu.old, cpu.new, memory.old, memory.new) == ("most vCPU of big", 32, 64, 128, 256)
    assert cpu.amount == pytest.approx(32 * 0.05175 * 1.12), "m6a.large is $0.1035 for 2 vCPU, and Auto Mode 12 % more"
    assert memory.amount is None, "it is in the processors' price"


def test_other_regions_have_counts_without_prices() -> None:
    region = resource("pulumi:providers:aws", region="us-east-1")
    (cost,) = costs([region], [region, resource("aws:ec2/natGateway:NatGateway")])
    assert (cost.old, cost.new, cost.amount) == (None, 1, None)


def test_a_second_gateway_has_a_monthly_price() -> None:
    region = resource("pulumi:providers:aws", region="eu-central-1")
    nats = [resource("aws:ec2/natGateway:NatGateway", name) for name in "ab"]
    (cost,) = costs([region, nats[0]], [region, *nats])
    assert (cost.old, cost.new, cost.per) == (1, 2, "month")
    assert cost.amount == pytest.approx(37.96)


def test_retention_has_days_and_no_price() -> None:
    (cost,) = costs([resource(LOGS, name="/x", retentionInDays=30)], [resource(LOGS, name="/x", retentionInDays=365)])
    assert (cost.old, cost.new, cost.unit, cost.amount) == (30, 365, "days", None)


@pytest.mark.parametrize(("stack", "nats"), [("dev", 1), ("prod", 3)])
def test_the_quantities_of_the_stacks_are_those_of_their_files(stack: str, nats: int) -> None:
    counts = {key[0]: value for key, value in quantities(mock_run(stack).resources).items()}
    assert (counts["NAT gateways"], counts["EKS control planes"]) == (nats, 1)
    assert counts["most vCPU of small"] > 0
