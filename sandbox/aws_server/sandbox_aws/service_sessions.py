"""Sessions that STS gives to an AWS service for one of its customers: EC2 for an instance, ECS for a task."""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import sts

if TYPE_CHECKING:
    from collections.abc import Mapping

EC2, ECS_TASKS = "ec2.amazonaws.com", "ecs-tasks.amazonaws.com"
_SECONDS = 21600
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def issue(
    role: dict[str, Any], service: str, name: str, keys: Mapping[str, str] | None = None
) -> dict[str, Any] | None:
    """Return credentials of a role for six hours, or None if the role's trust does not admit the service.

    Args:
        role: The stored role, of the current account.
        service: Such as `ec2.amazonaws.com`.
        name: Name of the session.
        keys: Condition keys of the service's request, in lower case.
    """
    if not _admits(role, service, keys or {}):
        return None
    key, secret, token = sts._gen_session_access_key(), secrets.token_urlsafe(30), secrets.token_urlsafe(96)
    expires = time.time() + _SECONDS
    sts._evict_expired_sessions()
    sts._sessions[key] = {
        "Arn": f"arn:aws:sts::{get_account_id()}:assumed-role/{role['RoleName']}/{name}",
        "UserId": f"{role['RoleId']}:{name}",
        "SecretAccessKey": secret,
        "SessionToken": token,
        "Expiration": expires,
        "AccountId": get_account_id(),
        "PrincipalType": "AssumedRole",
        "SourcePrincipalArn": service,
        "SessionTags": [],
        "SessionPolicies": None,
        "IssuedAt": time.time(),
    }
    return {
        "AccessKeyId": key,
        "SecretAccessKey": secret,
        "Token": token,
        "LastUpdated": datetime.now(UTC).strftime(_FORMAT),
        "Expiration": datetime.fromtimestamp(expires, UTC).strftime(_FORMAT),
    }


def _admits(role: dict[str, Any], service: str, keys: Mapping[str, str]) -> bool:
    context = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account=get_account_id(),
        action="sts:AssumeRole",
        resource_arn=role["Arn"],
        region=get_region(),
        service_context=dict(keys),
    )
    trust = json.loads(role["AssumeRolePolicyDocument"])
    statements = trust["Statement"] if isinstance(trust["Statement"], list) else [trust["Statement"]]
    policy = {"Statement": [{**statement, "Resource": "*"} for statement in statements]}  # a trust names no resource
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=service).decision == "Allow")
