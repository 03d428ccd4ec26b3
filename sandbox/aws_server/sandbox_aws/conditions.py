"""Condition keys and resource names of IAM policies, where MiniStack differs from AWS.

`aws:PrincipalArn` of a session is the role's ARN with its path. A list-valued claim matches a plain operator if any
member does. Calls with a web identity have no principal keys. IAM's own resources have their path, and requests to IAM
the boundary and the policy. Not modelled: policy variables, tag conditions on EC2 (sandbox/docs/aws.md).
"""

from __future__ import annotations

from typing import Any

from ministack.core import iam_evaluator
from ministack.services import iam

from sandbox_aws import kms
from sandbox_aws.patching import replace
from sandbox_aws.resources import Request, evaluate_on

_PRINCIPAL_KEYS = ("aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principaltype", "aws:userid")
_WITH_BOUNDARY_OF_ROLE = {
    "iam:AttachRolePolicy",
    "iam:DetachRolePolicy",
    "iam:PutRolePolicy",
    "iam:DeleteRolePolicy",
    "iam:DeleteRolePermissionsBoundary",
}
_WITH_BOUNDARY_OF_REQUEST = {"iam:CreateRole", "iam:CreateUser", "iam:PutRolePermissionsBoundary"}


def install() -> None:
    """Replace the evaluation of condition keys and the resource names of IAM."""
    replace("core.iam_evaluator", "_resolve_condition_key", _principal_keys)
    replace("core.iam_evaluator", "_evaluate_single_condition", _lists)
    evaluate_on("iam", _iam_resource)
    replace("core.iam_actions", "request_tag_context", _iam_keys)


def role_of_session(arn: str) -> dict[str, Any] | None:
    """Return the stored role of an assumed-role ARN; None for another principal or a deleted role."""
    if ":assumed-role/" not in arn:
        return None
    account, name = arn.split(":")[4], arn.split("/")[1]
    role: dict[str, Any] | None = iam._roles.get_scoped(account, None, name)
    return role


def _principal_keys(original: Any) -> Any:
    def resolve(key: str, context: iam_evaluator.EvalContext) -> Any:
        lower = key.lower()
        if context.principal_type == "WebIdentityUser" and lower in _PRINCIPAL_KEYS:
            return None  # the call is not signed: it has no principal yet
        if lower == "aws:securetransport":
            return "true"  # loopback stands for TLS: a policy that demands TLS must let the platform work
        if lower == "kms:resourcealiases":
            return kms.aliases(context.resource_arn) or None
        if lower == "aws:principalarn":
            role = role_of_session(context.principal_arn)
            return role["Arn"] if role else original(key, context)
        return original(key, context)

    return resolve


def _lists(original: Any) -> Any:
    def evaluate(operator: str, actual: Any, expected: list[str]) -> bool:
        lower = operator.lower()
        if not isinstance(actual, list) or not actual or lower == "null" or lower.startswith("for"):
            return bool(original(operator, actual, expected))
        negated = lower.removesuffix("ifexists") in iam_evaluator._NEGATED_OPS
        return (all if negated else any)(original(operator, member, expected) for member in actual)

    return evaluate


def _iam_resource(request: Request, _ministack: str) -> str | None:
    """Return the ARN of an IAM request with its path, or None if MiniStack's answer is right."""
    parameters, account = request.parameters, request.account
    action, role, provider = (iam._p(parameters, name) for name in ("Action", "RoleName", "OpenIDConnectProviderArn"))
    resource = _new_iam_resource(action, parameters)
    if resource is not None:
        return f"arn:aws:iam::{account}:{resource}"
    if provider:
        return str(provider)
    profile = iam._instance_profiles.get(iam._p(parameters, "InstanceProfileName"))
    if profile is not None:  # also where a role is added to one
        return str(profile["Arn"])
    stored = iam._roles.get(role) if role else None
    return stored["Arn"] if stored else None


def _new_iam_resource(action: str, parameters: dict[str, Any]) -> str | None:
    """Return the resource that a create operation makes, with its path."""
    path = iam._p(parameters, "Path") or "/"
    named = {
        "CreateRole": ("role", path, "RoleName"),
        "CreatePolicy": ("policy", path, "PolicyName"),
        "CreateInstanceProfile": ("instance-profile", path, "InstanceProfileName"),
    }
    if action in named:
        kind, prefix, field = named[action]
        return f"{kind}{prefix}{iam._p(parameters, field)}"
    if action == "CreateOpenIDConnectProvider":
        return f"oidc-provider/{iam._p(parameters, 'Url').removeprefix('https://')}"
    if action == "CreateServiceLinkedRole":
        return f"role/aws-service-role/{iam._p(parameters, 'AWSServiceName')}/AWSServiceRole"
    return None


def _iam_keys(original: Any) -> Any:
    def context(service: str, action: str, body: bytes, parameters: dict[str, Any]) -> dict[str, Any]:
        keys = dict(original(service, action, body, parameters))
        if service != "iam":
            return keys
        boundary = None
        if action in _WITH_BOUNDARY_OF_REQUEST:
            boundary = iam._p(parameters, "PermissionsBoundary")
        elif action in _WITH_BOUNDARY_OF_ROLE:
            boundary = (iam._roles.get(iam._p(parameters, "RoleName")) or {}).get("PermissionsBoundary")
        if action == "iam:CreateServiceLinkedRole":
            keys["iam:AWSServiceName"] = iam._p(parameters, "AWSServiceName")
        if boundary:
            keys["iam:PermissionsBoundary"] = boundary
        if action.startswith(("iam:Attach", "iam:Detach")) and iam._p(parameters, "PolicyArn"):
            keys["iam:PolicyARN"] = iam._p(parameters, "PolicyArn")
        return keys

    return context
