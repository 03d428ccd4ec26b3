"""Trust levels, and the capabilities that an account can give them: the words of the access matrix.

To add a capability: name it here, write its permissions in `components/documents/capabilities.py`, and, if the two levels
would share what it makes, list it in `WITHOUT_LEVEL_PREFIX`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from config.errors import FieldError


class Level(StrEnum):
    """Trust level: the unit of security."""

    OPEN = "open"
    """Any branch of any project."""
    PROTECTED = "protected"
    """Protected branches and tags of listed projects."""


class Capability(StrEnum):
    """Permissions that an account gives to a trust level."""

    ECS = "ecs"
    ECR_PUSH = "ecr-push"
    API_GATEWAY = "api-gateway"
    STATE = "state"
    PULUMI = "pulumi"


WITHOUT_LEVEL_PREFIX = frozenset({Capability.ECS, Capability.API_GATEWAY, Capability.PULUMI})
"""Capabilities whose resources both levels would share, such as roles below `/deploy/`. State and images have a prefix for each level."""


def refuse_cdk(value: Any) -> Any:
    """Refuse the capability `cdk`, which would undo the permissions boundary."""
    if value == "cdk":
        raise FieldError(
            "'cdk' is refused: CDK's execution role would escape the permissions boundary; "
            "deploy with OpenTofu, Pulumi or the CLI, or bootstrap CDK with a boundary of its own first"
        )
    return value
