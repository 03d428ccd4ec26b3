"""Calls of deployment tools, which the capabilities must allow. The policy documents are evaluated without a cloud.

The calls are those of the AWS provider of Terraform and OpenTofu for the resources that docs/use/deploying.md shows. A tool reads each
resource after the write, so a missing read permission fails an apply half way.
Source: https://github.com/hashicorp/terraform-provider-aws, internal/service/{ecs,iam,logs,apigatewayv2,ecr}
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import pytest

from components.documents import capabilities
from components.documents.boundary import SERVICE_LINKED_FOR, BoundaryAccount, boundary
from config.capabilities import Capability, Level
from tests.support.program import listed, parsed, raw, statements

ACCOUNT = "333333333333"
SETTINGS = parsed(raw("prod"), "prod")
GRANTEE = capabilities.Grantee(names=SETTINGS.names, account_id=ACCOUNT, level=Level.OPEN)
BOUNDARY = boundary(BoundaryAccount(organization=SETTINGS.organization, account_id=ACCOUNT))
ROLE = f"arn:aws:iam::{ACCOUNT}:role/deploy/orders-task"
ECS = f"arn:aws:ecs:eu-central-1:{ACCOUNT}:"

CALLS: dict[str, tuple[Capability, str, tuple[str, ...]]] = {
    "aws_ecs_cluster": (
        Capability.ECS,
        f"{ECS}cluster/orders",
        ("ecs:CreateCluster", "ecs:DescribeClusters", "ecs:UpdateCluster", "ecs:DeleteCluster"),
    ),
    "aws_ecs_cluster_capacity_providers": (
        Capability.ECS,
        f"{ECS}cluster/orders",
        ("ecs:PutClusterCapacityProviders", "ecs:DescribeClusters"),
    ),
    "aws_ecs_task_definition": (
        Capability.ECS,
        "*",
        ("ecs:RegisterTaskDefinition", "ecs:DescribeTaskDefinition", "ecs:DeregisterTaskDefinition"),
    ),
    "aws_ecs_service": (
        Capability.ECS,
        f"{ECS}service/orders/orders",
        (
            *("ecs:CreateService", "ecs:DescribeServices", "ecs:UpdateService", "ecs:DeleteService"),
            "ecs:ListServiceDeployments",
        ),
    ),
    "aws_ecs_service, waiting and interrupted": (
        Capability.ECS,
        f"{ECS}service-deployment/orders/orders/1",
        ("ecs:DescribeServiceDeployments", "ecs:StopServiceDeployment"),
    ),
    "aws_iam_role": (
        Capability.ECS,
        ROLE,
        (
            *(
                "iam:CreateRole",
                "iam:GetRole",
                "iam:UpdateRole",
                "iam:ListRolePolicies",
                "iam:ListAttachedRolePolicies",
            ),
            *("iam:ListInstanceProfilesForRole", "iam:DeleteRole"),
        ),
    ),
    "aws_iam_role_policy": (
        Capability.ECS,
        ROLE,
        ("iam:PutRolePolicy", "iam:GetRolePolicy", "iam:DeleteRolePolicy"),
    ),
    "aws_cloudwatch_log_group": (
        Capability.ECS,
        f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:/ecs/orders",
        (
            *("logs:CreateLogGroup", "logs:PutRetentionPolicy", "logs:DeleteRetentionPolicy"),
            *("logs:ListTagsForResource", "logs:DeleteLogGroup"),
        ),
    ),
    "aws_cloudwatch_log_group, read back": (Capability.ECS, "*", ("logs:DescribeLogGroups",)),
    "aws_ecr_repository, as data": (
        Capability.ECR_PUSH,
        f"arn:aws:ecr:eu-central-1:{ACCOUNT}:repository/open/apps",
        ("ecr:DescribeRepositories", "ecr:ListTagsForResource", "ecr:DescribeImages"),
    ),
    "aws_apigatewayv2_route": (
        Capability.API_GATEWAY,
        "arn:aws:apigateway:eu-central-1::/apis/1/routes/2",
        ("apigateway:GET", "apigateway:POST", "apigateway:PATCH", "apigateway:DELETE"),
    ),
}
TAGGED = {
    "cluster": (f"{ECS}cluster/orders", "ecs"),
    "service": (f"{ECS}service/orders/orders", "ecs"),
    "task definition": (f"{ECS}task-definition/orders:1", "ecs"),
    "log group": (f"arn:aws:logs:eu-central-1:{ACCOUNT}:log-group:/ecs/orders", "logs"),
}


def allows(document: dict[str, Any], action: str, resource: str) -> bool:
    """Return whether a statement allows an action on a resource; conditions are ignored."""
    for statement in statements(document, "Allow"):
        covered = (
            action not in statement["NotAction"] if "NotAction" in statement else action in listed(statement["Action"])
        )
        matched = any(fnmatchcase(action, pattern) for pattern in listed(statement.get("Action", [])))
        if (covered or matched) and any(fnmatchcase(resource, pattern) for pattern in listed(statement["Resource"])):
            return True
    return False


@pytest.mark.parametrize("resource_type", CALLS)
def test_capability_and_boundary_allow_the_calls_of_deployment_tools(resource_type: str) -> None:
    capability, resource, actions = CALLS[resource_type]
    document = capabilities.capability_document(capability, GRANTEE)
    missing = [action for action in actions if not allows(document, action, resource)]
    assert not missing, f"{resource_type} cannot be deployed: {missing} on {resource}"
    if not actions[0].startswith("iam:"):
        excluded = statements(BOUNDARY, "Allow")[0]["NotAction"]
        assert not [action for action in actions if any(fnmatchcase(action, pattern) for pattern in excluded)]
    else:
        assert all(allows(BOUNDARY, action, resource) for action in actions), "the boundary must allow it too"


@pytest.mark.parametrize("kind", TAGGED)
def test_every_resource_that_a_deployment_creates_can_be_tagged(kind: str) -> None:
    resource, service = TAGGED[kind]
    document = capabilities.capability_document(Capability.ECS, GRANTEE)
    for action in ("TagResource", "UntagResource", "ListTagsForResource"):
        assert allows(document, f"{service}:{action}", resource), (
            "default_tags of a provider tag everything on creation"
        )


@pytest.mark.parametrize(
    ("capability", "service"),
    [(Capability.ECS, "ecs.amazonaws.com"), (Capability.API_GATEWAY, "ops.apigateway.amazonaws.com")],
)
def test_the_first_deployment_may_create_the_service_linked_role(capability: Capability, service: str) -> None:
    linked = [
        statement
        for statement in capabilities.capability_document(capability, GRANTEE)["Statement"]
        if statement["Action"] == "iam:CreateServiceLinkedRole"
    ]
    assert [statement["Condition"] for statement in linked] == [{"StringEquals": {"iam:AWSServiceName": service}}]
    assert linked[0]["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/{service}/*"
    assert service in SERVICE_LINKED_FOR, "the boundary allows no other"


def test_roles_get_permissions_only_with_the_boundary_and_keep_their_trust() -> None:
    document = capabilities.capability_document(Capability.ECS, GRANTEE)
    own = f"arn:aws:iam::{ACCOUNT}:policy/cicd-platform/delegated-boundary"
    for statement in document["Statement"]:
        if set(listed(statement["Action"])) & set(capabilities.ROLE_GRANTS):
            assert statement["Condition"] == {"StringEquals": {"iam:PermissionsBoundary": own}}
            assert statement["Resource"] == f"arn:aws:iam::{ACCOUNT}:role/deploy/*"
        assert "iam:UpdateAssumeRolePolicy" not in listed(statement["Action"]), "the boundary denies a change of trust"
        assert "iam:DeleteRolePermissionsBoundary" not in listed(statement["Action"])


def test_the_capability_api_gateway_alone_creates_no_role() -> None:
    document = capabilities.capability_document(Capability.API_GATEWAY, GRANTEE)
    assert not allows(document, "iam:CreateRole", ROLE), "a level without ecs or pulumi creates nothing in IAM"
