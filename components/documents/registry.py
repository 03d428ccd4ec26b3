"""Policies of container repositories.

Sources: https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html and …/LifecyclePolicies.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents.statements import Document, document

if TYPE_CHECKING:
    from config.sections import Organization

UNTAGGED_DAYS = 14


def pull_policy(organization: Organization) -> Document:
    """Every account of the organisation may pull; nobody else, and nobody pushes by this."""
    return document(
        {
            "Sid": "OrganizationPulls",
            "Effect": "Allow",
            "Principal": "*",
            "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": organization.id}},
        }
    )


def lifecycle() -> dict[str, Any]:
    """Untagged images go after two weeks; tagged ones stay, since a deployment may name any of them."""
    return {
        "rules": [
            {
                "rulePriority": 1,
                "description": "untagged images",
                "selection": {
                    "tagStatus": "untagged",
                    "countType": "sinceImagePushed",
                    "countUnit": "days",
                    "countNumber": UNTAGGED_DAYS,
                },
                "action": {"type": "expire"},
            }
        ]
    }
