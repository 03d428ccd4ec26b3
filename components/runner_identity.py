"""RunnerIdentity: the two AWS roles of a runner class.

The manager's role reaches the class's prefix of the cache only. The job role may assume the delegated roles of the accounts
that the class may enter only; the delegated roles' trust comes from the same rule (`Runner.may_enter`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents import storage, trust
from config.tags import class_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.documents.statements import Document
    from config.settings import RunnerClassSettings

SESSION_SECONDS = 12 * 3600
"""Upper bound for callers that ask for a duration; profiles ask for none and renew hourly."""


@dataclass(frozen=True, kw_only=True)
class RunnerIdentityArgs:
    """Inputs of `RunnerIdentity`."""

    runner_class: RunnerClassSettings
    """Settings of the class."""
    manager_trust: pulumi.Input[Document]
    """Who is the class's manager: a service account, or an EC2 instance."""
    job_trust: pulumi.Input[Document]
    """Who is a job of the class: a service account, the class's machines, or tasks."""
    manager_permissions: Mapping[str, Document] = field(default_factory=dict)
    """Further inline policies of the manager, by name; what it may do in the cache is the same for all."""


class RunnerIdentity(pulumi.ComponentResource):
    """Roles of a class's manager and jobs."""

    manager_role_arn: pulumi.Output[str]
    """Role of the manager; known once its policy is attached."""
    job_role_arn: pulumi.Output[str]
    """Role of the job pods; known once its policy is attached."""

    def __init__(self, name: str, args: RunnerIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerIdentity", name, None, opts)
        self._name, self._args = name, args
        settings, names, class_name = args.runner_class, args.runner_class.names, args.runner_class.name
        manager = self._role("manager", names.manager_role(class_name), args.manager_trust)
        cache_access = storage.cache_access(
            names.organization,
            bucket=names.cache_bucket(settings.platform_account_id),
            prefix=class_name,
            account_id=settings.platform_account_id,
            key_alias=names.key_alias("cache"),
        )
        manager_policies = [self._policy("manager", manager, "cache", cache_access)]
        for policy_name, permissions in args.manager_permissions.items():
            manager_policies.append(self._policy("manager", manager, policy_name, permissions))
        self.manager_role_arn = _after(manager, manager_policies)
        job = self._role("job", names.job_role(class_name), args.job_trust)
        delegated_roles = [
            names.role_arn(account.id, names.delegated_role(settings.runner.level))
            for account in settings.accounts.values()
        ]
        self.job_role_arn = job.arn
        if delegated_roles:
            policy = self._policy("job", job, "delegated-roles", trust.assume_roles(delegated_roles))
            self.job_role_arn = _after(job, [policy])
        self.register_outputs({"manager_role_arn": self.manager_role_arn, "job_role_arn": self.job_role_arn})

    def _role(self, kind: str, physical_name: str, trust_document: pulumi.Input[Document]) -> aws.iam.Role:
        args = self._args
        return aws.iam.Role(
            f"{self._name}-{kind}",
            name=physical_name,  # fixed: profiles and the delegated roles' trust name it
            path=args.runner_class.names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(trust_document),
            permissions_boundary=args.runner_class.names.organization_boundary(args.runner_class.platform_account_id),
            max_session_duration=SESSION_SECONDS,
            tags=class_tags(args.runner_class.name),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _policy(self, kind: str, role: aws.iam.Role, policy_name: str, document: Document) -> aws.iam.RolePolicy:
        return aws.iam.RolePolicy(
            f"{self._name}-{kind}-{policy_name}",
            name=policy_name,
            role=role.name,
            policy=pulumi.Output.json_dumps(document),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _after(role: aws.iam.Role, policies: Sequence[aws.iam.RolePolicy]) -> pulumi.Output[str]:
    """Return the role's ARN, known once its policies are attached."""
    return pulumi.Output.all(role.arn, *(policy.id for policy in policies)).apply(lambda values: str(values[0]))
