"""AccountAccess: all roles that a stack makes in one account.

Composes a delegated role for each level with classes that may enter, and the roles for GitLab's ID tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.delegated_role import DelegatedRole, DelegatedRoleArgs
from components.gitlab_role import GitLabRole, GitLabRoleArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.capabilities import Level
    from config.names import Names
    from config.sections import Account, GitLabOidc


@dataclass(frozen=True, kw_only=True)
class AccountAccessArgs:
    """Inputs of `AccountAccess`."""

    names: Names
    """Names of the stack."""
    account_name: str
    """Key of the account in the settings; part of the roles' logical names."""
    account: Account
    """The account's id, and the capabilities of each level."""
    platform_account_id: str
    """Account of the job roles."""
    job_roles: Mapping[Level, Sequence[str]]
    """Names of the job roles that may enter, by level; a level without job roles is left out."""
    gitlab_url: str
    """Root of the GitLab instance."""
    gitlab_roles: Mapping[str, GitLabOidc]
    """Entries of `gitlab_oidc` for this account, by name."""


class AccountAccess(pulumi.ComponentResource):
    """Roles of a stack in one account."""

    delegated_roles: Mapping[str, pulumi.Output[str]]
    """ARNs by trust level."""
    gitlab_roles: Mapping[str, pulumi.Output[str]]
    """ARNs by entry of `gitlab_oidc`."""

    def __init__(self, name: str, args: AccountAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:AccountAccess", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.delegated_roles = {
            level.value: DelegatedRole(
                f"delegated-{args.account_name}-{level.value}",
                DelegatedRoleArgs(
                    names=args.names,
                    account_id=args.account.id,
                    level=level,
                    capabilities=args.account.capabilities(level),
                    platform_account_id=args.platform_account_id,
                    job_roles=job_roles,
                ),
                child,
            ).arn
            for level, job_roles in args.job_roles.items()
        }
        self.gitlab_roles = {
            entry: GitLabRole(
                f"gitlab-{entry}",
                GitLabRoleArgs(
                    names=args.names,
                    account_id=args.account.id,
                    capabilities=args.account.capabilities(role.level),
                    gitlab_url=args.gitlab_url,
                    entry=entry,
                    role=role,
                ),
                child,
            ).arn
            for entry, role in args.gitlab_roles.items()
        }
        self.register_outputs({"delegated_roles": self.delegated_roles, "gitlab_roles": self.gitlab_roles})
