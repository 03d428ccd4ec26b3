"""A service with its tasks' roles and a route, through each profile with the capability: by the documented CLI script, and by SDK.

The sandbox stores the resources and evaluates every request; it runs no task and serves no route.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from config.capabilities import Capability
from tests.platform.test_deployments import profiles_with
from tests.support.deploying import Job, documented

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
SEND = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sqs:SendMessage", "Resource": "*"}]}
)
SUBNETS = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
TAG = {"key": "project", "value": "orders"}


def remove(clients: Callable[[str], Any], name: str, roles: Sequence[str]) -> None:
    """Send the requests of a destroy; with the account's root clients, clean up after an interrupted test."""
    iam, ecs, logs, gateway = (clients(service) for service in ("iam", "ecs", "logs", "apigatewayv2"))
    with suppress(ecs.exceptions.ServiceNotFoundException, ecs.exceptions.ClusterNotFoundException):
        ecs.delete_service(cluster=name, service=name, force=True)
    with suppress(ecs.exceptions.ClusterNotFoundException):
        ecs.delete_cluster(cluster=name)
    with suppress(logs.exceptions.ResourceNotFoundException):
        logs.delete_log_group(logGroupName=f"/ecs/{name}")
    for role in roles:
        with suppress(iam.exceptions.NoSuchEntityException):
            for policy in iam.list_role_policies(RoleName=role)["PolicyNames"]:
                iam.delete_role_policy(RoleName=role, PolicyName=policy)
            for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
                iam.detach_role_policy(RoleName=role, PolicyArn=attached["PolicyArn"])
            iam.list_instance_profiles_for_role(RoleName=role)
            iam.delete_role(RoleName=role)
    for api in gateway.get_apis()["Items"]:
        if api["Name"] == name:
            gateway.delete_api(ApiId=api["ApiId"])


def task_role(job: Job, account: str, name: str) -> str:
    """Create a task's role with permissions and tags, read it as tools do, and return its ARN."""
    iam = job.client("iam", account)
    iam.create_role(
        RoleName=name,
        Path="/deploy/",
        PermissionsBoundary=job.boundary(account),
        AssumeRolePolicyDocument=TRUST,
        Tags=[{"Key": "project", "Value": "orders"}],
    )
    iam.put_role_policy(RoleName=name, PolicyName="send", PolicyDocument=SEND)
    assert iam.get_role_policy(RoleName=name, PolicyName="send")["PolicyDocument"] == json.loads(SEND)
    iam.update_role(RoleName=name, Description="tasks of orders", MaxSessionDuration=3600)
    role = iam.get_role(RoleName=name)["Role"]
    assert role["PermissionsBoundary"]["PermissionsBoundaryArn"] == job.boundary(account)
    return str(role["Arn"])


def service(job: Job, account: str, name: str, role: str) -> dict[str, Any]:
    """Create a cluster, a task definition and a service with tags, and return the service as AWS describes it."""
    ecs, logs = job.client("ecs", account), job.client("logs", account)
    logs.create_log_group(logGroupName=f"/ecs/{name}", tags={"project": "orders"})
    logs.put_retention_policy(logGroupName=f"/ecs/{name}", retentionInDays=14)
    groups = logs.describe_log_groups(logGroupNamePrefix=f"/ecs/{name}")["logGroups"]
    assert [group["retentionInDays"] for group in groups] == [14]
    ecs.create_cluster(clusterName=name, tags=[TAG])
    container = {"name": "app", "image": "222222222222.dkr.ecr.eu-central-1.amazonaws.com/open/apps:1"}
    registered = ecs.register_task_definition(
        family=name, taskRoleArn=role, executionRoleArn=role, containerDefinitions=[container], tags=[TAG]
    )["taskDefinition"]
    ecs.create_service(
        cluster=name,
        serviceName=name,
        taskDefinition=registered["taskDefinitionArn"],
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration=SUBNETS,
        tags=[TAG],
    )
    ecs.update_service(cluster=name, service=name, desiredCount=2)
    description: dict[str, Any] = ecs.describe_services(cluster=name, services=[name], include=["TAGS"])["services"][0]
    assert description["tags"] == [TAG]
    ecs.tag_resource(resourceArn=description["serviceArn"], tags=[{"key": "release", "value": "2"}])
    assert ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]["taskRoleArn"] == role
    return description


def route(job: Job, account: str, name: str) -> list[str]:
    """Create an HTTP API with one route, and return the keys of its routes."""
    gateway = job.client("apigatewayv2", account)
    api = gateway.create_api(Name=name, ProtocolType="HTTP", Tags={"project": "orders"})["ApiId"]
    integration = gateway.create_integration(
        ApiId=api,
        IntegrationType="HTTP_PROXY",
        IntegrationMethod="ANY",
        IntegrationUri="https://orders.example.com",
        PayloadFormatVersion="1.0",
    )["IntegrationId"]
    new_route = gateway.create_route(ApiId=api, RouteKey="GET /orders", Target=f"integrations/{integration}")
    gateway.update_route(ApiId=api, RouteId=new_route["RouteId"], RouteKey="GET /orders/{id}")
    gateway.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    region = job.settings.organization.region
    tags = gateway.get_tags(ResourceArn=f"arn:aws:apigateway:{region}::/apis/{api}")["Tags"]
    assert tags == {"project": "orders"}
    return [item["RouteKey"] for item in gateway.get_routes(ApiId=api)["Items"]]


@pytest.mark.parametrize(
    ("stack", "runner_class", "account"), list(profiles_with(Capability.ECS, Capability.API_GATEWAY))
)
def test_a_service_and_its_route_are_deployed_and_destroyed_through_each_profile(
    sandbox: Sandbox, tmp_path: Path, stack: str, runner_class: str, account: str
) -> None:
    job, name = Job(sandbox, stack, runner_class, tmp_path), f"orders-{stack}-{runner_class}"
    remove(job.as_root(account), name, [f"{name}-task"])
    role = task_role(job, account, f"{name}-task")
    assert service(job, account, name, role)["desiredCount"] == 2
    assert route(job, account, name) == ["GET /orders/{id}"]
    remove(job.with_profile(account), name, [f"{name}-task"])
    with pytest.raises(ClientError, match="NoSuchEntity"):
        job.as_root(account)("iam").get_role(RoleName=f"{name}-task")


def test_the_documented_script_deploys_as_it_stands(sandbox: Sandbox, tmp_path: Path) -> None:
    job, roles = Job(sandbox, "prod", "small", tmp_path), ["orders-task", "orders-execution"]
    remove(job.as_root("dev"), "orders", roles)
    (tmp_path / "deploy.sh").write_text(documented("deploy.sh"), encoding="utf-8")
    done = job.run(["sh", "deploy.sh"], tmp_path, {"AWS_PROFILE": "dev"})
    assert done.returncode == 0, done.stderr
    deployed = job.client("ecs", "dev").describe_services(cluster="orders", services=["orders"])["services"][0]
    assert deployed["taskDefinition"].rpartition(":")[0].endswith("task-definition/orders")
    gateway = job.client("apigatewayv2", "dev")
    api = next(item for item in gateway.get_apis()["Items"] if item["Name"] == "orders")
    assert [item["RouteKey"] for item in gateway.get_routes(ApiId=api["ApiId"])["Items"]] == ["GET /orders"]
    remove(job.with_profile("dev"), "orders", roles)
