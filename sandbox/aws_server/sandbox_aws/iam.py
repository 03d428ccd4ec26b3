"""IAM: names, sizes and policy documents that it refuses, operations that MiniStack lacks, AWS managed policies.

Names of roles and of policies are unique in an account whatever their path: two stacks that differ only in the path
collide. MiniStack takes OpenID Connect providers over http, and has no operation that changes one. Trust documents are
checked by `trust`. Quotas: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ministack.services import iam

from sandbox_aws import dispatch, trust
from sandbox_aws.answers import query_error, query_result
from sandbox_aws.patching import handlers, replace, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer


_PULL = (
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
)
_NOT_MODELLED = ("sandbox:NotModelled",)
_ACTIONS: dict[str, tuple[str, ...]] = {
    "AmazonEC2ContainerRegistryPullOnly": (*_PULL, "ecr:BatchImportUpstreamImage"),
    "AmazonEC2ContainerRegistryReadOnly": (
        *_PULL,
        "ecr:GetRepositoryPolicy",
        "ecr:DescribeRepositories",
        "ecr:ListImages",
        "ecr:DescribeImages",
        "ecr:GetLifecyclePolicy",
        "ecr:GetLifecyclePolicyPreview",
        "ecr:ListTagsForResource",
        "ecr:DescribeImageScanFindings",
    ),
    "AmazonEKSWorkerNodeMinimalPolicy": ("eks-auth:AssumeRoleForPodIdentity",),
    "AmazonEKSComputePolicy": _NOT_MODELLED,
    "AmazonEKSBlockStoragePolicy": _NOT_MODELLED,
    "AmazonEKSLoadBalancingPolicy": _NOT_MODELLED,
    "AmazonEKSNetworkingPolicy": _NOT_MODELLED,
    "AmazonEKSVPCResourceController": _NOT_MODELLED,
    "service-role/AmazonEBSCSIDriverPolicy": _NOT_MODELLED,
    # The two policies for read access of people: their actions in the services that the platform uses.
    "SecurityAudit": (
        "cloudwatch:Describe*",
        "ec2:Describe*",
        "ecr:DescribeRepositories",
        "ecr:GetRepositoryPolicy",
        "eks:Describe*",
        "eks:List*",
        "iam:Generate*",
        "iam:Get*",
        "iam:List*",
        "kms:Describe*",
        "kms:Get*",
        "kms:List*",
        "logs:Describe*",
        "logs:ListTagsForResource",
        "s3:GetBucket*",
        "s3:GetEncryptionConfiguration",
        "s3:GetLifecycleConfiguration",
        "s3:ListAllMyBuckets",
    ),
    "job-function/ViewOnlyAccess": (
        "cloudwatch:Get*",
        "cloudwatch:List*",
        "ec2:Describe*",
        "ecr:Describe*",
        "ecr:List*",
        "eks:List*",
        "iam:GetLoginProfile",
        "iam:List*",
        "kms:ListAliases",
        "kms:ListKeys",
        "logs:Describe*",
        "s3:ListAllMyBuckets",
        "s3:ListBucket",
    ),
}


def _add_managed_policies() -> None:
    """Add the policies to MiniStack's own list."""
    for name, actions in _ACTIONS.items():
        statement = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arn = f"{iam._AWS_MANAGED_POLICY_PREFIX}{name}"
        iam._aws_managed_policies.setdefault(arn, iam._make_aws_managed_record(name, document))


_NAME = re.compile(r"[\w+=,.@-]+", re.ASCII)
_PATH = re.compile(r"/|/[\x21-\x7e]+/")
_ROLE_NAME, _POLICY_NAME, _PATH_LENGTH = 64, 128, 512
TRUST_SIZE, POLICY_SIZE, INLINE_SIZE = 2048, 6144, 10240
"""Characters of a trust policy, of a managed policy, of all inline policies of a role; white space does not count."""
_SESSION_SHORTEST, _SESSION_LONGEST = 3600, 43200


def role_refused(parameters: dict[str, Any]) -> Answer | None:
    """Refuse a CreateRole for its name, path or session length; None accepts it."""
    return _name_refused("roleName", iam._p(parameters, "RoleName"), _ROLE_NAME, parameters) or session_refused(
        parameters
    )


