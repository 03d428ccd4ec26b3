"""config.toml of machine classes: existing keys, sizes that fit, and isolation of jobs."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from components.documents.disruption import disruption
from components.documents.machines.config import CONNECT_TIMEOUT, config_toml
from config.machine_types import machine_type
from config.runner_checks import RESERVED_MIB
from tests.support.machine_classes import AUTOSCALER, BY_EXECUTOR, DOCKER, PROTECTED, machine_class

DATA = Path(__file__).parents[3] / "data"
KEYS: dict[str, Any] = json.loads((DATA / "runner-config-keys.json").read_text())["config"]
FREE = ("runners.feature_flags", "runners.autoscaler.plugin_config")
"""Tables whose keys are not of the runner's own structure."""
MANAGERS = pytest.mark.parametrize("values", BY_EXECUTOR.values(), ids=BY_EXECUTOR)
JOBS_IN_DOCKER = pytest.mark.parametrize("values", [DOCKER, AUTOSCALER], ids=["docker", "docker-autoscaler"])
VARIANTS = [
    *BY_EXECUTOR.values(),
    {**DOCKER, **PROTECTED},
    {**AUTOSCALER, **PROTECTED},
    {**AUTOSCALER, "capacity": 2, "uses": 9, "spot": True},
]


def document(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return tomllib.loads(config_toml(machine_class(values, **changes)))


def runner(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    (section,) = document(values, **changes)["runners"]
    return dict(section)


def unknown(values: dict[str, Any], keys: dict[str, Any], path: str = "") -> list[str]:
    """Return the paths that the runner's structures do not have; it ignores them silently."""
    paths = []
    for key, value in values.items():
        where = f"{path}{key}"
        if key not in keys:
            paths.append(where)
        elif where not in FREE:
            inner = keys[key].get("keys")
            for item in value if isinstance(value, list) else [value]:
                paths += unknown(item, inner, f"{where}.") if isinstance(item, dict) else []
    return paths


@pytest.mark.parametrize("number", range(len(VARIANTS)))
def test_every_key_is_one_that_the_runner_reads(number: int) -> None:
    assert unknown(document(VARIANTS[number]), KEYS) == []
    assert unknown({"runners": [{"docker": {"privilege": True}}]}, KEYS) == ["runners.docker.privilege"]


@MANAGERS
def test_the_runner_waits_for_its_jobs_when_it_is_stopped(values: dict[str, Any]) -> None:
    grace = disruption(machine_class(values).runner.longest_job).manager_grace
    assert document(values)["shutdown_timeout"] == grace


@pytest.mark.parametrize(("values", "jobs"), [(DOCKER, 4), ({**AUTOSCALER, "capacity": 2, "uses": 5}, 20)])
def test_the_runner_takes_as_many_jobs_as_the_class_says(values: dict[str, Any], jobs: int) -> None:
    assert document(values)["concurrent"] == runner(values)["limit"] == jobs


@JOBS_IN_DOCKER
def test_jobs_share_a_machine_but_nothing_on_it(values: dict[str, Any]) -> None:
    docker = runner(values)["docker"]
    assert docker["privileged"] is False
    assert docker["disable_cache"] is True
    assert docker["security_opt"] == docker["services_security_opt"] == ["no-new-privileges:true"]
    assert not [volume for volume in docker.get("volumes", ()) if "docker.sock" in volume]
    flags = runner(values)["feature_flags"]
    assert flags["FF_NETWORK_PER_BUILD"] is True
    assert flags["FF_CONCRETE"] is flags["FF_SUSPENDABLE_ENVIRONMENTS"] is False, "else a job's variables turn them on"


def mib(text: str) -> int:
    assert text.endswith("m")
    return int(text[:-1])


@pytest.mark.parametrize(
    ("values", "type_name", "jobs"),
    [
        (DOCKER, "t3.large", 4),
        ({**DOCKER, "instance": "t3.small", "concurrent": 2}, "t3.small", 2),
        (AUTOSCALER, "m6i.large", 1),
        (
            {**AUTOSCALER, "instances": {"types": ["m7i.2xlarge", "c7i.large"]}, "capacity": 3, "uses": 3},
            "c7i.large",
            3,
        ),
    ],
)
def test_the_memory_of_all_jobs_fits_the_smallest_machine(values: dict[str, Any], type_name: str, jobs: int) -> None:
    docker = runner(values)["docker"]
    machine = machine_type(type_name)
    assert machine is not None
    share = mib(docker["memory"]) + mib(docker["service_memory"])
    assert share * jobs <= machine.memory_mib - RESERVED_MIB
    assert share * jobs > (machine.memory_mib - RESERVED_MIB) * 0.95, "and uses it"
    assert docker["memory_swap"] == docker["memory"], "else a job gets as much swap again"


def test_the_plugin_scales_the_group_of_the_workers() -> None:
    settings = machine_class(AUTOSCALER, capacity=2, uses=7)
    autoscaler = runner(AUTOSCALER, capacity=2, uses=7)["autoscaler"]
    assert autoscaler["plugin_config"] == {"name": settings.names.worker_group("medium")}
    assert (autoscaler["max_instances"], autoscaler["capacity_per_instance"], autoscaler["max_use_count"]) == (10, 2, 7)
    assert autoscaler["connector_config"]["timeout"] == CONNECT_TIMEOUT == "2m", "a lost host is found in three tries"
    assert autoscaler["plugin"].partition(":")[2].count(".") == 2, "one version, not a series"


def test_a_fargate_manager_has_no_docker() -> None:
    assert not {"docker", "autoscaler"} & set(runner(BY_EXECUTOR["fargate"]))


@MANAGERS
def test_no_token_is_written(values: dict[str, Any]) -> None:
    assert "token" not in runner(values)
