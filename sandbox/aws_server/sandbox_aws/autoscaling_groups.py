"""Groups of Auto Scaling, with every field, and their instances as seen from outside.

MiniStack drops most fields of a group, among them the mixed instances policy, and lacks the operations with which a
runner scales its workers. A template is checked when a group names it, as AWS does. Not modelled: load balancers, warm
pools.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_account_id, get_region
from ministack.services import autoscaling, ec2, iam

from sandbox_aws import autoscaling_hooks as hooks
from sandbox_aws import autoscaling_instances as instances
from sandbox_aws import launch_templates

if TYPE_CHECKING:
    from collections.abc import Callable

_DEFAULTS: dict[str, Any] = {
    "AvailabilityZones": [],
    "CapacityRebalance": False,
    "DefaultCooldown": 300,
    "HealthCheckGracePeriod": 0,
    "HealthCheckType": "EC2",
    "NewInstancesProtectedFromScaleIn": False,
    "TerminationPolicies": ["Default"],
    "VPCZoneIdentifier": "",
}
_DISTRIBUTION: dict[str, Any] = {
    "OnDemandAllocationStrategy": "prioritized",
    "OnDemandBaseCapacity": 0,
    "OnDemandPercentageAboveBaseCapacity": 100,
    "SpotAllocationStrategy": "lowest-price",
}
_SOURCES = ("LaunchTemplate", "MixedInstancesPolicy", "LaunchConfigurationName", "InstanceId")
_PROCESSES = (
    *("AddToLoadBalancer", "AlarmNotification", "AZRebalance", "HealthCheck", "InstanceRefresh", "Launch"),
    *("ReplaceUnhealthy", "ScheduledActions", "Terminate"),
)
_NOT_KEPT = ("AutoScalingGroupName", "InstanceId", "LifecycleHookSpecificationList", "Tags", "SkipZonalShiftValidation")


def arn_of(region: str, account: str, identifier: str, name: str) -> str:
    """Return the ARN of a group; `identifier` may be `*`."""
    return f"arn:aws:autoscaling:{region}:{account}:autoScalingGroup:{identifier}:autoScalingGroupName/{name}"


def profile_of(data: dict[str, Any]) -> dict[str, Any] | None:
    """Return the stored instance profile that the data of a template names, or None."""
    named = data.get("IamInstanceProfile") or {}
    profile: dict[str, Any] | None = iam._lookup_instance_profile(named.get("Name", ""), named.get("Arn", ""))
    return profile


def _create(request: dict[str, Any]) -> None:
    name = request.get("AutoScalingGroupName", "")
    if name in autoscaling._asgs:
        raise instances.RefusedError(
            f"AutoScalingGroup by this name already exists - A group with the name {name} already exists",
            "AlreadyExists",
        )
    if sum(bool(request.get(source)) for source in _SOURCES) != 1:
        raise instances.RefusedError(
            "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
            "MixedInstancesPolicy parameter."
        )
    group: dict[str, Any] = {
        **_DEFAULTS,
        **{key: value for key, value in request.items() if key not in _NOT_KEPT},
        "AutoScalingGroupName": name,
        "AutoScalingGroupARN": arn_of(get_region(), get_account_id(), str(uuid.uuid4()), name),
        "CreatedTime": instances.timestamp(),
        "DesiredCapacity": request.get("DesiredCapacity", request.get("MinSize", 0)),
        "EnabledMetrics": [],
        "Instances": [],
        "SuspendedProcesses": [],
        "Tags": [{"ResourceId": name, "ResourceType": "auto-scaling-group", **tag} for tag in request.get("Tags", [])],
    }
    _complete(group)
    _complete_template(group)
    autoscaling._asgs[name], autoscaling._tags[name] = group, group["Tags"]
    for hook in request.get("LifecycleHookSpecificationList", []):
        hooks.put({"AutoScalingGroupName": name, **hook})
    instances.advance(group)


def update(request: dict[str, Any]) -> None:
    """Change a group; what the request does not name stays."""
    stored = instances.group_of(request)
    group = {**stored, **{key: value for key, value in request.items() if key not in _NOT_KEPT}}
    for source in _SOURCES[:3]:
        if request.get(source):  # a group has one source; another one takes its place
            group = {key: value for key, value in group.items() if key == source or key not in _SOURCES}
    if "DesiredCapacity" not in request:
        group["DesiredCapacity"] = min(max(group["DesiredCapacity"], group["MinSize"]), group["MaxSize"])
    _complete(group)
    if any(request.get(source) for source in _SOURCES):
        _complete_template(group)
    stored.clear()
    stored.update(group)
    instances.advance(stored)


def _complete(group: dict[str, Any]) -> None:
    """Check a group's sizes and subnets, and fill in its zones."""
    smallest, largest, desired = group.get("MinSize", 0), group.get("MaxSize", 0), group["DesiredCapacity"]
    if smallest > largest:
        raise instances.RefusedError(f"Max bound, {largest}, must be greater than or equal to min bound, {smallest}")
    if not smallest <= desired <= largest:
        raise instances.RefusedError(
            f"Desired capacity:{desired} must be between the specified min size:{smallest} and max size:{largest}"
        )
    for subnet in filter(None, group["VPCZoneIdentifier"].split(",")):
        if subnet not in ec2._subnets:
            raise instances.RefusedError(f"The subnet ID '{subnet}' does not exist")
    if group["VPCZoneIdentifier"]:
        group["AvailabilityZones"] = instances.zones_of(group["VPCZoneIdentifier"])
    if not group["AvailabilityZones"]:
        raise instances.RefusedError("At least one Availability Zone or VPC Subnet is required.")


