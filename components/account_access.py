"""AccountAccess: every way into one account that a stack opens.

Composes the delegated roles of the levels that have something to do there and a class that may enter, and the roles for GitLab's ID tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.delegated_role import DelegatedRole, DelegatedRoleArgs
from components.gitlab_role import GitLabRole, GitLabRoleArgs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class AccountAccessArgs:
    """Inputs of `AccountAccess`."""

    settings: Settings
    """Settings of the stack."""
    account: str
    """Name of the account."""


class AccountAccess(pulumi.ComponentResource):
    """Ways into one account."""

    delegated_roles: Mapping[str, pulumi.Output[str]]
    """ARNs by trust level."""
    gitlab_roles: Mapping[str, pulumi.Output[str]]
    """ARNs by entry of `gitlab_oidc`."""

    def __init__(self, name: str, args: AccountAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:AccountAccess", name, None, opts)
        settings, account = args.settings, args.settings.accounts[args.account]
        child = pulumi.ResourceOptions(parent=self)
        self.delegated_roles = {
            level.value: DelegatedRole(
                f"delegated-{args.account}-{level.value}",
                DelegatedRoleArgs(
                    names=settings.names,
                    account_id=account.id,
                    level=level,
                    capabilities=account.capabilities(level),
                    platform_account_id=settings.platform_account.id,
                    job_roles=[settings.names.job_role(each) for each in settings.classes_of(args.account, level)],
                ),
                child,
            ).arn
            for where, level in settings.roles_needed()
            if where == args.account
        }
        self.gitlab_roles = {
            entry: GitLabRole(f"gitlab-{entry}", GitLabRoleArgs(settings=settings, entry=entry), child).arn
            for entry, wanted in settings.gitlab_oidc.items()
            if wanted.account == args.account
        }
        self.register_outputs({"delegated_roles": self.delegated_roles, "gitlab_roles": self.gitlab_roles})
