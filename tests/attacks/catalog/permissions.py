"""Mutations of permissions: privilege escalation, passed roles, missing boundaries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from components.account_access import AccountAccess
from components.documents import boundary, capabilities, platform_roles
from config import foundation
from config.capabilities import Capability
from tests.attacks import registered
from tests.attacks.change import GONE, adding_statement, with_addition, with_inputs, with_result
from tests.attacks.mutation import seen_by

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.attacks.change import Change, Edit

DEV = "333333333333"
OPEN_IN_DEV = "delegated-dev-open-role"
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def in_dev(edit: Edit, capability: Capability = Capability.ECS) -> Change:
    """Change the document of a capability of the open level in dev."""
    return with_result(
        capabilities.capability_document,
        edit,
        lambda arguments: arguments["capability"] is capability and arguments["grantee"].account_id == DEV,
    )


def granting(action: Any, resource: Any = "*", **more: Any) -> Change:
    """Add a statement for the open level in dev."""
    return in_dev(adding_statement({"Action": action, "Resource": resource, **more}))


def inline(document: Mapping[str, Any]) -> Change:
    """Add an inline policy to the role of the open level in dev."""
    policies = [{"name": "more", "policy": json.dumps(document)}]
    return with_inputs(aws.iam.Role, OPEN_IN_DEV, inline_policies=policies)


def attached(component: Any, _args: Any) -> None:
    """Make an attachment of the AWS managed policy for administrators."""
    opts = pulumi.ResourceOptions(parent=component)
    aws.iam.RolePolicyAttachment("admin", role="delegated-role-open", policy_arn=ADMINISTRATOR, opts=opts)


def only_allowed(document: Any) -> Any:
    """Return a document without the Deny statements."""
    return {
        **document,
        "Statement": [statement for statement in document["Statement"] if statement["Effect"] == "Allow"],
    }


def a_user(component: Any, _args: Any) -> None:
    """Make an IAM user."""
    aws.iam.User("robot", name="robot", opts=pulumi.ResourceOptions(parent=component))


ADMIN = {"Statement": {"effect": "Allow", "action": "*", "resource": "*"}}
MUTATIONS = [
    seen_by("P03", "A10", "the open level in dev passes any role to any service", granting("iam:PassRole")),
    seen_by(
        "P03",
        "A10",
        "roles of deployments may be passed to EC2, too",
        granting(
            "iam:PassRole",
            f"arn:aws:iam::{DEV}:role/deploy/*",
            Condition={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
    ),
    seen_by("P02", "A11", "the open level in dev rewrites trusts", granting("iam:UpdateAssumeRolePolicy")),
    seen_by(
        "P02",
        "A11",
        "rights for roles of deployments without the boundary",
        granting("iam:putrolepolicy", f"arn:aws:iam::{DEV}:role/deploy/*"),
    ),
    seen_by(
        "I01 I02 P01 P02 P03 P05 P06 P07 P10 P11 P13 T11",
        "A11",
        "everything but billing, by NotAction",
        in_dev(adding_statement({"NotAction": "billing:*", "Resource": "*"})),
    ),
    seen_by(
        "I01 I02 P01 P02 P03 P05 P06 P07 P10 P11 P13 T11",
        "A11",
        "an administrator's policy inside the role, in lower-case elements",
        inline(ADMIN),
    ),
    seen_by(
        "I01 I02 P12",
        "A11",
        "an AWS managed administrator's policy, attached",
        with_addition(AccountAccess, attached, "access-dev"),
    ),
    seen_by(
        "I01 I02 P12",
        "A11",
        "an AWS managed administrator's policy on the role itself",
        with_inputs(aws.iam.Role, OPEN_IN_DEV, managed_policy_arns=[ADMINISTRATOR]),
    ),
    seen_by(
        "P04",
        "A11",
        "a delegated role without the boundary",
        with_inputs(aws.iam.Role, OPEN_IN_DEV, permissions_boundary=GONE),
    ),
    seen_by(
        "P04",
        "A12",
        "a delegated role with sessions of half a day",
        with_inputs(aws.iam.Role, OPEN_IN_DEV, max_session_duration=43200),
    ),
    seen_by("P07", "A21", "the open level in dev gives access entries to clusters", granting("eks:CreateAccessEntry")),
    seen_by(
        "P07",
        "A21",
        "the open level in dev hands roles to pods",
        granting("eks:CreatePodIdentityAssociation"),
    ),
    seen_by(
        "P02",
        "A27",
        "the open level in dev makes roles of the platform's names",
        granting(["iam:DeleteRole", "iam:CreateRole"], f"arn:aws:iam::{DEV}:role/cicd/*"),
    ),
    seen_by(
        "P09",
        "A11",
        "the foundation's boundary lets roles out of it",
        with_result(boundary.boundary, only_allowed),
        stack=foundation.STACK,
    ),
    seen_by(
        "P09 T11",
        "A11",
        "the foundation's boundary opens every service",
        with_result(boundary.boundary, adding_statement({"Action": "*", "Resource": "*"})),
        stack=foundation.STACK,
    ),
    seen_by(
        "P09",
        "A11",
        "the platform's own deployer may change what the foundation owns",
        with_result(platform_roles.deployer, only_allowed),
        stack=foundation.STACK,
    ),
    seen_by("P08", "", "an IAM user", with_addition(AccountAccess, a_user, "access-dev")),
]
ECS, PUSH = "delegated-dev-open-ecs", "delegated-cicd-open-ecr-push"
MUTATIONS += [
    seen_by(
        "P02", "A11", f"the open level in dev decides about access: {action}", edit=registered.granting(ECS, action)
    )
    for action in (
        *("iam:TagRole", "iam:DeleteOpenIDConnectProvider", "iam:CreateServiceLinkedRole", "iam:Upload*"),
        *("organizations:LeaveOrganization", "sts:AssumeRoot", "cloudtrail:StopLogging", "sso:CreateAccountAssignment"),
    )
]
MUTATIONS += [
    seen_by("P07", "A21", f"the open level in cicd changes clusters: {action}", edit=registered.granting(PUSH, action))
    for action in ("eks:DisassociateAccessPolicy", "eks:CreateNodegroup", "eks:UpdateAddon", "eks:MutateVia*")
]
MUTATIONS += [
    seen_by("P03", "A10", f"the open level in cicd runs code: {action}", edit=registered.granting(PUSH, action))
    for action in ("ssm:SendCommand", "lambda:UpdateFunctionCode", "ecs:ExecuteCommand", "ec2-instance-connect:Send*")
]
LOOK = {"Statement": {"Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*"}}
COMPUTE = "arn:aws:iam::aws:policy/AmazonEKSComputePolicy"
MUTATIONS += [
    seen_by(
        "P12",
        "A01",
        "a manager's role may start nodes, by managedPolicyArns",
        edit=registered.with_values("small-identity-manager", managedPolicyArns=[COMPUTE]),
    ),
    *(
        seen_by(
            "P12",
            "A11",
            f"a job's role may start nodes, by {name}",
            edit=registered.with_further(token, "small-identity-job", **inputs),
        )
        for name, token, inputs in (
            (
                "an attachment",
                "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
                {"role": "runner-small", "policyArn": COMPUTE},
            ),
            (
                "an exclusive list",
                "aws:iam/rolePolicyAttachmentsExclusive:RolePolicyAttachmentsExclusive",
                {"roleName": "runner-small", "policyArns": [COMPUTE]},
            ),
            (
                "an attachment of many roles",
                "aws:iam/policyAttachment:PolicyAttachment",
                {"roles": ["runner-small"], "policyArn": COMPUTE},
            ),
        )
    ),
    seen_by(
        "P12",
        "A11",
        "an exclusive list keeps a policy that somebody made by hand",
        edit=registered.with_further(
            "aws:iam/rolePoliciesExclusive:RolePoliciesExclusive",
            "small-identity-job",
            roleName="runner-small",
            policyNames=["by-hand"],
        ),
    ),
    seen_by(
        "P09",
        "A11",
        "the platform's own deployer has a policy inside the role",
        edit=registered.with_values(
            "access-prod-deployer-role", inlinePolicies=[{"name": "more", "policy": json.dumps(LOOK)}]
        ),
        stack=foundation.STACK,
    ),
    *(
        seen_by("P08", "", f"{name} gives permissions", edit=registered.with_further(token, OPEN_IN_DEV, **inputs))
        for name, token, inputs in (
            ("a group's policy", "aws:iam/groupPolicy:GroupPolicy", {"group": "people", "policy": json.dumps(ADMIN)}),
            (
                "a user's attachment",
                "aws:iam/userPolicyAttachment:UserPolicyAttachment",
                {"user": "robot", "policyArn": ADMINISTRATOR},
            ),
        )
    ),
]