def _complete_template(group: dict[str, Any]) -> None:
    """Check the template that a request names, and fill in what AWS fills in."""
    specification = instances.template_of(group)
    if not specification:
        return
    match = launch_templates.find(specification)
    if match is None:
        named = specification.get("LaunchTemplateId") or specification.get("LaunchTemplateName")
        raise _unusable(
            f"The specified launch template, {named}, version {specification.get('Version')}, does not exist."
        )
    template, version = match
    _check_data(version["LaunchTemplateData"])
    specification["LaunchTemplateId"] = template["LaunchTemplateId"]
    specification["LaunchTemplateName"] = template["LaunchTemplateName"]
    specification.setdefault("Version", "$Default")
    if group.get("MixedInstancesPolicy"):
        distribution = group["MixedInstancesPolicy"].get("InstancesDistribution") or {}
        group["MixedInstancesPolicy"]["InstancesDistribution"] = {**_DISTRIBUTION, **distribution}


def _check_data(data: dict[str, Any]) -> None:
    named = data.get("IamInstanceProfile")
    if named and profile_of(data) is None:
        field, value = next(iter(named.items()))
        raise _unusable(
            f"Value ({value}) for parameter iamInstanceProfile.{field.lower()} is invalid. Invalid IAM Instance Profile "
            f"{'name' if field == 'Name' else 'ARN'}"
        )
    if data.get("NetworkInterfaces") and (data.get("SecurityGroupIds") or data.get("SecurityGroups")):
        raise _unusable(
            "Network interfaces and an instance-level security groups may not be specified on the same request"
        )
    attached = [group for interface in data.get("NetworkInterfaces", []) for group in interface.get("Groups", [])]
    for security_group in [*attached, *data.get("SecurityGroupIds", [])]:
        if security_group not in ec2._security_groups:
            raise _unusable(f"The security group '{security_group}' does not exist")


def _unusable(reason: str) -> instances.RefusedError:
    return instances.RefusedError(f"You must use a valid fully-formed launch template. {reason}")


def _describe(request: dict[str, Any]) -> dict[str, Any]:
    names = request.get("AutoScalingGroupNames")
    groups = [group for name, group in autoscaling._asgs.items() if not names or name in names]
    for group in groups:
        instances.advance(group)
    return {"AutoScalingGroups": [group for group in groups if _matches(group, request.get("Filters", []))]}


def _matches(group: dict[str, Any], filters: list[dict[str, Any]]) -> bool:
    tags = {tag["Key"]: tag.get("Value", "") for tag in group["Tags"]}
    for condition in filters:
        name, values = condition.get("Name", ""), condition.get("Values", [])
        candidates = {"tag-key": list(tags), "tag-value": list(tags.values())}.get(name)
        if candidates is None:
            candidates = [tags[key] for key in tags if name == f"tag:{key}"]
        if not set(candidates) & set(values):
            return False
    return True


def _describe_instances(request: dict[str, Any]) -> dict[str, Any]:
    identifiers, answers = request.get("InstanceIds"), []
    for name, group in autoscaling._asgs.items():
        instances.advance(group)
        answers += [
            {"AutoScalingGroupName": name, **instance}
            for instance in group["Instances"]
            if not identifiers or instance["InstanceId"] in identifiers
        ]
    return {"AutoScalingInstances": [{**answer, "HealthStatus": "HEALTHY"} for answer in answers]}


def _delete(request: dict[str, Any]) -> None:
    group = instances.group_of(request)
    if group["Instances"] and not request.get("ForceDelete"):
        raise instances.RefusedError(
            "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) still in "
            "the group.",
            "ResourceInUse",
        )
    autoscaling._delete_asg({"AutoScalingGroupName": group["AutoScalingGroupName"]})


