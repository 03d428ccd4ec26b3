"""Privilege escalation: what lets a caller become a role without its trust, by changing the role or by passing it to a service.

The actions follow pathfinding.cloud and IAM's documentation: rewriting a trust, giving a role permissions, making a role again, passing a
role to a service that runs the caller's code. AssumeRole itself: `evaluation`; the chains of several such steps: `graph`.
Source: https://pathfinding.cloud and https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from access.callers import Choice
from access.decision import Truth, Undecided, every, some
from access.evaluation import is_allowed, is_allowed_anywhere, witness_resources

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from access.callers import Caller
    from access.evaluation import Permissions
    from access.roles import Role

RUNS: dict[str, tuple[str, ...]] = {
    "apigateway.amazonaws.com": ("apigateway:POST",),
    "batch.amazonaws.com": ("batch:CreateComputeEnvironment",),
    "cloudformation.amazonaws.com": ("cloudformation:CreateStack", "cloudformation:UpdateStack"),
    "codebuild.amazonaws.com": ("codebuild:CreateProject", "codebuild:UpdateProject"),
    "datapipeline.amazonaws.com": ("datapipeline:CreatePipeline",),
    "ec2.amazonaws.com": ("ec2:RunInstances", "ec2:AssociateIamInstanceProfile"),
    "ec2.amazonaws.com.cn": ("ec2:RunInstances", "ec2:AssociateIamInstanceProfile"),
    "ecs-tasks.amazonaws.com": ("ecs:RunTask", "ecs:CreateService", "ecs:RegisterTaskDefinition"),
    "events.amazonaws.com": ("events:PutTargets",),
    "glue.amazonaws.com": ("glue:CreateJob", "glue:CreateDevEndpoint"),
    "lambda.amazonaws.com": ("lambda:CreateFunction",),
    "pods.eks.amazonaws.com": ("eks:CreatePodIdentityAssociation", "eks:UpdatePodIdentityAssociation"),
    "sagemaker.amazonaws.com": ("sagemaker:CreateNotebookInstance", "sagemaker:CreateTrainingJob"),
    "scheduler.amazonaws.com": ("scheduler:CreateSchedule",),
    "ssm.amazonaws.com": ("ssm:StartAutomationExecution",),
    "states.amazonaws.com": ("states:CreateStateMachine",),
}
"""Actions by service principal: one of them makes the service use a role for the caller."""
FOR_ITSELF = frozenset({"eks.amazonaws.com", "vpc-flow-logs.amazonaws.com"})
"""Services that use a role only for their own work."""
ROLE_ACTIONS = (
    *("iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:CreatePolicyVersion"),
    *("iam:SetDefaultPolicyVersion", "iam:CreateRole", "iam:PassRole"),
)
CLUSTER_ACTIONS = ("eks:CreateAccessEntry", "eks:UpdateAccessEntry", "eks:AssociateAccessPolicy")
POWERS = (*ROLE_ACTIONS, *CLUSTER_ACTIONS)
"""Without one of these actions a caller has no power over a role or a cluster."""


class RolePower(NamedTuple):
    """What a caller can do with a role."""

    become: Truth
    """Whether the caller can become the role, whatever the trust says."""
    add_permissions: Truth
    """Whether the caller can give the role any permission within its boundary."""
    remove_boundary: Truth
    """Whether the caller can remove the boundary, too."""


def may_have_any(permissions: Permissions) -> bool:
    """Whether the caller may have any power at all: a quick check before the expensive ones."""
    if any(isinstance(document, Undecided) for document in permissions.policies):
        return True
    allows = [statement for statement in permissions.statements() if statement.effect == "Allow"]
    return any(statement.covers_action(action) is not False for statement in allows for action in POWERS)


def power_over(caller: Caller, permissions: Permissions, role: Role) -> RolePower:
    """Return the power of a caller over a role of the same account."""
    boundary = {"iam:permissionsboundary": (role.boundary_arn,) if role.boundary_arn else None}
    chosen = {"iam:policyarn": Choice(optional=False), "iam:associatedresourcearn": Choice()}

    def allowed(action: str, resource: str = role.arn) -> Truth:
        return is_allowed(caller, permissions, action, resource, boundary, chosen)

    def add_policy() -> Iterator[Truth]:
        yield allowed("iam:PutRolePolicy")
        yield allowed("iam:AttachRolePolicy")

    def recreate() -> Iterator[Truth]:
        yield allowed("iam:DeleteRole")
        yield is_allowed(caller, permissions, "iam:CreateRole", role.arn, None, _ANY_BOUNDARY)
        yield some(add_policy())

    def become() -> Iterator[Truth]:
        yield allowed("iam:UpdateAssumeRolePolicy")
        yield every(recreate())
        yield _can_pass(caller, permissions, role)

    def add_permissions() -> Iterator[Truth]:
        yield from add_policy()
        for policy in role.customer_policies:
            yield allowed("iam:CreatePolicyVersion", policy)
            yield allowed("iam:SetDefaultPolicyVersion", policy)

    def remove_boundary() -> Iterator[Truth]:
        yield allowed("iam:DeleteRolePermissionsBoundary")
        yield every(recreate())

    return RolePower(
        become=some(become()),
        add_permissions=some(add_permissions()),
        remove_boundary=some(remove_boundary()) if role.boundary_arn is not None else False,
    )


_ANY_BOUNDARY = {"iam:permissionsboundary": Choice()}


def _can_pass(caller: Caller, permissions: Permissions, role: Role) -> Truth:
    """Whether the caller can pass the role to a trusted service and make the service use it."""
    if isinstance(role.trust, Undecided):
        any_service = {"iam:passedtoservice": Choice(optional=False)}
        return every((is_allowed(caller, permissions, "iam:PassRole", role.arn, None, any_service), role.trust))
    services = {
        str(principal.value)
        for statement in role.trust
        for principal in statement.principals
        if principal.kind == "Service" and statement.effect == "Allow"
    }
    return some(_can_pass_to(service, caller, permissions, role) for service in sorted(services - FOR_ITSELF))


def _can_pass_to(service: str, caller: Caller, permissions: Permissions, role: Role) -> Truth:
    keys, choices = {"iam:passedtoservice": (service,)}, {"iam:associatedresourcearn": Choice()}
    passes = is_allowed(caller, permissions, "iam:PassRole", role.arn, keys, choices)
    if passes is False:
        return False
    if service not in RUNS:
        return every((passes, Undecided(f"access/escalation.py does not list what {service} does with a role")))
    runs = some(is_allowed_anywhere(caller, permissions, action, None, _ANY_TAGS) for action in RUNS[service])
    return every((passes, runs))


_ANY_TAGS = {
    "aws:requesttag/": Choice(),
    "aws:tagkeys": Choice(several=True),
    # A task may start in each cluster that the policy names.
    "ecs:cluster": Choice(),
}


class NewRole(NamedTuple):
    """A role that a caller can make."""

    boundary: str
    """ARN of the boundary that the role must have; empty for none."""
    truth: Truth


def new_roles(
    caller: Caller, permissions: Permissions, partition: str, boundaries: Iterable[str], existing: Collection[str]
) -> list[NewRole]:
    """Return the roles that a caller can make in its account, with permissions and under any free name.

    Args:
        caller: the caller.
        permissions: the caller's own side.
        partition: of the caller's ARNs.
        boundaries: ARNs of the boundaries in the account.
        existing: ARNs of the existing roles, whose names cannot be used.
    """
    prefix = f"arn:{partition}:iam::{caller.account}:role/"
    possible = witness_resources(permissions, "iam:CreateRole", f"{prefix}?*")
    if isinstance(possible, Undecided):
        return [NewRole("", possible)]
    arns = [arn for arn in possible if arn not in existing]

    def can_make(boundary: str) -> Truth:
        keys = {"iam:permissionsboundary": (boundary,) if boundary else None}
        policy = {"iam:policyarn": Choice()}
        return some(
            every(
                (
                    is_allowed(caller, permissions, "iam:CreateRole", arn, keys),
                    some(
                        is_allowed(caller, permissions, action, arn, keys, policy)
                        for action in ("iam:PutRolePolicy", "iam:AttachRolePolicy")
                    ),
                )
            )
            for arn in arns
        )

    unbounded = can_make("")
    if unbounded is True:
        return [NewRole("", True)]
    roles = [NewRole("", unbounded)] if unbounded is not False else []
    return roles + [NewRole(arn, truth) for arn in boundaries if (truth := can_make(arn)) is not False]


def can_administer_cluster(caller: Caller, permissions: Permissions, cluster: str) -> Truth:
    """Whether a caller can make itself an administrator of a cluster."""
    entry = some(is_allowed(caller, permissions, action, cluster, None, _ANY_TAGS) for action in CLUSTER_ACTIONS[:2])
    policy = {**_ANY_TAGS, "eks:policyarn": Choice(optional=False), "eks:accessscope": Choice(optional=False)}
    return every((entry, is_allowed(caller, permissions, CLUSTER_ACTIONS[2], cluster, None, policy)))
