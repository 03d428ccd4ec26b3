"""The life of a group's instances: launch, protection, termination with lifecycle hooks, instance refresh.

Instances are records; `machines` gives a process the identity of one. Nothing runs between two requests: `advance` brings
a group to the present, and every operation calls it first. A termination hook waits for a machine that is attached to the
instance, because only a machine can complete it; without one the hook is complete at once. Not modelled: the time that a
launch takes, zones that lose capacity, health checks, scaling policies, warm pools.

Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ (lifecycle hooks, instance scale-in protection, instance
refresh).
"""

from __future__ import annotations

import secrets
import time
import uuid
from datetime import UTC, datetime
from typing import Any

from ministack.services import autoscaling, ec2

from sandbox_aws import launch_templates

ATTACHED: set[str] = set()
"""Ids of instances to which a machine is attached; empty after a restart, because machines end with their process."""
TERMINATING_HOOK = "autoscaling:EC2_INSTANCE_TERMINATING"
_LONGEST_WAIT, _HEARTBEATS = 172800, 100
"""Seconds and number of heartbeats after which AWS ends every wait."""
_RUNNING = {"Pending", "InProgress"}


class RefusedError(Exception):
    """Auto Scaling refuses a request."""

    def __init__(self, message: str, code: str = "ValidationError") -> None:
        super().__init__(message)
        self.code = code


def group_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return the stored group that a request names, brought to the present.

    Raises:
        RefusedError: The account has no such group.
    """
    name = request.get("AutoScalingGroupName", "")
    group: dict[str, Any] | None = autoscaling._asgs.get(name)
    if group is None:
        raise RefusedError(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")
    advance(group)
    return group


def instance_of(group: dict[str, Any], identifier: str) -> dict[str, Any] | None:
    """Return an instance of a group, or None."""
    return next((item for item in group["Instances"] if item["InstanceId"] == identifier), None)


def owner_of(identifier: str) -> dict[str, Any] | None:
    """Return the group of this account and region that has an instance, or None."""
    return next((group for group in autoscaling._asgs.values() if instance_of(group, identifier)), None)


def timestamp() -> str:
    """Return the present in the format of the API."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def template_of(group: dict[str, Any]) -> dict[str, Any]:
    """Return the launch template specification of a group, also from a mixed instances policy."""
    mixed = (group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}
    specification: dict[str, Any] = group.get("LaunchTemplate") or mixed.get("LaunchTemplateSpecification") or {}
    return specification


def hooks_of(group: dict[str, Any], transition: str) -> list[dict[str, Any]]:
    """Return the group's hooks on a transition."""
    name = group["AutoScalingGroupName"]
    hooks = (hook for hook in autoscaling._hooks.values() if hook["AutoScalingGroupName"] == name)
    return [hook for hook in hooks if hook["LifecycleTransition"] == transition]


def active_refresh(group: dict[str, Any]) -> dict[str, Any] | None:
    """Return the refresh that is in progress, or None."""
    refreshes = group.get("InstanceRefreshes", [])
    return refreshes[0] if refreshes and refreshes[0]["Status"] in _RUNNING else None


def advance(group: dict[str, Any]) -> None:
    """Bring a group to the present: end waits that are over, go on with a refresh, launch and terminate."""
    while True:
        before = [(instance["InstanceId"], instance["LifecycleState"]) for instance in group["Instances"]]
        _end_waits(group)
        _go_on_with_refresh(group)
        _scale(group)
        if before == [(instance["InstanceId"], instance["LifecycleState"]) for instance in group["Instances"]]:
            return


def terminate(group: dict[str, Any], instance: dict[str, Any], cause: str) -> dict[str, Any]:
    """Terminate an instance and return the activity; it stays in the group while hooks wait."""
    activity = _activity(group, f"Terminating EC2 instance: {instance['InstanceId']}", cause)
    hooks = hooks_of(group, TERMINATING_HOOK) if instance["InstanceId"] in ATTACHED else []
    if not hooks:
        group["Instances"].remove(instance)
        return activity
    now = time.time()
    instance["LifecycleState"] = "Terminating:Wait"
    instance["_waits"] = {
        hook["LifecycleHookName"]: {
            "token": str(uuid.uuid4()),
            "until": now + hook["HeartbeatTimeout"],
            "at_most": now + longest_wait(hook["HeartbeatTimeout"]),
        }
        for hook in hooks
    }
    return activity


def longest_wait(heartbeat: int) -> int:
    """Return the seconds after which a wait ends however many heartbeats come."""
    return min(_LONGEST_WAIT, _HEARTBEATS * heartbeat)


def finish_wait(group: dict[str, Any], instance: dict[str, Any], hook: str, result: str) -> None:
    """End the wait for one hook with CONTINUE or ABANDON; the last one removes the instance, or retains it."""
    del instance["_waits"][hook]
    triggers = (group.get("InstanceLifecyclePolicy") or {}).get("RetentionTriggers") or {}
    if result == "ABANDON":
        instance["_abandoned"] = True
    if instance["_waits"]:
        return
    if instance.get("_abandoned") and triggers.get("TerminateHookAbandon") == "retain":
        instance["LifecycleState"] = "Terminating:Retained"
    else:
        group["Instances"].remove(instance)


def outdated(group: dict[str, Any], instance: dict[str, Any]) -> bool:
    """Whether the group would launch another version of the template by now."""
    return bool(instance.get("LaunchTemplate") != _resolved_template(group))


