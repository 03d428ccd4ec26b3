"""What a machine learns from EC2 and a task from ECS: identity, user data, credentials of a role.

A machine is a process outside of this server that plays one instance of a group, and asks here for what the instance is
told. A role that does not trust EC2 gives it no credentials, and the document says so, as in AWS:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html. A process can also play a
task; a task whose role does not trust ECS does not start. Source:
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-iam-roles.html
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import autoscaling, ec2, ecs, iam

from sandbox_aws import autoscaling_groups as groups
from sandbox_aws import autoscaling_instances as instances
from sandbox_aws import launch_templates, service_sessions

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULT_NETWORK = "172.31.0.0/16"
_METADATA_DEFAULTS = {"HttpEndpoint": "enabled", "HttpTokens": "optional", "HttpPutResponseHopLimit": 1}


class NoMachineError(Exception):
    """The account has no such group or instance, or a task cannot start."""


def handle(operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
    """Answer an operation of the metadata service; None for an unknown one.

    Args:
        operation: `attach` or `look` (with `group`), `state`, `credentials` or `detach` (with `instance`), `task` (with
            `cluster` and `definition`).
        request: `account` and `region`, and what the operation names.

    Raises:
        NoMachineError: The account has no such group or instance, or the task cannot start.
        KeyError: A field is missing.
    """
    operations: dict[str, Callable[[], dict[str, Any]]] = {
        "attach": lambda: _attach(request["group"], request.get("instance")),
        "credentials": lambda: _credentials(request["instance"]),
        "detach": lambda: _detach(request["instance"]),
        "look": lambda: _look(request["group"]),
        "state": lambda: _state(request["instance"]),
        "task": lambda: _task(request["cluster"], request["definition"]),
    }
    if operation not in operations:
        return None
    with request_scope(request["account"], request["region"]):
        return operations[operation]()


def _attach(name: str, identifier: str | None) -> dict[str, Any]:
    """Make a machine out of an instance of a group, by default of the newest without a machine."""
    running = _in_service(name)
    free = [item for item in reversed(running) if item["InstanceId"] not in instances.ATTACHED]
    instance = next((item for item in free if identifier in {None, item["InstanceId"]}), None)
    if instance is None:
        wish = identifier or "instance without a machine"
        raise NoMachineError(f"Auto Scaling group {name} has no {wish} in service; it has {len(running)} in service")
    instances.ATTACHED.add(instance["InstanceId"])
    return _description(instance)


def _look(name: str) -> dict[str, Any]:
    """Describe the newest instance of a group, which has a machine or none. No hook waits for who looks."""
    running = _in_service(name)
    if not running:
        raise NoMachineError(f"Auto Scaling group {name} has no instance in service")
    return _description(running[-1])


def _in_service(name: str) -> list[dict[str, Any]]:
    group = autoscaling._asgs.get(name)
    if group is None:
        raise NoMachineError(f"account {get_account_id()} has no Auto Scaling group {name} in {get_region()}")
    instances.advance(group)
    return [item for item in group["Instances"] if item["LifecycleState"] == "InService"]


def _description(instance: dict[str, Any]) -> dict[str, Any]:
    data, group = _data(instance), instances.owner_of(instance["InstanceId"])
    return {
        "instance": instance["InstanceId"],
        "instance_type": instance["InstanceType"],
        "image": data.get("ImageId", ""),
        "zone": instance["AvailabilityZone"],
        "metadata_options": {**_METADATA_DEFAULTS, **data.get("MetadataOptions", {})},
        "networks": _networks(group or {}),
        "profile": (groups.profile_of(data) or {}).get("Arn", ""),
        "user_data": data.get("UserData", ""),
    }


def _networks(group: dict[str, Any]) -> list[str]:
    """Return the ranges of the network of a group's subnets; the default network's without subnets."""
    subnet = ec2._subnets.get(group.get("VPCZoneIdentifier", "").split(",")[0])
    network = ec2._vpcs.get(subnet["VpcId"]) if subnet else None
    if network is None:
        return [_DEFAULT_NETWORK]
    associations = network.get("CidrBlockAssociationSet") or [network]
    return [association["CidrBlock"] for association in associations]


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
    """Return the document of the metadata service, with keys or with the reason why there are none."""
    credentials = service_sessions.issue(role, service_sessions.EC2, identifier)
    if credentials is not None:
        return {"Code": "Success", "Type": "AWS-HMAC", **credentials}
    message = f"EC2 cannot assume the role {role['RoleName']}."
    return {"Code": "AssumeRoleUnauthorizedAccess", "Message": message, "LastUpdated": instances.timestamp()}


def _data(instance: dict[str, Any]) -> dict[str, Any]:
    """Return the data of the template version from which an instance was launched."""
    match = launch_templates.find(instance["LaunchTemplate"])
    data: dict[str, Any] = match[1]["LaunchTemplateData"] if match else {}
    return data


def _task(cluster: str, reference: str) -> dict[str, Any]:
    """Return the credentials of a new task of a definition, as the container's endpoint gives them."""
    definition = ecs._task_defs.get(ecs._resolve_td_key(reference))
    if definition is None or definition["status"] != "ACTIVE":
        raise NoMachineError(f"account {get_account_id()} has no active task definition {reference} in {get_region()}")
    if cluster not in ecs._clusters:
        raise NoMachineError(f"account {get_account_id()} has no ECS cluster {cluster} in {get_region()}")
    role = iam._roles.get(definition["taskRoleArn"].rpartition("/")[2])
    if role is None:
        raise NoMachineError(f"task definition {reference} names no task role that exists")
    identifier = secrets.token_hex(16)
    place = f"arn:aws:ecs:{get_region()}:{get_account_id()}"
    # AWS documents that a condition on one cluster does not work, so nothing after the account matches here.
    keys = {"aws:sourceaccount": get_account_id(), "aws:sourcearn": f"{place}:not-documented"}
    credentials = service_sessions.issue(role, service_sessions.ECS_TASKS, identifier, keys)
    if credentials is None:
        raise NoMachineError(
            f"ECS was unable to assume the role '{role['Arn']}' of task definition {reference}; verify that it trusts ECS, and "
            f"that a condition on aws:SourceArn names no cluster but {place}:*"
        )
    return {"task": f"{place}:task/{cluster}/{identifier}", "document": {**credentials, "RoleArn": role["Arn"]}}
