"""Trust documents: who may assume a role.

Both sides of a trust come from one list: the classes of a level that may enter an account (`Settings.classes_of`) name the job
roles here, and `assume_roles` names the roles there. Conditions use `StringEquals` and `ArnEquals` with exact values;
no subject has a wildcard, except a GitLab role of an open level that asks for one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents.statements import Document, document
from config.names import partition_domain

if TYPE_CHECKING:
    from collections.abc import Sequence

WEB_IDENTITY_AUDIENCE = "sts.amazonaws.com"


def service(*principals: str, actions: Sequence[str] = ("sts:AssumeRole",), for_account: str | None = None) -> Document:
    """Trust in AWS services, such as `ecs-tasks.amazonaws.com`.

    Args:
        principals: the services.
        actions: what they may do.
        for_account: the account whose resources they may act for; a service that acts for many accounts is else a confused deputy
            (https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html).
    """
    statement: Document = {
        "Effect": "Allow",
        "Principal": {"Service": _one_or_list(principals)},
        "Action": _one_or_list(actions),
    }
    if for_account is not None:
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": for_account}}
    return document(statement)


def service_principal(name: str, partition: str) -> str:
    """A service whose principal is of its partition, such as EC2 and CloudWatch Logs; most have the same name everywhere.

    Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
    """
    return f"{name}.{partition_domain(partition)}"


def service_account(*, provider_arn: str, issuer: str, namespace: str, account: str) -> Document:
    """Trust in exactly one Kubernetes service account (IRSA).

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
    """Trust in exactly these roles of one account, as long as it belongs to the organisation.

    The principal is the account and the condition names the roles, so that a role which is deleted and made again is still
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


def gitlab_subject(
    project: str, *, ref: str | None = None, tag: str | None = None, environment: str | None = None
) -> str:
    """The `sub` of GitLab's ID tokens for a branch, a tag, or a protected environment of a deployment tier.

    For an environment the project's `ci_id_token_sub_claim_components` must be
    `["project_path", "environment_protected", "deployment_tier"]` (GitLab 18.7 and newer); AWS sees no other GitLab claim.

    Source: https://docs.gitlab.com/ci/secrets/id_token_authentication/
    """
    if environment is not None:
        return f"project_path:{project}:environment_protected:true:deployment_tier:{environment}"
    return f"project_path:{project}:ref_type:{'branch' if ref is not None else 'tag'}:ref:{ref if ref is not None else tag}"


def gitlab(*, partition: str, account_id: str, url: str, audience: str, subjects: Sequence[str]) -> Document:
    """Trust in GitLab's ID tokens with these subjects; `StringLike` only where one holds a wildcard."""
    host = url.removeprefix("https://")
    operator = "StringLike" if any("*" in subject for subject in subjects) else "StringEquals"
    conditions: dict[str, dict[str, Any]] = {"StringEquals": {f"{host}:aud": audience}}
    conditions.setdefault(operator, {})[f"{host}:sub"] = _one_or_list(subjects)
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": oidc_provider_arn(partition, account_id, host)},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": conditions,
        }
    )


def oidc_provider_arn(partition: str, account_id: str, issuer: str) -> str:
    """ARN of the OIDC provider of an issuer; IAM names it by the issuer without `https://`."""
    return f"arn:{partition}:iam::{account_id}:oidc-provider/{issuer.removeprefix('https://')}"


def assume_roles(role_arns: Sequence[str]) -> Document:
    """Permission to assume exactly these roles: the other side of `trust.roles_of_account`."""
    return document({"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": sorted(role_arns)})


def _one_or_list(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)
