"""Rules of permissions: what would make a role more than it is. Which accounts a role reaches is computed in `access`.

The foundation's deployer makes clusters, networks and roles, so it is powerful by design: its own denials bound it, only one protected ref
and listed people assume it, and rule T10 checks that. The boundary grants nothing. Both are the option `powerful`, which these rules leave
out; rule P09 compares their documents with the reviewed ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.decision import Undecided
from access.policy_documents import normalise
from components.documents import boundary, platform_roles
from components.documents.boundary import PASSABLE_TO
from config.names import BOUNDARY_POLICY, DEPLOY_ROLE_PATH, DEPLOYER_ROLE
from config.settings import Settings
from policies.rule import Option, resource_rule
from policies.statements import (
    GRANTING,
    POWERFUL,
    condition_values,
    covers,
    granting_statements,
    has_wildcard,
    known_texts,
    name_of,
    unreadable,
)
from policies.type_tokens import ATTACHMENT, POLICY, ROLE, ROLE_POLICY

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from access.policy_documents import Statement
    from policies.fields import Field
    from policies.rule import CheckedResource

PATHFINDING = "https://github.com/DataDog/pathfinding.cloud"
ATTACHABLE = Option.names(
    "AWS managed policies that a role may carry",
    [
        *("AmazonEKSClusterPolicy", "AmazonEKSComputePolicy", "AmazonEKSBlockStoragePolicy"),
        *("AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy", "AmazonEKSWorkerNodeMinimalPolicy"),
        *("AmazonEC2ContainerRegistryPullOnly", "CloudWatchAgentServerPolicy", "SecurityAudit", "ViewOnlyAccess"),
    ],
)
WITH_BOUNDARY = (
    "iam:CreateRole",
    "iam:PutRolePolicy",
    "iam:AttachRolePolicy",
    "iam:DetachRolePolicy",
    "iam:DeleteRolePolicy",
)
"""Actions that give a role permissions: allowed below the path of deployments, for roles with the boundary."""
BELOW_THE_PATH = (
    "iam:CreatePolicy",
    "iam:CreatePolicyVersion",
    "iam:SetDefaultPolicyVersion",
    "iam:DeletePolicyVersion",
)
"""Actions that change policies: allowed below the path of deployments, where every role has the boundary."""
NEVER = (
    *("iam:UpdateAssumeRolePolicy", "iam:PutRolePermissionsBoundary", "iam:DeleteRolePermissionsBoundary"),
    *(
        "iam:CreateUser",
        "iam:CreateAccessKey",
        "iam:CreateLoginProfile",
        "iam:UpdateLoginProfile",
        "iam:AttachUserPolicy",
    ),
    *(
        "iam:PutUserPolicy",
        "iam:AttachGroupPolicy",
        "iam:PutGroupPolicy",
        "iam:AddUserToGroup",
        "iam:PutUserPermissionsBoundary",
    ),
    *("iam:DeleteUserPermissionsBoundary", "iam:CreateOpenIDConnectProvider", "iam:AddClientIDToOpenIDConnectProvider"),
    *("iam:UpdateOpenIDConnectProviderThumbprint", "iam:CreateSAMLProvider", "iam:UpdateSAMLProvider"),
    *("iam:CreateInstanceProfile", "iam:AddRoleToInstanceProfile", "iam:CreateServiceSpecificCredential"),
)
"""Escalating actions that no role of the platform needs; ids iam-001 to iam-021 of pathfinding.cloud."""
CLUSTER_ACCESS = (
    *("eks:CreateAccessEntry", "eks:UpdateAccessEntry", "eks:AssociateAccessPolicy", "eks:UpdateClusterConfig"),
    *("eks:CreatePodIdentityAssociation", "eks:UpdatePodIdentityAssociation", "eks:AssociateIdentityProviderConfig"),
)
MOST_NAMED = 3
"""Actions that a message names; for more it says "and more"."""


def _holder(resource: CheckedResource) -> str | None:
    return resource["role"].text() if resource.type == ROLE_POLICY else resource["name"].text()


def _ordinary(resource: CheckedResource) -> bool:
    """Whether a rule applies to a document: the option `powerful` does not list its holder."""
    return _holder(resource) not in resource.option("powerful")


def _below_path(statement: Statement, field: Field, account: str) -> bool:
    """Whether all resources of a statement are roles or policies of deployments in the role's own account."""
    pattern = re.compile(rf"^arn:[a-z-]+:iam::{account or r'[0-9]{12}'}:(role|policy){re.escape(DEPLOY_ROLE_PATH)}")
    resources = known_texts(statement.resources, field)
    return bool(resources) and not statement.not_resources and all(pattern.match(arn) for arn in resources)


