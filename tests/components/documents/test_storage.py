"""The policies of buckets, and of a class's part of the job cache."""

from __future__ import annotations

from components.documents import storage
from config.sections import Organization
from tests.support.program import listed, statements

ORGANIZATION = Organization(id="o-senncloud01", region="eu-central-1")


def test_a_bucket_refuses_other_organisations_and_unencrypted_requests() -> None:
    encryption, membership = statements(storage.bucket_policy(ORGANIZATION, "b"), "Deny")
    assert encryption["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert membership["Condition"]["StringNotEqualsIfExists"] == {"aws:PrincipalOrgID": "o-senncloud01"}
    for statement in (encryption, membership):
        assert statement["Resource"] == ["arn:aws:s3:::b", "arn:aws:s3:::b/*"], "the bucket and its objects"


def test_a_manager_uses_its_own_prefix_of_the_cache_with_five_actions() -> None:
    document = storage.cache_access(
        ORGANIZATION, account_id="222222222222", bucket="b", prefix="small", key_alias="alias/cicd/cache"
    )
    actions = [action for statement in document["Statement"] for action in listed(statement["Action"])]
    assert {action for action in actions if action.startswith("s3:")} == {
        *("s3:ListBucket", "s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:DeleteObject"),
    }, "runner-chart.md 4: ListBucket too, else a missing object reads as forbidden"
    by_sid = {statement["Sid"]: statement for statement in document["Statement"]}
    assert by_sid["Objects"]["Resource"] == "arn:aws:s3:::b/small/*"
    assert by_sid["List"]["Condition"] == {"StringLike": {"s3:prefix": ["small/*"]}}
    assert by_sid["Key"]["Condition"]["ForAnyValue:StringEquals"] == {"kms:ResourceAliases": "alias/cicd/cache"}, (
        "the alias is known before the key exists, so a first preview can evaluate the whole document"
    )
