"""Auto Scaling: groups and lifecycle hooks.

Leaves out launch configurations, load balancers and warm pools, which no program uses (such a property is refused). Source: https://www.pulumi.com/registry/packages/aws/api-docs/autoscaling/group/.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import from_api, to_api
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler, at_most_one_of, one_of
from runner_platform_sandbox.providers.aws.session import AwsError, Client
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_INVALID: Final = "ValidationError"
"""The code for most refusals; only the message tells a missing group from a wrong value."""
_DRAINED_SECONDS: Final = 600.0
_BUSY: Final = {"ResourceInUse", "ScalingActivityInProgress"}
_PLAIN: Final = {
    "availabilityZones": "AvailabilityZones",
    "capacityRebalance": "CapacityRebalance",
    "context": "Context",
    "defaultCooldown": "DefaultCooldown",
    "defaultInstanceWarmup": "DefaultInstanceWarmup",
    "desiredCapacity": "DesiredCapacity",
    "desiredCapacityType": "DesiredCapacityType",
    "healthCheckGracePeriod": "HealthCheckGracePeriod",
    "healthCheckType": "HealthCheckType",
    "maxInstanceLifetime": "MaxInstanceLifetime",
    "maxSize": "MaxSize",
    "minSize": "MinSize",
    "placementGroup": "PlacementGroup",
    "protectFromScaleIn": "NewInstancesProtectedFromScaleIn",
    "serviceLinkedRoleArn": "ServiceLinkedRoleARN",
    "terminationPolicies": "TerminationPolicies",
}
_NESTED: Final = {
    "instanceLifecyclePolicy": "InstanceLifecyclePolicy",
    "instanceMaintenancePolicy": "InstanceMaintenancePolicy",
    "mixedInstancesPolicy": "MixedInstancesPolicy",
}
_HOOK: Final = {
    "autoscalingGroupName": "AutoScalingGroupName",
    "defaultResult": "DefaultResult",
    "heartbeatTimeout": "HeartbeatTimeout",
    "lifecycleTransition": "LifecycleTransition",
    "notificationMetadata": "NotificationMetadata",
    "notificationTargetArn": "NotificationTargetARN",
    "roleArn": "RoleARN",
}
_WITHOUT: Final = {"capacityRebalance": False, "maxInstanceLifetime": 0, "terminationPolicies": ["Default"]}
"""Values that an update sends for a property that the program no longer sets; AWS keeps others."""
_SENT: Final = frozenset({*_PLAIN, *_NESTED, "launchTemplate", "vpcZoneIdentifiers"})
_DISTRIBUTION: Final = (
    *("onDemandAllocationStrategy", "onDemandBaseCapacity", "onDemandPercentageAboveBaseCapacity"),
    *("spotAllocationStrategy", "spotInstancePools"),
)


class Group(Handler):
    """A group of instances. Its id is its name.

    A change of the template starts an instance refresh if the program asks for one; `update` does not wait for its end.
    A delete waits until all instances are gone.
    """

    token = "aws:autoscaling/group:Group"  # noqa: S105 - a type token
    naming = AutoName(longest=255)
    immutable = frozenset({"initialLifecycleHooks", "name", "namePrefix"})
    defaults: ClassVar[Mapping[str, Any]] = {
        "forceDelete": False,
        "forceDeleteWarmPool": False,
        "healthCheckGracePeriod": 300,
        "ignoreFailedScalingActivities": False,
        "metricsGranularity": "1Minute",
        "protectFromScaleIn": False,
        "waitForCapacityTimeout": "10m",
    }
    computed = frozenset(
        {"availabilityZones", "defaultCooldown", "desiredCapacity", "healthCheckType", "serviceLinkedRoleArn"}
        | {"vpcZoneIdentifiers", "launchTemplate", "launchTemplate.id", "launchTemplate.name", "launchTemplate.version"}
        | {"mixedInstancesPolicy", "mixedInstancesPolicy.instancesDistribution"}
        | {f"mixedInstancesPolicy.instancesDistribution.{name}" for name in _DISTRIBUTION}
        | {
            f"mixedInstancesPolicy.launchTemplate.launchTemplateSpecification.{name}"
            for name in ("launchTemplateId", "launchTemplateName", "version")
        }
    )
    sets = frozenset(
        {"availabilityZones", "enabledMetrics", "initialLifecycleHooks", "instanceRefresh.triggers"}
        | {"suspendedProcesses", "tags", "vpcZoneIdentifiers"}
    )
    kept = frozenset(
        {"forceDelete", "forceDeleteWarmPool", "ignoreFailedScalingActivities", "initialLifecycleHooks"}
        | {"instanceRefresh", "namePrefix", "waitForCapacityTimeout"}
    )
    modelled = frozenset({*_SENT, *kept, "enabledMetrics", "metricsGranularity", "name", "suspendedProcesses", "tags"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        triggers = (inputs.get("instanceRefresh") or {}).get("triggers") or []
        always = {"launchTemplate", "mixedInstancesPolicy"}
        return [
            *one_of(inputs, "launchTemplate", "mixedInstancesPolicy"),
            *at_most_one_of(inputs, "availabilityZones", "vpcZoneIdentifiers"),
            *at_most_one_of(inputs.get("launchTemplate") or {}, "id", "name"),
            *(
                Failure(
                    "instanceRefresh.triggers", f"has {trigger}, a change of which always starts a refresh; remove it"
                )
                for trigger in triggers
                if _property_of(trigger) in always
            ),
        ]

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        client, name, request = call.client("autoscaling"), self.name_of(inputs), _request(inputs)
        sizes: Properties = {
            key: request.pop(key) for key in ("DesiredCapacity", "MaxSize", "MinSize") if key in request
        }
        hooks = inputs.get("initialLifecycleHooks") or []
        client.call(
            "create_auto_scaling_group",
            AutoScalingGroupName=name,
            Tags=_tags_to_api(name, inputs) or None,
            **request,
            **({"MaxSize": 0, "MinSize": 0} if hooks else sizes),
        )
        for hook in hooks:  # in time for the first instance
            values = {key: hook.get(prop) for prop, key in _HOOK.items() if prop != "autoscalingGroupName"}
            client.call("put_lifecycle_hook", AutoScalingGroupName=name, LifecycleHookName=hook["name"], **values)
        if hooks:
            client.call("update_auto_scaling_group", AutoScalingGroupName=name, **sizes)
        return name

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        client = call.client("autoscaling")
        self._wait_for_capacity(call, identifier, inputs)
        group = _describe(client, identifier) or {}
        requested = set(inputs.get("suspendedProcesses") or [])
        present = {item["ProcessName"] for item in group.get("SuspendedProcesses", [])}
        for operation, processes in (
            ("resume_processes", present - requested),
            ("suspend_processes", requested - present),
        ):
            if processes:
                client.call(operation, AutoScalingGroupName=identifier, ScalingProcesses=sorted(processes))
        metrics = {metric["Metric"] for metric in group.get("EnabledMetrics", [])}
        requested_metrics = set(inputs.get("enabledMetrics") or [])
        if metrics - requested_metrics:
            client.call(
                "disable_metrics_collection",
                AutoScalingGroupName=identifier,
                Metrics=sorted(metrics - requested_metrics),
            )
        if requested_metrics - metrics:
            client.call(
                "enable_metrics_collection",
                AutoScalingGroupName=identifier,
                Granularity=inputs["metricsGranularity"],
                Metrics=sorted(requested_metrics - metrics),
            )

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        group = _describe(call.client("autoscaling"), identifier)
        if group is None:
            return None
        policies = group.get("TerminationPolicies", [])
        metrics, template = group.get("EnabledMetrics", []), group.get("LaunchTemplate")
        only_default = policies == ["Default"] and not previous.get("terminationPolicies")
        return {
            **{name: group.get(key) for name, key in _PLAIN.items()},
            **{name: from_api(group[key]) if group.get(key) else None for name, key in _NESTED.items()},
            "arn": group["AutoScalingGroupARN"],
            "enabledMetrics": [metric["Metric"] for metric in metrics],
            "launchTemplate": _specification_from_api(template) if template else None,
            "metricsGranularity": metrics[0]["Granularity"] if metrics else "1Minute",
            "name": identifier,
            "suspendedProcesses": [item["ProcessName"] for item in group.get("SuspendedProcesses", [])],
            "tags": _tags_from_api(group),
            "terminationPolicies": None if only_default else policies,
            "vpcZoneIdentifiers": [subnet for subnet in group.get("VPCZoneIdentifier", "").split(",") if subnet],
            "warmPoolSize": group.get("WarmPoolSize", 0),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        client = call.client("autoscaling")
        if changed & _SENT:
            values = {**{name: value for name, value in _WITHOUT.items() if name in changed}, **news}
            if "desiredCapacity" not in changed:
                values.pop("desiredCapacity", None)  # a runner scales the group
            client.call("update_auto_scaling_group", AutoScalingGroupName=identifier, **_request(values))
        if "tags" in changed:
            self._tag(client, identifier, news)
        refresh = news.get("instanceRefresh")
        if refresh and changed & _triggers(refresh):
            self._refresh(call, identifier, refresh)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        client, force = call.client("autoscaling"), bool(outputs.get("forceDelete"))
        group = _describe(client, identifier)
        if group is None:
            return
        if not force:
            self._drain(call, identifier, group)
        call.retry(
            lambda: client.call("delete_auto_scaling_group", AutoScalingGroupName=identifier, ForceDelete=force),
            _BUSY,
            call.target.timeout or _DRAINED_SECONDS,
        )

    @staticmethod
    def _drain(call: Call, identifier: str, group: Properties) -> None:
        client, name = call.client("autoscaling"), {"AutoScalingGroupName": identifier}
        client.call("update_auto_scaling_group", **name, DesiredCapacity=0, MinSize=0, MaxSize=0)
        protected = [item["InstanceId"] for item in group.get("Instances", []) if item.get("ProtectedFromScaleIn")]
        if protected:
            client.call("set_instance_protection", **name, InstanceIds=protected, ProtectedFromScaleIn=False)
        call.wait_until(
            lambda: not (_describe(client, identifier) or {}).get("Instances"),
            f"the end of all instances of {identifier}",
            _DRAINED_SECONDS,
        )

    @staticmethod
    def _wait_for_capacity(call: Call, identifier: str, inputs: Properties) -> None:
        seconds = _seconds(str(inputs.get("waitForCapacityTimeout", "10m")))
        if not seconds:
            return
        requested = inputs.get("desiredCapacity") or inputs.get("minSize", 0)

        def ready() -> bool:
            group = _describe(call.client("autoscaling"), identifier) or {}
            states = [instance["LifecycleState"] for instance in group.get("Instances", [])]
            return bool(states.count("InService") >= min(requested, group.get("DesiredCapacity", 0)))

        call.wait_until(ready, f"{requested} instances of {identifier} in service", seconds)

    @staticmethod
    def _tag(client: Client, identifier: str, news: Properties) -> None:
        present = _tags_from_api(_describe(client, identifier) or {})
        requested = news.get("tags") or []
        named = {"ResourceId": identifier, "ResourceType": "auto-scaling-group"}
        gone = {tag["key"] for tag in present} - {tag["key"] for tag in requested}
        if gone:
            client.call("delete_tags", Tags=[{**named, "Key": key} for key in sorted(gone)])
        if requested:
            client.call("create_or_update_tags", Tags=_tags_to_api(identifier, news))

    @staticmethod
    def _refresh(call: Call, identifier: str, refresh: Properties) -> None:
        client, name = call.client("autoscaling"), {"AutoScalingGroupName": identifier}
        preferences = to_api(refresh.get("preferences") or {})
        for number in ("CheckpointDelay", "InstanceWarmup"):  # text in the SDK, so that 0 differs from nothing
            if number in preferences:
                preferences[number] = int(preferences[number])
        request = {**name, "Strategy": refresh["strategy"], "Preferences": preferences or None}
        try:
            client.call("start_instance_refresh", **request)
        except AwsError as error:
            if error.code != "InstanceRefreshInProgress":
                raise
            client.find("cancel_instance_refresh", {"ActiveInstanceRefreshNotFound"}, **name)
            call.retry(
                lambda: client.call("start_instance_refresh", **request),
                {"InstanceRefreshInProgress"},
                _DRAINED_SECONDS,
            )


def _describe(client: Client, name: str) -> Properties | None:
    groups = client.call("describe_auto_scaling_groups", AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return next((group for group in groups if group["AutoScalingGroupName"] == name), None)


def _request(inputs: Properties) -> Properties:
    """Return the arguments that a create and an update have in common."""
    request = {key: inputs[name] for name, key in _PLAIN.items() if inputs.get(name) is not None}
    request |= {key: to_api(inputs[name]) for name, key in _NESTED.items() if inputs.get(name)}
    template = inputs.get("launchTemplate")
    if template and not inputs.get("mixedInstancesPolicy"):
        names = {"LaunchTemplateId": template.get("id"), "Version": template.get("version")}
        names |= {"LaunchTemplateName": None if template.get("id") else template.get("name")}
        request["LaunchTemplate"] = {key: value for key, value in names.items() if value}
    if inputs.get("vpcZoneIdentifiers"):
        request["VPCZoneIdentifier"] = ",".join(inputs["vpcZoneIdentifiers"])
        request.pop("AvailabilityZones", None)
    return request


def _specification_from_api(template: Properties) -> Properties:
    names = {"id": "LaunchTemplateId", "name": "LaunchTemplateName", "version": "Version"}
    return {name: template.get(key) for name, key in names.items()}


def _tags_to_api(name: str, inputs: Properties) -> list[Properties]:
    return [
        {
            "ResourceId": name,
            "ResourceType": "auto-scaling-group",
            "Key": tag["key"],
            "Value": tag["value"],
            "PropagateAtLaunch": tag["propagateAtLaunch"],
        }
        for tag in inputs.get("tags") or []
    ]


def _tags_from_api(group: Properties) -> list[Properties]:
    """Return a group's tags without AWS's own."""
    return [
        {"key": tag["Key"], "value": tag.get("Value", ""), "propagateAtLaunch": tag.get("PropagateAtLaunch", False)}
        for tag in group.get("Tags", [])
        if not tag["Key"].startswith("aws:")
    ]


def _triggers(refresh: Properties) -> set[str]:
    """Return the properties whose change starts a refresh."""
    return {"launchTemplate", "mixedInstancesPolicy", *map(_property_of, refresh.get("triggers") or [])}


def _property_of(trigger: str) -> str:
    """Return the property of the SDK that a trigger names in Terraform's form, such as `tag` or `min_size`."""
    if trigger in {"tag", "tags"}:
        return "tags"
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), trigger)


