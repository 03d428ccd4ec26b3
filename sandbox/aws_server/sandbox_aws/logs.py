"""Log groups: setting and removing the encryption key of a group, and refusing keys that do not exist.

MiniStack keeps the key of CreateLogGroup and cannot change it. In AWS the key's own policy must allow the Logs service to
use the key for the group.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch_logs

from sandbox_aws import kms
from sandbox_aws.answers import as_json, json_error
from sandbox_aws.patching import handlers

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_PREFIX = "Logs_20140328."
_KEY = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):key/(?P<id>[0-9a-f-]+)")


def install() -> None:
    """Put the operations in front of MiniStack's."""
    table = handlers("app", "SERVICE_HANDLERS")
    table["logs"] = _with_keys(table["logs"])


def _with_keys(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        operation = headers.get("x-amz-target", "").removeprefix(_PREFIX)
        answer = _answer(operation, body)
        if answer is None:
            answer = await original(method, path, headers, body, query)
        return answer

    return handle


def _answer(operation: str, body: bytes) -> Answer | None:
    """Return our answer to an operation about keys, or None to let MiniStack answer."""
    if operation not in {"CreateLogGroup", "AssociateKmsKey", "DisassociateKmsKey"}:
        return None
    request = json.loads(body or b"{}")
    key = request.get("kmsKeyId", "")
    name = _group_name(request)
    if key and not _usable(key, name):
        message = f"The specified KMS key does not exist or is not allowed to be used with LogGroup '{name}'"
        return json_error(400, "InvalidParameterException", message)
    if operation == "CreateLogGroup":
        return None
    group = cloudwatch_logs._log_groups.get(name)
    if group is None:
        return json_error(400, "ResourceNotFoundException", "The specified log group does not exist.")
    group["kmsKeyId"] = key if operation == "AssociateKmsKey" else None
    return as_json({})


def _group_name(request: dict[str, Any]) -> str:
    """Return the name of the request's group, from its name or ARN."""
    name: str = request.get("logGroupName") or request.get("resourceIdentifier", "").partition(":log-group:")[2]
    return name.removesuffix(":*")


def _usable(arn: str, group: str) -> bool:
    """Whether the key is enabled, of this account and region, and allows the Logs service to encrypt the group."""
    match = _KEY.fullmatch(arn)
    if match is None or (match["account"], match["region"]) != (get_account_id(), get_region()):
        return False
    key = kms.find(arn, get_account_id())
    if key is None or key["KeyState"] != "Enabled":
        return False
    context = {"aws:logs:arn": f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}"}
    service = f"logs.{get_region()}.amazonaws.com"
    return kms.service_may(service, "kms:GenerateDataKey", key, context)
