"""ECS: clusters, their capacity providers, task definitions.

Leaves out service connect, App Mesh and volumes, which no program uses (such a property is refused).
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ecs/.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import tag_changes, tag_list, tag_map
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_GONE: Final = {"ClusterNotFoundException"}
_BUSY: Final = {
    "ClusterContainsContainerInstancesException",
    "ClusterContainsServicesException",
    "ClusterContainsTasksException",
    "ResourceInUseException",
    "UpdateInProgressException",
}
_TASKS_END_SECONDS: Final = 600.0
_ENCRYPTED_LOGS: Final = "s3BucketEncryptionEnabled", "s3EncryptionEnabled"
"""Name in the SDK and name in the API; all others are equal."""
_CONTAINER_DEFAULTS: Final[Mapping[str, Any]] = {
    "cpu": 0,
    "environment": [],
    "essential": True,
    "mountPoints": [],
    "portMappings": [],
    "systemControls": [],
    "volumesFrom": [],
}


class Cluster(Handler):
    """A cluster. Its id is its ARN; an import takes its name."""

    token = "aws:ecs/cluster:Cluster"  # noqa: S105 - a type token
    naming = AutoName(longest=255)
    immutable = frozenset({"name"})
    computed = frozenset({"settings"})
    sets = frozenset({"settings"})
    nested_defaults: ClassVar[Mapping[str, Any]] = {"configuration.executeCommandConfiguration.logging": "DEFAULT"}
    modelled = frozenset({"configuration", "name", "settings"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ecs").call(
            "create_cluster",
            clusterName=self.name_of(inputs),
            configuration=_configuration(inputs.get("configuration"), *_ENCRYPTED_LOGS),
            settings=inputs.get("settings"),
            tags=_tags(inputs),
        )
        return str(answer["cluster"]["clusterArn"])

    @override
    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        return call.arn("ecs", f"cluster/{identifier}"), {}

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        cluster = _cluster(call, identifier)
        if cluster is None:
            return None
        return {
            "arn": cluster["clusterArn"],
            "configuration": _configuration(cluster.get("configuration"), *reversed(_ENCRYPTED_LOGS)),
            "name": cluster["clusterName"],
            "settings": cluster.get("settings"),
            "tags": tag_map(cluster.get("tags"), "key", "value"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if changed & {"configuration", "settings"}:
            call.client("ecs").call(
                "update_cluster",
                cluster=identifier,
                configuration=_configuration(news.get("configuration"), *_ENCRYPTED_LOGS),
                settings=news.get("settings"),
            )
        if "tags" in changed:
            _retag(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        seconds = call.target.timeout or _TASKS_END_SECONDS
        call.retry(lambda: call.client("ecs").find("delete_cluster", _GONE, cluster=identifier), _BUSY, seconds)


class ClusterCapacityProviders(Handler):
    """The capacity providers of a cluster. Its id is the cluster's name; a delete leaves the cluster without any."""

    token = "aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"  # noqa: S105 - a type token
    immutable = frozenset({"clusterName"})
    sets = frozenset({"capacityProviders", "defaultCapacityProviderStrategies"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        self._put(call, inputs["clusterName"], inputs)
        return str(inputs["clusterName"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        cluster = _cluster(call, identifier)
        if cluster is None:
            return None
        return {
            "capacityProviders": cluster.get("capacityProviders"),
            "clusterName": cluster["clusterName"],
            "defaultCapacityProviderStrategies": cluster.get("defaultCapacityProviderStrategy"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self._put(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        try:
            self._put(call, identifier, {})
        except AwsError as error:
            if error.code not in _GONE:
                raise

    @staticmethod
    def _put(call: Call, cluster: str, inputs: Properties) -> None:
        call.retry(
            lambda: call.client("ecs").call(
                "put_cluster_capacity_providers",
                cluster=cluster,
                capacityProviders=inputs.get("capacityProviders") or [],
                defaultCapacityProviderStrategy=inputs.get("defaultCapacityProviderStrategies") or [],
            ),
            _BUSY,
        )


_DEFINITION: Final = (
    *("cpu", "ephemeralStorage", "executionRoleArn", "ipcMode", "memory", "networkMode", "pidMode"),
    *("placementConstraints", "requiresCompatibilities", "runtimePlatform", "taskRoleArn"),
)
"""Properties with the same name and form in the API, but for `sizeInGib`."""


def same_containers(new: str, old: str) -> bool:
    """Tell whether two lists of container definitions are equal but for order and the defaults of ECS."""
    try:
        return _containers(new) == _containers(old)
    except (AttributeError, TypeError, ValueError):
        return new == old


class TaskDefinition(Handler):
    """A task definition. Its id is its family; every change but of tags registers another revision.

    The old revision is deregistered after the new one exists. An import takes the ARN of a revision.
    """

    token = "aws:ecs/taskDefinition:TaskDefinition"  # noqa: S105 - a type token
    immutable = frozenset({"containerDefinitions", "family", *_DEFINITION})
    defaults: ClassVar[Mapping[str, Any]] = {"skipDestroy": False, "trackLatest": False}
    computed = frozenset({"networkMode"})
    sets = frozenset({"placementConstraints", "requiresCompatibilities"})
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {"containerDefinitions": same_containers}
    kept = frozenset({"skipDestroy", "trackLatest"})
    modelled = frozenset({"containerDefinitions", "family", "skipDestroy", "trackLatest", *_DEFINITION})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        containers = inputs.get("containerDefinitions")
        if not isinstance(containers, str):
            return []
        try:
            valid = isinstance(json.loads(containers), list)
        except ValueError:
            valid = False
        return [] if valid else [Failure("containerDefinitions", "must be a JSON list of container definitions")]

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        definition = {name: inputs[name] for name in _DEFINITION if inputs.get(name)}
        if "ephemeralStorage" in definition:
            definition["ephemeralStorage"] = {"sizeInGiB": definition["ephemeralStorage"]["sizeInGib"]}
        answer = call.client("ecs").call(
            "register_task_definition",
            family=inputs["family"],
            containerDefinitions=json.loads(inputs["containerDefinitions"]),
            tags=_tags(inputs),
            **definition,
        )
        return str(answer["taskDefinition"]["family"])

    @override
    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        family, separator, revision = identifier.rpartition("/")[2].rpartition(":")
        if not separator or not revision.isdigit() or not identifier.startswith("arn:"):
            raise ProviderError(f"{identifier} is not the ARN of a revision; an import takes arn:…/<family>:<revision>")
        return family, {"arn": identifier}

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        latest = previous.get("trackLatest") or not previous.get("arn")
        reference = identifier if latest else previous["arn"]
        answer = call.client("ecs").find(
            "describe_task_definition", {"ClientException"}, taskDefinition=reference, include=["TAGS"]
        )
        if answer is None or answer["taskDefinition"].get("status") == "INACTIVE":
            return None
        definition = answer["taskDefinition"]
        storage = definition.get("ephemeralStorage")
        return {
            **{name: definition.get(name) for name in _DEFINITION},
            "arn": definition["taskDefinitionArn"],
            "arnWithoutRevision": definition["taskDefinitionArn"].rpartition(":")[0],
            "containerDefinitions": json.dumps(_containers(json.dumps(definition["containerDefinitions"]))),
            "ephemeralStorage": {"sizeInGib": storage["sizeInGiB"]} if storage else None,
            "family": definition["family"],
            "revision": definition["revision"],
            "tags": tag_map(answer.get("tags"), "key", "value"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if "tags" in changed:
            definition = call.client("ecs").call("describe_task_definition", taskDefinition=identifier)
            _retag(call, definition["taskDefinition"]["taskDefinitionArn"], news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if not outputs.get("skipDestroy"):
            gone = {"ClientException"}
            call.client("ecs").find("deregister_task_definition", gone, taskDefinition=outputs["arn"])


def _cluster(call: Call, reference: str) -> Properties | None:
    answer = call.client("ecs").call(
        "describe_clusters", clusters=[reference], include=["CONFIGURATIONS", "SETTINGS", "TAGS"]
    )
    return next((cluster for cluster in answer["clusters"] if cluster.get("status") != "INACTIVE"), None)


def _configuration(configuration: Properties | None, before: str, after: str) -> Properties | None:
    """Return a cluster's configuration with the one irregular name renamed."""
    if not configuration:
        return None
    logs = (configuration.get("executeCommandConfiguration") or {}).get("logConfiguration") or {}
    if before not in logs:
        return configuration
    renamed = {after if name == before else name: value for name, value in logs.items()}
    command = {**configuration["executeCommandConfiguration"], "logConfiguration": renamed}
    return {**configuration, "executeCommandConfiguration": command}


def _containers(document: str) -> list[Any]:
    """Return container definitions without defaults, with sorted variables."""
    containers = []
    for container in json.loads(document):
        values = {key: value for key, value in container.items() if value != _CONTAINER_DEFAULTS.get(key)}
        for name in ("environment", "secrets"):
            if name in values:
                values[name] = sorted(values[name], key=lambda variable: str(variable["name"]))
        if "portMappings" in values:
            values["portMappings"] = [_port(mapping) for mapping in values["portMappings"]]
        containers.append(dict(sorted(values.items())))
    return containers


def _port(mapping: Properties) -> Properties:
    """Return a port mapping with the defaults of `awsvpc`, where host and container have the same ports."""
    return {"protocol": "tcp", "hostPort": mapping.get("containerPort"), **mapping}


def _tags(inputs: Properties) -> list[dict[str, str]] | None:
    return tag_list(inputs.get("tags"), "key", "value")


def _retag(call: Call, arn: str, news: Properties) -> None:
    ecs = call.client("ecs")
    present = tag_map(ecs.call("list_tags_for_resource", resourceArn=arn).get("tags"), "key", "value")
    put, remove = tag_changes(present, news.get("tags"))
    if remove:
        ecs.call("untag_resource", resourceArn=arn, tagKeys=remove)
    if put:
        ecs.call("tag_resource", resourceArn=arn, tags=tag_list(put, "key", "value"))
