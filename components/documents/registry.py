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
    """Permit every account of the organisation to pull."""
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
    """Delete untagged images after two weeks. Tagged images stay, since a deployment may name any of them."""
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
