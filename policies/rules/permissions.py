"""Rules of permissions: what a role may do that would make it more than it is. Which accounts it reaches in the end is in `access`.

The foundation's deployer makes clusters, networks and roles, so it is powerful by design: it is bounded by its own denials, nobody but one
protected ref and listed people assumes it, and rule T10 holds it to that. The boundary grants nothing. Both are the option `powerful`; rule
P09 holds their documents to the reviewed ones.
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
from policies.statements import GRANTING, POWERFUL, grants, has_wildcard, known, place, speaks_of, unreadable, values_of
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
"""Give a role rights: below the path of deployments, and only for roles that carry the boundary."""
BELOW_THE_PATH = (
    "iam:CreatePolicy",
    "iam:CreatePolicyVersion",
    "iam:SetDefaultPolicyVersion",
    "iam:DeletePolicyVersion",
)
"""Change policies: below the path of deployments, where every role carries the boundary."""
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
"""Ways up that no role of the platform needs; ids iam-001 to iam-021 of pathfinding.cloud."""
CLUSTER_ACCESS = (
    *("eks:CreateAccessEntry", "eks:UpdateAccessEntry", "eks:AssociateAccessPolicy", "eks:UpdateClusterConfig"),
    *("eks:CreatePodIdentityAssociation", "eks:UpdatePodIdentityAssociation", "eks:AssociateIdentityProviderConfig"),
)


def _ordinary(case: CheckedResource) -> bool:
    """Whether the option `powerful` leaves this document to the rule."""
    holder = case["role"].text() if case.type == ROLE_POLICY else case["name"].text()
    return holder not in case.option("powerful")


def _below_path(statement: Statement, field: Field, account: str) -> bool:
    """Whether all resources of a statement are roles or policies of deployments in the role's own account."""
    pattern = re.compile(rf"^arn:[a-z-]+:iam::{account or r'[0-9]{12}'}:(role|policy){re.escape(DEPLOY_ROLE_PATH)}")
    resources = known(statement.resources, field)
    return bool(resources) and not statement.not_resources and all(pattern.match(each) for each in resources)


def _covered(statement: Statement, actions: Sequence[str], field: Field) -> list[str]:
    return [each for each in actions if speaks_of(statement, each, field)]


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
def no_service_wildcard(case: CheckedResource) -> Iterator[str]:
    """No `*`, no `service:*` on everything, no NotAction, and a document that can be read."""
    yield from _managed(case)
    if not _ordinary(case):
        return
    for path in ("policy",) if case.type in (ROLE_POLICY, POLICY) else ():
        if (reason := unreadable(case[path])) is not None:
            yield f"{path} is no policy document: {reason}"
    for field, statement in grants(case):
        if statement.not_actions:
            yield f"{place(statement)} has NotAction: it grants all the rest"
        everywhere = bool(statement.not_resources) or "*" in statement.resources
        for action in known(statement.actions, field):
            service, _, name = action.partition(":")
            if has_wildcard(service) or not name:
                yield f"{place(statement)} grants {action}"
            elif set(name) <= {"*", "?"} and everywhere:
                yield f"{place(statement)} grants {action} on everything"


def _managed(case: CheckedResource) -> Iterator[str]:
    fields = [case["policyArn"]] if case.type == ATTACHMENT else []
    fields += list(case["managedPolicyArns"].items()) if case.type == ROLE else []
    for field in fields:
        arn = field.text()
        if arn and ":iam::aws:policy/" in arn and arn.rpartition("/")[2] not in case.option("managed_policies"):
            yield f"{field.path} is {arn.rpartition('/')[2]}, which is not listed"


@resource_rule(
    "P02",
    "iam-policy-grants-no-escalation",
    list(GRANTING),
    demands="nobody but the deployer changes who may do what, except below /deploy/ and within the boundary",
    stops="A11, A27: a role gives itself, or a role that it then assumes, more rights",
    remedy="Limit the statement to role/deploy/* with iam:PermissionsBoundary, as the capability `pulumi` does, or drop the action.",
    settings=("accounts.{account}.{level}",),
    source=PATHFINDING,
    severity=Severity.CRITICAL,
    options={"powerful": POWERFUL},
)
def no_escalation(case: CheckedResource) -> Iterator[str]:
    """Escalating actions only where the boundary holds what they make."""
    if not _ordinary(case):
        return
    settings, account = case.surroundings.settings, case.seen.account
    limit = settings.names.boundary_arn(account) if isinstance(settings, Settings) else ""
    for field, statement in grants(case):
        below = _below_path(statement, field, account)
        bounded = values_of(statement, "StringEquals", "iam:PermissionsBoundary", field) == [limit]
        found = _covered(statement, NEVER, field)
        found += [] if below and bounded else _covered(statement, WITH_BOUNDARY, field)
        found += [] if below else _covered(statement, BELOW_THE_PATH, field)
        if found:
            yield f"{place(statement)} grants {', '.join(found[:3])}{' and more' if len(found) > 3 else ''} beyond the boundary"  # noqa: PLR2004  # as many as one can read