def _end_waits(group: dict[str, Any]) -> None:
    now = time.time()
    defaults = {hook["LifecycleHookName"]: hook["DefaultResult"] for hook in hooks_of(group, TERMINATING_HOOK)}
    for instance in list(group["Instances"]):
        attached = instance["InstanceId"] in ATTACHED
        for hook, wait in list(instance.get("_waits", {}).items()):
            if hook not in defaults or not attached:
                finish_wait(group, instance, hook, "CONTINUE")
            elif now >= min(wait["until"], wait["at_most"]):
                finish_wait(group, instance, hook, defaults[hook])


def _go_on_with_refresh(group: dict[str, Any]) -> None:
    refresh = active_refresh(group)
    if refresh is None:
        return
    remaining = [instance for instance in group["Instances"] if instance["InstanceId"] in refresh["_old"]]
    count = len(refresh["_old"])
    refresh["InstancesToUpdate"] = len(remaining)
    refresh["PercentageComplete"] = 100 * (count - len(remaining)) // count if count else 100
    if not remaining:
        if len(_in_service(group)) >= group["DesiredCapacity"] or _suspended(group, "Launch"):
            refresh.update(Status="Successful", EndTime=timestamp())
        return
    refresh["Status"] = "InProgress"
    first = remaining[0]
    if first["LifecycleState"] != "InService":
        return
    if refresh["Preferences"].get("ScaleInProtectedInstances") == "Wait" and first["ProtectedFromScaleIn"]:
        refresh["StatusReason"] = f"Waiting for scale-in protection to be removed from {first['InstanceId']}."
        return
    if launches_first(refresh):
        _launch(group, "a user-initiated instance refresh")
    terminate(group, first, "an instance was taken out of service in response to an instance refresh")


def launches_first(refresh: dict[str, Any]) -> bool:
    """Whether a refresh launches a replacement before it terminates: all instances stay healthy, and more may exist."""
    preferences = refresh["Preferences"]
    whole, more = preferences.get("MinHealthyPercentage", 90), preferences.get("MaxHealthyPercentage", 100)
    return bool(whole == 100 and more > 100)  # noqa: PLR2004 - percent


def _scale(group: dict[str, Any]) -> None:
    """Launch or terminate until the desired capacity is there, as far as suspended processes and protection let."""
    refresh, present = active_refresh(group), _in_service(group)
    held = 0
    if refresh is not None and not launches_first(refresh):  # its replacement starts after the termination
        held = sum(
            instance["InstanceId"] in refresh["_old"] and instance["LifecycleState"] != "InService"
            for instance in group["Instances"]
        )
    if not _suspended(group, "Launch"):
        for _ in range(group["DesiredCapacity"] - held - len(present)):
            _launch(group, "a difference between desired and actual capacity")
    surplus = len(present) - group["DesiredCapacity"]
    if surplus > 0 and not _suspended(group, "Terminate"):
        free = [instance for instance in present if not instance["ProtectedFromScaleIn"]]
        for instance in sorted(free, key=lambda instance: not outdated(group, instance))[:surplus]:
            terminate(group, instance, "a difference between desired and actual capacity, shrinking the capacity")


def _launch(group: dict[str, Any], cause: str) -> None:
    match = launch_templates.find(template_of(group))
    data = match[1]["LaunchTemplateData"] if match else {}
    overrides = ((group.get("MixedInstancesPolicy") or {}).get("LaunchTemplate") or {}).get("Overrides") or [{}]
    zones = group["AvailabilityZones"]
    instance = {
        "InstanceId": f"i-{secrets.token_hex(9)[:17]}",
        "InstanceType": overrides[0].get("InstanceType") or data.get("InstanceType", ""),
        "AvailabilityZone": zones[len(group["Instances"]) % len(zones)],
        "LifecycleState": "InService",
        "HealthStatus": "Healthy",
        "LaunchTemplate": _resolved_template(group),
        "ProtectedFromScaleIn": bool(group.get("NewInstancesProtectedFromScaleIn")),
    }
    group["Instances"].append(instance)
    _activity(group, f"Launching a new EC2 instance: {instance['InstanceId']}", cause)


def _resolved_template(group: dict[str, Any]) -> dict[str, Any]:
    """Return the group's template with the number of the version that an instance launched now gets."""
    match = launch_templates.find(template_of(group))
    if match is None:
        return {}
    template, version = match
    names = {name: template[name] for name in ("LaunchTemplateId", "LaunchTemplateName")}
    return {**names, "Version": str(version["VersionNumber"])}


def zones_of(subnets: str) -> list[str]:
    """Return the zones of a comma-separated list of subnets, in order."""
    names = [ec2._subnets[subnet]["AvailabilityZone"] for subnet in subnets.split(",") if subnet in ec2._subnets]
    return list(dict.fromkeys(names))


def _in_service(group: dict[str, Any]) -> list[dict[str, Any]]:
    return [instance for instance in group["Instances"] if instance["LifecycleState"] == "InService"]


def _suspended(group: dict[str, Any], process: str) -> bool:
    return any(suspended["ProcessName"] == process for suspended in group.get("SuspendedProcesses", []))


def _activity(group: dict[str, Any], description: str, cause: str) -> dict[str, Any]:
    activity = {
        "ActivityId": str(uuid.uuid4()),
        "AutoScalingGroupName": group["AutoScalingGroupName"],
        "AutoScalingGroupARN": group["AutoScalingGroupARN"],
        "Description": description,
        "Cause": f"At {timestamp()} {cause}.",
        "StartTime": timestamp(),
        "EndTime": timestamp(),
        "StatusCode": "Successful",
        "Progress": 100,
    }
    group.setdefault("_activities", []).insert(0, activity)
    del group["_activities"][100:]
    return activity
