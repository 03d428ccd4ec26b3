"""Auto Scaling's operations in place of MiniStack's; requests and answers follow botocore's model (`shapes`).

Not modelled: scaling policies and schedules do nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ministack.services import autoscaling, iam

from sandbox_aws import autoscaling_groups as groups
from sandbox_aws import autoscaling_hooks as hooks
from sandbox_aws import autoscaling_instances as instances
from sandbox_aws import autoscaling_refreshes as refreshes
from sandbox_aws import dispatch, launch_templates, shapes
from sandbox_aws.patching import handlers
from sandbox_aws.resources import Request, evaluate_on

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer


def install() -> None:
    """Replace MiniStack's operations by those of this module."""
    table = handlers("services.autoscaling", "_ACTION_MAP")
    for name, operation in {**groups.OPERATIONS, **hooks.OPERATIONS, **refreshes.OPERATIONS}.items():
        table[name] = _served(name, operation)
    evaluate_on("autoscaling", _resource)
    for action in ("CreateAutoScalingGroup", "UpdateAutoScalingGroup"):
        dispatch.PASSED_TO_INSTANCES[f"autoscaling:{action}"] = _role_of_template


def _role_of_template(parameters: dict[str, Any]) -> str | None:
    """Return the ARN of the role that a request hands to instances, or None; the caller needs iam:PassRole for it."""
    try:
        request = shapes.read("autoscaling", autoscaling._p(parameters, "Action"), parameters)
    except shapes.MalformedError:
        return None  # the operation refuses it
    match = launch_templates.find(instances.template_of(request))
    profile = match and groups.profile_of(match[1]["LaunchTemplateData"])
    if not profile or not profile["Roles"]:
        return None
    role = iam._roles.get(profile["Roles"][0])
    return role["Arn"] if role else None


def _served(name: str, operation: Callable[[dict[str, Any]], dict[str, Any] | None]) -> Any:
    def handle(parameters: dict[str, Any]) -> Answer:
        try:
            return shapes.answer("autoscaling", name, operation(shapes.read("autoscaling", name, parameters)))
        except instances.RefusedError as error:
            return shapes.error("autoscaling", error.code, str(error))
        except shapes.MalformedError as error:
            return shapes.error("autoscaling", "ValidationError", f"1 validation error detected: {error}")

    return handle


def _resource(request: Request, _ministack: str) -> str | None:
    """Return the ARN of a request's group."""
    name = autoscaling._p(request.parameters, "AutoScalingGroupName")
    name = name or autoscaling._p(request.parameters, "Tags.member.1.ResourceId")
    instance = autoscaling._p(request.parameters, "InstanceId")
    group = autoscaling._asgs.get(name) if name else instances.owner_of(instance)
    if group is not None:
        return str(group["AutoScalingGroupARN"])
    return groups.arn_of(request.region, request.account, "*", name) if name else None
