"""What S3 tells a caller who may not know: missing objects, and buckets of other accounts.

A missing object is 404 only for those who may list the bucket, else 403 (GetObject, HeadObject in the S3 API reference);
the list permission is asked for with the object's key as `s3:prefix`. A bucket policy that names a role of another
account admits that role. ACLs are MiniStack's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator, router
from ministack.core.iam_actions import _s3_action, s3_service_context
from ministack.core.responses import get_account_id, get_region, set_request_account_id
from ministack.services import s3

from sandbox_aws import s3_encryption
from sandbox_aws.answers import s3_error
from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_NOT_FOUND = 404
_FOUND = (200, 206)
_READS = {"x-id", "versionId", "response-content-type", "partNumber"}


def install() -> None:
    """Put both checks around MiniStack's S3."""
    replace("services.s3", "handle_request", _hiding_absence)
    replace("services.s3", "_foreign_bucket_allows", _foreign)


def _hiding_absence(original: Any) -> Any:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], *rest: Any, **more: Any
    ) -> Answer:
        caller, internal = get_account_id(), more.get("internal", False)
        refused = None if internal else s3_encryption.write_refused(method, path, headers, query)
        if refused is not None:
            return refused
        answer: Answer = await original(method, path, headers, body, query, *rest, **more)
        bucket, _, key = path.lstrip("/").partition("/")
        signed = {name for name in query if name.lower().startswith("x-amz-")}
        reads_object = method in {"GET", "HEAD"} and key and not (query.keys() - _READS - signed)
        owner = s3._bucket_owner_account(bucket)
        if owner is None or not reads_object or internal:
            return answer
        set_request_account_id(caller)  # a foreign bucket's request runs as its owner by now
        if answer[0] == _NOT_FOUND and not _may_list(caller, owner, bucket, key, headers, query):
            return s3_error(403, "AccessDenied", "Access Denied")
        if answer[0] in _FOUND and method == "GET":
            return s3_encryption.read_refused(answer, owner, path, headers, query) or answer
        return answer

    return handle


def _may_list(caller: str, owner: str, bucket: str, key: str, headers: dict[str, str], query: dict[str, Any]) -> bool:
    """Whether the caller may learn that a key is absent."""
    access_key = router.extract_access_key_id(headers, query)
    if not access_key:
        return False
    denied = iam_evaluator.enforce(
        access_key,
        "s3:ListBucket",
        "s3",
        get_region(),
        resource_arn=f"arn:aws:s3:::{bucket}",
        service_context={"s3:prefix": key},
    )
    if denied is not None or owner == caller:
        return denied is None
    listing = {"list-type": ["2"], "prefix": [key]}
    return bool(s3._foreign_bucket_allows(owner, bucket, "", "GET", listing, caller, headers))


def _foreign(original: Any) -> Any:
    """Judge a foreign bucket's policy with the caller as who they are, not as the root of their account."""

    def allows(
        owner: str,
        bucket: str,
        key: str,
        method: str,
        query: dict[str, Any],
        caller: str,
        headers: dict[str, str] | None = None,
    ) -> bool:
        policy = s3._bucket_policies.get_scoped(owner, None, bucket)
        if policy and caller:
            decision = _decision(policy, bucket, key, method, query, headers or {})
            if decision == "Deny":
                return False
            blocked = s3._public_access_blocked(owner, bucket, "RestrictPublicBuckets") and s3._policy_is_public(policy)
            if decision == "Allow" and not blocked:
                return True
        return bool(original(owner, bucket, key, method, query, caller, headers))

    return allows


def _decision(policy: str, bucket: str, key: str, method: str, query: dict[str, Any], headers: dict[str, str]) -> str:
    """Return what the policy says about this request of the current caller: Allow, Deny or ImplicitDeny."""
    path = f"/{bucket}/{key}" if key else f"/{bucket}"
    action = f"s3:{_s3_action(method, path, query) or ('GetObject' if method in {'GET', 'HEAD'} else 'PutObject')}"
    principal = iam_evaluator.resolve_principal(router.extract_access_key_id(headers, query) or "", get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return "ImplicitDeny"
    keys = s3_service_context(action, query, path, headers)
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}",
        region=get_region(),
        service_context={name.lower(): value for name, value in keys.items()},
        principal_keys=principal.keys,
    )
    return str(iam_evaluator.evaluate_resource_policy(policy, context).decision)
