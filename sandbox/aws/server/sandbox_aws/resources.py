"""The resource that a request to ECS or ECR is judged on, where MiniStack takes `*` or the cluster for everything.

A request that names several resources is judged on all of the kind, which is stricter than AWS: it judges each. Operations
without resource-level permission are judged on `*`, as in AWS.
Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core import iam_actions

from sandbox_aws.patching import replace

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
"""Kind of resource that an operation is judged on, and the field that names it."""
_TAGS = ("TagResource", "UntagResource", "ListTagsForResource")


def install() -> None:
    """Put the two services' resources before MiniStack's own answer."""
    replace("core.iam_actions", "extract_resource_arn", _named)


def _named(original: Any) -> Any:
    def extract(
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        parameters: dict[str, Any],
        region: str,
        account: str,
    ) -> str:
        if service in {"ecs", "ecr"}:
            action = iam_actions.extract_iam_action(service, method, path, headers, body, parameters) or ""
            find = _of_ecs if service == "ecs" else _of_ecr
            named = find(action.partition(":")[2], _document(body))
            if named is not None:
                return (
                    named
                    if named == "*" or named.startswith("arn:")
                    else f"arn:aws:{service}:{region}:{account}:{named}"
                )
        return str(original(service, method, path, headers, body, parameters, region, account))

    return extract


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _of_ecs(action: str, request: dict[str, Any]) -> str:
    """Return the ARN, or its last part, that an operation of ECS is judged on."""
    if action in _TAGS:
        return str(request.get("resourceArn", "*"))
    if action not in _ECS:
        return "*"
    kind, field = _ECS[action]
    cluster = str(request.get("cluster") or "default").rpartition("/")[2]
    return _whole(kind.format(cluster=cluster), request.get(field) or (["default"] if kind == "cluster" else None))


def _of_ecr(action: str, request: dict[str, Any]) -> str | None:
    """Return the repository of a request that names some in a list; MiniStack finds a single one itself."""
    if action in _TAGS:
        return str(request.get("resourceArn", "*"))
    return _whole("repository", request.get("repositoryNames")) if action == "DescribeRepositories" else None


def _whole(kind: str, names: Any) -> str:
    """Return `kind/name` of the only name, its ARN where it is one, and `kind/*` for none or several."""
    only = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(only, str):
        return f"{kind}/*"
    return only if only.startswith("arn:") else f"{kind}/{only}"
