"""Keys: requests by alias, use by other services, and key policies that lock nobody out.

AWS evaluates policies on the key, whatever alias a request names. S3, Logs and EKS use a key only if the caller or the
key policy allows it. MiniStack evaluates on the alias and lets every service use every key. Not modelled: grants.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import kms

from sandbox_aws.answers import json_error
from sandbox_aws.patching import handlers
from sandbox_aws.resources import evaluate_on

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer
    from sandbox_aws.resources import Request

_ANYTHING = {"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
_TARGET = "TrentService."


def install() -> None:
    """Put the checks around MiniStack's KMS and its naming of keys."""
    table = handlers("app", "SERVICE_HANDLERS")
    table["kms"] = _no_lock_out(table["kms"])
    evaluate_on("kms", _key_for_alias)


def find(reference: str, account: str) -> dict[str, Any] | None:
    """Return the key with an id, alias or ARN in this region, or None. An ARN may be of any account."""
    if reference.startswith("arn:"):
        account = reference.split(":")[4]
    with request_scope(account, get_region()):
        key: dict[str, Any] | None = kms._resolve_key(reference)
        return key


def aliases(arn: str) -> list[str]:
    """Return the aliases of a key, by its ARN or an alias, as `kms:ResourceAliases` has them."""
    parts = arn.split(":", 5)
    if len(parts) != 6 or parts[2] != "kms":  # noqa: PLR2004 - fields of an ARN
        return []
    key = kms._aliases.get_scoped(parts[4], parts[3], arn) or parts[5].removeprefix("key/")
    return [
        str(alias).split(":", 5)[5]
        for (account, region, alias), identifier in kms._aliases.all_items()
        if (account, region, identifier) == (parts[4], parts[3], key)
    ]


def refused(access_key: str, action: str, key: dict[str, Any], service: str, context: dict[str, str]) -> str | None:
    """Return the reason if a service may not use a key for a caller of the current account, or None.

    Args:
        access_key: Access key of the caller.
        action: Such as kms:Decrypt.
        key: Record of the key.
        service: The service, such as s3; becomes `kms:ViaService`.
        context: Encryption context by name.
    """
    principal = iam_evaluator.resolve_principal(access_key, get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return str(principal.message)
    request = _context(
        principal.arn, principal.account, action, key, {f"encryptioncontext:{n}": v for n, v in context.items()}
    )
    request.principal_type, request.principal_keys = principal.type, principal.keys
    request.service_context["kms:viaservice"] = f"{service}.{get_region()}.amazonaws.com"
    policies = [iam_evaluator.parse_policy_document(_ANYTHING)] if principal.policies is None else principal.policies
    result = iam_evaluator.combine_resource_policy(
        iam_evaluator.evaluate(request, policies, *principal.limits),
        request,
        key.get("Policy", ""),
        key["Arn"].split(":")[4],
        required=True,
        limits=tuple(principal.limits),
    )
    if result.decision == "Allow":
        return None
    return f"User: {principal.arn} is not authorized to perform: {action} on resource: {key['Arn']}"


def service_may(service: str, action: str, key: dict[str, Any], context: dict[str, str]) -> bool:
    """Whether the key's own policy allows a service, such as logs.eu-central-1.amazonaws.com."""
    keys = {f"encryptioncontext:{name}": value for name, value in context.items()}
    request = _context(service, get_account_id(), action, key, keys)
    result = iam_evaluator.evaluate_resource_policy(key.get("Policy", ""), request, service=service)
    return bool(result.decision == "Allow")


def _context(
    principal: str, account: str, action: str, key: dict[str, Any], keys: dict[str, str]
) -> iam_evaluator.EvalContext:
    return iam_evaluator.EvalContext(
        principal_arn=principal,
        principal_type="Service",
        principal_account=account,
        action=action,
        resource_arn=key["Arn"],
        region=get_region(),
        service_context={f"kms:{name}": value for name, value in keys.items()},
    )


def _key_for_alias(request: Request, ministack: str) -> str | None:
    reference = json.loads(request.body or b"{}").get("AliasName", "") if ministack == "*" else ministack
    key = find(reference, request.account) if reference else None
    return str(key["Arn"]) if key is not None else None


def _no_lock_out(original: Any) -> Any:
    """CreateKey and PutKeyPolicy: refuse an invalid policy, and a policy that the caller could not change again."""

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        operation = headers.get("x-amz-target", "").removeprefix(_TARGET)
        request = json.loads(body or b"{}") if operation in {"CreateKey", "PutKeyPolicy"} else {}
        wrong = (
            _policy_wrong(request, iam_evaluator.request_caller_arn(headers, query)) if "Policy" in request else None
        )
        if wrong is not None:
            return json_error(400, "MalformedPolicyDocumentException", wrong)
        answer: Answer = await original(method, path, headers, body, query)
        return answer

    return handle


def _policy_wrong(request: dict[str, Any], caller: str) -> str | None:
    try:
        parsed = json.loads(request["Policy"])
    except ValueError:
        return "Syntax errors in policy."
    if not isinstance(parsed, dict) or not parsed.get("Statement"):
        return "Syntax errors in policy."
    if request.get("BypassPolicyLockoutSafetyCheck"):
        return None
    key = {"Arn": f"arn:aws:kms:{get_region()}:{get_account_id()}:key/*", "Policy": request["Policy"]}
    context = _context(caller, get_account_id(), "kms:PutKeyPolicy", key, {})
    if iam_evaluator.evaluate_resource_policy(key["Policy"], context).decision == "Allow":
        return None
    return "The new key policy will not allow you to update the key policy in the future."
