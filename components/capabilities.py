"""What a role may do, as inline policies: one per capability, named after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents.capabilities import capability_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.documents.capabilities import Grantee
    from config.capabilities import Capability


def attach_capabilities(
    name: str, role: aws.iam.Role, capabilities: Sequence[Capability], grantee: Grantee, parent: pulumi.Resource
) -> pulumi.Output[str]:
    """Give a role its capabilities; returns its ARN, known once all policies are attached.

    Args:
        name: logical name of the component.
        role: the role.
        capabilities: what it may do.
        grantee: for whom the documents are written.
        parent: the component.
    """
    policies = [
        aws.iam.RolePolicy(
            f"{name}-{capability.value}",
            name=capability.value,
            role=role.name,
            policy=pulumi.Output.json_dumps(capability_document(capability, grantee)),
            opts=pulumi.ResourceOptions(parent=parent),
        )
        for capability in capabilities
    ]
    return pulumi.Output.all(role.arn, *(policy.id for policy in policies)).apply(lambda values: str(values[0]))
