"""What a machine learns from EC2: its identity, its user data, and credentials of its instance profile's role.

A machine is a process outside of this server that plays one instance of a group. The sandbox's metadata service asks here
for it. EC2 gets the role's credentials from STS as `ec2.amazonaws.com`; a role that does not trust EC2 gives none, and the
document says so, as in AWS: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html
"""

from __future__ import annotations

import json
import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import autoscaling, iam, sts

from sandbox_aws import autoscaling_groups as groups
from sandbox_aws import autoscaling_instances as instances
from sandbox_aws import launch_templates

if TYPE_CHECKING:
    from collections.abc import Callable

_EC2 = "ec2.amazonaws.com"
_SESSION_SECONDS = 21600
_METADATA_DEFAULTS = {"HttpEndpoint": "enabled", "HttpTokens": "optional", "HttpPutResponseHopLimit": 1}


class NoMachineError(Exception):
    """The account has no such group or instance."""


def handle(operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """Answer an operation of the metadata service; None for an unknown one.

    Args:
        operation: `attach` (with `group`), `state`, `credentials` or `detach` (with `instance`).
        request: `account` and `region`, and what the operation names.

    Raises:
        NoMachineError: The account has no such group or instance.
        KeyError: A field is missing.
    """
    operations: dict[str, Callable[[], dict[str, Any]]] = {
        "attach": lambda: _attach(request["group"], request.get("instance")),
        "credentials": lambda: _credentials(request["instance"]),
        "detach": lambda: _detach(request["instance"]),
        "state": lambda: _state(request["instance"]),
    }
    if operation not in operations:
        return None
    with request_scope(request["account"], request["region"]):
        return operations[operation]()


def _attach(name: str, identifier: str | None) -> dict[str, Any]:
    """Make a machine out of an instance of a group, by default of the newest without a machine."""
    group = autoscaling._asgs.get(name)
    if group is None:
        raise NoMachineError(f"account {get_account_id()} has no Auto Scaling group {name} in {get_region()}")
    instances.advance(group)
    running = [item for item in group["Instances"] if item["LifecycleState"] == "InService"]
    free = [item for item in reversed(running) if item["InstanceId"] not in instances.ATTACHED]
    instance = next((item for item in free if identifier in {None, item["InstanceId"]}), None)
    if instance is None:
        wish = identifier or "instance without a machine"
        raise NoMachineError(f"Auto Scaling group {name} has no {wish} in service; it has {len(running)} in service")
    instances.ATTACHED.add(instance["InstanceId"])
    data = _data(instance)
    return {
        "instance": instance["InstanceId"],
        "instance_type": instance["InstanceType"],
        "image": data.get("ImageId", ""),
        "zone": instance["AvailabilityZone"],
        "metadata_options": {**_METADATA_DEFAULTS, **data.get("MetadataOptions", {})},
        "profile": (groups.profile_of(data) or {}).get("Arn", ""),
        "user_data": data.get("UserData", ""),
    }


def _detach(identifier: str) -> dict[str, Any]:
    instances.ATTACHED.discard(identifier)
    group = instances.owner_of(identifier)
    if group is not None:
        instances.advance(group)
    return {}


def _state(identifier: str) -> dict[str, Any]:
    """Return the states of an instance; one that has left its group is Terminated."""
    group = instances.owner_of(identifier)
    if group is not None:
        instances.advance(group)
    instance = group and instances.instance_of(group, identifier)
    state = instance["LifecycleState"] if instance else "Terminated"
    return {"state": state, "target": "Terminated" if state.startswith("Terminat") else state}


def _credentials(identifier: str) -> dict[str, Any]:
    """Return the role of an instance's profile and its credentials document; no role without a profile that holds one."""
    group = instances.owner_of(identifier)
    instance = group and instances.instance_of(group, identifier)
    if not instance:
        raise NoMachineError(f"account {get_account_id()} has no instance {identifier} in {get_region()}")
    profile = groups.profile_of(_data(instance))
    role = iam._roles.get(profile["Roles"][0]) if profile and profile["Roles"] else None
    if role is None:
        return {"role": "", "document": {}}
    return {"role": role["RoleName"], "document": _document(role, identifier)}


def _document(role: dict[str, Any], identifier: str) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if not _trusts_ec2(role):
        message = f"EC2 cannot assume the role {role['RoleName']}."
        return {"Code": "AssumeRoleUnauthorizedAccess", "Message": message, "LastUpdated": now}
    key, secret, token = sts._gen_session_access_key(), secrets.token_urlsafe(30), secrets.token_urlsafe(96)
    expires = time.time() + _SESSION_SECONDS
    sts._evict_expired_sessions()
    sts._sessions[key] = {
        "Arn": f"arn:aws:sts::{get_account_id()}:assumed-role/{role['RoleName']}/{identifier}",
        "UserId": f"{role['RoleId']}:{identifier}",
        "SecretAccessKey": secret,
        "SessionToken": token,
        "Expiration": expires,
        "AccountId": get_account_id(),
        "PrincipalType": "AssumedRole",
        "SourcePrincipalArn": _EC2,
        "SessionTags": [],
        "SessionPolicies": None,
        "IssuedAt": time.time(),
    }
    return {
        "Code": "Success",
        "LastUpdated": now,
        "Type": "AWS-HMAC",
        "AccessKeyId": key,
        "SecretAccessKey": secret,
        "Token": token,
        "Expiration": datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _trusts_ec2(role: dict[str, Any]) -> bool:
    context = iam_evaluator.EvalContext(
        principal_arn=_EC2,
        principal_type="Service",
        principal_account=get_account_id(),
        action="sts:AssumeRole",
        resource_arn=role["Arn"],
        region=get_region(),
    )
    trust = json.loads(role["AssumeRolePolicyDocument"])
    statements = trust["Statement"] if isinstance(trust["Statement"], list) else [trust["Statement"]]
    policy = {"Statement": [{**statement, "Resource": "*"} for statement in statements]}  # a trust names no resource
    return bool(iam_evaluator.evaluate_resource_policy(policy, context, service=_EC2).decision == "Allow")


def _data(instance: dict[str, Any]) -> dict[str, Any]:
    """Return the data of the template version from which an instance was launched."""
    match = launch_templates.find(instance["LaunchTemplate"])
    data: dict[str, Any] = match[1]["LaunchTemplateData"] if match else {}
    return data
