"""RunnerIdentity: the two roles of a runner class.

The manager's role reaches the class's prefix of the cache and nothing else. The job role may assume the delegated roles of the
accounts that the class may enter, and nothing else: both sides of that trust come from the same list in the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents import storage, trust
from config.names import JOB_SERVICE_ACCOUNT, MANAGER_SERVICE_ACCOUNT, namespace_jobs, namespace_manager
from config.tags import class_tags

if TYPE_CHECKING:
    from config.settings import Settings

SESSION_SECONDS = 12 * 3600
"""Upper bound for callers that ask for a duration; profiles ask for none and renew hourly."""


@dataclass(frozen=True, kw_only=True)
class RunnerIdentityArgs:
    """Inputs of `RunnerIdentity`."""

    settings: Settings
    """Settings of the stack."""
    runner_class: str
    """The class."""
    issuer: pulumi.Input[str]
    """Issuer of the cluster's service accounts."""
    oidc_provider_arn: pulumi.Input[str]
    """Its provider in the platform's account."""


class RunnerIdentity(pulumi.ComponentResource):
    """Roles of a class's manager and jobs."""

    manager_role_arn: pulumi.Output[str]
    """Role of the manager; known once its policy is attached."""
    job_role_arn: pulumi.Output[str]
    """Role of the job pods; known once its policy is attached."""

    def __init__(self, name: str, args: RunnerIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerIdentity", name, None, opts)
        self._name, self._args = name, args
        settings, names, runner_class = args.settings, args.settings.names, args.runner_class
        manager = self._role(
            "manager", names.manager_role(runner_class), namespace_manager(runner_class), MANAGER_SERVICE_ACCOUNT
        )
        cache = pulumi.Output.json_dumps(
            storage.cache_access(
                settings.organization,
                bucket=names.cache_bucket(settings.platform_account.id),
                prefix=runner_class,
                account_id=settings.platform_account.id,
                key_alias=names.key_alias("cache"),
            )
        )
        self.manager_role_arn = self._with_policy("manager", manager, "cache", cache)
        job = self._role("job", names.job_role(runner_class), namespace_jobs(runner_class), JOB_SERVICE_ACCOUNT)
        level = settings.runners[runner_class].level
        delegated = [
            names.role_arn(account.id, names.delegated_role(level))
            for account in settings.accounts_of(runner_class).values()
        ]
        self.job_role_arn = (
            self._with_policy("job", job, "delegated-roles", pulumi.Output.json_dumps(trust.assume_roles(delegated)))
            if delegated
            else job.arn
        )
        self.register_outputs({"manager_role_arn": self.manager_role_arn, "job_role_arn": self.job_role_arn})

    def _role(self, role: str, physical_name: str, namespace: str, account: str) -> aws.iam.Role:
        args = self._args
        document = pulumi.Output.all(args.oidc_provider_arn, args.issuer).apply(
            lambda values: trust.service_account(
                provider_arn=values[0], issuer=values[1], namespace=namespace, account=account
            )
        )
        return aws.iam.Role(
            f"{self._name}-{role}",
            name=physical_name,  # fixed: profiles and the delegated roles' trust name it
            path=args.settings.names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(document),
            max_session_duration=SESSION_SECONDS,
            tags=class_tags(args.runner_class),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _with_policy(self, role: str, to: aws.iam.Role, policy: str, document: pulumi.Input[str]) -> pulumi.Output[str]:
        made = aws.iam.RolePolicy(
            f"{self._name}-{role}-{policy}",
            name=policy,
            role=to.name,
            policy=document,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return pulumi.Output.all(to.arn, made.id).apply(lambda values: str(values[0]))
