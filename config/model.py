"""What every object of a stack file is made of: levels, capabilities, and the types of single values."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict

from config.errors import ClassifiedError, shown

if TYPE_CHECKING:
    from collections.abc import Iterable


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


WITHOUT_PREFIX = frozenset({Capability.ECS, Capability.API_GATEWAY, Capability.PULUMI})
"""What makes things that no level has a part of its own of, such as the roles below `/deploy/`: state and images have prefixes, these have not."""


def refuse_cdk(value: Any) -> Any:
    """Refuse the capability that would undo the boundary, with the reason."""
    if value == "cdk":
        raise ClassifiedError(
            "'cdk' is refused: CDK's execution role would escape the permissions boundary; "
            "deploy with OpenTofu, Pulumi or the CLI, or bootstrap CDK with a boundary of its own first"
        )
    return value


def pattern(regex: str, remedy: str) -> AfterValidator:
    """A validator of text: it matches whole, or the error shows the value and the remedy."""
    compiled = re.compile(regex, re.ASCII)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ClassifiedError(f"{shown(value)} {remedy}")
        return value

    return AfterValidator(check)


def _network(value: str) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError as error:
        raise ClassifiedError(
            f"{shown(value)} is not an IPv4 network ({error}); write one such as 10.40.0.0/16"
        ) from None


Cidr = Annotated[str, AfterValidator(_network)]
"""An IPv4 network in CIDR notation."""
AccountId = Annotated[
    str, pattern(r"\d{12}", 'is not an account id; write twelve digits in quotes, such as "111111111111"')
]
"""The id of an AWS account."""
RoleArn = Annotated[
    str,
    pattern(
        r"arn:aws(-us-gov|-cn)?:iam::\d{12}:role/[\w+=,.@/-]+",
        "is not the ARN of an IAM role; write arn:aws:iam::<account id>:role/<name>",
    ),
]
"""The ARN of an IAM role."""
_OWN_ROLE = re.compile(r":role/(cicd[^/]*|deploy)/")


def refuse_own_roles(arns: Iterable[str]) -> None:
    """Refuse roles of the platform, and those that deployments make, where people are meant: jobs would act as people."""
    for arn in arns:
        if _OWN_ROLE.search(arn):
            raise ClassifiedError(
                f"names {arn}, a role of the platform itself or of a deployment; name roles of people"
            )


class Section(BaseModel):
    """What every object of a stack file is: frozen, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