def _covered(statement: Statement, actions: Sequence[str], field: Field) -> list[str]:
    return [action for action in actions if covers(statement, action, field)]


@resource_rule(
    "P01",
    "iam-policy-grants-no-service-wildcard",
    [*GRANTING, ATTACHMENT],
    demands="a role of the platform gets listed actions, and AWS managed policies from a list",
    stops="A11: one statement makes an administrator",
    remedy="Name the actions that the tool really sends (components/documents/capabilities.py).",
    settings=("accounts.{account}.{level}",),
    source="CKV_AWS_62, CKV_AWS_63, CKV_AWS_274, CKV2_AWS_40, IAM.1, IAM.21, AwsSolutions-IAM4, AwsSolutions-IAM5",
    options={"powerful": POWERFUL, "managed_policies": ATTACHABLE},
)
def no_service_wildcard(resource: CheckedResource) -> Iterator[str]:
    """No `*`, no `service:*` on everything, no NotAction, and a document that can be read."""
    yield from _managed(resource)
    if not _ordinary(resource):
        return
    if resource.type in (ROLE_POLICY, POLICY) and (reason := unreadable(resource["policy"])) is not None:
        yield f"policy is not a policy document: {reason}"
    for field, statement in granting_statements(resource):
        if statement.not_actions:
            yield f"{name_of(statement)} has NotAction: it grants every other action"
        everywhere = bool(statement.not_resources) or "*" in statement.resources
        for action in known_texts(statement.actions, field):
            service, _, name = action.partition(":")
            if has_wildcard(service) or not name:
                yield f"{name_of(statement)} grants {action}"
            elif set(name) <= {"*", "?"} and everywhere:
                yield f"{name_of(statement)} grants {action} on everything"


def _managed(resource: CheckedResource) -> Iterator[str]:
    fields = [resource["policyArn"]] if resource.type == ATTACHMENT else []
    fields += list(resource["managedPolicyArns"].items()) if resource.type == ROLE else []
    for field in fields:
        arn = field.text()
        if arn and ":iam::aws:policy/" in arn and arn.rpartition("/")[2] not in resource.option("managed_policies"):
            yield f"{field.path} is {arn.rpartition('/')[2]}, which is not in the option `managed_policies`"


@resource_rule(
    "P02",
    "iam-policy-grants-no-escalation",
    list(GRANTING),
    demands="only the deployer changes permissions, except below /deploy/ and within the boundary",
    stops="A11, A27: a role gives more permissions to itself, or to a role that it then assumes",
    remedy="Limit the statement to role/deploy/* with iam:PermissionsBoundary, as the capability `pulumi` does, or remove the action.",
    settings=("accounts.{account}.{level}",),
    source=PATHFINDING,
    severity=Severity.CRITICAL,
    options={"powerful": POWERFUL},
)
def no_escalation(resource: CheckedResource) -> Iterator[str]:
    """Escalating actions only where the boundary limits the roles that they make."""
    if not _ordinary(resource):
        return
    settings, account = resource.run.settings, resource.account
    limit = settings.names.boundary_arn(account) if isinstance(settings, Settings) else ""
    for field, statement in granting_statements(resource):
        below = _below_path(statement, field, account)
        bounded = condition_values(statement, "StringEquals", "iam:PermissionsBoundary", field) == [limit]
        actions = _covered(statement, NEVER, field)
        actions += [] if below and bounded else _covered(statement, WITH_BOUNDARY, field)
        actions += [] if below else _covered(statement, BELOW_THE_PATH, field)
        if actions:
            more = " and more" if len(actions) > MOST_NAMED else ""
            yield f"{name_of(statement)} grants {', '.join(actions[:MOST_NAMED])}{more} beyond the boundary"


