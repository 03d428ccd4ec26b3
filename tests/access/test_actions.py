"""Effects of actions: the generated file is the package's data, and a statement reaches what its patterns match."""

from __future__ import annotations

import json
from typing import Any

import pytest

from access.actions import FILE, Effect, Reach, actions, reached_by
from access.policy_documents import normalise
from tests.access import action_data


@pytest.mark.thorough
def test_the_file_of_effects_is_what_the_package_says() -> None:
    committed, document = json.loads(FILE.read_text()), action_data.generated()
    assert {**committed, "generated": ""} == {**document, "generated": ""}, (
        "run: python -m tests.access.action_data --write"
    )


@pytest.mark.parametrize(
    ("action", "effect"),
    [
        ("s3:GetObjectVersion", Effect.READ),
        ("s3:PutObject", Effect.WRITE),
        ("s3:DeleteObject", Effect.DELETE),
        ("s3:DeleteObjectVersion", Effect.ERASE),
        ("s3:PutLifecycleConfiguration", Effect.SETTINGS),
        ("s3:PutReplicationConfiguration", Effect.SETTINGS),
        ("s3:PutBucketPolicy", Effect.POLICY),
        ("s3:PutObjectTagging", Effect.TAG),
        ("ecr:PutImageTagMutability", Effect.SETTINGS),
        ("ecr:PutReplicationConfiguration", Effect.SETTINGS),
        ("ecr:SetRepositoryPolicy", Effect.POLICY),
        ("kms:Decrypt", Effect.READ),
        ("kms:CreateGrant", Effect.POLICY),
        ("kms:UpdateAlias", Effect.SETTINGS),
        ("iam:TagRole", Effect.TAG),
        ("eks:CreateAccessEntry", Effect.SETTINGS),
        ("secretsmanager:GetSecretValue", Effect.READ),
        ("ssm:SendCommand", Effect.RUN),
    ],
)
def test_an_action_has_its_effect(action: str, effect: Effect) -> None:
    assert actions()[action] == Reach(action.partition(":")[0], effect)


@pytest.mark.parametrize(
    "action", ["s3:ListBucket", "s3:GetBucketPolicy", "iam:GetRole", "ecr:DescribeImages", "ec2:RunInstances"]
)
def test_an_action_that_shows_metadata_or_is_of_another_service_has_no_effect(action: str) -> None:
    assert action not in actions()


def reached(**elements: Any) -> set[str]:
    (statement,) = normalise({"Statement": {"Effect": "Allow", "Resource": "*", **elements}})  # type: ignore[misc]  # readable
    return {action for names in reached_by(statement).values() for action in names}


def test_a_statement_reaches_what_its_patterns_match_in_any_case() -> None:
    assert reached(Action=["KMS:putkeypolicy", "ecr:*TagMutability"]) == {
        "kms:PutKeyPolicy",
        "ecr:PutImageTagMutability",
    }
    assert reached(Action="s3:DeleteObject?ersion") == {"s3:DeleteObjectVersion"}
    assert reached(Action=["s3:ListBucket", "nothing:AtAll"]) == set()


def test_not_action_reaches_everything_else() -> None:
    assert reached(NotAction=["s3:*", "iam:*"]) == {
        action for action in actions() if not action.startswith(("s3:", "iam:"))
    }
