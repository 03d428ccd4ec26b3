"""The runner classes of the stack files as test parameters, and their settings."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from components.documents import trust
from config.runners import KubernetesRunner
from tests.support.program import STACKS, parsed, raw

if TYPE_CHECKING:
    from config.capabilities import Level
    from config.settings import Settings

CLASSES = [(stack, name) for stack in STACKS for name in raw(stack)["runners"]]
"""Pairs of stack and class, for `pytest.mark.parametrize`."""


@cache
def settings_of(stack: str) -> Any:
    """Parse the committed settings of a stack, once per process."""
    return parsed(raw(stack), stack)


def open_runner(**changes: object) -> KubernetesRunner:
    """Return a small open class with some keys changed."""
    values = {
        "level": "open",
        "cpu": "1",
        "memory": "2Gi",
        "disk": "10Gi",
        "concurrent": 10,
        "longest_job": "1h",
        **changes,
    }
    return KubernetesRunner.model_validate(values)


def delegated_trust(settings: Settings, account: str, level: Level) -> dict[str, Any]:
    """Return the trust of the delegated role of a level in an account, as the platform writes it."""
    names, home = settings.names, settings.platform_account.id
    return trust.roles_of_account(
        partition=settings.organization.partition,
        account_id=home,
        role_arns=[
            names.role_arn(home, names.job_role(runner_class)) for runner_class in settings.classes_of(account, level)
        ],
        organization_id=settings.organization.id,
    )