@resource_rule(
    "P03",
    "iam-policy-passes-deployment-roles-only",
    list(GRANTING),
    demands="iam:PassRole is for roles of deployments and for named services only",
    stops="A10: somebody starts a task, function or instance with a stronger role than their own",
    remedy="Limit it to role/deploy/* with StringEquals iam:PassedToService (components/documents/capabilities.py).",
    settings=("accounts.{account}.{level}",),
    source=f"{PATHFINDING}, CKV_AWS_110",
    severity=Severity.CRITICAL,
    options={"powerful": POWERFUL},
)
def pass_role(resource: CheckedResource) -> Iterator[str]:
    """Roles below /deploy/, which have the boundary, and services that a deployment may pass a role to."""
    if not _ordinary(resource):
        return
    for field, statement in granting_statements(resource):
        if not covers(statement, "iam:PassRole", field):
            continue
        services = condition_values(statement, "StringEquals", "iam:PassedToService", field)
        if not _below_path(statement, field, resource.account):
            yield f"{name_of(statement)} passes roles beyond {DEPLOY_ROLE_PATH}"
        if not services or not set(services) <= set(PASSABLE_TO):
            yield f"{name_of(statement)} passes roles to services other than {', '.join(PASSABLE_TO)}"


@resource_rule(
    "P04",
    "iam-role-carries-the-boundary",
    [ROLE],
    demands="roles that deploy have the account's boundary, and their sessions end within an hour",
    stops="A11, A12: a deployment does more than deployments may, or goes on for half a day",
    remedy="Set permissions_boundary and max_session_duration as components/delegated_role.py does.",
    settings=("gitlab_oidc.{entry}.session", "gitlab_oidc.{entry}"),
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_boundaries.html",
    options={
        "longest_session": Option(
            schema={"type": "integer", "minimum": 3600, "maximum": 43200, "description": "seconds, of delegated roles"},
            default=3600,
        )
    },
)
def boundary_is_carried(role: CheckedResource) -> Iterator[str]:
    """Delegated roles and roles for GitLab's tokens."""
    settings = role.run.platform_settings
    name = role["name"].text() or ""
    if settings is None or not name.startswith(("delegated-role", "gitlab-")):
        return
    boundary_arn, expected = role["permissionsBoundary"].text(), settings.names.boundary_arn(role.account)
    if boundary_arn is not None and boundary_arn != expected:
        yield f"permissionsBoundary is {boundary_arn or 'missing'}, not {expected}"
    sessions = {settings.names.gitlab_role(entry): gitlab.session for entry, gitlab in settings.gitlab_oidc.items()}
    longest = sessions.get(name, role.option("longest_session"))
    seconds = role["maxSessionDuration"].number(default=3600)
    if seconds is not None and seconds > longest:
        yield f"maxSessionDuration is {int(seconds)} s, longer than {longest} s"


@resource_rule(
    "P07",
    "iam-policy-leaves-cluster-access-alone",
    list(GRANTING),
    demands="only the deployer changes which principals may enter the cluster",
    stops="A21: a permission in AWS becomes the right to administer the cluster",
    remedy="Remove the action; list people in cluster.administrators.",
    settings=("accounts.{account}.{level}",),
    source="Elastic rule 9550ec87; https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html",
    options={"powerful": POWERFUL},
)
def cluster_access_is_left_alone(resource: CheckedResource) -> Iterator[str]:
    """No action that admits a principal to the cluster."""
    if not _ordinary(resource):
        return
    for field, statement in granting_statements(resource):
        if actions := _covered(statement, CLUSTER_ACCESS, field):
            yield f"{name_of(statement)} grants {', '.join(actions)}"


@resource_rule(
    "P09",
    "iam-policy-of-the-foundation-is-the-reviewed-one",
    [ROLE_POLICY, POLICY],
    demands="the boundary and the deployer's permissions are, statement for statement, those of the pack's own checkout",
    stops="A11: one of the two documents that other rules leave out is widened, and with it every account",
    remedy="Change components/documents/boundary.py or platform_roles.py in a merge request of its own, and no copy of them.",
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def foundation_is_reviewed(resource: CheckedResource) -> Iterator[str]:
    """Both documents, in any spelling; no stack of the platform has such a document."""
    settings, holder = resource.run.settings, _holder(resource)
    if holder not in {DEPLOYER_ROLE, BOUNDARY_POLICY}:
        return
    if isinstance(settings, Settings):
        yield f"{holder} belongs to the foundation: no other stack gives it permissions"
        return
    organization, account = settings.organization, resource.account
    if holder == BOUNDARY_POLICY:
        expected = boundary.boundary(boundary.BoundaryAccount(organization=organization, account_id=account))
    else:
        role = platform_roles.PlatformRoleAccount(organization=organization, account_id=account, state_bucket="")
        expected = platform_roles.deployer(role)
    document = normalise(resource["policy"].value)
    if isinstance(document, Undecided):
        resource.undecide("policy")
    elif document != normalise(expected):
        yield f"the policy differs from the document of {holder} in components/documents"
