"""Auto Scaling groups in simulated time. Requests and answers are held against AWS's own model of the API.

Modelled: launch from the template's latest version, scale-in protection, suspended processes, rebalancing of zones, instance refresh, a
termination hook with heartbeats and a default result, replacement of unhealthy instances, loss of a host without a word, and deletion as
the provider does it. A group starts the successor of an instance without waiting for the termination, as AWS does.
Sources: https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-lifecycle.html, instance-refresh-overview.html,
lifecycle-hooks.html and ec2-auto-scaling-instance-protection.html there
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from botocore import xform_name
from botocore.exceptions import ClientError
from botocore.session import get_session
from botocore.validate import ParamValidator

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.simulated_time import World

ZONES = ("eu-central-1a", "eu-central-1b")
BOOT = (60, 150)
"""Seconds until an instance is in service."""
HEALTH_SECONDS = 60
GLOBAL_HOOK_LIMIT = 48 * 3600
COUNTED = ("Pending", "InService")


@dataclass
class Instance:
    """An instance of a group."""

    id: str
    zone: str
    version: int
    protected: bool
    state: str = "Pending"
    alive: bool = True
    deadline: float = 0.0
    """When the hook's patience ends."""
    waits_since: float = 0.0


@dataclass
class Group:
    """A group and what the engine told it."""

    name: str
    minimum: int
    maximum: int
    desired: int
    protect: bool = False
    suspended: tuple[str, ...] = ()
    hook: dict[str, Any] | None = None
    warm_up: int = 0
    version: int = 1
    instances: dict[str, Instance] = field(default_factory=dict)
    launched: int = 0
    deleted: bool = False
    on_start: Callable[[Instance], None] = lambda _: None
    on_end: Callable[[Instance], None] = lambda _: None

    def counted(self) -> list[Instance]:
        """Instances that count towards the desired capacity."""
        return [instance for instance in self.instances.values() if instance.state in COUNTED]


def group_of(document: dict[str, Any]) -> Group:
    """Make a group from the document that the program gives the engine (`documents/machines/launch.py`)."""
    hooks = document.get("initial_lifecycle_hooks", ())
    return Group(
        name=document["name"],
        minimum=document["min_size"],
        maximum=document["max_size"],
        desired=document["desired_capacity"],
        protect=document.get("protect_from_scale_in", False),
        suspended=tuple(document.get("suspended_processes", ())),
        hook=dict(hooks[0]) if hooks else None,
        warm_up=document.get("default_instance_warmup", 0),
    )


@cache
def _model() -> Any:
    return get_session().get_service_model("autoscaling")


