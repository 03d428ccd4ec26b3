"""One case for each resource type of the aws stand-in that a machine or a task needs."""

from __future__ import annotations

import base64
import json
from typing import Any

from sandbox.tests.support.provider_aws_case import RETAGGED, TAGS, Case
from tests.support.aws_cases import CICD


def _container(**values: Any) -> str:
    variables = [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]
    ports = [{"containerPort": 22}]
    return json.dumps([{"name": "job", "image": "job:1", "environment": variables, "portMappings": ports, **values}])


def user_data(text: str) -> str:
    """Return user data in the form of a launch template."""
    return base64.b64encode(text.encode()).decode()


CASES = [
    Case(
        token="aws:ec2/launchTemplate:LaunchTemplate",
        inputs=lambda w: {
            "name": "case",
            "description": "d",
            "updateDefaultVersion": True,
            "imageId": "resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/20260101/amd64/hvm/ebs-gp3/ami-id",
            "instanceType": "m7i.large",
            "iamInstanceProfile": {"arn": f"arn:aws:iam::{CICD}:instance-profile/case"},
            "blockDeviceMappings": [
                {
                    "deviceName": "/dev/sda1",
                    "ebs": {"encrypted": "true", "deleteOnTermination": "true", "volumeSize": 50, "volumeType": "gp3"},
                }
            ],
            "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
            "monitoring": {"enabled": False},
            "networkInterfaces": [
                {"associatePublicIpAddress": "false", "deviceIndex": 0, "securityGroups": [w.group, "sg-2"]}
            ],
            "instanceMarketOptions": {"marketType": "spot", "spotOptions": {"spotInstanceType": "one-time"}},
            "tagSpecifications": [{"resourceType": "instance", "tags": {"Name": "a & b"}}],
            "userData": user_data("#cloud-config\n"),
            **TAGS,
        },
        change={"userData": user_data("#cloud-config\nruncmd: [true]\n"), "instanceType": "m7i.xlarge", **RETAGGED},
        replace={"name": "case-2"},
        kept_inputs=frozenset({"updateDefaultVersion"}),
    ),
    Case(
        token="aws:autoscaling/group:Group",
        inputs=lambda w: {
            "name": "case",
            "minSize": 1,
            "maxSize": 2,
            "desiredCapacity": 1,
            "launchTemplate": {"id": w.launch_template, "version": "1"},
            "vpcZoneIdentifiers": [w.subnet_b, w.subnet_a],
            "protectFromScaleIn": True,
            "suspendedProcesses": ["AZRebalance"],
            "enabledMetrics": ["GroupInServiceInstances"],
            "instanceRefresh": {
                "strategy": "Rolling",
                "preferences": {"minHealthyPercentage": 100, "maxHealthyPercentage": 200, "instanceWarmup": "0"},
            },
            "initialLifecycleHooks": [
                {
                    "name": "drain",
                    "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
                    "heartbeatTimeout": 300,
                    "defaultResult": "CONTINUE",
                }
            ],
            "instanceLifecyclePolicy": {"retentionTriggers": {"terminateHookAbandon": "retain"}},
            "instanceMaintenancePolicy": {"minHealthyPercentage": 100, "maxHealthyPercentage": 200},
            "maxInstanceLifetime": 604800,
            "tags": [{"key": "a", "value": "1 & 2", "propagateAtLaunch": True}],
        },
        change=lambda w: {
            "maxSize": 4,
            "launchTemplate": {"id": w.launch_template, "version": "$Latest"},
            "suspendedProcesses": ["Launch", "AZRebalance"],
            "maxInstanceLifetime": None,
            "tags": [{"key": "b", "value": "2", "propagateAtLaunch": False}],
        },
        replace={"suspendedProcesses": None, "initialLifecycleHooks": None},
        kept_inputs=frozenset({"initialLifecycleHooks", "instanceRefresh"}),
    ),
    Case(
        token="aws:autoscaling/group:Group",
        inputs=lambda w: {
            "name": "case-mixed",
            "minSize": 0,
            "maxSize": 3,
            "mixedInstancesPolicy": {
                "launchTemplate": {
                    "launchTemplateSpecification": {"launchTemplateId": w.launch_template, "version": "1"},
                    "overrides": [{"instanceType": "m7i.large"}, {"instanceType": "m6i.large"}],
                },
                "instancesDistribution": {
                    "onDemandPercentageAboveBaseCapacity": 0,
                    "spotAllocationStrategy": "price-capacity-optimized",
                },
            },
            "vpcZoneIdentifiers": [w.subnet_a],
        },
        change=lambda w: {
            "mixedInstancesPolicy": {
                "launchTemplate": {
                    "launchTemplateSpecification": {"launchTemplateId": w.launch_template, "version": "$Latest"},
                    "overrides": [{"instanceType": "m7a.large"}],
                },
                "instancesDistribution": {"onDemandPercentageAboveBaseCapacity": 100},
            },
        },
    ),
    Case(
        token="aws:autoscaling/lifecycleHook:LifecycleHook",
        inputs=lambda w: {
            "name": "case",
            "autoscalingGroupName": w.scaling_group,
            "lifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING",
            "defaultResult": "CONTINUE",
            "heartbeatTimeout": 300,
        },
        change={"heartbeatTimeout": 600},
        replace={"name": "case-2"},
        import_id=lambda state: f"{state.outputs['autoscalingGroupName']}/{state.id}",
    ),
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
