"""Systems Manager: the keys of secure parameters, the resource of requests for several parameters, public images.

MiniStack returns a `SecureString` in the clear to everybody who may read the parameter. In AWS the caller also needs the
key, unless it is the account's own `alias/aws/ssm`, which everybody in the account may use through this service. Public
parameters of images get an id that follows from their path. Source:
https://docs.aws.amazon.com/systems-manager/latest/userguide/secure-string-parameter-kms-encryption.html
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from ministack.core import router
from ministack.core.responses import get_account_id, get_region
from ministack.services import ssm

from sandbox_aws import kms
from sandbox_aws.answers import json_error
from sandbox_aws.patching import handlers, replace
from sandbox_aws.resources import Request, evaluate_on

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_PREFIX = "AmazonSSM."
_OWN_KEY = "alias/aws/ssm"
_READS = {"GetParameter", "GetParameterHistory", "GetParameters", "GetParametersByPath"}
_IMAGE = re.compile(
    r"/aws/service/(?:canonical/ubuntu/.+/ami-id|ami-amazon-linux-latest/[\w.-]+|debian/release/[\w/.-]+)"
)


def install() -> None:
    """Put the checks in front of MiniStack's operations."""
    table = handlers("app", "SERVICE_HANDLERS")
    table["ssm"] = _with_keys(table["ssm"])
    replace("services.ssm", "_public_parameter", _images)
    evaluate_on("ssm", _resource)


def _with_keys(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        operation = headers.get("x-amz-target", "").removeprefix(_PREFIX)
        caller = router.extract_access_key_id(headers, query) or ""
        answer: Answer = _refusal(operation, json.loads(body or b"{}"), caller) or await original(
            method, path, headers, body, query
        )
        return answer

    return handle


def _refusal(operation: str, request: dict[str, Any], caller: str) -> Answer | None:
    """Refuse the use of a key that is absent, disabled, or not the caller's to use; None lets MiniStack answer."""
    if operation == "PutParameter" and request.get("Type") == "SecureString":
        action = "kms:GenerateDataKey" if request.get("Tier") == "Advanced" else "kms:Encrypt"
        return _key_refused(request.get("KeyId") or _OWN_KEY, action, ssm._param_arn(request.get("Name", "")), caller)
    if operation in _READS and request.get("WithDecryption"):
        for parameter in _parameters(request):
            if parameter["Type"] == "SecureString":
                refusal = _key_refused(parameter["KeyId"], "kms:Decrypt", parameter["ARN"], caller)
                if refusal is not None:
                    return refusal
    return None


def _parameters(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the stored parameters that a request reads."""
    if "Path" in request:
        below = request["Path"].rstrip("/") + "/"
        return [parameter for name, parameter in ssm._parameters.items() if name.startswith(below)]
    names = [*request.get("Names", []), *([request["Name"]] if "Name" in request else [])]
    stored = (ssm._lookup_parameter(ssm._split_selector(name)[0])[1] for name in names)
    return [parameter for parameter in stored if parameter]


def _key_refused(reference: str, action: str, parameter: str, caller: str) -> Answer | None:
    if reference == _OWN_KEY:
        return None
    key = kms.find(reference, get_account_id())
    if key is None or key["KeyState"] != "Enabled":
        return json_error(400, "InvalidKeyId", f"Invalid keyId {reference}")
    reason = kms.refused(caller, action, key, "ssm", {"PARAMETER_ARN": parameter})
    return None if reason is None else json_error(400, "AccessDeniedException", reason)


def _images(original: Any) -> Any:
    def public(name: str) -> dict[str, Any] | None:
        parameter: dict[str, Any] | None = original(name)
        if parameter is not None or not _IMAGE.fullmatch(name):
            return parameter
        image = f"ami-{hashlib.sha256(f'{get_region()}{name}'.encode()).hexdigest()[:17]}"
        arn = f"arn:aws:ssm:{get_region()}::parameter{name}"
        return {
            "Name": name,
            "Type": "String",
            "Value": image,
            "Version": 1,
            "LastModifiedDate": 0,
            "ARN": arn,
            "DataType": "aws:ec2:image",
        }

    return public


def _resource(request: Request, ministack: str) -> str | None:
    """Return the ARN for requests that name several parameters or a path; MiniStack finds a single parameter itself."""
    try:
        document = json.loads(request.body or b"{}")
    except ValueError:
        return None
    if not isinstance(document, dict) or ministack != "*":
        return None
    names = document.get("Names")
    name = names[0] if isinstance(names, list) and len(names) == 1 else document.get("Path") or ("*" if names else None)
    if not isinstance(name, str):
        return None
    return f"arn:aws:ssm:{request.region}:{request.account}:parameter/{name.strip('/')}"
