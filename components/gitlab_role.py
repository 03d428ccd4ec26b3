"""GitLabRole: a way into an account for GitLab's own ID tokens, without a runner class.

Owns one role per entry of `gitlab_oidc`, with what its level may do in that account, within the boundary. Its trust pins the audience and
one subject: a project with a branch, a tag, or a protected environment. The OIDC provider is the foundation's.
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
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class GitLabRoleArgs:
    """Inputs of `GitLabRole`; the component's name is the entry's."""

    settings: Settings
    """Settings of the stack."""
    entry: str
    """Key below `gitlab_oidc`."""


class GitLabRole(pulumi.ComponentResource):
    """A role for GitLab's ID tokens."""

    arn: pulumi.Output[str]
    """ARN of the role; known once its policies are attached."""

    def __init__(self, name: str, args: GitLabRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:GitLabRole", name, None, opts)
        settings, wanted = args.settings, args.settings.gitlab_oidc[args.entry]
        account, names = settings.accounts[wanted.account], settings.names
        role = aws.iam.Role(
            f"{name}-role",
            name=names.gitlab_role(args.entry),  # fixed: pipelines name it
            path=names.role_path,
            description=f"ID tokens of {wanted.project} in GitLab",
            assume_role_policy=pulumi.Output.json_dumps(
                gitlab(
                    partition=settings.organization.partition,
                    account_id=account.id,
                    url=settings.gitlab.url,
                    audience=settings.gitlab.url,
                    subjects=[
                        gitlab_subject(wanted.project, ref=wanted.ref, tag=wanted.tag, environment=wanted.environment)
                    ],
                )
            ),
            permissions_boundary=names.boundary_arn(account.id),
            max_session_duration=wanted.session,
            opts=pulumi.ResourceOptions(parent=self),
        )
        grantee = Grantee(names=names, account_id=account.id, level=wanted.level)
        self.arn = attach_capabilities(name, role, account.capabilities(wanted.level), grantee, self)
        self.register_outputs({"arn": self.arn})
