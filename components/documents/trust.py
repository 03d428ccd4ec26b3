"""Trust documents: the principals that may assume a role, and the permission that they need on their side.

- `roles_of_account`: trust of `delegated-role` in job roles, and of the platform's own roles in operators
- `assume_roles`: permission of a job role to assume delegated roles
- `service_account`: trust of job and manager roles in Kubernetes service accounts (IRSA)
- `gitlab`: trust in GitLab's ID tokens
- `service`: trust in AWS services
- `machine`, `tasks`: trust of job roles in a class's machines or Fargate tasks

Both sides of a delegated role come from one rule, `Runner.may_enter` (config/sections.py). Conditions use `StringEquals` and `ArnEquals`
with exact values; only a GitLab role of the open level may ask for a wildcard in its subject.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents.statements import Document, document

if TYPE_CHECKING:
    from collections.abc import Sequence

WEB_IDENTITY_AUDIENCE = "sts.amazonaws.com"
TASKS = "ecs-tasks.amazonaws.com"


def service(*principals: str, actions: Sequence[str] = ("sts:AssumeRole",), for_account: str | None = None) -> Document:
    """Trust AWS services, such as `ecs-tasks.amazonaws.com`.

    Args:
        principals: the services.
        actions: actions of the trust.
        for_account: the only account whose resources the services may act for; without it, a service that acts for many accounts
            is a confused deputy (https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html).
    """
    statement: Document = {
        "Effect": "Allow",
        "Principal": {"Service": _scalar_or_list(principals)},
        "Action": _scalar_or_list(actions),
    }
    if for_account is not None:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": for_account}}
    return document(statement)


def service_account(*, provider_arn: str, issuer: str, namespace: str, account: str) -> Document:
    """Trust exactly one Kubernetes service account (IRSA).

    Args:
        provider_arn: the cluster's OIDC provider in the role's account.
        issuer: the cluster's issuer with or without `https://`; condition keys have none.
        namespace: the service account's namespace.
        account: the service account's name.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html
    """
    host = issuer.removeprefix("https://")
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {
                "StringEquals": {
                    f"{host}:aud": WEB_IDENTITY_AUDIENCE,
                    f"{host}:sub": f"system:serviceaccount:{namespace}:{account}",
                }
            },
        }
    )


def roles_of_account(*, partition: str, account_id: str, role_arns: Sequence[str], organization_id: str) -> Document:
    """Trust exactly the given roles of one account, as long as the account belongs to the organisation.

    The principal is the account, and the condition names the roles. So a role that is deleted and made again is still
    trusted, and both sides can be created in any order.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    return document(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{account_id}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "ArnEquals": {"aws:PrincipalArn": sorted(role_arns)},
                "StringEquals": {"aws:PrincipalOrgID": organization_id},
            },
        }
    )


def machine(*, partition: str, account_id: str, role_arn: str) -> Document:
    """Trust the role of a class's machines, which keep a session of the job role for jobs."""
    return document(
        {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:{partition}:iam::{account_id}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"ArnEquals": {"aws:PrincipalArn": role_arn}},
        }
    )


def tasks(*, partition: str, account_id: str, region: str) -> Document:
    """Trust ECS, for tasks of one account and region.

    IAM cannot tell clusters apart here; `iam:PassRole` decides who may start a task with the role.

    Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
    """
    trust = service(TASKS, for_account=account_id)
    trust["Statement"][0]["Condition"]["ArnLike"] = {"aws:SourceArn": f"arn:{partition}:ecs:{region}:{account_id}:*"}
    return trust


def assume_roles(role_arns: Sequence[str]) -> Document:
    """Permit to assume exactly the given roles: the other side of `roles_of_account`."""
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": sorted(role_arns)})


def gitlab_subject(
    project: str, *, ref: str | None = None, tag: str | None = None, environment: str | None = None
) -> str:
    """Return the `sub` of GitLab's ID tokens for a branch, a tag, or a protected environment of a deployment tier.

    For an environment the project's `ci_id_token_sub_claim_components` must be
    `["project_path", "environment_protected", "deployment_tier"]` (GitLab 18.7 and newer); AWS sees no other GitLab claim.

    Source: https://docs.gitlab.com/ci/secrets/id_token_authentication/
    """
    if environment is not None:
        return f"project_path:{project}:environment_protected:true:deployment_tier:{environment}"
    kind, name = ("branch", ref) if ref is not None else ("tag", tag)
    return f"project_path:{project}:ref_type:{kind}:ref:{name}"


def gitlab(*, partition: str, account_id: str, url: str, audience: str, subjects: Sequence[str]) -> Document:
    """Trust GitLab's ID tokens with the given subjects; a wildcard in a subject makes the condition `StringLike`."""
    host = url.removeprefix("https://")
    operator = "StringLike" if any("*" in subject for subject in subjects) else "StringEquals"
    conditions: dict[str, dict[str, Any]] = {"StringEquals": {f"{host}:aud": audience}}
    conditions.setdefault(operator, {})[f"{host}:sub"] = _scalar_or_list(subjects)
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": oidc_provider_arn(partition, account_id, host)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": conditions,
        }
    )


def oidc_provider_arn(partition: str, account_id: str, issuer: str) -> str:
    """Return the ARN of an issuer's OIDC provider; IAM names it by the issuer without `https://`."""
    return f"arn:{partition}:iam::{account_id}:oidc-provider/{issuer.removeprefix('https://')}"


def _scalar_or_list(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
