"""Permissions of a role, as inline policies: one for each capability, with the capability's name.

To add a capability: name it in `config/capabilities.py`, and write its permissions in `components/documents/capabilities.py`.
"""

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
    """Attach capabilities to a role; return its ARN, known once all policies are attached.

    Args:
        name: logical name of the component.
        role: the role.
        capabilities: capabilities of the role.
        grantee: level, stack and account that the permissions are for.
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
