"""S3: answers that hide absent objects, buckets of other accounts, and encryption with a key.

A missing object is 404 only for callers who may list the bucket, else 403 (GetObject, HeadObject in the S3 API
reference); the list permission is evaluated with the object's key as `s3:prefix`. A bucket policy that names a role of
another account admits that role. With SSE-KMS, S3 calls KMS in the caller's name: GenerateDataKey to write, Decrypt to
read, both for a multipart upload; MiniStack stores the key's name only. ACLs are MiniStack's. Source:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator, router
from ministack.core.iam_actions import _s3_action, s3_service_context
from ministack.core.responses import get_account_id, get_region, request_scope, set_request_account_id
from ministack.services import s3

from sandbox_aws import kms
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
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query: dict[str, Any],
        *arguments: Any,
        **options: Any,
    ) -> Answer:
        caller, internal = get_account_id(), options.get("internal", False)
        refused = None if internal else _write_refused(method, path, headers, query)
        if refused is not None:
            return refused
        answer: Answer = await original(method, path, headers, body, query, *arguments, **options)
        bucket, _, key = path.lstrip("/").partition("/")
        signed = {name for name in query if name.lower().startswith("x-amz-")}
        reads_object = method in {"GET", "HEAD"} and key and not (query.keys() - _READS - signed)
        owner = s3._bucket_owner_account(bucket)
        if owner is None or not reads_object or internal:
            return answer
        set_request_account_id(caller)  # by now a request to a foreign bucket runs as the bucket's owner
        if answer[0] == _NOT_FOUND and not _may_list(caller, owner, bucket, key, headers, query):
            return s3_error(403, "AccessDenied", "Access Denied")
        if answer[0] in _FOUND and method == "GET":
            return _read_refused(answer, owner, path, headers, query) or answer
        return answer

    return handle


def _may_list(caller: str, owner: str, bucket: str, key: str, headers: dict[str, str], query: dict[str, Any]) -> bool:
    """Whether the caller may learn that an object is absent."""
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
    """Evaluate a foreign bucket's policy for the caller itself, not for the root of the caller's account."""

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
    """Return the policy's decision for this request of the current caller: Allow, Deny or ImplicitDeny."""
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


_ALGORITHM, _KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
_WRITES = {"x-id", "partNumber", "uploadId"}


def _write_refused(method: str, path: str, headers: dict[str, str], query: dict[str, Any]) -> Answer | None:
    """Refuse a write if the caller may not use the object's key; None accepts it."""
    bucket, _, name = path.lstrip("/").partition("/")
    owner = s3._bucket_owner_account(bucket) if name else None
    begins_upload = method == "POST" and "uploads" in query
    signed = {parameter for parameter in query if parameter.lower().startswith("x-amz-")}
    writes = method == "PUT" and not (query.keys() - _WRITES - signed)
    if owner is None or not (writes or begins_upload):
        return None
    with request_scope(owner, get_region()):
        chosen = headers if _ALGORITHM in headers else s3._bucket_default_sse_headers(bucket)
    actions = ("kms:GenerateDataKey", "kms:Decrypt") if begins_upload else ("kms:GenerateDataKey",)
    return _key_refused(chosen, owner, f"arn:aws:s3:::{bucket}/{name}", actions, headers, query)


def _read_refused(
    answer: Answer, owner: str, path: str, headers: dict[str, str], query: dict[str, Any]
) -> Answer | None:
    """Refuse a read if the caller may not use the object's key; None accepts it."""
    chosen = {name.lower(): value for name, value in answer[1].items()}
    return _key_refused(chosen, owner, f"arn:aws:s3:::{path.lstrip('/')}", ("kms:Decrypt",), headers, query)


def _key_refused(
    chosen: dict[str, str],
    owner: str,
    arn: str,
    actions: tuple[str, ...],
    headers: dict[str, str],
    query: dict[str, Any],
) -> Answer | None:
    reference = chosen.get(_KEY, "")
    access_key = router.extract_access_key_id(headers, query)
    if not chosen.get(_ALGORITHM, "").startswith("aws:kms") or not reference or not access_key:
        return None
    key = kms.find(reference, owner)
    if key is None:
        return s3_error(400, "KMS.NotFoundException", f"Key '{reference}' does not exist")
    if key["KeyState"] != "Enabled":
        return s3_error(400, "KMS.DisabledException", f"{key['Arn']} is {key['KeyState']}.")
    if get_account_id() == owner and access_key == owner:
        return None  # the owner's root
    for action in actions:
        reason = kms.refused(access_key, action, key, "s3", {"aws:s3:arn": arn})
        if reason is not None:
            return s3_error(403, "AccessDenied", reason)
    return None
