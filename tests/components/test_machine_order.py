"""Order of creation, and the reverse order of deletion, of classes on EC2: machines keep what their last jobs need."""

from __future__ import annotations

from functools import cache

import pytest

from tests.components.test_order import closure
from tests.support.machine_classes import AUTOSCALER, DOCKER, FARGATE, stack_of_machines
from tests.support.program import mock_run_of


@cache
def needs() -> dict[str, frozenset[str]]:
    return closure(mock_run_of("dev", stack_of_machines(one=DOCKER, many=AUTOSCALER, tasks=FARGATE)))


@pytest.mark.parametrize(
    "group",
    [
        "one-machines-manager-group",
        "many-machines-manager-group",
        "many-machines-workers-group",
        "tasks-machines-manager-group",
    ],
)
def test_a_group_keeps_its_way_out_and_its_permissions_until_the_last_job(group: str) -> None:
    machines, runner_class = group.removesuffix("-group"), group.partition("-machines")[0] + "-machines"
    expected = {f"{machines}-out", f"{machines}-template", f"{runner_class}-token", f"{runner_class}-logs"}
    expected |= {f"{machines}-profile", "network-s3", "network-public-default"}
    missing = expected - needs()[group]
    assert not missing, f"{group} would drain without {missing}"
    policies = {name for name in needs() if name.startswith(f"{runner_class}-worker-")} if "workers" in group else set()
    assert policies <= needs()[group], "workers assume the job role until their end"


def test_a_manager_ends_before_its_workers() -> None:
    assert {"many-machines-workers-group", "many-machines-manager-ssh"} <= needs()["many-machines-manager-group"], (
        "it reaches them while its last jobs run"
    )
    assert "many-machines-manager-group" not in needs()["many-machines-workers-group"]
    assert "one-machines-workers-group" not in needs()
