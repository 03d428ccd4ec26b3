"""DelegatedRole: the role that jobs of one trust level assume in one account.

Owns the role, its trust in exactly the job roles that may enter (`trust.roles_of_account`), and one inline policy for each capability,
within the account's permissions boundary. Leaves out the job roles (`runner_identity`) and the boundary (foundation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.capabilities import attach_capabilities
from components.documents.capabilities import Grantee
from components.documents.trust import roles_of_account

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.capabilities import Capability, Level
    from config.names import Names

SESSION_SECONDS = 3600
"""A chained session lasts an hour at most, whatever the role allows; SDKs renew it."""


@dataclass(frozen=True, kw_only=True)
class DelegatedRoleArgs:
    """Inputs of `DelegatedRole`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the role."""
    level: Level
    """Trust level of the jobs that may assume it."""
    capabilities: Sequence[Capability]
    """Capabilities of the level in the account."""
    platform_account_id: str
    """Account of the job roles."""
    job_roles: Sequence[str]
    """Names of the job roles that may assume it."""

    def __post_init__(self) -> None:
        """Refuse a role without capabilities, and a role without job roles."""
        if not self.job_roles:
            raise ValueError(
                f"job_roles is empty for level {self.level.value} in {self.account_id}; make no role where no class may enter"
            )
        if not self.capabilities:
            raise ValueError(
                f"capabilities is empty for level {self.level.value} in {self.account_id}; give the level something to do, or no role"
            )


class DelegatedRole(pulumi.ComponentResource):
    """The delegated role of a level in an account."""

    arn: pulumi.Output[str]
    """ARN of the role; known once its policies are attached."""

    def __init__(self, name: str, args: DelegatedRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:DelegatedRole", name, None, opts)
        names, organization = args.names, args.names.organization
        role = aws.iam.Role(
            f"{name}-role",
            name=names.delegated_role(args.level),  # fixed: profiles and the job roles' permissions name it
            path=names.role_path,
            description=f"Deployments by {args.level.value} jobs of the runner platform",
            assume_role_policy=pulumi.Output.json_dumps(
                roles_of_account(
                    partition=organization.partition,
                    account_id=args.platform_account_id,
                    role_arns=[names.role_arn(args.platform_account_id, role) for role in args.job_roles],
                    organization_id=organization.id,
                )
            ),
            permissions_boundary=names.boundary_arn(args.account_id),
            max_session_duration=SESSION_SECONDS,
            opts=pulumi.ResourceOptions(parent=self),
        )
        grantee = Grantee(names=names, account_id=args.account_id, level=args.level)
        self.arn = attach_capabilities(name, role, args.capabilities, grantee, self)
        self.register_outputs({"arn": self.arn})
