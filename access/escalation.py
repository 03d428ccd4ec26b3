"""Powers over roles: what lets the holder of one role become another without its trust, by changing it or by handing it to a service.

Owns which actions give reach, after pathfinding.cloud's paths and the documentation of IAM: rewriting a trust, giving a role rights, making a
role anew, passing a role to a service that runs the caller's code. Leaves out AssumeRole itself (`judgement`) and the closure (`world`).
Source: https://pathfinding.cloud and https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsidentityandaccessmanagementiam.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from access.callers import Choice
from access.decision import Truth, Undecided, every, some
from access.evaluation import may, may_somewhere, places

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from access.callers import Caller
    from access.evaluation import Rights
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
"""Actions, one of which makes a service use a role for the caller, by service principal."""
FOR_ITSELF = frozenset({"eks.amazonaws.com", "vpc-flow-logs.amazonaws.com"})
"""Services that use a role for their own work only."""
CHANGING = (
    *("iam:UpdateAssumeRolePolicy", "iam:PutRolePolicy", "iam:AttachRolePolicy", "iam:CreatePolicyVersion"),
    *("iam:SetDefaultPolicyVersion", "iam:CreateRole", "iam:PassRole"),
)
HOLDING = ("eks:CreateAccessEntry", "eks:UpdateAccessEntry", "eks:AssociateAccessPolicy")
POWERS = (*CHANGING, *HOLDING)
"""Every action without which none of these powers is there."""


class Power(NamedTuple):
    """What a caller can do with a role."""

    become: Truth
    """Whether it can become the role, whatever the trust says."""
    give: Truth
    """Whether it can give the role any right within its boundary."""
    unbind: Truth
    """Whether it can take the boundary away, too."""


def has_any(rights: Rights) -> bool:
    """Whether there may be any power at all: a quick look before a long one."""
    if any(isinstance(each, Undecided) for each in rights.policies):
        return True
    allows = [each for each in rights.statements() if each.effect == "Allow"]
    return any(each.covers_action(action) is not False for each in allows for action in POWERS)


def over(caller: Caller, rights: Rights, role: Role) -> Power:
    """What a caller can do with a role of its own account."""
    bound = {"iam:permissionsboundary": (role.boundary_arn,) if role.boundary_arn else None}
    chosen = {"iam:policyarn": Choice(optional=False), "iam:associatedresourcearn": Choice()}

    def on_it(action: str, resource: str = role.arn) -> Truth:
        return may(caller, rights, action, resource, bound, chosen)

    def filled() -> Iterator[Truth]:
        yield on_it("iam:PutRolePolicy")
        yield on_it("iam:AttachRolePolicy")

    def made_again() -> Iterator[Truth]:
        yield on_it("iam:DeleteRole")
        yield may(caller, rights, "iam:CreateRole", role.arn, None, _ANY_BOUNDARY)
        yield some(filled())

    def entered() -> Iterator[Truth]:
        yield on_it("iam:UpdateAssumeRolePolicy")
        yield every(made_again())
        yield _passed(caller, rights, role)

    def changed() -> Iterator[Truth]:
        yield from filled()
        for policy in role.customer_policies:
            yield on_it("iam:CreatePolicyVersion", policy)
            yield on_it("iam:SetDefaultPolicyVersion", policy)

    def unbound() -> Iterator[Truth]:
        yield on_it("iam:DeleteRolePermissionsBoundary")
        yield every(made_again())

    return Power(
        become=some(entered()), give=some(changed()), unbind=some(unbound()) if role.boundary_arn is not None else False
    )


_ANY_BOUNDARY = {"iam:permissionsboundary": Choice()}


def _passed(caller: Caller, rights: Rights, role: Role) -> Truth:
    """Whether the caller can hand the role to a service that its trust names, and make the service use it."""
    if isinstance(role.trust, Undecided):
        passable = may(caller, rights, "iam:PassRole", role.arn, None, {"iam:passedtoservice": Choice(optional=False)})
        return every((passable, role.trust))
    services = {
        str(each.value)
        for statement in role.trust
        for each in statement.principals
        if each.kind == "Service" and statement.effect == "Allow"
    }
    return some(_passed_to(service, caller, rights, role) for service in sorted(services - FOR_ITSELF))


def _passed_to(service: str, caller: Caller, rights: Rights, role: Role) -> Truth:
    passed = may(
        caller,
        rights,
        "iam:PassRole",
        role.arn,
        {"iam:passedtoservice": (service,)},
        {"iam:associatedresourcearn": Choice()},
    )
    if passed is False:
        return False
    if service not in RUNS:
        return every((passed, Undecided(f"what {service} does with a role is not known here")))
    runs = some(may_somewhere(caller, rights, action, None, _ANYTHING) for action in RUNS[service])
    return every((passed, runs))


_ANYTHING = {"aws:requesttag/": Choice(), "aws:tagkeys": Choice(several=True)}


class NewRole(NamedTuple):
    """A role that somebody can make."""

    boundary: str
    """ARN of the boundary that it must carry; empty for none."""
    truth: Truth


def new_roles(
    caller: Caller, rights: Rights, partition: str, boundaries: Iterable[str], existing: Collection[str]
) -> list[NewRole]:
    """Roles that a caller can make and fill with rights in its account, where it is free to name them.

    Args:
        caller: who calls.
        rights: its own side.
        partition: of its ARNs.
        boundaries: ARNs of the boundaries that there are in the account.
        existing: ARNs of the roles that there are: their names are taken.
    """
    head = f"arn:{partition}:iam::{caller.account}:role/"
    named = places(rights, "iam:CreateRole", f"{head}?*")
    if isinstance(named, Undecided):
        return [NewRole("", named)]
    free_names = [each for each in named if each not in existing]

    def made(boundary: str) -> Truth:
        bound = {"iam:permissionsboundary": (boundary,) if boundary else None}
        filled = ("iam:PutRolePolicy", "iam:AttachRolePolicy")
        return some(
            every(
                (
                    may(caller, rights, "iam:CreateRole", arn, bound),
                    some(may(caller, rights, action, arn, bound, {"iam:policyarn": Choice()}) for action in filled),
                )
            )
            for arn in free_names
        )

    free = made("")
    if free is True:
        return [NewRole("", True)]
    found = [NewRole("", free)] if free is not False else []
    return found + [NewRole(each, truth) for each in boundaries if (truth := made(each)) is not False]


def holds_cluster(caller: Caller, rights: Rights, cluster: str) -> Truth:
    """Whether a caller can make itself an administrator of a cluster."""
    entry = some(may(caller, rights, action, cluster, None, _ANYTHING) for action in HOLDING[:2])
    associated = {"eks:policyarn": Choice(optional=False), "eks:accessscope": Choice(optional=False)}
    return every((entry, may(caller, rights, HOLDING[2], cluster, None, {**_ANYTHING, **associated})))