def session_refused(parameters: dict[str, Any]) -> Answer | None:
    """Refuse a maximum session duration outside of 1 to 12 hours; None accepts it."""
    duration = iam._p(parameters, "MaxSessionDuration")
    if not duration or (duration.isdigit() and _SESSION_SHORTEST <= int(duration) <= _SESSION_LONGEST):
        return None
    return _invalid(
        "maxSessionDuration", duration, f"Member must have value between {_SESSION_SHORTEST} and {_SESSION_LONGEST}"
    )


def policy_refused(parameters: dict[str, Any]) -> Answer | None:
    """Refuse a CreatePolicy for its name; None accepts it."""
    name = iam._p(parameters, "PolicyName")
    refused = _name_refused("policyName", name, _POLICY_NAME, parameters)
    if refused is None and any(stored["PolicyName"].lower() == name.lower() for stored in iam._policies.values()):
        message = f"A policy called {name} already exists. Duplicate names are not allowed."
        return query_error(409, "EntityAlreadyExists", message, "iam")
    return refused


def role_exists(name: str) -> bool:
    """Whether the account has a role of this name; upper and lower case are the same."""
    return any(stored.lower() == name.lower() for stored in iam._roles)


def over_quota(document: str, quota: int, label: str) -> Answer | None:
    """Refuse a document above its quota; None accepts it."""
    if len(re.sub(r"\s", "", document)) <= quota:
        return None
    return query_error(409, "LimitExceeded", f"Cannot exceed quota for {label}: {quota}", "iam")


def _name_refused(field: str, name: str, longest: int, parameters: dict[str, Any]) -> Answer | None:
    path = iam._p(parameters, "Path") or "/"
    if not _NAME.fullmatch(name):
        return _invalid(field, name, "Member must satisfy regular expression pattern: [\\w+=,.@-]+")
    if len(name) > longest:
        return _invalid(field, name, f"Member must have length less than or equal to {longest}")
    if not _PATH.fullmatch(path) or len(path) > _PATH_LENGTH:
        return _invalid("path", path, "Member must begin and end with / and contain no space")
    return None


def _invalid(field: str, value: str, constraint: str) -> Answer:
    message = f"1 validation error detected: Value '{value}' at '{field}' failed to satisfy constraint: {constraint}"
    return query_error(400, "ValidationError", message, "iam")


_CLIENTS, _THUMBPRINTS = 100, 5


def _add_provider_operations() -> None:
    """Add the missing operations."""
    table = handlers("services.iam", "_IAM_HANDLERS")
    wrap(table, "CreateOpenIDConnectProvider", _only_https)
    wrap(table, "GetOpenIDConnectProvider", _without_scheme)
    for operation, change in {
        "AddClientIDToOpenIDConnectProvider": _add_client,
        "RemoveClientIDFromOpenIDConnectProvider": _remove_client,
        "UpdateOpenIDConnectProviderThumbprint": _set_thumbprints,
        "TagOpenIDConnectProvider": _tag,
        "UntagOpenIDConnectProvider": _untag,
        "ListOpenIDConnectProviderTags": _list_tags,
    }.items():
        table[operation] = _on_provider(operation, change)


