"""Which resource a request is judged on, where MiniStack's own answer is not AWS's: one door for the services that say so."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ministack.core import iam_actions

from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Asked:
    """A request, in the order in which MiniStack hands its parts over."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    parameters: dict[str, Any]
    region: str
    account: str


def judged_on(service: str, find: Callable[[Asked, str], str | None]) -> None:
    """Judge a service's requests on what `find` says.

    Args:
        service: such as `kms`.
        find: gets the request and MiniStack's own answer; returns an ARN, or None to leave it at that answer.
    """

    def made(original: Any) -> Any:
        def extract(*parts: Any) -> str:
            asked, own = Asked(*parts), str(original(*parts))
            return (find(asked, own) if asked.service == service else None) or own

        return extract

    replace("core.iam_actions", "extract_resource_arn", made)


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
    judged_on("ecs", _of_ecs)
    judged_on("ecr", _of_ecr)


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _action(asked: Asked) -> str:
    action = iam_actions.extract_iam_action(
        asked.service, asked.method, asked.path, asked.headers, asked.body, asked.parameters
    )
    return (action or "").partition(":")[2]


def _arn(asked: Asked, named: str) -> str:
    whole = named == "*" or named.startswith("arn:")
    return named if whole else f"arn:aws:{asked.service}:{asked.region}:{asked.account}:{named}"


def _of_ecs(asked: Asked, _own: str) -> str:
    action, request = _action(asked), _document(asked.body)
    if action in _TAGS:
        return str(request.get("resourceArn", "*"))
    if action not in _ECS:
        return "*"
    kind, field = _ECS[action]
    cluster = str(request.get("cluster") or "default").rpartition("/")[2]
    names = request.get(field) or (["default"] if kind == "cluster" else None)
    return _arn(asked, _whole(kind.format(cluster=cluster), names))


def _of_ecr(asked: Asked, _own: str) -> str | None:
    """Return the repository of a request that names some in a list; MiniStack finds a single one itself."""
    action, request = _action(asked), _document(asked.body)
    if action in _TAGS:
        return str(request.get("resourceArn", "*"))
    if action != "DescribeRepositories":
        return None
    return _arn(asked, _whole("repository", request.get("repositoryNames")))


def _whole(kind: str, names: Any) -> str:
    """Return `kind/name` of the only name, its ARN where it is one, and `kind/*` for none or several."""
    only = names[0] if isinstance(names, list) and len(names) == 1 else names
    if not isinstance(only, str):
        return f"{kind}/*"
    return only if only.startswith("arn:") else f"{kind}/{only}"
