"""Instance refreshes of Auto Scaling: each replaces the instances of a group one after the other."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from sandbox_aws import autoscaling_groups as groups
from sandbox_aws import autoscaling_instances as instances

if TYPE_CHECKING:
    from collections.abc import Callable

_PREFERENCES = {"MinHealthyPercentage": 90, "MaxHealthyPercentage": 100, "ScaleInProtectedInstances": "Ignore"}


def _start_refresh(request: dict[str, Any]) -> dict[str, Any]:
    group = instances.group_of(request)
    if instances.active_refresh(group) is not None:
        message = "An Instance Refresh is already in progress and blocks the execution of this Instance Refresh."
        raise instances.RefusedError(message, "InstanceRefreshInProgress")
    if request.get("DesiredConfiguration"):
        groups.update({"AutoScalingGroupName": group["AutoScalingGroupName"], **request["DesiredConfiguration"]})
    preferences = {**_PREFERENCES, **request.get("Preferences", {})}
    replaced = [
        instance["InstanceId"]
        for instance in group["Instances"]
        if not (instance["ProtectedFromScaleIn"] and preferences["ScaleInProtectedInstances"] == "Ignore")
        and not (preferences.get("SkipMatching") and not instances.outdated(group, instance))
    ]
    refresh = {
        "InstanceRefreshId": str(uuid.uuid4()),
        "AutoScalingGroupName": group["AutoScalingGroupName"],
        "Status": "Pending",
        "StartTime": instances.timestamp(),
        "PercentageComplete": 0,
        "InstancesToUpdate": len(replaced),
        "Preferences": preferences,
        "Strategy": request.get("Strategy", "Rolling"),
        "_old": replaced,
        **({"DesiredConfiguration": request["DesiredConfiguration"]} if request.get("DesiredConfiguration") else {}),
    }
    group.setdefault("InstanceRefreshes", []).insert(0, refresh)
    instances.advance(group)
    return {"InstanceRefreshId": refresh["InstanceRefreshId"]}


def _describe_refreshes(request: dict[str, Any]) -> dict[str, Any]:
    group, named = instances.group_of(request), request.get("InstanceRefreshIds")
    refreshes = group.get("InstanceRefreshes", [])
    return {"InstanceRefreshes": [item for item in refreshes if not named or item["InstanceRefreshId"] in named]}


def _cancel_refresh(request: dict[str, Any]) -> dict[str, Any]:
    refresh = instances.active_refresh(instances.group_of(request))
    if refresh is None:
        message = "No in progress or pending Instance Refresh found for Auto Scaling group"
        raise instances.RefusedError(
            f"{message} {request.get('AutoScalingGroupName')}", "ActiveInstanceRefreshNotFound"
        )
    refresh.update(Status="Cancelled", EndTime=instances.timestamp(), StatusReason="Cancelled by user")
    return {"InstanceRefreshId": refresh["InstanceRefreshId"]}


OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "CancelInstanceRefresh": _cancel_refresh,
    "DescribeInstanceRefreshes": _describe_refreshes,
    "StartInstanceRefresh": _start_refresh,
}
