"""Rules of permissions: what would make a role more than it is. Which accounts a role reaches is computed in `access`.

The foundation's deployer makes clusters, networks and roles, so it is powerful by design: its own denials bound it, only one protected ref
and listed people assume it, and rule T10 checks that. The boundary grants nothing. Both are the option `powerful`, which these rules leave
out; rule P09 compares their documents with the reviewed ones.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.actions import Effect
from access.decision import Undecided
from access.policy_documents import normalise
from components.documents import boundary, platform_roles
from components.documents.boundary import PASSABLE_TO, SERVICE_LINKED_FOR
from config.names import BOUNDARY_POLICY, DEPLOY_ROLE_PATH, DEPLOYER_ROLE
from config.settings import Settings
from policies.expected_machines import machine_kinds
from policies.expected_trust import classes_of_tasks, managed_policies
from policies.rule import Option, resource_rule, stack_rule
from policies.statements import (
    GRANTING,
    POWERFUL,
    condition_values,
    covers,
    granting_statements,
    has_wildcard,
    known_texts,
    name_of,
    reached_in,
    unreadable,
)
from policies.type_tokens import (
    ATTACHMENT,
    EXCLUSIVE_ATTACHMENTS,
    EXCLUSIVE_POLICIES,
    POLICY,
    POLICY_ATTACHMENT,
    ROLE,
    ROLE_POLICY,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from access.policy_documents import Statement
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

PATHFINDING = "https://github.com/DataDog/pathfinding.cloud"
WITH_BOUNDARY = (
    "iam:CreateRole",
    "iam:PutRolePolicy",
    "iam:AttachRolePolicy",
    "iam:DetachRolePolicy",
    "iam:DeleteRolePolicy",
)
"""Actions that give a role permissions: allowed below the path of deployments, for roles with the boundary."""
BELOW_THE_PATH = (
    *("iam:CreatePolicy", "iam:CreatePolicyVersion", "iam:SetDefaultPolicyVersion", "iam:DeletePolicyVersion"),
    *("iam:DeletePolicy", "iam:TagPolicy", "iam:UntagPolicy", "iam:DeleteRole", "iam:UpdateRole"),
    *("iam:UpdateRoleDescription", "iam:TagRole", "iam:UntagRole"),
)
"""Further actions on roles and policies: allowed below the path of deployments, where every role has the boundary."""
SEND_KEY = "ec2-instance-connect:SendSSHPublicKey"
PASS_ROLE, SERVICE_LINKED = "iam:PassRole", "iam:CreateServiceLinkedRole"
ASSUME_ACTIONS = frozenset({"sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"})
CHANGES = frozenset({Effect.SETTINGS, Effect.POLICY, Effect.TAG})
"""Effects that no role but the deployer needs in a service that decides about access."""
CLUSTER_SERVICE = "eks"
CONTROL = frozenset(
    {
        *("account", "cloudtrail", "controltower", "iam", "identitystore", "organizations", "ram", "sso"),
        *("sso-directory", "sts"),
    }
)
"""Services that decide about access."""
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


def _changes(statement: Statement, field: Field) -> Iterator[str]:
    """Yield the actions of a statement that decide about access, in services other than EKS."""
    for (service, effect), actions in reached_in(statement, field).items():
        if effect in CHANGES and service in CONTROL:
            yield from (action for action in actions if action not in {PASS_ROLE, *ASSUME_ACTIONS})


def _links_service(statement: Statement, field: Field, account: str) -> bool:
    """Whether a statement makes only service-linked roles of services that a deployment may use."""
    services = condition_values(statement, "StringEquals", "iam:AWSServiceName", field)
    pattern = re.compile(rf"^arn:[a-z-]+:iam::{account}:role/aws-service-role/")
    resources = known_texts(statement.resources, field)
    own = bool(resources) and all(pattern.match(arn) for arn in resources)
    return own and services is not None and set(services) <= set(SERVICE_LINKED_FOR)


def _named(actions: Sequence[str]) -> str:
    return ", ".join(actions[:MOST_NAMED]) + (" and more" if len(actions) > MOST_NAMED else "")


@resource_rule(
    "P01",
    "iam-policy-grants-no-service-wildcard",
    list(GRANTING),
    demands="a role of the platform gets listed actions",
    stops="A11: one statement makes an administrator",
    remedy="Name the actions that the tool really sends (components/documents/capabilities.py).",
    settings=("accounts.{account}.{level}",),
    source="CKV_AWS_62, CKV_AWS_63, CKV2_AWS_40, IAM.1, IAM.21, AwsSolutions-IAM5",
    options={"powerful": POWERFUL},
)
def no_service_wildcard(resource: CheckedResource) -> Iterator[str]:
    """No `*`, no `service:*` on everything, no NotAction, and a document that can be read."""
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
    """Actions that decide about access, only where the boundary limits the roles that they make."""
    if not _ordinary(resource):
        return
    settings, account = resource.run.settings, resource.account
    limit = settings.names.boundary_arn(account) if isinstance(settings, Settings) else ""
    for field, statement in granting_statements(resource):
        below = _below_path(statement, field, account)
        bounded = condition_values(statement, "StringEquals", "iam:PermissionsBoundary", field) == [limit]
        permitted = {*(BELOW_THE_PATH if below else ()), *(WITH_BOUNDARY if below and bounded else ())}
        permitted |= {SERVICE_LINKED} if _links_service(statement, field, account) else set()
        if actions := [action for action in _changes(statement, field) if action not in permitted]:
            yield f"{name_of(statement)} grants {_named(actions)} beyond the boundary"


@resource_rule(
    "P03",
    "iam-policy-passes-deployment-roles-only",
    list(GRANTING),
    demands="iam:PassRole is for roles of deployments and for named services only, and no role runs code as one that exists",
    stops="A10: somebody starts a task, function or instance with a stronger role than their own, or puts code into one that runs",
    remedy="Limit iam:PassRole to role/deploy/* with StringEquals iam:PassedToService (components/documents/capabilities.py); else remove the action.",
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
        running = [
            a for reach, actions in reached_in(statement, field).items() if reach.effect is Effect.RUN for a in actions
        ]
        if running and not (running == [SEND_KEY] and _connects_to_its_workers(resource, statement, field)):
            yield f"{name_of(statement)} grants {_named(running)}, which runs code as a role that exists"
        if not covers(statement, PASS_ROLE, field):
            continue
        services = condition_values(statement, "StringEquals", "iam:PassedToService", field)
        if services == ["ecs-tasks.amazonaws.com"] and _passes_its_task_roles(resource, statement, field):
            continue
        if not _below_path(statement, field, resource.account):
            yield f"{name_of(statement)} passes roles beyond {DEPLOY_ROLE_PATH}"
        if not services or not set(services) <= set(PASSABLE_TO):
            yield f"{name_of(statement)} passes roles to services other than {', '.join(PASSABLE_TO)}"


def _passes_its_task_roles(resource: CheckedResource, statement: Statement, field: Field) -> bool:
    """Whether a statement lets a manager pass the two roles of its own class's tasks, and no others."""
    settings = resource.run.platform_settings
    if settings is None or statement.not_actions or statement.not_resources:
        return False
    names, home = settings.names, settings.platform_account.id
    roles = {
        names.manager_role(name): {
            names.role_arn(home, names.job_role(name)),
            names.role_arn(home, names.task_role(name)),
        }
        for name in classes_of_tasks(settings)
    }
    return set(known_texts(statement.resources, field)) == roles.get(_holder(resource) or "")


