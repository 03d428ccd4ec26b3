"""GitLabRole: a role that GitLab's own ID tokens may assume, without a runner class.

Owns one role for an entry of `gitlab_oidc`, with its level's capabilities in the account, within the boundary. The trust pins the audience
and one subject: a project with a branch, a tag, or a protected environment. The OIDC provider is the foundation's.
Source: https://docs.gitlab.com/ci/cloud_services/aws/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.capabilities import attach_capabilities
from components.documents.capabilities import Grantee
from components.documents.trust import gitlab, gitlab_subject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.capabilities import Capability
    from config.names import Names
    from config.sections import GitLabOidc


@dataclass(frozen=True, kw_only=True)
class GitLabRoleArgs:
    """Inputs of `GitLabRole`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the role."""
    capabilities: Sequence[Capability]
    """Capabilities of the role's level in the account."""
    gitlab_url: str
    """Root of the GitLab instance; also the audience of its tokens."""
    entry: str
    """Key below `gitlab_oidc`; part of the role's name."""
    role: GitLabOidc
    """Level, project, condition and session of the role."""


class GitLabRole(pulumi.ComponentResource):
    """A role for GitLab's ID tokens."""

    arn: pulumi.Output[str]
    """ARN of the role; known once its policies are attached."""

    def __init__(self, name: str, args: GitLabRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:GitLabRole", name, None, opts)
        names, settings = args.names, args.role
        subject = gitlab_subject(settings.project, ref=settings.ref, tag=settings.tag, environment=settings.environment)
        role = aws.iam.Role(
            f"{name}-role",
            name=names.gitlab_role(args.entry),  # fixed: pipelines name it
            path=names.role_path,
            description=f"ID tokens of {settings.project} in GitLab",
            assume_role_policy=pulumi.Output.json_dumps(
                gitlab(
                    partition=names.organization.partition,
                    account_id=args.account_id,
                    url=args.gitlab_url,
                    audience=args.gitlab_url,
                    subjects=[subject],
                )
            ),
            permissions_boundary=names.boundary_arn(args.account_id),
            max_session_duration=settings.session,
            opts=pulumi.ResourceOptions(parent=self),
        )
        grantee = Grantee(names=names, account_id=args.account_id, level=settings.level)
        self.arn = attach_capabilities(name, role, args.capabilities, grantee, self)
        self.register_outputs({"arn": self.arn})