def _seconds(duration: str) -> float:
    """Return the seconds of a duration of Go, such as `10m` or `1h30m`."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0}
    return sum(float(number) * units[unit] for number, unit in re.findall(r"([\d.]+)([hms])", duration))


class LifecycleHook(Handler):
    """A lifecycle hook. Its id is its name; an import takes `<group>/<hook>`."""

    token = "aws:autoscaling/lifecycleHook:LifecycleHook"  # noqa: S105 - a type token
    naming = AutoName(longest=255)
    immutable = frozenset({"name"})
    computed = frozenset({"defaultResult"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        self._put(call, name, inputs)
        return name

    @override
    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        group, separator, name = identifier.partition("/")
        if not separator or not name:
            raise ProviderError(f"{identifier} is not the id of a lifecycle hook; an import takes <group>/<hook>")
        return name, {"autoscalingGroupName": group}

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        group = previous["autoscalingGroupName"]
        try:
            answer = call.client("autoscaling").call(
                "describe_lifecycle_hooks", AutoScalingGroupName=group, LifecycleHookNames=[identifier]
            )
        except AwsError as error:
            if _is_gone(error):  # the group was deleted with its hooks
                return None
            raise
        hook = next(iter(answer["LifecycleHooks"]), None)
        if hook is None:
            return None
        return {"name": identifier, **{name: hook.get(key) for name, key in _HOOK.items()}}

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self._put(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        try:
            call.client("autoscaling").call(
                "delete_lifecycle_hook",
                AutoScalingGroupName=outputs["autoscalingGroupName"],
                LifecycleHookName=identifier,
            )
        except AwsError as error:
            if not _is_gone(error):
                raise

    @staticmethod
    def _put(call: Call, name: str, inputs: Properties) -> None:
        values = {key: inputs.get(prop) for prop, key in _HOOK.items()}
        call.client("autoscaling").call("put_lifecycle_hook", LifecycleHookName=name, **values)


def _is_gone(error: AwsError) -> bool:
    return error.code == _INVALID and bool(re.search(r"not found|No Lifecycle Hook found", str(error)))