def _connects_to_its_workers(resource: CheckedResource, statement: Statement, field: Field) -> bool:
    """Whether a statement lets a manager into the instances of its own class's group, and into no others."""
    settings = resource.run.platform_settings
    groups = {
        kind.runner_class.names.manager_role(kind.runner_class.name): name
        for name, kind in machine_kinds(settings).items()
        if kind.worker
    }
    group = groups.get(_holder(resource) or "")
    tag = condition_values(statement, "StringEquals", "ec2:ResourceTag/aws:autoscaling:groupName", field)
    return group is not None and tag == [group] and not statement.not_actions


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
    demands="only the deployer changes a cluster, its nodes and add-ons, and which principals may enter it",
    stops="A21: a permission in AWS becomes the right to administer the cluster",
    remedy="Remove the action; list people in cluster.administrators.",
    settings=("accounts.{account}.{level}",),
    source="Elastic rule 9550ec87; https://docs.aws.amazon.com/eks/latest/userguide/access-entries.html",
    options={"powerful": POWERFUL},
)
def cluster_access_is_left_alone(resource: CheckedResource) -> Iterator[str]:
    """No action that changes a cluster, the identities in it, or who may enter it."""
    if not _ordinary(resource):
        return
    for field, statement in granting_statements(resource):
        reached = reached_in(statement, field).items()
        if actions := [a for reach, names in reached if reach.service == CLUSTER_SERVICE for a in names]:
            yield f"{name_of(statement)} grants {_named(actions)}"


