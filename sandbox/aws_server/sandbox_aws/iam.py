"""Roles and policies: what IAM refuses at creation, and operations that MiniStack lacks.

Trust documents are judged by `trust`, names and sizes by `names`, OpenID Connect providers are in `oidc`.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ministack.services import iam

from sandbox_aws import managed_policies, names, oidc, trust
from sandbox_aws.answers import query_error, query_result
from sandbox_aws.patching import handlers, replace, wrap

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[\w*?]+")


def install() -> None:
    """Put the checks in front of MiniStack's operations."""
    managed_policies.install()
    oidc.install()
    replace("core.iam_evaluator", "validate_policy_document", _syntax)
    table = handlers("services.iam", "_IAM_HANDLERS")
    wrap(table, "CreateRole", _create_role)
    wrap(table, "UpdateRole", _update_role)
    wrap(table, "UpdateAssumeRolePolicy", _update_trust)
    wrap(table, "CreatePolicy", _create_policy)
    wrap(table, "CreatePolicyVersion", _create_policy_version)
    wrap(table, "DeletePolicy", _delete_policy)
    wrap(table, "PutRolePolicy", _put_role_policy)
    wrap(table, "AttachRolePolicy", _attach_role_policy)
    table["SetDefaultPolicyVersion"] = _set_default_version


def _create_role(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        name, document = iam._p(parameters, "RoleName"), iam._p(parameters, "AssumeRolePolicyDocument")
        refused = names.role_refused(parameters) or _trust_refused(document)
        if refused is not None:
            return refused
        if names.role_exists(name):
            return query_error(409, "EntityAlreadyExists", f"Role with name {name} already exists.", "iam")
        answer: Answer = original(parameters)
        if name in iam._roles:
            iam._roles[name][trust.TRUSTED_IDS] = trust.trusted_ids(document)
        return answer

    return create


def _update_role(original: Any) -> Any:
    def update(parameters: dict[str, Any]) -> Answer:
        answer: Answer = names.session_refused(parameters) or original(parameters)
        return answer

    return update


def _update_trust(original: Any) -> Any:
    def update(parameters: dict[str, Any]) -> Answer:
        document = iam._p(parameters, "PolicyDocument")
        role = iam._roles.get(iam._p(parameters, "RoleName"))
        if role is not None and (refused := _trust_refused(document)) is not None:
            return refused
        answer: Answer = original(parameters)
        if role is not None and role["AssumeRolePolicyDocument"] == document:
            role[trust.TRUSTED_IDS] = trust.trusted_ids(document)
        return answer

    return update


def _trust_refused(document: str) -> Answer | None:
    wrong = trust.problem(document)
    if wrong is not None and "NotPrincipal" not in document:  # MiniStack words that one itself
        return query_error(400, "MalformedPolicyDocument", wrong, "iam")
    return names.over_quota(document, names.TRUST_SIZE, "ACLSizePerRole")


def _create_policy(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        answer: Answer = names.policy_refused(parameters) or _too_long(parameters) or original(parameters)
        return answer

    return create


def _create_policy_version(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        answer: Answer = _too_long(parameters) or original(parameters)
        return answer

    return create


def _too_long(parameters: dict[str, Any]) -> Answer | None:
    return names.over_quota(iam._p(parameters, "PolicyDocument"), names.POLICY_SIZE, "PolicySize")


def _delete_policy(original: Any) -> Any:
    def delete(parameters: dict[str, Any]) -> Answer:
        stored = iam._policies.get(iam._p(parameters, "PolicyArn"))
        if stored is not None and len(stored["Versions"]) > 1:
            message = (
                "This policy has more than one version. Before you delete a policy, you must delete the policy's "
                "versions. The default version is deleted with the policy."
            )
            return query_error(409, "DeleteConflict", message, "iam")
        answer: Answer = original(parameters)
        return answer

    return delete


def _put_role_policy(original: Any) -> Any:
    def put(parameters: dict[str, Any]) -> Answer:
        name, policy = iam._p(parameters, "RoleName"), iam._p(parameters, "PolicyName")
        role = iam._roles.get(name)
        if role is not None:
            others = [text for key, text in role["InlinePolicies"].items() if key != policy]
            size = sum(len(re.sub(r"\s", "", text)) for text in [*others, iam._p(parameters, "PolicyDocument")])
            if size > names.INLINE_SIZE:
                message = f"Maximum policy size of {names.INLINE_SIZE} bytes exceeded for role {name}"
                return query_error(409, "LimitExceeded", message, "iam")
        answer: Answer = original(parameters)
        return answer

    return put


def _attach_role_policy(original: Any) -> Any:
    def attach(parameters: dict[str, Any]) -> Answer:
        arn = iam._p(parameters, "PolicyArn")
        if iam._p(parameters, "RoleName") in iam._roles and not iam.policy_known(arn):
            message = f"Policy {arn} does not exist or is not attachable."
            return query_error(404, "NoSuchEntity", message, "iam")
        answer: Answer = original(parameters)
        return answer

    return attach


def _set_default_version(parameters: dict[str, Any]) -> Answer:
    arn, version = iam._p(parameters, "PolicyArn"), iam._p(parameters, "VersionId")
    policy = iam._policies.get(arn)
    if policy is None or version not in policy["Versions"]:
        message = f"Policy {arn} version {version} does not exist or is not attachable."
        return query_error(404, "NoSuchEntity", message, "iam")
    for each in policy["Versions"].values():
        each["IsDefaultVersion"] = each["VersionId"] == version
    policy["DefaultVersionId"] = version
    policy["UpdateDate"] = iam._now()
    return query_result("SetDefaultPolicyVersion")


def _syntax(original: Any) -> Any:
    """Check the form of actions and resources too, and that an identity policy names no principal."""

    def validate(document: Any) -> str | None:
        wrong: str | None = original(document)
        if wrong is not None:
            return wrong
        parsed = json.loads(document) if isinstance(document, str) else document
        statements = parsed["Statement"] if isinstance(parsed["Statement"], list) else [parsed["Statement"]]
        for statement in statements:
            if {"Principal", "NotPrincipal"} & statement.keys():
                return "Policy document should not specify a principal."
            for action in _listed(statement.get("Action", statement.get("NotAction"))):
                if not _ACTION.fullmatch(action):
                    return "Actions/Conditions must be prefixed by a vendor, e.g., iam, sdb, ec2, etc."
            for resource in _listed(statement.get("Resource", statement.get("NotResource"))):
                if resource != "*" and not resource.startswith("arn:"):
                    return f'Resource {resource} must be in ARN format or "*".'
        return None

    return validate


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]
