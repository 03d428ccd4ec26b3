"""PlatformAccess: the platform's own roles in an account, and the permissions boundary of all deployments.

Owns, in each account: the GitLab OIDC provider, the permissions boundary, the deployer and the reader role. Both roles trust GitLab's ID
tokens of the platform's own project on its protected branch, and named operator roles; they trust no runner class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents import platform_roles
from components.documents.boundary import BoundaryAccount, boundary
from config.names import BOUNDARY_POLICY, DEPLOYER_ROLE, PLATFORM_ROLE_PATH, READER_ROLE, organization_boundary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.documents.statements import Document
    from config.sections import Organization

DEPLOYER_SESSION_SECONDS = 4 * 3600
"""A first deployment, or a cluster's replacement, takes well over an hour."""


@dataclass(frozen=True, kw_only=True)
class PlatformAccessArgs:
    """Inputs of `PlatformAccess`."""

    organization: Organization
    """Partition, region and id."""
    account_id: str
    """Account of the roles."""
    state_bucket: str
    """Bucket of the platform's own state, for the reader; it is in one of the accounts."""
    gitlab_url: str
    """Root of the GitLab instance; also the audience of its tokens."""
    project: str
    """Full path of the project that holds this program."""
    ref: str
    """Protected branch of the project."""
    operators: Sequence[str]
    """ARNs of roles of people who may deploy too."""
    boundary: str | None
    """Permissions boundary that the organisation demands (`platform.boundary`)."""
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
    """The platform's own roles in one account."""

    deployer_arn: pulumi.Output[str]
    """Role that changes the platform."""
    reader_arn: pulumi.Output[str]
    """Role that previews the platform."""
    boundary_arn: pulumi.Output[str]
    """Permissions boundary of the account."""

    def __init__(self, name: str, args: PlatformAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:PlatformAccess", name, None, opts)
        self._args, self._name = args, name
        self._child = pulumi.ResourceOptions(parent=self, protect=args.protect)
        policy = aws.iam.Policy(
            f"{name}-boundary",
            name=BOUNDARY_POLICY,  # fixed: every role that a deployment creates must name it
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
        account = platform_roles.PlatformRoleAccount(
            organization=args.organization, account_id=args.account_id, state_bucket=args.state_bucket
        )
        self._trust = platform_roles.platform_trust(
            organization=args.organization,
            account_id=args.account_id,
            gitlab_url=args.gitlab_url,
            project=args.project,
            ref=args.ref,
            operators=args.operators,
        )
        # Roles wait for the provider: IAM refuses to trust a provider that does not exist.
        self.deployer_arn = self._role("deployer", DEPLOYER_ROLE, platform_roles.deployer(account), provider)
        self.reader_arn = self._role(
            "reader", READER_ROLE, platform_roles.reader(account), provider, platform_roles.READ_ONLY_POLICIES
        )
        self.boundary_arn = policy.arn
        self.register_outputs(
            {"deployer_arn": self.deployer_arn, "reader_arn": self.reader_arn, "boundary_arn": self.boundary_arn}
        )

    def _role(
        self,
        kind: str,
        physical_name: str,
        permissions: Document,
        provider: aws.iam.OpenIdConnectProvider,
        managed: Sequence[str] = (),
    ) -> pulumi.Output[str]:
        name, args = f"{self._name}-{kind}", self._args
        role = aws.iam.Role(
            f"{name}-role",
            name=physical_name,  # fixed: the caller's AWS config names it
            path=PLATFORM_ROLE_PATH,
            description=f"The runner platform's own {kind}",
            assume_role_policy=pulumi.Output.json_dumps(self._trust),
            permissions_boundary=organization_boundary(args.organization.partition, args.account_id, args.boundary),
            max_session_duration=DEPLOYER_SESSION_SECONDS,
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[provider])),
        )
        inline = aws.iam.RolePolicy(
            f"{name}-policy", name=kind, role=role.name, policy=pulumi.Output.json_dumps(permissions), opts=self._child
        )
        attachments = [
            aws.iam.RolePolicyAttachment(
                f"{name}-{policy.rpartition('/')[2].lower()}",
                role=role.name,
                policy_arn=f"arn:{args.organization.partition}:iam::aws:policy/{policy}",
                opts=self._child,
            )
            for policy in managed
        ]
        return pulumi.Output.all(role.arn, inline.id, *(attachment.id for attachment in attachments)).apply(
            lambda values: str(values[0])
        )
