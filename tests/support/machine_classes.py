"""Runner classes on EC2 machines for tests: one of each executor, and with everything that makes their documents longer."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.support.certificate import certificate
from tests.support.program import parsed, raw

if TYPE_CHECKING:
    from config.settings import MachineClassSettings

DOCKER = {"executor": "docker", "level": "open", "instance": "t3.large", "concurrent": 4, "longest_job": "1h"}
AUTOSCALER = {
    "executor": "docker-autoscaler",
    "level": "open",
    "instances": {"types": ["m7i.large", "m6i.large"]},
    "max_instances": 10,
    "longest_job": "1h",
}
FARGATE = {"executor": "fargate", "level": "open", "cpu": "4", "memory": "16Gi", "concurrent": 10, "longest_job": "2h"}
BY_EXECUTOR: dict[str, dict[str, Any]] = {"docker": DOCKER, "docker-autoscaler": AUTOSCALER, "fargate": FARGATE}
PROTECTED = {"level": "protected", "project": "5678"}


def stack_of_machines(network: dict[str, Any] | None = None, **classes: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of dev with machine classes only, and without the cluster's keys."""
    stack = raw("dev")
    stack["runners"] = classes
    stack["network"] |= network or {}
    return {key: value for key, value in stack.items() if key not in {"cluster", "chart"}}


def machine_class(values: dict[str, Any], **changes: Any) -> MachineClassSettings:
    """Return the settings of a class `medium`; a changed key `None` is dropped."""
    runner = {key: value for key, value in {**values, **changes}.items() if value is not None}
    settings: MachineClassSettings = parsed(stack_of_machines(medium=runner)).machine_classes["medium"]
    return settings


@cache
def certificates(size: int) -> str:
    """Return the PEM of different certificates, so many bytes or a little more."""
    text = ""
    while len(text) < size:
        text += certificate(f"ca-{len(text)}.example.com")
    return text