class AutoScaling:
    """The service: groups, and operations by their names in the API."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.groups: dict[str, Group] = {}
        self._ids = 0

    def add(self, group: Group) -> None:
        """Make a group, as CreateAutoScalingGroup does."""
        self.groups[group.name] = group
        self.world.every(HEALTH_SECONDS, lambda: self._look_after(group))
        self._reconcile(group)

    # operations

    def call(self, name: str, **request: Any) -> dict[str, Any]:
        """Answer a request; both must fit AWS's model.

        Raises:
            ClientError: as AWS refuses the request.
        """
        operation = _model().operation_model(name)
        _fits(request, operation.input_shape)
        answer: dict[str, Any] = getattr(self, f"_{xform_name(name)}")(request) or {}
        if operation.output_shape is not None:
            _fits(answer, operation.output_shape)
        return answer

    def _error(self, operation: str, code: str, message: str) -> ClientError:
        modelled = {shape.error_code for shape in _model().operation_model(operation).error_shapes}
        assert code == "ValidationError" or code in modelled, f"{operation} has no error {code}"
        return ClientError({"Error": {"Code": code, "Message": message}}, operation)

    def _group(self, operation: str, name: str) -> Group:
        group = self.groups.get(name)
        if group is None or group.deleted:
            raise self._error(operation, "ValidationError", f"AutoScalingGroup name not found - {name}")
        return group

    def _describe_auto_scaling_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        groups = [self.groups[name] for name in request["AutoScalingGroupNames"] if name in self.groups]
        return {"AutoScalingGroups": [self._described(group) for group in groups if not group.deleted]}

    def _described(self, group: Group) -> dict[str, Any]:
        return {
            "AutoScalingGroupName": group.name,
            "MinSize": group.minimum,
            "MaxSize": group.maximum,
            "DesiredCapacity": group.desired,
            "DefaultCooldown": 300,
            "AvailabilityZones": list(ZONES),
            "HealthCheckType": "EC2",
            "CreatedTime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "Instances": [
                {
                    "InstanceId": instance.id,
                    "AvailabilityZone": instance.zone,
                    "LifecycleState": instance.state,
                    "HealthStatus": "Healthy",
                    "ProtectedFromScaleIn": instance.protected,
                }
                for instance in group.instances.values()
            ],
        }

    def _set_desired_capacity(self, request: dict[str, Any]) -> None:
        group = self._group("SetDesiredCapacity", request["AutoScalingGroupName"])
        desired = request["DesiredCapacity"]
        if not group.minimum <= desired <= group.maximum:
            message = (
                f"New SetDesiredCapacity value {desired} is above max value {group.maximum} for the AutoScalingGroup."
            )
            raise self._error("SetDesiredCapacity", "ValidationError", message)
        group.desired = desired
        self._reconcile(group)

    def _terminate_instance_in_auto_scaling_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = "TerminateInstanceInAutoScalingGroup"
        group, instance = self._instance(name, request["InstanceId"])
        if request["ShouldDecrementDesiredCapacity"] and instance.state in COUNTED:
            if group.desired <= group.minimum:
                raise self._error(name, "ValidationError", "Terminating instance would violate the minimum size")
            group.desired -= 1
        self._terminate(group, instance)
        return {}

    def _record_lifecycle_action_heartbeat(self, request: dict[str, Any]) -> dict[str, Any]:
        group, instance = self._waiting("RecordLifecycleActionHeartbeat", request)
        assert group.hook is not None
        limit = instance.waits_since + min(GLOBAL_HOOK_LIMIT, 100 * group.hook["heartbeat_timeout"])
        instance.deadline = min(self.world.now + group.hook["heartbeat_timeout"], limit)
        self._expire_at(group, instance)
        return {}

    def _complete_lifecycle_action(self, request: dict[str, Any]) -> dict[str, Any]:
        group, instance = self._waiting("CompleteLifecycleAction", request)
        self._finish(group, instance)
        return {}

    def _start_instance_refresh(self, request: dict[str, Any]) -> dict[str, Any]:
        group = self._group("StartInstanceRefresh", request["AutoScalingGroupName"])
        preferences = request.get("Preferences", {})
        for instance in group.counted():
            if instance.protected and preferences.get("ScaleInProtectedInstances", "Ignore") != "Refresh":
                continue
            if preferences.get("MinHealthyPercentage", 90) >= 100:
                self._replace_after_launch(group, instance)
            else:
                self._terminate(group, instance)
                self._reconcile(group)
        return {"InstanceRefreshId": "08b91cf7-8fa6-48af-b6a6-d227f40f1b9b"}

    # what the engine's provider does

    def update(self, name: str, **changes: Any) -> None:
        """Change a group as UpdateAutoScalingGroup does: the desired capacity stays within the limits."""
        group = self.groups[name]
        for key, value in changes.items():
            setattr(group, key, value)
        group.desired = max(group.minimum, min(group.desired, group.maximum))
        self._reconcile(group)

    def destroy(self, name: str) -> None:
        """Empty a group and delete it: capacity 0, then no protection, then wait for the last instance."""
        group = self.groups[name]
        self.update(name, minimum=0, maximum=0, desired=0, protect=False)
        for instance in group.instances.values():
            instance.protected = False
        self._reconcile(group)

        def delete_when_empty() -> bool:
            self._reconcile(group)
            group.deleted = not group.instances
            return not group.deleted

        self.world.every(10, delete_when_empty)

    # what happens by itself

    def lose(self, instance: Instance) -> None:
        """Take a host away without a word, as the loss of a spot instance."""
        instance.alive = False

    def _look_after(self, group: Group) -> bool:
        for instance in list(group.instances.values()):
            if not instance.alive and instance.state in COUNTED:
                self._remove(group, instance)
        self._reconcile(group)
        if "AZRebalance" not in group.suspended:
            self._rebalance(group)
        return not group.deleted

    def _rebalance(self, group: Group) -> None:
        """Launch in the emptier zone, and end an instance in the fuller one that is not protected."""
        zones = {zone: [entry for entry in group.counted() if entry.zone == zone] for zone in ZONES}
        few, many = sorted(ZONES, key=lambda zone: len(zones[zone]))
        if len(zones[many]) - len(zones[few]) > 1:
            self._launch(group, few)
            unprotected = [instance for instance in zones[many] if not instance.protected]
            if unprotected:
                self._terminate(group, unprotected[0])

    def _reconcile(self, group: Group) -> None:
        while len(group.counted()) < group.desired and not group.deleted:
            self._launch(group, self.world.chance.choice(ZONES))
        surplus = len(group.counted()) - group.desired
        for instance in [entry for entry in group.counted() if not entry.protected][: max(surplus, 0)]:
            self._terminate(group, instance)

    def _launch(self, group: Group, zone: str) -> Instance:
        self._ids += 1
        instance = Instance(id=f"i-{self._ids:017x}", zone=zone, version=group.version, protected=group.protect)
        group.instances[instance.id] = instance
        group.launched += 1

        def in_service() -> None:
            if instance.state == "Pending" and instance.alive:
                instance.state = "InService"
                group.on_start(instance)

        self.world.after(self.world.chance.uniform(*BOOT), in_service)
        return instance

    def _replace_after_launch(self, group: Group, old: Instance) -> None:
        successor = self._launch(group, old.zone)

        def when_warm() -> bool:
            if successor.state == "InService":
                self.world.after(group.warm_up, lambda: self._terminate(group, old))
                return False
            return True

        self.world.every(5, when_warm)

    def _terminate(self, group: Group, instance: Instance) -> None:
        if instance.state not in COUNTED:
            return
        if group.hook is None or not instance.alive:
            self._remove(group, instance)
            return
        instance.state, instance.waits_since = "Terminating:Wait", self.world.now
        instance.deadline = self.world.now + group.hook["heartbeat_timeout"]
        self._expire_at(group, instance)

    def _expire_at(self, group: Group, instance: Instance) -> None:
        def expire() -> None:
            if instance.state == "Terminating:Wait" and self.world.now >= instance.deadline:
                self._finish(group, instance)

        self.world.after(max(instance.deadline - self.world.now, 0), expire)

    def _finish(self, group: Group, instance: Instance) -> None:
        instance.state = "Terminating:Proceed"
        self._remove(group, instance)

    def _remove(self, group: Group, instance: Instance) -> None:
        instance.state, instance.alive = "Terminated", False
        group.instances.pop(instance.id, None)
        group.on_end(instance)

    def _instance(self, operation: str, instance_id: str) -> tuple[Group, Instance]:
        for group in self.groups.values():
            if instance_id in group.instances:
                return group, group.instances[instance_id]
        raise self._error(
            operation, "ValidationError", f"Instance Id not found - No managed instance found for {instance_id}"
        )

    def _waiting(self, operation: str, request: dict[str, Any]) -> tuple[Group, Instance]:
        group = self._group(operation, request["AutoScalingGroupName"])
        instance = group.instances.get(request["InstanceId"])
        hook = group.hook is not None and group.hook["name"] == request["LifecycleHookName"]
        if instance is None or not hook or instance.state != "Terminating:Wait":
            raise self._error(
                operation,
                "ValidationError",
                f"No active Lifecycle Action found with instance ID {request['InstanceId']}",
            )
        return group, instance


def _fits(values: dict[str, Any], shape: Any) -> None:
    report = ParamValidator().validate(values, shape).generate_report()
    assert report == "", f"{shape.name}: {report}"
