"""Trust levels, and the capabilities that an account can give them: the words of the access matrix."""

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
    """What a trust level may do in an account."""

    ECS = "ecs"
    ECR_PUSH = "ecr-push"
    API_GATEWAY = "api-gateway"
    STATE = "state"
    PULUMI = "pulumi"


WITHOUT_LEVEL_PREFIX = frozenset({Capability.ECS, Capability.API_GATEWAY, Capability.PULUMI})
"""What makes things that no level has a part of its own of, such as the roles below `/deploy/`: state and images have prefixes, these have not."""


def refuse_cdk(value: Any) -> Any:
    """Refuse the capability that would undo the boundary, with the reason."""
    if value == "cdk":
        raise FieldError(
            "'cdk' is refused: CDK's execution role would escape the permissions boundary; "
            "deploy with OpenTofu, Pulumi or the CLI, or bootstrap CDK with a boundary of its own first"
        )
    return value
