"""Between MiniStack's routing and its handlers: services that the sandbox has, changed services, `iam:PassRole`.

Each request notes for the listener whether it only reads, so that only changes are saved. `iam:PassRole` is checked where
AWS checks it, which MiniStack never does, and `ec2:RunInstances` for a group of Auto Scaling. A service that MiniStack does not have is refused by name: MiniStack would load
every service model there is (2.8 s and 390 MB, for good) and answer without a text.
"""

from __future__ import annotations

import contextvars
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_actions, iam_evaluator, router
from ministack.core.responses import get_account_id, get_region

from sandbox_aws.answers import json_error, query_error
from sandbox_aws.patching import handlers, replace

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer


_READS = ("BatchCheck", "BatchGet", "Describe", "Filter", "Get", "Head", "List", "Lookup", "Simulate")
_NO_READS = {"GetSessionToken", "GetFederationToken"}
"""Reads by name that open a session."""


@dataclass
class Change:
    """The possible change of one request."""

    service: str | None = None
    """Key of the service's state file; None for any service."""
    reads_only: bool = False


CHANGE: contextvars.ContextVar[Change] = contextvars.ContextVar("sandbox_change")

_PASSED_IN_BODY = {
    "eks:CreateCluster": (("roleArn",), "eks.amazonaws.com"),
    "eks:CreateNodegroup": (("nodeRole",), "ec2.amazonaws.com"),
    "eks:CreatePodIdentityAssociation": (("roleArn",), "pods.eks.amazonaws.com"),
    "ecs:RegisterTaskDefinition": (("taskRoleArn", "executionRoleArn"), "ecs-tasks.amazonaws.com"),
    "lambda:CreateFunction": (("Role",), "lambda.amazonaws.com"),
}
_PASSED_IN_FORM = {"ec2:CreateFlowLogs": (("DeliverLogsPermissionArn",), "vpc-flow-logs.amazonaws.com")}
PASSED_TO_INSTANCES: dict[str, Callable[[dict[str, Any]], str | None]] = {}
"""Action to a function that takes the form and returns the ARN of the role that EC2 instances get, or None."""
_LAUNCHES = {"autoscaling:CreateAutoScalingGroup", "autoscaling:UpdateAutoScalingGroup"}
"""Actions whose caller must be allowed to launch instances from the template that the request names."""


@dataclass(frozen=True)
class _Demand:
    """A permission that an action asks for besides its own."""

    action: str
    resource: str
    context: dict[str, Any]


def install() -> None:
    """Wrap the dispatch of requests and the handlers that take a role."""
    _only_own_services()
    replace("app", "_dispatch_service_request", _noting)
    table = handlers("app", "SERVICE_HANDLERS")
    for service in ("autoscaling", "ec2", "ecs", "eks", "iam", "lambda"):
        table[service] = _asking(service, table[service])


def _noting(original: Any) -> Any:
    async def dispatch(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any], request_id: str
    ) -> Answer:
        parameters = app._routing_params(method, path, headers, body, query)
        service = router.detect_service(method, path, headers, parameters)
        if (refusal := _unsupported(service, headers)) is not None:
            return refusal
        change = CHANGE.get(None)
        if change is not None and service in app.SERVICE_REGISTRY:
            registered = app.SERVICE_REGISTRY[service]
            change.service = registered.get("state_key", registered["module"])
            change.reads_only = _reads_only(method, headers, parameters)
        answer: Answer = await original(method, path, headers, body, query, request_id)
        return answer

    return dispatch


def _reads_only(method: str, headers: dict[str, str], parameters: dict[str, Any]) -> bool:
    """Whether the operation is a read by its name; an unknown operation is not."""
    if method in {"GET", "HEAD", "OPTIONS"} and "Action" not in parameters:
        return True
    action = (parameters.get("Action") or [""])[0] or headers.get("x-amz-target", "").rpartition(".")[2]
    return action.startswith(_READS) and action not in _NO_READS


def _asking(service: str, original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        parameters = app._routing_params(method, path, headers, body, query)
        action = iam_actions.extract_iam_action(service, method, path, headers, body, parameters)
        for demand in _demands(action, body):
            denied = _denied(demand, headers, query)
            if denied is not None:
                return denied
        answer: Answer = await original(method, path, headers, body, query)
        return answer

    return handle


def _demands(action: str | None, body: bytes) -> list[_Demand]:
    """Return what the caller of an action needs besides the permission for the action itself."""
    if action in _PASSED_IN_BODY:
        fields, passed_to = _PASSED_IN_BODY[action]
        document = json.loads(body or b"{}")
        return [_pass_role(document[field], passed_to) for field in fields if document.get(field)]
    form = parse_qs(body.decode(errors="replace"))
    if action in _PASSED_IN_FORM:
        fields, passed_to = _PASSED_IN_FORM[action]
        return [_pass_role(form[field][0], passed_to) for field in fields if field in form]
    demands = []
    if action in PASSED_TO_INSTANCES and (role := PASSED_TO_INSTANCES[action](dict(form))):
        demands.append(_pass_role(role, "ec2.amazonaws.com"))
    if action in _LAUNCHES and any("LaunchTemplate" in field for field in form):
        demands.append(_Demand("ec2:RunInstances", f"arn:aws:ec2:{get_region()}:{get_account_id()}:instance/*", {}))
    return demands


def _pass_role(role: str, passed_to: str) -> _Demand:
    return _Demand("iam:PassRole", role, {"iam:PassedToService": passed_to})


def _denied(demand: _Demand, headers: dict[str, str], query: dict[str, Any]) -> Answer | None:
    key = router.extract_access_key_id(headers, query) or ""
    service = demand.action.partition(":")[0]
    denied = iam_evaluator.enforce(
        key, demand.action, service, get_region(), resource_arn=demand.resource, service_context=demand.context
    )
    if denied is None or isinstance(denied, iam_evaluator.AuthError):
        return None  # a failed authentication was refused before this
    answer: Answer = iam_actions.access_denied_response(
        router.detect_service("POST", "/", headers, query),
        demand.action,
        denied.principal_arn,
        "",
        headers=headers,
        resource_arn=demand.resource,
        explicit_deny=denied.decision == "Deny",
        resource_policy_arn="",
    )
    return answer


def _only_own_services() -> None:
    """Accept every service name in a signature, and remove the metadata services, which give credentials to any caller.

    MiniStack recognises its own services before it looks up a name.
    """
    table = handlers("app", "SERVICE_HANDLERS")
    for metadata in ("imds", "ecs-metadata"):
        del table[metadata]
    replace("core.router", "_is_aws_service_name", lambda _original: lambda _name: True)


def _unsupported(service: str, headers: dict[str, str]) -> Answer | None:
    """Return the error for a service outside of MiniStack, or None."""
    if service in app.SERVICE_HANDLERS or service == "unknown_query":
        return None
    message = f"The sandbox has no {service}: it serves the services of the platform only."
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        return query_error(400, "InvalidAction", message)
    return json_error(400, "UnknownOperationException", message)
