"""The registry protocol of ECR, behind a login.

MiniStack serves /v2/ to everybody and gives every caller the same password. Here a password belongs to its caller, and
each request needs that caller's identity policies and, across accounts, the repository's own policy. The host name
selects the account, as in AWS.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator, router
from ministack.core.responses import get_account_id, get_region, set_request_account_id
from ministack.services import ecr

from sandbox_aws.answers import as_json
from sandbox_aws.patching import handlers, replace

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_LIFETIME = 12 * 3600
_SECRET = secrets.token_bytes(32)
"""Signs the passwords; a restart makes everybody log in again."""
_ACTIONS = {
    ("manifest", "GET"): "ecr:BatchGetImage",
    ("manifest", "HEAD"): "ecr:BatchGetImage",
    ("manifest", "PUT"): "ecr:PutImage",
    ("manifest", "DELETE"): "ecr:BatchDeleteImage",
    ("blob", "GET"): "ecr:GetDownloadUrlForLayer",
    ("blob", "HEAD"): "ecr:BatchCheckLayerAvailability",
    ("blob_uploads", "POST"): "ecr:InitiateLayerUpload",
    ("blob_upload_session", "PATCH"): "ecr:UploadLayerPart",
    ("blob_upload_session", "PUT"): "ecr:CompleteLayerUpload",
    ("tags_list", "GET"): "ecr:ListImages",
}


def install() -> None:
    """Put the login in front of the registry."""
    table = handlers("app", "SERVICE_HANDLERS")
    table["ecr"] = _own_password(table["ecr"])
    replace("services.ecr", "handle_registry_request", _logged_in)


def _own_password(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        if not headers.get("x-amz-target", "").endswith(".GetAuthorizationToken"):
            answer: Answer = await original(method, path, headers, body, query)
            return answer
        expires = int(time.time()) + _LIFETIME
        claims = json.dumps(
            {"key": router.extract_access_key_id(headers, query), "account": get_account_id(), "exp": expires}
        )
        encoded = base64.urlsafe_b64encode(claims.encode()).decode()
        token = base64.b64encode(f"AWS:{encoded}.{_signature(encoded)}".encode()).decode()
        endpoint = f"https://{get_account_id()}.dkr.ecr.{get_region()}.amazonaws.com"
        data = {"authorizationToken": token, "expiresAt": expires, "proxyEndpoint": endpoint}
        return as_json({"authorizationData": [data]})

    return handle


def _signature(encoded: str) -> str:
    return hmac.new(_SECRET, encoded.encode(), "sha256").hexdigest()


def _logged_in(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        principal = _principal(headers.get("authorization", ""))
        if principal is None:
            return _refused(401, "UNAUTHORIZED", "Your authorization token has expired or is invalid. Log in again.")
        set_request_account_id(principal.account)
        parsed = ecr._parse_v2_path(path)
        if parsed is not None and parsed[0] != "ping":
            verb, name, _reference = parsed
            ecr._select_registry_request_scope(name, headers, query)
            action = _ACTIONS.get((verb, method))
            if action is None or not _allowed(principal, action, name):
                message = f"User: {principal.arn} is not authorized to perform: {action} on resource: {name}"
                return _refused(403, "DENIED", message)
        answer: Answer = await original(method, path, headers, body, query)
        return answer

    return handle


def _principal(authorization: str) -> iam_evaluator.PrincipalInfo | None:
    """Return the principal of a password, or None for an invalid or expired password."""
    kind, _, value = authorization.partition(" ")
    try:
        password = base64.b64decode(value, validate=True).decode().partition(":")[2] if kind == "Basic" else value
        encoded, _, signature = password.partition(".")
        if not hmac.compare_digest(signature.encode(), _signature(encoded).encode()):
            return None
        claims = json.loads(base64.urlsafe_b64decode(encoded))
    except (ValueError, binascii.Error):
        return None
    if claims["exp"] < time.time():
        return None
    principal = iam_evaluator.resolve_principal(claims["key"], claims["account"])
    return None if isinstance(principal, iam_evaluator.AuthError) else principal


def _allowed(principal: iam_evaluator.PrincipalInfo, action: str, repository: str) -> bool:
    """Whether policies allow the action in the account and region of the host name."""
    if principal.policies is None and principal.account == get_account_id():
        return True
    arn = f"arn:aws:ecr:{get_region()}:{get_account_id()}:repository/{repository}"
    context = iam_evaluator.EvalContext(
        principal_arn=principal.arn,
        principal_type=principal.type,
        principal_account=principal.account,
        action=action,
        resource_arn=arn,
        region=get_region(),
        principal_keys=principal.keys,
    )
    everything = [
        iam_evaluator.parse_policy_document({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    ]
    identity = iam_evaluator.evaluate(context, principal.policies or everything, *principal.limits)
    policy = ecr._repo_policies.get(repository) or ""
    result = iam_evaluator.combine_resource_policy(
        identity, context, policy, get_account_id(), limits=tuple(principal.limits)
    )
    return bool(result.decision == "Allow")


def _refused(status: int, code: str, message: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    headers = {"Content-Type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}
    if status == 401:  # noqa: PLR2004 - HTTP
        headers["Www-Authenticate"] = (
            f'Basic realm="http://127.0.0.1:{os.environ["GATEWAY_PORT"]}/",service="ecr.amazonaws.com"'
        )
    return status, headers, body
