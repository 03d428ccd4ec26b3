"""Lifecycle hooks of Auto Scaling: what a machine waits for before it ends, its heartbeats, the end of the wait.

Hooks on a launch are kept and complete at once.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ministack.services import autoscaling

from sandbox_aws import autoscaling_instances as instances

if TYPE_CHECKING:
    from collections.abc import Callable

_SHORTEST, _LONGEST, _DEFAULT = 30, 7200, 3600
"""Seconds between heartbeats."""


def put(request: dict[str, Any]) -> dict[str, Any]:
    """Make or change a hook; what the request does not name stays."""
    group, name = instances.group_of(request), request.get("LifecycleHookName", "")
    key = f"{group['AutoScalingGroupName']}/{name}"
    stored = autoscaling._hooks.get(key)
    if stored is None and not request.get("LifecycleTransition"):
        raise instances.RefusedError("When you create a lifecycle hook, you must specify a LifecycleTransition.")
    timeout = request.get("HeartbeatTimeout", (stored or {}).get("HeartbeatTimeout", _DEFAULT))
    if not _SHORTEST <= timeout <= _LONGEST:
        raise instances.RefusedError(
            f"HeartbeatTimeout must be between {_SHORTEST} and {_LONGEST} seconds, got {timeout}"
        )
    autoscaling._hooks[key] = {
        "DefaultResult": "ABANDON",
        **(stored or {}),
        **request,
        "AutoScalingGroupName": group["AutoScalingGroupName"],
        "HeartbeatTimeout": timeout,
        "GlobalTimeout": instances.longest_wait(timeout),
    }
    return {}


def _describe_hooks(request: dict[str, Any]) -> dict[str, Any]:
    group, names = instances.group_of(request), request.get("LifecycleHookNames")
    hooks = [
        hook for hook in autoscaling._hooks.values() if hook["AutoScalingGroupName"] == group["AutoScalingGroupName"]
    ]
    return {"LifecycleHooks": [hook for hook in hooks if not names or hook["LifecycleHookName"] in names]}


def _delete_hook(request: dict[str, Any]) -> dict[str, Any]:
    group, name = instances.group_of(request), request.get("LifecycleHookName", "")
    if autoscaling._hooks.pop(f"{group['AutoScalingGroupName']}/{name}", None) is None:
        raise instances.RefusedError(f"No Lifecycle Hook found with name: {name}")
    instances.advance(group)
    return {}


def _waiting(request: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return group, instance and hook of a lifecycle action that waits."""
    group, hook = instances.group_of(request), request.get("LifecycleHookName", "")
    identifier, token = request.get("InstanceId"), request.get("LifecycleActionToken")
    for instance in group["Instances"]:
        wait = instance.get("_waits", {}).get(hook)
        if wait is not None and (instance["InstanceId"] == identifier or wait["token"] == token):
            return group, instance, hook
    named = f"instance ID {identifier}" if identifier else f"token {token}"
    raise instances.RefusedError(f"No active Lifecycle Action found with {named}")


def _complete_action(request: dict[str, Any]) -> dict[str, Any]:
    group, instance, hook = _waiting(request)
    result = request.get("LifecycleActionResult", "")
    if result not in {"CONTINUE", "ABANDON"}:
        raise instances.RefusedError(f"Invalid Lifecycle Action Result: {result}")
    instances.finish_wait(group, instance, hook, result)
    instances.advance(group)
    return {}


def _heartbeat(request: dict[str, Any]) -> dict[str, Any]:
    group, instance, hook = _waiting(request)
    timeout = autoscaling._hooks[f"{group['AutoScalingGroupName']}/{hook}"]["HeartbeatTimeout"]
    instance["_waits"][hook]["until"] = time.time() + timeout
    return {}


OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "CompleteLifecycleAction": _complete_action,
    "DeleteLifecycleHook": _delete_hook,
    "DescribeLifecycleHooks": _describe_hooks,
    "PutLifecycleHook": put,
    "RecordLifecycleActionHeartbeat": _heartbeat,
}
