"""One case for each resource type of the aws stand-in that a machine or a task needs."""

from __future__ import annotations

import json
from typing import Any

from sandbox.tests.support.provider_aws_case import RETAGGED, TAGS, Case


def _container(**values: Any) -> str:
    variables = [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    ports = [{"containerPort": 22}]
    return json.dumps([{"name": "job", "image": "job:1", "environment": variables, "portMappings": ports, **values}])


CASES = [
    Case(
        token="aws:iam/instanceProfile:InstanceProfile",
        inputs=lambda w: {"name": "case-profile", "path": "/cicd/", "role": w.role, **TAGS},
        change=lambda w: {"role": w.other_role_arn.rpartition("/")[2], **RETAGGED},
        replace={"name": "case-profile-2"},
    ),
    Case(
        token="aws:ssm/parameter:Parameter",
        inputs=lambda w: {
            "name": "/cicd/case/token",
            "type": "SecureString",
            "value": "a value",
            "keyId": w.key_arn,
            "description": "d",
            **TAGS,
        },
        change={"value": "another value", "description": "e", **RETAGGED},
        replace={"name": "/cicd/case-2/token"},
    ),
    Case(
        token="aws:ecs/cluster:Cluster",
        inputs={
            "name": "case",
            "settings": [{"name": "containerInsights", "value": "enabled"}],
            "configuration": {
                "executeCommandConfiguration": {
                    "logConfiguration": {"s3BucketEncryptionEnabled": True, "s3BucketName": "logs"},
                    "logging": "OVERRIDE",
                }
            },
            **TAGS,
        },
        change={"settings": [{"name": "containerInsights", "value": "disabled"}], **RETAGGED},
        replace={"name": "case-2"},
        import_id=lambda state: str(state.outputs["name"]),
    ),
    Case(
        token="aws:ecs/clusterCapacityProviders:ClusterCapacityProviders",
        inputs=lambda w: {
            "clusterName": w.ecs_cluster,
            "capacityProviders": ["FARGATE_SPOT", "FARGATE"],
            "defaultCapacityProviderStrategies": [{"capacityProvider": "FARGATE", "weight": 1}],
        },
        change={"capacityProviders": ["FARGATE"]},
        leaves=True,
    ),
    Case(
        token="aws:ecs/taskDefinition:TaskDefinition",
        inputs=lambda w: {
            "family": "case",
            "containerDefinitions": _container(),
            "requiresCompatibilities": ["FARGATE"],
            "networkMode": "awsvpc",
            "cpu": "1024",
            "memory": "2048",
            "ephemeralStorage": {"sizeInGib": 50},
            "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
            "taskRoleArn": w.role_arn,
            "executionRoleArn": w.other_role_arn,
            **TAGS,
        },
        change=RETAGGED,
        replace={"containerDefinitions": _container(image="job:2")},
        import_id=lambda state: str(state.outputs["arn"]),
    ),
]