def _set_capacity(request: dict[str, Any]) -> None:
    group, desired = instances.group_of(request), request.get("DesiredCapacity", 0)
    if desired > group["MaxSize"]:
        raise instances.RefusedError(
            f"New SetDesiredCapacity value {desired} is above max value {group['MaxSize']} for the AutoScalingGroup."
        )
    if desired < group["MinSize"]:
        raise instances.RefusedError(
            f"New SetDesiredCapacity value {desired} is below min value {group['MinSize']} for the AutoScalingGroup."
        )
    group["DesiredCapacity"] = desired
    instances.advance(group)


def _protect(request: dict[str, Any]) -> dict[str, Any]:
    group = instances.group_of(request)
    for identifier in request.get("InstanceIds", []):
        instance = instances.instance_of(group, identifier)
        if instance is None:
            raise instances.RefusedError(
                f"The instance {identifier} is not part of Auto Scaling group {group['AutoScalingGroupName']}."
            )
        instance["ProtectedFromScaleIn"] = request.get("ProtectedFromScaleIn", False)
    instances.advance(group)
    return {}


def _terminate(request: dict[str, Any]) -> dict[str, Any]:
    identifier = request.get("InstanceId", "")
    group = instances.owner_of(identifier)
    instance = None if group is None else instances.instance_of(group, identifier)
    if group is None or instance is None:
        raise instances.RefusedError(f"Instance Id not found - No managed instance found for instance ID: {identifier}")
    if request.get("ShouldDecrementDesiredCapacity"):
        if group["DesiredCapacity"] <= group["MinSize"]:
            raise instances.RefusedError(
                f"Currently, desiredSize equals minSize ({group['MinSize']}). Terminating instance without replacement will "
                "violate group's min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower "
                "group's min size."
            )
        group["DesiredCapacity"] -= 1
    activity = instances.terminate(group, instance, "instance was taken out of service in response to a user request")
    instances.advance(group)
    return {"Activity": activity}


def _suspend(request: dict[str, Any]) -> None:
    group, named = instances.group_of(request), request.get("ScalingProcesses") or list(_PROCESSES)
    for process in named:
        if process not in _PROCESSES:
            raise instances.RefusedError(f"{process} is not a valid scaling process")
    kept = [item for item in group["SuspendedProcesses"] if item["ProcessName"] not in named]
    reason = f"User suspended at {instances.timestamp()}"
    group["SuspendedProcesses"] = kept + [{"ProcessName": process, "SuspensionReason": reason} for process in named]


def _resume(request: dict[str, Any]) -> None:
    group, named = instances.group_of(request), request.get("ScalingProcesses") or list(_PROCESSES)
    group["SuspendedProcesses"] = [item for item in group["SuspendedProcesses"] if item["ProcessName"] not in named]
    instances.advance(group)


def _enable_metrics(request: dict[str, Any]) -> None:
    group, granularity = instances.group_of(request), request.get("Granularity", "1Minute")
    present = [metric["Metric"] for metric in group["EnabledMetrics"]]
    names = dict.fromkeys([*present, *request.get("Metrics", [])])
    group["EnabledMetrics"] = [{"Metric": name, "Granularity": granularity} for name in names]


def _disable_metrics(request: dict[str, Any]) -> None:
    group, named = instances.group_of(request), request.get("Metrics")
    group["EnabledMetrics"] = [metric for metric in group["EnabledMetrics"] if named and metric["Metric"] not in named]


def _activities(request: dict[str, Any]) -> dict[str, Any]:
    name = request.get("AutoScalingGroupName")
    groups = [instances.group_of(request)] if name else list(autoscaling._asgs.values())
    return {"Activities": [activity for group in groups for activity in group.get("_activities", [])]}


def _describe_tags(_request: dict[str, Any]) -> dict[str, Any]:
    return {"Tags": [tag for group in autoscaling._asgs.values() for tag in group["Tags"]]}


OPERATIONS: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "CreateAutoScalingGroup": _create,
    "DeleteAutoScalingGroup": _delete,
    "DescribeAutoScalingGroups": _describe,
    "DescribeAutoScalingInstances": _describe_instances,
    "DescribeScalingActivities": _activities,
    "DescribeTags": _describe_tags,
    "DisableMetricsCollection": _disable_metrics,
    "EnableMetricsCollection": _enable_metrics,
    "ResumeProcesses": _resume,
    "SetDesiredCapacity": _set_capacity,
    "SetInstanceProtection": _protect,
    "SuspendProcesses": _suspend,
    "TerminateInstanceInAutoScalingGroup": _terminate,
    "UpdateAutoScalingGroup": update,
}