@resource_rule(
    "P09",
    "iam-policy-of-the-foundation-is-the-reviewed-one",
    [ROLE_POLICY, POLICY, ROLE],
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
    if resource.type == ROLE:
        if not resource["inlinePolicies"].absent:
            yield f"inlinePolicies gives {holder} permissions beside its reviewed document"
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


@stack_rule(
    "P12",
    "iam-role-carries-listed-policies",
    demands="a role carries only the AWS managed policies that its purpose needs, and other policies only of this stack",
    stops="A11, A01: a policy that nobody here reads makes an administrator, or a role of machinery more than it is",
    remedy="Remove the policy; policies/expected_trust.py lists what each role may carry.",
    settings=("accounts.{account}.{level}",),
    source="CKV_AWS_274, AwsSolutions-IAM4",
    severity=Severity.CRITICAL,
)
def managed_policies_are_listed(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Attachments of every kind, and the exclusive lists of a role's inline policies."""
    listed = managed_policies(stack.run.settings)
    own = {policy["name"].text() for policy in stack.of(POLICY)} - {BOUNDARY_POLICY}
    for resource, role, field in _attachments(stack):
        arn = field.text()
        prefix, _, name = (arn or "").partition(":policy/")
        if arn is None or (prefix.endswith(":iam::aws") and name in listed.get(role, ())):
            continue
        if prefix.endswith(":iam::aws"):
            yield resource.urn, f"{field.path} gives {role or 'somebody'} {name}, which is not in its list"
        elif name.rpartition("/")[2] not in own:
            yield resource.urn, f"{field.path} gives {role or 'somebody'} {arn}, which is not a policy of this stack"
    inline = {(policy["role"].text(), policy["name"].text()) for policy in stack.of(ROLE_POLICY)}
    for exclusive in stack.of(EXCLUSIVE_POLICIES):
        role = exclusive["roleName"].text() or ""
        for name in exclusive["policyNames"].texts():
            if (role, name) not in inline:
                yield exclusive.urn, f"policyNames keeps {name} of {role}, which is not a policy of this stack"


def _attachments(stack: CheckedStack) -> Iterator[tuple[CheckedResource, str, Field]]:
    """Yield resource, name of the role, and ARN of every policy that is attached; no name for users and groups."""
    for attachment in stack.of(ATTACHMENT):
        yield attachment, attachment["role"].text() or "", attachment["policyArn"]
    for role in stack.of(ROLE):
        yield from ((role, role["name"].text() or "", field) for field in role["managedPolicyArns"].items())
    for exclusive in stack.of(EXCLUSIVE_ATTACHMENTS):
        yield from ((exclusive, exclusive["roleName"].text() or "", field) for field in exclusive["policyArns"].items())
    for attachment in stack.of(POLICY_ATTACHMENT):
        holders = attachment["roles"].texts() + [""] * bool(attachment["users"].texts() + attachment["groups"].texts())
        yield from ((attachment, holder, attachment["policyArn"]) for holder in holders)
