"""PlatformAccess: who may deploy the platform in an account, and the boundary that holds everybody else.

Owns, per account: the GitLab OIDC provider, the permissions boundary, the deployer and the reader role. Trust: GitLab's ID tokens
of the platform's own project on its protected branch, and named operator roles; no runner class is among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents import platform_roles, statements, trust
from components.documents.boundary import BoundaryAccount, boundary
from config.names import BOUNDARY_POLICY, DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.sections import Organization

DEPLOYER_SESSION_SECONDS = 4 * 3600
"""A first deployment, or a cluster's replacement, takes well over an hour."""


@dataclass(frozen=True, kw_only=True)
class PlatformAccessArgs:
    """Inputs of `PlatformAccess`."""

    organization: Organization
    """Partition, region and id."""
    account_id: str
    """Account that these roles are in."""
    state_bucket: str
    """Bucket with the platform's own state; the reader may read it where it is in this account."""
    gitlab_url: str
    """Root of the GitLab instance; also the audience of its tokens."""
    project: str
    """Full path of the project that holds this program."""
    ref: str
    """Its protected branch."""
    operators: Sequence[str]
    """ARNs of roles of people who may deploy too."""
    protect: bool
    """Guard the roles, the boundary and the provider against deletion."""

    def __post_init__(self) -> None:
        """Refuse a subject that names more than one project or branch."""
        for field, value in (("project", self.project), ("ref", self.ref)):
            if "*" in value or "?" in value:
                raise ValueError(
                    f"{field} {value!r} has a wildcard; the deployer trusts exactly one project and branch"
                )


class PlatformAccess(pulumi.ComponentResource):
    """The platform's own way into one account."""

    deployer_arn: pulumi.Output[str]
    """Role that changes the platform."""
    reader_arn: pulumi.Output[str]
    """Role that previews it."""
    boundary_arn: pulumi.Output[str]
    """Permissions boundary of the account."""

    def __init__(self, name: str, args: PlatformAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:PlatformAccess", name, None, opts)
        self._args, self._name = args, name
        self._child = pulumi.ResourceOptions(parent=self, protect=args.protect)
        policy = aws.iam.Policy(
            f"{name}-boundary",
            name=BOUNDARY_POLICY,  # fixed: every role that a deployment creates names it
            path=PLATFORM_ROLE_PATH,
            description="The most that a delegated role, or a role that a deployment creates, can do",
            policy=pulumi.Output.json_dumps(
                boundary(BoundaryAccount(organization=args.organization, account_id=args.account_id))
            ),
            opts=self._child,
        )
        provider = aws.iam.OpenIdConnectProvider(
            f"{name}-gitlab", url=args.gitlab_url, client_id_lists=[args.gitlab_url], opts=self._child
        )
        of = platform_roles.PlatformRoleAccount(
            organization=args.organization, account_id=args.account_id, state_bucket=args.state_bucket
        )
        # Roles wait for the provider: IAM refuses a trust in one that does not exist.
        self.deployer_arn = self._role("deployer", DEPLOYER_ROLE, platform_roles.deployer(of), provider)
        self.reader_arn = self._role(
            "reader", READER_ROLE, platform_roles.reader(of), provider, platform_roles.READ_ONLY_POLICIES
        )
        self.boundary_arn = policy.arn
        self.register_outputs(
            {"deployer_arn": self.deployer_arn, "reader_arn": self.reader_arn, "boundary_arn": self.boundary_arn}
        )

    def _role(
        self,
        role: str,
        physical_name: str,
        permissions: statements.Document,
        provider: aws.iam.OpenIdConnectProvider,
        managed: Sequence[str] = (),
    ) -> pulumi.Output[str]:
        name, args = f"{self._name}-{role}", self._args
        made = aws.iam.Role(
            f"{name}-role",
            name=physical_name,  # fixed: the caller's AWS config names it
            path=PLATFORM_ROLE_PATH,
            description=f"The runner platform's own {role}",
            assume_role_policy=pulumi.Output.json_dumps(self._trust()),
            max_session_duration=DEPLOYER_SESSION_SECONDS,
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[provider])),
        )
        inline = aws.iam.RolePolicy(
            f"{name}-policy", name=role, role=made.name, policy=pulumi.Output.json_dumps(permissions), opts=self._child
        )
        attached = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{policy.rpartition('/')[2].lower()}",
                role=made.name,
                policy_arn=f"arn:{args.organization.partition}:iam::aws:policy/{policy}",
                opts=self._child,
            )
            for policy in managed
        ]
        return pulumi.Output.all(made.arn, inline.id, *(each.id for each in attached)).apply(
            lambda values: str(values[0])
        )

    def _trust(self) -> statements.Document:
        args = self._args
        pipeline = trust.gitlab(
            partition=args.organization.partition,
            account_id=args.account_id,
            url=args.gitlab_url,
            audience=args.gitlab_url,
            subjects=[trust.gitlab_subject(args.project, ref=args.ref)],
        )
        by_account: dict[str, list[str]] = {}
        for arn in args.operators:
            by_account.setdefault(arn.split(":")[4], []).append(arn)
        people = [
            trust.roles_of_account(
                partition=args.organization.partition,
                account_id=account,
                role_arns=arns,
                organization_id=args.organization.id,
            )
            for account, arns in sorted(by_account.items())
        ]
        return statements.merged(pipeline, *people)