def _only_https(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        url = iam._p(parameters, "Url")
        if not url.startswith("https://"):
            return query_error(400, "ValidationError", f"Invalid Open ID Connect Provider URL: {url}", "iam")
        if len(_members(parameters, "ClientIDList")) > _CLIENTS:
            return query_error(
                409, "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100", "iam"
            )
        answer: Answer = original(parameters)
        return answer

    return create


def _without_scheme(original: Any) -> Any:
    def get(parameters: dict[str, Any]) -> Answer:
        status, headers, body = original(parameters)
        return status, headers, body.replace(b"<Url>https://", b"<Url>")

    return get


def _on_provider(operation: str, change: Callable[[dict[str, Any], dict[str, Any]], str]) -> Any:
    """Return a handler that finds the provider and answers with the result of `change`."""

    def handle(parameters: dict[str, Any]) -> Answer:
        arn = iam._p(parameters, "OpenIDConnectProviderArn")
        provider = iam._oidc_providers.get(arn)
        if provider is None:
            return query_error(404, "NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", "iam")
        try:
            return query_result(operation, change(provider, parameters))
        except ValueError as error:
            return query_error(400, "InvalidInput", str(error), "iam")

    return handle


def _add_client(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    client = iam._p(parameters, "ClientID")
    if client not in provider["ClientIDList"]:
        provider["ClientIDList"].append(client)
    return ""


def _remove_client(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    client = iam._p(parameters, "ClientID")
    provider["ClientIDList"] = [client_id for client_id in provider["ClientIDList"] if client_id != client]
    return ""


def _set_thumbprints(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    thumbprints = _members(parameters, "ThumbprintList")
    if len(thumbprints) > _THUMBPRINTS:
        raise ValueError(f"Thumbprint list must contain fewer than {_THUMBPRINTS + 1} entries.")
    provider["ThumbprintList"] = thumbprints
    return ""


def _tag(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    tags = {tag["Key"]: tag for tag in [*provider.get("Tags", []), *iam._extract_tags(parameters)]}
    provider["Tags"] = list(tags.values())
    return ""


def _untag(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    removed = iam._extract_tag_keys(parameters)
    provider["Tags"] = [tag for tag in provider.get("Tags", []) if tag["Key"] not in removed]
    return ""


def _list_tags(provider: dict[str, Any], _parameters: dict[str, Any]) -> str:
    members = "".join(
        f"<member><Key>{escape(tag['Key'])}</Key><Value>{escape(tag['Value'])}</Value></member>"
        for tag in provider.get("Tags", [])
    )
    return f"<Tags>{members}</Tags><IsTruncated>false</IsTruncated>"


def _members(parameters: dict[str, Any], name: str) -> list[str]:
    """Return a list parameter of the query protocol."""
    values: list[str] = []
    while value := iam._p(parameters, f"{name}.member.{len(values) + 1}"):
        values.append(value)
    return values


_ACTION = re.compile(r"\*|[A-Za-z0-9-]+:[\w*?]+")


def install() -> None:
    """Put the checks in front of MiniStack's operations."""
    _add_managed_policies()
    _add_provider_operations()
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
    dispatch.PASSED_TO_INSTANCES["iam:AddRoleToInstanceProfile"] = _role_of_profile


def _role_of_profile(parameters: dict[str, Any]) -> str | None:
    role = iam._roles.get(iam._p(parameters, "RoleName"))
    return role["Arn"] if role else None


def _create_role(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        name, document = iam._p(parameters, "RoleName"), iam._p(parameters, "AssumeRolePolicyDocument")
        refused = role_refused(parameters) or _trust_refused(document)
        if refused is not None:
            return refused
        if role_exists(name):
            return query_error(409, "EntityAlreadyExists", f"Role with name {name} already exists.", "iam")
        answer: Answer = original(parameters)
        if name in iam._roles:
            iam._roles[name][trust.TRUSTED_IDS] = trust.trusted_ids(document)
        return answer

    return create


def _update_role(original: Any) -> Any:
    def update(parameters: dict[str, Any]) -> Answer:
        answer: Answer = session_refused(parameters) or original(parameters)
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
    if wrong is not None and "NotPrincipal" not in document:  # MiniStack refuses it itself
        return query_error(400, "MalformedPolicyDocument", wrong, "iam")
    return over_quota(document, TRUST_SIZE, "ACLSizePerRole")


def _create_policy(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        answer: Answer = policy_refused(parameters) or _too_long(parameters) or original(parameters)
        return answer

    return create


def _create_policy_version(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        answer: Answer = _too_long(parameters) or original(parameters)
        return answer

    return create


def _too_long(parameters: dict[str, Any]) -> Answer | None:
    return over_quota(iam._p(parameters, "PolicyDocument"), POLICY_SIZE, "PolicySize")


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
            documents = [text for key, text in role["InlinePolicies"].items() if key != policy]
            size = sum(len(re.sub(r"\s", "", text)) for text in [*documents, iam._p(parameters, "PolicyDocument")])
            if size > INLINE_SIZE:
                message = f"Maximum policy size of {INLINE_SIZE} bytes exceeded for role {name}"
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
    for stored in policy["Versions"].values():
        stored["IsDefaultVersion"] = stored["VersionId"] == version
    policy["DefaultVersionId"] = version
    policy["UpdateDate"] = iam._now()
    return query_result("SetDefaultPolicyVersion")


def _syntax(original: Any) -> Any:
    """Also check the form of actions and resources, and refuse a principal in an identity policy."""

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
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
