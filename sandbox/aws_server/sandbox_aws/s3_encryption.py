"""Objects under a key are written and read only by those who may use the key.

With SSE-KMS, S3 asks KMS in the caller's name: GenerateDataKey to write, Decrypt to read, both for a multipart upload.
MiniStack stores the key's name and asks nobody. Source:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingKMSEncryption.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.core import router
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import s3

from sandbox_aws import kms
from sandbox_aws.answers import s3_error

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_ALGORITHM, _KEY = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
_WRITES = {"x-id", "partNumber", "uploadId"}


def write_refused(method: str, path: str, headers: dict[str, str], query: dict[str, Any]) -> Answer | None:
    """Return the refusal of a request that would write under a key, or None."""
    bucket, _, name = path.lstrip("/").partition("/")
    owner = s3._bucket_owner_account(bucket) if name else None
    begins_upload = method == "POST" and "uploads" in query
    signed = {one for one in query if one.lower().startswith("x-amz-")}
    writes = method == "PUT" and not (query.keys() - _WRITES - signed)
    if owner is None or not (writes or begins_upload):
        return None
    with request_scope(owner, get_region()):
        chosen = headers if _ALGORITHM in headers else s3._bucket_default_sse_headers(bucket)
    actions = ("kms:GenerateDataKey", "kms:Decrypt") if begins_upload else ("kms:GenerateDataKey",)
    return _refused(chosen, owner, f"arn:aws:s3:::{bucket}/{name}", actions, headers, query)


def read_refused(
    answer: Answer, owner: str, path: str, headers: dict[str, str], query: dict[str, Any]
) -> Answer | None:
    """Return the refusal that takes the place of an object's content, or None."""
    chosen = {name.lower(): value for name, value in answer[1].items()}
    return _refused(chosen, owner, f"arn:aws:s3:::{path.lstrip('/')}", ("kms:Decrypt",), headers, query)


def _refused(
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
