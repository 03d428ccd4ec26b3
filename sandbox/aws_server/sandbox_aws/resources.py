"""The resource of a request that policies are evaluated on, where MiniStack's own answer is not AWS's.

`evaluate_on` sets the resource for the requests of a service. For ECS and ECR MiniStack takes `*` or the cluster for
everything. A request that names several resources is evaluated on all resources of the type, which is stricter than
AWS: AWS evaluates on each. Operations without resource-level permission are evaluated on `*`, as in AWS.
Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ministack.core import iam_actions

from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Request:
    """A request, in the order of MiniStack's arguments."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    parameters: dict[str, Any]
    region: str
    account: str


def evaluate_on(service: str, find: Callable[[Request, str], str | None]) -> None:
    """Evaluate policies for a service's requests on the ARN from `find`.

    Args:
        service: Such as `kms`.
        find: Takes the request and MiniStack's answer; returns an ARN, or None to keep that answer.
    """

    def wrapper(original: Any) -> Any:
        def extract(*parts: Any) -> str:
            request, answer = Request(*parts), str(original(*parts))
            return (find(request, answer) if request.service == service else None) or answer

        return extract

    replace("core.iam_actions", "extract_resource_arn", wrapper)


_ECS = {
    "CreateCluster": ("cluster", "clusterName"),
    **dict.fromkeys(("UpdateCluster", "DeleteCluster", "PutClusterCapacityProviders"), ("cluster", "cluster")),
    "DescribeClusters": ("cluster", "clusters"),
    "CreateService": ("service/{cluster}", "serviceName"),
    **dict.fromkeys(("UpdateService", "DeleteService", "ListServiceDeployments"), ("service/{cluster}", "service")),
    "DescribeServices": ("service/{cluster}", "services"),
    "StopTask": ("task/{cluster}", "task"),
    "DescribeTasks": ("task/{cluster}", "tasks"),
    "RunTask": ("task-definition", "taskDefinition"),
    "DescribeServiceDeployments": ("service-deployment", "serviceDeploymentArns"),
    "StopServiceDeployment": ("service-deployment", "serviceDeploymentArn"),
    "DescribeServiceRevisions": ("service-revision", "serviceRevisionArns"),
}
"""Type of an operation's resource, and the field with its name."""
_TAGS = ("TagResource", "UntagResource", "ListTagsForResource")


def install() -> None:
    """Set the resources of requests to ECS and ECR."""
    evaluate_on("ecs", _ecs_resource)
    evaluate_on("ecr", _ecr_resource)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _action(request: Request) -> str:
    action = iam_actions.extract_iam_action(
        request.service, request.method, request.path, request.headers, request.body, request.parameters
    )
    return (action or "").partition(":")[2]


def _arn(request: Request, resource: str) -> str:
    if resource == "*" or resource.startswith("arn:"):
        return resource
    return f"arn:aws:{request.service}:{request.region}:{request.account}:{resource}"


def _ecs_resource(request: Request, _ministack: str) -> str:
    action, document = _action(request), _document(request.body)
    if action in _TAGS:
        return str(document.get("resourceArn", "*"))
    if action not in _ECS:
        return "*"
    kind, field = _ECS[action]
    cluster = str(document.get("cluster") or "default").rpartition("/")[2]
    names = document.get(field) or (["default"] if kind == "cluster" else None)
    return _arn(request, _resource(kind.format(cluster=cluster), names))


def _ecr_resource(request: Request, _ministack: str) -> str | None:
    """Return the resource of a request with a list of repositories; MiniStack finds a single repository itself."""
    action, document = _action(request), _document(request.body)
    if action in _TAGS:
        return str(document.get("resourceArn", "*"))
    if action != "DescribeRepositories":
        return None
    return _arn(request, _resource("repository", document.get("repositoryNames")))


def _resource(kind: str, names: Any) -> str:
    """Return `kind/name` for a single name, the ARN for a single ARN, otherwise `kind/*`."""
    name = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(name, str):
        return f"{kind}/*"
    return name if name.startswith("arn:") else f"{kind}/{name}"
