"""Settings of the executors: what each class may say, and what is refused with path, value and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from config.runners import MODELS, KubernetesRunner, Runner, refusals_of
from tests.support.machine_classes import AUTOSCALER, BY_EXECUTOR, DOCKER, FARGATE
from tests.support.program import complaints, parsed, raw


def with_class(values: dict[str, Any], **changes: object) -> dict[str, Any]:
    """Return the settings of dev with class `small` replaced."""
    stack = raw("dev")
    stack["runners"]["small"] = {key: value for key, value in {**values, **changes}.items() if value is not None}
    return stack


def without_kubernetes(**classes: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of dev with machine classes only, and without the cluster's keys."""
    stack = raw("dev")
    stack["runners"] = classes
    return {key: value for key, value in stack.items() if key not in {"cluster", "chart"}}


@pytest.mark.parametrize("values", BY_EXECUTOR.values(), ids=BY_EXECUTOR)
def test_a_class_of_each_executor_parses_beside_the_others(values: dict[str, Any]) -> None:
    settings = parsed(with_class(values))
    assert settings.machine_classes["small"].runner.executor == values["executor"]
    assert "small" not in settings.kubernetes_classes
    assert settings.runner_tags("small") == ("small-dev",), "a job's tags do not depend on the executor"


@pytest.mark.parametrize(
    ("values", "jobs"), [(DOCKER, 4), ({**AUTOSCALER, "capacity": 2, "uses": 5}, 20), (FARGATE, 10)]
)
def test_the_number_of_jobs_at_once(values: dict[str, Any], jobs: int) -> None:
    assert parsed(with_class(values)).runners["small"].jobs_at_once == jobs


@pytest.mark.parametrize(
    ("executor", "changes", "path", "words"),
    [
        ("docker", {"instance": "t3.lage"}, "instance", "did you mean 't3.large'?"),
        ("docker", {"instance": "g5.xlarge"}, "instance", "has an accelerator"),
        ("docker", {"instance": "mac2.metal"}, "instance", "is a Mac, bare metal"),
        ("docker", {"instance": "c1.medium", "concurrent": 1}, "instance", "was not offered in eu-central-1"),
        ("docker", {"instance": "small"}, "instance", "'small' is not an instance type"),
        ("docker", {"instance": "i-0123456789abcdef0"}, "instance", "Each class has instances of its own"),
        ("docker", {"concurrent": 40}, "concurrent", "t3.large has 2 vCPU and 8Gi"),
        ("docker", {"instance": "t3.nano"}, "concurrent", "choose a larger type"),
        ("docker", {"spot": True}, "spot", "use executor: docker-autoscaler"),
        ("docker", {"cpu": "2"}, "cpu", "choose instance and concurrent"),
        ("docker", {"pod_security": "restricted"}, "pod_security", "belongs to executor kubernetes"),
        ("docker", {"disk": "8Gi"}, "disk", "8Gi is no size of a machine's disk; write whole Gi from 20Gi to 16Ti"),
        ("docker-autoscaler", {"spot": True, "longest_job": "2h"}, "spot", "lower it to 1h or less"),
        ("docker-autoscaler", {"capacity": 4}, "", "has capacity 4 and uses 1"),
        ("docker-autoscaler", {"concurrent": 4}, "concurrent", "follows from max_instances and capacity"),
        ("docker-autoscaler", {"capacity": 9, "uses": 9}, "capacity", "m7i.large has 2 vCPU and 8Gi"),
        ("docker-autoscaler", {"spot": True, "instances": {"types": ["u-6tb1.56xlarge"]}}, "instances.types.0", "is not sold as spot capacity; drop spot"),
        ("docker-autoscaler", {"instances": {"types": []}}, "instances.types", "list at least 1"),
        ("docker-autoscaler", {"instances": {"types": ["m7i.large", "m7g.large"]}}, "instances.types", "'m7g.large' is arm64"),
        ("docker-autoscaler", {"instances": {"types": ["m7i.large", "m99.large"]}}, "instances.types.1", "'m99.large' is no instance type"),
        ("docker-autoscaler", {"instances": {"types": ["m7i.large", "m7i.large"]}}, "instances.types", "twice"),
        ("fargate", {"builder": "plain"}, "builder", "use executor: kubernetes or docker"),
        ("fargate", {"spot": True}, "spot", "use executor: docker-autoscaler"),
        ("fargate", {"cpu": "3"}, "", "has cpu '3'"),
        ("fargate", {"memory": "31Gi"}, "", "write memory: 30Gi"),
        ("fargate", {"disk": "20Gi"}, "disk", "write whole Gi from 21Gi to 200Gi"),
        ("fargate", {"manager": "t3.lage"}, "manager", "did you mean 't3.large'?"),
        ("fargate", {"executor": "lambda"}, "", "has executor 'lambda'; write one of kubernetes, docker, docker-autoscaler, fargate"),
    ],
)  # fmt: skip
def test_a_wrong_class_is_refused_with_path_value_and_remedy(
    executor: str, changes: dict[str, Any], path: str, words: str
) -> None:
    found = complaints(with_class(BY_EXECUTOR[executor], **changes))
    assert list(found) == [f"runners.small.{path}".rstrip(".")]
    assert words in next(iter(found.values()))


@pytest.mark.parametrize("key", ["cluster", "chart"])
def test_a_class_on_kubernetes_needs_the_cluster_and_its_chart(key: str) -> None:
    values = raw("dev")
    del values[key]
    assert "big, deploy, medium, review, small of runners are of executor kubernetes" in complaints(values)[key]


@pytest.mark.parametrize("key", ["cluster", "chart"])
def test_a_cluster_without_a_class_on_it_is_refused(key: str) -> None:
    values = without_kubernetes(small=DOCKER)
    parsed(values)
    values[key] = raw("dev")[key]
    assert complaints(values) == {key: "is not used, since no class is of executor kubernetes; drop it"}


def test_a_network_without_nat_has_no_pods() -> None:
    values = raw("dev")
    values["network"]["nat"] = "none"
    assert "write nat: single or per-zone" in complaints(values)["network.nat"]
    machines = without_kubernetes(small=DOCKER)
    machines["network"]["nat"] = "none"
    assert parsed(machines).machine_classes["small"].public


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_key_of_another_executor_is_refused_with_a_reason(model: type[Runner]) -> None:
    keys = {key for candidate in MODELS.values() for key in candidate.model_fields}
    assert set(refusals_of(model)) == keys - set(model.model_fields)
    assert set(model.REFUSALS) <= keys


def test_a_class_without_an_executor_is_of_kubernetes() -> None:
    assert isinstance(parsed(raw("dev")).runners["small"], KubernetesRunner)