@resource_rule(
    "P03",
    "iam-policy-passes-deployment-roles-only",
    list(GRANTING),
    demands="iam:PassRole is for roles of deployments and for named services only",
    stops="A10: a task, function or instance is started with a stronger role than its maker has",
    remedy="Limit it to role/deploy/* with StringEquals iam:PassedToService (components/documents/capabilities.py).",
    settings=("accounts.{account}.{level}",),
    source=f"{PATHFINDING}, CKV_AWS_110",
    severity=Severity.CRITICAL,
    options={"powerful": POWERFUL},
)
def pass_role(case: CheckedResource) -> Iterator[str]:
    """Below /deploy/, where every role carries the boundary, and to services that a deployment may hand one to."""
    if not _ordinary(case):
        return
    for field, statement in grants(case):
        if not speaks_of(statement, "iam:PassRole", field):
            continue
        services = values_of(statement, "StringEquals", "iam:PassedToService", field)
        if not _below_path(statement, field, case.seen.account):
            yield f"{place(statement)} passes roles beyond {DEPLOY_ROLE_PATH}"
        if not services or not set(services) <= set(PASSABLE_TO):
            yield f"{place(statement)} passes roles to services other than {', '.join(PASSABLE_TO)}"


@resource_rule(
    "P04",
    "iam-role-carries-the-boundary",
    [ROLE],
    demands="roles that deployments act with carry the account's boundary, and their sessions end within the hour",
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
    settings = role.surroundings.runners
    name = role["name"].text() or ""
    if settings is None or not name.startswith(("delegated-role", "gitlab-")):
        return
    carried = role["permissionsBoundary"].text()
    if carried is not None and carried != settings.names.boundary_arn(role.seen.account):
        yield "permissionsBoundary is not the boundary of the role's account"
    longest = role.option("longest_session")
    declared = {settings.names.gitlab_role(entry): each.session for entry, each in settings.gitlab_oidc.items()}
    seconds = role["maxSessionDuration"].number(default=3600)
    if seconds is not None and seconds > declared.get(name, longest):
        yield f"maxSessionDuration is {int(seconds)} s, longer than {declared.get(name, longest)} s"


@resource_rule(
    "P07",
    "iam-policy-leaves-cluster-access-alone",
    list(GRANTING),
    demands="only the deployer changes who may enter the cluster",
    stops="A21: a right in AWS becomes the right to rule the cluster",
    remedy="Drop the action; people are listed in cluster.administrators.",
    settings=("accounts.{account}.{level}",),
    source="Elastic rule 9550ec87; https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html",
    options={"powerful": POWERFUL},
)
def cluster_access_is_left_alone(case: CheckedResource) -> Iterator[str]:
    """None of the actions that let somebody in."""
    if not _ordinary(case):
        return
    for field, statement in grants(case):
        if found := _covered(statement, CLUSTER_ACCESS, field):
            yield f"{place(statement)} grants {', '.join(found)}"


@resource_rule(
    "P09",
    "iam-policy-of-the-foundation-is-the-reviewed-one",
    [ROLE_POLICY, POLICY],
    demands="the boundary and the deployer's permissions are, statement for statement, what the pack's own checkout says",
    stops="A11: one of the two documents that other rules leave alone is opened, and with it every account",
    remedy="Change components/documents/boundary.py or platform_roles.py in a merge request of its own, and no copy of them anywhere.",
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def foundation_is_reviewed(case: CheckedResource) -> Iterator[str]:
    """Both documents, in any spelling; no stack of the platform has such a document."""
    settings = case.surroundings.settings
    holder = case["role"].text() if case.type == ROLE_POLICY else case["name"].text()
    if holder not in {DEPLOYER_ROLE, BOUNDARY_POLICY}:
        return
    if isinstance(settings, Settings):
        yield f"{holder} is the foundation's: no other stack gives it permissions"
        return
    of, account = settings.organization, case.seen.account
    if holder == BOUNDARY_POLICY:
        expected = boundary.boundary(boundary.BoundaryAccount(organization=of, account_id=account))
    else:
        role = platform_roles.PlatformRoleAccount(organization=of, account_id=account, state_bucket="")
        expected = platform_roles.deployer(role)
    found = normalise(case["policy"].value)
    if isinstance(found, Undecided):
        case.undecide("policy")
    elif found != normalise(expected):
        yield f"the policy is not what components/documents says of {holder}"
