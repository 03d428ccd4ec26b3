"""The evaluator held to worked examples of AWS's documentation, with the page that each example is from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.access.oracle.conditions import Context, hold, like, matches_text
from tests.access.oracle.evaluator import answer
from tests.access.oracle.readings import Readings, under_all_readings
from tests.access.oracle.world import (
    Act,
    AssumeRole,
    AssumeRoleForPod,
    AssumeRoleWithToken,
    Document,
    Provider,
    Resource,
    Role,
    Session,
    World,
)

GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
OPERATORS = "reference_policies_elements_condition_operators.html"
SEVERAL = "reference_policies_condition-single-vs-multi-valued-context-keys.html"
SEVERAL_EXAMPLES = "reference_policies_condition_examples-multi-valued-context-keys.html"
LOGIC = "reference_policies_condition-logic-multiple-context-keys-or-values.html"
VARIABLES = "reference_policies_variables.html"
KEYS = "reference_policies_condition-keys.html"
RESOURCES = "reference_policies_elements_resource.html"
ACTIONS = "reference_policies_elements_action.html"
PRINCIPAL = "reference_policies_elements_principal.html"
NOT_PRINCIPAL = "reference_policies_elements_notprincipal.html"
DECISION = "reference_policies_evaluation-logic_policy-eval-denyallow.html"
EXAMPLE = "reference_policies_evaluation-logic_policy-eval-basics.html"
TWO_ACCOUNTS = "reference_policies_evaluation-logic-cross-account.html"
BOUNDARIES = "access_policies_boundaries.html"
SESSION_POLICIES = "access_policies.html#policies_session"
SESSION_TAGS = "id_session-tags.html"
STS_KEYS = "reference_policies_iam-condition-keys.html"
KEY_POLICY = "https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html"
POD_ROLE = "https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html"
ASSUME_ROLE = "https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"
WEB_IDENTITY = "https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html"

ATTRIBUTES = {"ForAllValues:StringEquals": {"dynamodb:Attributes": ["ID", "Message", "Tags"]}}
FORBIDDEN = {"ForAnyValue:StringEquals": {"dynamodb:Attributes": ["ID", "PostDateTime"]}}
TWO_KEYS = {
    "StringEqualsIgnoreCase": {
        "aws:PrincipalTag/department": ["finance", "hr", "legal"],
        "aws:PrincipalTag/role": ["audit", "security"],
    },
    "StringEquals": {"aws:PrincipalAccount": "123456789012"},
}
TWO_KEYS_REQUEST = {
    "aws:PrincipalTag/department": "HR",
    "aws:PrincipalTag/role": "audit",
    "aws:PrincipalAccount": "123456789012",
}
INSTANCE_TYPES = ["t1.*", "t2.*", "m3.*"]
SAME_TEAM = {"StringEquals": {"s3:ExistingObjectTag/Team": "${aws:PrincipalTag/Team}"}}
NOT_SAME_TEAM = {"StringNotEquals": {"s3:ExistingObjectTag/Team": "${aws:PrincipalTag/Team}"}}
LONG_ARN = "arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt"
SHORT_PATTERN = "arn:aws:someservice:*:111122223333:finance/*"
KEY1 = {"ForAllValues:StringNotLike": {"aws:TagKeys": "key1*"}}
ANY_KEY1 = {"ForAnyValue:StringLike": {"aws:TagKeys": "key1*"}}

CONDITIONS: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
    (OPERATORS, {"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}, {"aws:PrincipalTag/job-category": "iamuser-admin"}, True),
    (OPERATORS, {"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}, {"aws:PrincipalTag/job-category": "IAMUser-admin"}, False),
    (OPERATORS, {"StringEquals": {"aws:PrincipalTag/job-category": "iamuser-admin"}}, {}, False),
    (OPERATORS, {"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/"]}}, {"s3:prefix": "home/ann/", "aws:username": "ann"}, True),
    (OPERATORS, {"StringLike": {"s3:prefix": ["", "home/", "home/${aws:username}/"]}}, {"s3:prefix": "home/ben/", "aws:username": "ann"}, False),
    (OPERATORS, {"StringNotLike": {"aws:PrincipalTag/team": "blue*"}}, {}, True),
    (OPERATORS, {"ArnNotLike": {"aws:SourceArn": "arn:aws:sns:*:111122223333:*"}}, {}, True),
    (OPERATORS, {"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "10"}, True),
    (OPERATORS, {"NumericLessThanEquals": {"s3:max-keys": "10"}}, {"s3:max-keys": "11"}, False),
    (OPERATORS, {"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}}, {"aws:TokenIssueTime": "2020-06-01T00:00:00Z"}, True),
    (OPERATORS, {"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}}, {"aws:TokenIssueTime": "2019-12-31T23:59:59Z"}, False),
    (OPERATORS, {"DateGreaterThan": {"aws:TokenIssueTime": "2020-01-01T00:00:01Z"}}, {}, False),
    (OPERATORS, {"DateLessThan": {"aws:CurrentTime": "1700000000"}}, {"aws:CurrentTime": "2020-01-01T00:00:00Z"}, True),
    (OPERATORS, {"Bool": {"aws:SecureTransport": "false"}}, {"aws:SecureTransport": "false"}, True),
    (OPERATORS, {"Bool": {"aws:SecureTransport": False}}, {"aws:SecureTransport": "true"}, False),
    (OPERATORS, {"BinaryEquals": {"key": "QmluYXJ5VmFsdWVJbkJhc2U2NA=="}}, {"key": "QmluYXJ5VmFsdWVJbkJhc2U2NA=="}, True),
    (OPERATORS, {"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "203.0.113.255"}, True),
    (OPERATORS, {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24", "2001:DB8:1234:5678::/64"]}}, {"aws:SourceIp": "2001:db8:1234:5678::9"}, True),
    (OPERATORS, {"IpAddress": {"aws:SourceIp": "203.0.113.0"}}, {"aws:SourceIp": "203.0.113.1"}, False),
    (OPERATORS, {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, {"aws:SourceIp": "198.51.100.1"}, True),
    (OPERATORS, {"StringLike": {"aws:SourceArn": SHORT_PATTERN}}, {"aws:SourceArn": LONG_ARN}, True),
    (OPERATORS, {"ArnLike": {"aws:SourceArn": SHORT_PATTERN}}, {"aws:SourceArn": LONG_ARN}, False),
    (OPERATORS, {"ArnEquals": {"aws:SourceArn": SHORT_PATTERN}}, {"aws:SourceArn": "arn:aws:someservice:eu-west-1:111122223333:finance/a"}, True),
    (OPERATORS, {"StringEquals": {"aws:SourceArn": SHORT_PATTERN}}, {"aws:SourceArn": "arn:aws:someservice:eu-west-1:111122223333:finance/a"}, False),
    (OPERATORS, {"ArnLike": {"aws:SourceArn": "arn:aws:logs:*:111122223333:log-group:*"}}, {"aws:SourceArn": "arn:aws:logs:eu-west-1:111122223333:log-group:a:b"}, True),
    (OPERATORS, {"StringLike": {"ec2:InstanceType": INSTANCE_TYPES}}, {}, False),
    (OPERATORS, {"StringLikeIfExists": {"ec2:InstanceType": INSTANCE_TYPES}}, {}, True),
    (OPERATORS, {"StringLikeIfExists": {"ec2:InstanceType": INSTANCE_TYPES}}, {"ec2:InstanceType": "m5.large"}, False),
    (OPERATORS, {"StringNotEqualsIfExists": {"aws:PrincipalTag/team": "blue"}}, {}, True),
    (OPERATORS, {"Null": {"aws:TokenIssueTime": "true"}}, {}, True),
    (OPERATORS, {"Null": {"aws:TokenIssueTime": "true"}}, {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}, False),
    (OPERATORS, {"Null": {"aws:TokenIssueTime": "false"}}, {"aws:TokenIssueTime": "2020-01-01T00:00:00Z"}, True),
    ("reference_policies_elements_condition.html", {"StringEquals": {"AWS:SourceIp": "a"}}, {"aws:sourceip": "a"}, True),
    ("reference_policies_elements_condition.html", {"StringEquals": {"aws:username": "john"}}, {"aws:username": "John"}, False),
    ("reference_policies_elements_condition.html", {"StringEqualsIgnoreCase": {"aws:username": "john"}}, {"aws:username": "John"}, True),
    (LOGIC, TWO_KEYS, TWO_KEYS_REQUEST, True),
    (LOGIC, TWO_KEYS, {**TWO_KEYS_REQUEST, "aws:PrincipalTag/role": "sales"}, False),
    (LOGIC, TWO_KEYS, {**TWO_KEYS_REQUEST, "aws:PrincipalAccount": "111111111111"}, False),
    (LOGIC, {"StringNotEquals": {"aws:PrincipalAccount": ["111111111111", "222222222222"]}}, {"aws:PrincipalAccount": "222222222222"}, False),
    (LOGIC, {"StringNotEquals": {"aws:PrincipalAccount": ["111111111111", "222222222222"]}}, {"aws:PrincipalAccount": "333333333333"}, True),
    (SEVERAL, ATTRIBUTES, {"dynamodb:Attributes": ["ID", "Message", "Tags"]}, True),
    (SEVERAL, ATTRIBUTES, {"dynamodb:Attributes": ["ID", "UserName"]}, False),
    (SEVERAL, ATTRIBUTES, {}, True),
    (SEVERAL, FORBIDDEN, {"dynamodb:Attributes": ["PostDateTime", "Message"]}, True),
    (SEVERAL, FORBIDDEN, {"dynamodb:Attributes": ["UserName"]}, False),
    (SEVERAL, FORBIDDEN, {}, False),
    (SEVERAL, {**ATTRIBUTES, "Null": {"dynamodb:Attributes": "false"}}, {}, False),
    (SEVERAL_EXAMPLES, KEY1, {"aws:TagKeys": ["key1:legal"]}, False),
    (SEVERAL_EXAMPLES, KEY1, {"aws:TagKeys": ["key1:hr", "key1:personnel"]}, False),
    (SEVERAL_EXAMPLES, KEY1, {"aws:TagKeys": ["key2:audit"]}, True),
    (SEVERAL_EXAMPLES, KEY1, {}, True),
    (SEVERAL_EXAMPLES, {**KEY1, "Null": {"aws:TagKeys": "false"}}, {}, False),
    (SEVERAL_EXAMPLES, ANY_KEY1, {"aws:TagKeys": ["key1:legal", "key2:audit"]}, True),
    (SEVERAL_EXAMPLES, ANY_KEY1, {"aws:TagKeys": ["key2:audit"]}, False),
    (SEVERAL_EXAMPLES, ANY_KEY1, {}, False),
    (VARIABLES, SAME_TEAM, {"s3:ExistingObjectTag/Team": "red", "aws:PrincipalTag/Team": "red"}, True),
    (VARIABLES, SAME_TEAM, {"s3:ExistingObjectTag/Team": "red"}, False),
    (VARIABLES, NOT_SAME_TEAM, {"s3:ExistingObjectTag/Team": "red"}, True),
    (VARIABLES, NOT_SAME_TEAM, {"s3:ExistingObjectTag/Team": "red", "aws:PrincipalTag/Team": "red"}, False),
    (VARIABLES, {"StringLike": {"s3:prefix": "a${*}"}}, {"s3:prefix": "a*"}, True),
    (VARIABLES, {"StringLike": {"s3:prefix": "a${*}"}}, {"s3:prefix": "ab"}, False),
    (VARIABLES, {"StringEquals": {"s3:prefix": "${$}{x}"}}, {"s3:prefix": "${x}"}, True),
    (KEYS, {"IpAddressIfExists": {"aws:SourceIp": "203.0.113.0/24"}, "StringEqualsIfExists": {"aws:SourceVpc": "vpc-1"}}, {"aws:SourceIp": "203.0.113.9"}, True),
    (KEYS, {"StringEquals": {"aws:ResourceTag/TagKey1": "Value1"}}, {"aws:ResourceTag/tagkey1": "Value1"}, True),
    (STS_KEYS, {"ForAnyValue:StringLike": {"cognito-identity.amazonaws.com:amr": "unauthenticated"}}, {"cognito-identity.amazonaws.com:amr": ["authenticated", "graph.facebook.com"]}, False),
]  # fmt: skip


@pytest.mark.parametrize(("page", "condition", "keys", "expected"), CONDITIONS)
def test_a_condition_of_the_documentation_holds_as_the_page_says(
    page: str, condition: dict[str, Any], keys: dict[str, Any], expected: bool
) -> None:
    lower = {key.lower(): value for key, value in keys.items()}
    results = under_all_readings(lambda readings: hold(condition, Context(lower, readings), variables=True))
    assert set(results) == {expected}, GUIDE + page


TEST_FOLDER = "arn:aws:s3:::amzn-s3-demo-bucket/*/test/*"
TEAM_BUCKET = "arn:aws:s3:::amzn-s3-demo-bucket-${aws:PrincipalTag/team, 'company-wide'}"
ARNS: list[tuple[str, str, str, dict[str, str], bool]] = [
    *(
        (RESOURCES, TEST_FOLDER, f"arn:aws:s3:::amzn-s3-demo-bucket{name}", {}, True)
        for name in (
            "/1/test/object.jpg",
            "/1/2/test/3/object.jpg",
            "/1///test///object.jpg",
            "/1/test/.jpg",
            "//test/object.jpg",
            "/1/test/",
        )
    ),
    *(
        (RESOURCES, TEST_FOLDER, f"arn:aws:s3:::amzn-s3-demo-bucket{name}", {}, False)
        for name in ("/1-test/object.jpg", "/test/object.jpg", "/1/2/test.jpg")
    ),
    (
        RESOURCES,
        "arn:aws:iam::111122223333:user/accounting/*",
        "arn:aws:iam::111122223333:user/accounting/a/b",
        {},
        True,
    ),
    (VARIABLES, TEAM_BUCKET, "arn:aws:s3:::amzn-s3-demo-bucket-yellow", {"aws:principaltag/team": "yellow"}, True),
    (VARIABLES, TEAM_BUCKET, "arn:aws:s3:::amzn-s3-demo-bucket-company-wide", {}, True),
    (VARIABLES, TEAM_BUCKET, "arn:aws:s3:::amzn-s3-demo-bucket-yellow", {}, False),
    (VARIABLES, "arn:aws:s3:::bucket/${aws:PrincipalTag/team}", "arn:aws:s3:::bucket/", {}, False),
]


@pytest.mark.parametrize(("page", "pattern", "arn", "keys", "expected"), ARNS)
def test_a_resource_pattern_matches_as_the_page_says(
    page: str, pattern: str, arn: str, keys: dict[str, str], expected: bool
) -> None:
    context = Context(dict(keys), Readings({}))
    assert matches_text(arn, pattern, context, variables=True) is expected, GUIDE + page


def test_variables_are_plain_text_before_version_2012_10_17() -> None:
    context = Context({"aws:username": "ann"}, Readings({}))
    assert not matches_text("ann", "${aws:username}", context, variables=False), GUIDE + VARIABLES
    assert matches_text("${aws:username}", "${aws:username}", context, variables=False)


@pytest.mark.parametrize(
    ("pattern", "action", "expected"),
    [
        ("iam:*AccessKey*", "iam:UpdateAccessKey", True),
        ("IAM:listaccesskeys", "iam:ListAccessKeys", True),
        ("s3:*", "s3:GetObject", True),
        ("iam:*Report", "iam:GetOrganizationsAccessReport", True),
        ("iam:Get*", "iam:CreatePolicy", False),
    ],
)
def test_an_action_matches_whatever_its_case(pattern: str, action: str, expected: bool) -> None:
    assert like(action.lower(), pattern.lower()) is expected, GUIDE + ACTIONS


# Decisions

HOME, ABROAD = "111122223333", "444455556666"
BUCKET, ABROAD_BUCKET = "arn:aws:s3:::state", "arn:aws:s3:::abroad"
KEY = f"arn:aws:kms:eu-central-1:{HOME}:key/1"
ISSUER = "gitlab.example.com"
PROVIDER = f"arn:aws:iam::{HOME}:oidc-provider/{ISSUER}"
CALLER, TARGET, FAR = (
    f"arn:aws:iam::{HOME}:role/job",
    f"arn:aws:iam::{HOME}:role/cicd/deploy",
    f"arn:aws:iam::{ABROAD}:role/deploy",
)
CALLER_SESSION = f"arn:aws:sts::{HOME}:assumed-role/job/small"
ROOT, ABROAD_ROOT = f"arn:aws:iam::{HOME}:root", f"arn:aws:iam::{ABROAD}:root"
ANYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}
NOTHING_HERE = {"Effect": "Allow", "Action": "cloudwatch:*", "Resource": "*"}


def document(*statements: dict[str, Any]) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(principal: Any, action: Any = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Principal": principal, "Action": action, **more}


def deny(principal: Any, action: Any = "*", **more: Any) -> dict[str, Any]:
    return {**allow(principal, action, **more), "Effect": "Deny"}


def world(  # noqa: PLR0913  # a policy for each place that can have one
    *,
    identity: list[dict[str, Any]] | None = None,
    boundary: list[dict[str, Any]] | None = None,
    session_policy: list[dict[str, Any]] | None = None,
    trust: list[dict[str, Any]] | None = None,
    bucket: list[dict[str, Any]] | None = None,
    key: list[dict[str, Any]] | None = None,
    caller_tags: dict[str, str] | None = None,
    target_tags: dict[str, str] | None = None,
    session: Session | None = None,
) -> tuple[World, Session]:
    """Return a world with a caller, a target role in its account and one abroad, buckets in both accounts, and a key."""
    chosen = session or Session(role=CALLER, name="small")
    if session_policy is not None:
        chosen = replace(chosen, policy=document(*session_policy))
    trusted = document(*(trust or []))
    caller = Role(
        account=HOME,
        path="/",
        name="job",
        role_id="AROA1",
        trust=document(),
        policies=(document(*identity),) if identity else (),
        boundary=None if boundary is None else document(*boundary),
        tags=caller_tags or {},
    )
    target = Role(account=HOME, path="/cicd/", name="deploy", role_id="AROA2", trust=trusted, tags=target_tags or {})
    far = Role(account=ABROAD, path="/", name="deploy", role_id="AROA3", trust=trusted, tags=target_tags or {})
    policy = document(*bucket) if bucket else None
    resources = (
        Resource(arn=BUCKET, account=HOME, service="s3", policy=policy),
        Resource(arn=ABROAD_BUCKET, account=ABROAD, service="s3", policy=policy),
        Resource(arn=KEY, account=HOME, service="kms", policy=document(*(key or []))),
    )
    complete = World(
        now="2026-11-30T09:00:00Z",
        source_ip="203.0.113.7",
        organizations={HOME: "o-aaaaaaaaaa", ABROAD: None},
        roles={role.arn: role for role in (caller, target, far)},
        sessions=(chosen,),
        resources={resource.arn: resource for resource in resources},
        providers=(Provider(account=HOME, issuer=ISSUER, audiences=("sts.amazonaws.com",)),),
    )
    return complete, chosen


PUT = {"Effect": "Allow", "Action": "s3:PutObject", "Resource": f"{BUCKET}/*"}
DENY_LOGS = {"Effect": "Deny", "Action": "s3:*", "Resource": "arn:aws:s3:::*at*"}
BY_ARN = {"StringEquals": {"aws:PrincipalArn": CALLER}}
ACTS: list[tuple[str, str, dict[str, Any], str]] = [
    (DECISION, BUCKET, {}, "DENIED"),
    (DECISION, BUCKET, {"identity": [PUT]}, "ALLOWED"),
    (EXAMPLE, BUCKET, {"bucket": [allow({"AWS": CALLER})]}, "ALLOWED"),
    (EXAMPLE, BUCKET, {"identity": [ANYTHING, DENY_LOGS], "bucket": [allow({"AWS": CALLER})]}, "DENIED"),
    (EXAMPLE, BUCKET, {"identity": [ANYTHING], "bucket": [deny({"AWS": CALLER})]}, "DENIED"),
    (BOUNDARIES, BUCKET, {"identity": [ANYTHING], "boundary": [NOTHING_HERE]}, "DENIED"),
    (BOUNDARIES, BUCKET, {"boundary": [ANYTHING]}, "DENIED"),
    (BOUNDARIES, BUCKET, {"identity": [PUT], "boundary": [ANYTHING]}, "ALLOWED"),
    (BOUNDARIES, BUCKET, {"boundary": [NOTHING_HERE], "bucket": [allow({"AWS": CALLER})]}, "DENIED"),
    (BOUNDARIES, BUCKET, {"boundary": [NOTHING_HERE], "bucket": [allow({"AWS": CALLER_SESSION})]}, "ALLOWED"),
    (SESSION_POLICIES, BUCKET, {"identity": [ANYTHING], "session_policy": [NOTHING_HERE]}, "DENIED"),
    (SESSION_POLICIES, BUCKET, {"session_policy": [ANYTHING]}, "DENIED"),
    (SESSION_POLICIES, BUCKET, {"session_policy": [ANYTHING], "bucket": [allow({"AWS": CALLER})]}, "ALLOWED"),
    (SESSION_POLICIES, BUCKET, {"session_policy": [NOTHING_HERE], "bucket": [allow({"AWS": CALLER})]}, "DENIED"),
    (SESSION_POLICIES, BUCKET, {"session_policy": [NOTHING_HERE], "bucket": [allow({"AWS": CALLER_SESSION})]}, "ALLOWED"),
    (SESSION_POLICIES, BUCKET, {"session_policy": [{"Effect": "Deny", "Action": "*", "Resource": "*"}], "bucket": [allow({"AWS": CALLER_SESSION})]}, "DENIED"),
    (PRINCIPAL, BUCKET, {"bucket": [allow({"AWS": ROOT})]}, "DENIED"),
    (PRINCIPAL, BUCKET, {"bucket": [allow("*")]}, "ALLOWED"),
    (PRINCIPAL, BUCKET, {"boundary": [NOTHING_HERE], "bucket": [allow("*", Condition=BY_ARN)]}, "ALLOWED"),
    (PRINCIPAL, BUCKET, {"boundary": [NOTHING_HERE], "bucket": [allow("*")]}, "OUTSIDE"),
    (PRINCIPAL, BUCKET, {"boundary": [NOTHING_HERE], "bucket": [allow("*", Condition={"ArnNotLike": {"aws:PrincipalArn": FAR}})]}, "OUTSIDE"),
    (PRINCIPAL, BUCKET, {"identity": [ANYTHING], "bucket": [deny({"AWS": HOME})]}, "DENIED"),
    (PRINCIPAL, BUCKET, {"identity": [ANYTHING], "bucket": [allow({"AWS": f"arn:aws:iam::{HOME}:role/*"})]}, "OUTSIDE"),
    (NOT_PRINCIPAL, BUCKET, {"identity": [PUT], "bucket": [{"Effect": "Deny", "NotPrincipal": {"AWS": [CALLER, ROOT, CALLER_SESSION]}, "Action": "*"}]}, "ALLOWED"),
    (NOT_PRINCIPAL, BUCKET, {"identity": [PUT], "bucket": [{"Effect": "Deny", "NotPrincipal": {"AWS": FAR}, "Action": "*"}]}, "DENIED"),
    (NOT_PRINCIPAL, BUCKET, {"identity": [PUT], "bucket": [{"Effect": "Deny", "NotPrincipal": {"AWS": CALLER}, "Action": "*"}]}, "OUTSIDE"),
    (NOT_PRINCIPAL, BUCKET, {"identity": [PUT], "boundary": [ANYTHING], "bucket": [{"Effect": "Deny", "NotPrincipal": {"AWS": [CALLER, ROOT, CALLER_SESSION]}, "Action": "*"}]}, "DENIED"),
    (NOT_PRINCIPAL, BUCKET, {"bucket": [{"Effect": "Allow", "NotPrincipal": {"AWS": FAR}, "Action": "*"}]}, "OUTSIDE"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"identity": [ANYTHING]}, "DENIED"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"bucket": [allow({"AWS": CALLER})]}, "DENIED"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"identity": [ANYTHING], "bucket": [allow({"AWS": CALLER})]}, "ALLOWED"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"identity": [ANYTHING], "bucket": [allow({"AWS": ROOT})]}, "ALLOWED"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"identity": [ANYTHING], "boundary": [NOTHING_HERE], "bucket": [allow({"AWS": CALLER_SESSION})]}, "DENIED"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"bucket": [allow("*")]}, "DENIED"),
    (TWO_ACCOUNTS, ABROAD_BUCKET, {"identity": [ANYTHING, DENY_LOGS], "bucket": [deny({"AWS": CALLER})]}, "DENIED"),
    (KEYS, BUCKET, {"identity": [{**ANYTHING, "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-aaaaaaaaaa"}}}]}, "ALLOWED"),
    (KEYS, BUCKET, {"identity": [{**ANYTHING, "Condition": {"StringLike": {"aws:SourceArn": "*"}}}]}, "DENIED"),
    (KEYS, BUCKET, {"identity": [{**ANYTHING, "Condition": {"ArnLike": {"aws:PrincipalArn": CALLER_SESSION}}}]}, "DENIED"),
    (VARIABLES, BUCKET, {"identity": [{**ANYTHING, "Condition": {"StringEquals": {"aws:userid": "AROA1:small"}}}]}, "ALLOWED"),
    (VARIABLES, BUCKET, {"identity": [{**ANYTHING, "Condition": {"StringEquals": {"aws:PrincipalType": "AssumedRole"}}}]}, "ALLOWED"),
    (VARIABLES, BUCKET, {"identity": [{"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:s3:::${aws:PrincipalTag/Team}"}]}, "ALLOWED"),
    ("reference_policies_elements_notaction.html", BUCKET, {"identity": [{"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}]}, "ALLOWED"),
    ("reference_policies_elements_notresource.html", BUCKET, {"identity": [ANYTHING, {"Effect": "Deny", "Action": "s3:*", "NotResource": ["arn:aws:s3:::HRBucket/Payroll/*"]}]}, "DENIED"),
    (KEY_POLICY, KEY, {"identity": [ANYTHING]}, "DENIED"),
    (KEY_POLICY, KEY, {"identity": [ANYTHING], "key": [allow({"AWS": ROOT}, "kms:*", Resource="*")]}, "ALLOWED"),
    (KEY_POLICY, KEY, {"key": [allow({"AWS": ROOT}, "kms:*", Resource="*")]}, "DENIED"),
    (KEY_POLICY, KEY, {"key": [allow({"AWS": CALLER}, "kms:Decrypt", Resource="*")]}, "ALLOWED"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "resource", "policies", "verdict"), ACTS)
def test_an_action_is_decided_as_the_page_says(
    page: str, resource: str, policies: dict[str, Any], verdict: str
) -> None:
    some_world, session = world(**policies)
    action, arn = ("kms:Decrypt", resource) if resource == KEY else ("s3:PutObject", f"{resource}/file")
    assert answer(some_world, Act(session=session, action=action, resource=arn)).verdict == verdict, page


def test_a_document_of_version_2008_10_17_has_no_variables() -> None:
    some_world, session = world(
        caller_tags={"Team": "blue"}, bucket=[allow({"AWS": CALLER}, Resource=f"{BUCKET}/${{aws:PrincipalTag/Team}}")]
    )
    question = Act(session=session, action="s3:PutObject", resource=f"{BUCKET}/blue")
    assert answer(some_world, question).verdict == "ALLOWED"
    bucket = some_world.resources[BUCKET]
    assert bucket.policy is not None
    older = replace(bucket, policy={**bucket.policy, "Version": "2008-10-17"})
    assert answer(replace(some_world, resources={BUCKET: older}), question).verdict == "DENIED", GUIDE + VARIABLES


MAY_ASSUME = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
ASSUME, TAG = "sts:AssumeRole", "sts:TagSession"
TAGGED = {"StringLike": {"aws:RequestTag/Project": "*"}, "StringEquals": {"sts:ExternalId": "Example987"}}
ALSO_TAG = allow({"AWS": CALLER}, TAG, Condition={"StringEquals": {"aws:RequestTag/Project": ["Automation", "Web"]}})
WITH_TAGS = [allow({"AWS": CALLER}, ASSUME, Condition=TAGGED), ALSO_TAG]
PASSES = {"tags": {"Project": "Automation"}, "external_id": "Example987"}
CHAIN = Session(role=CALLER, name="small", tags={"Star": "1"}, transitive=frozenset(["Star"]))
ASSUMPTIONS: list[tuple[str, str, dict[str, Any], dict[str, Any], str]] = [
    (DECISION, TARGET, {"identity": [MAY_ASSUME]}, {}, "DENIED"),
    (ASSUME_ROLE, TARGET, {"trust": [allow({"AWS": CALLER}, ASSUME)]}, {}, "ALLOWED"),
    (ASSUME_ROLE, TARGET, {"trust": [allow({"AWS": ROOT}, ASSUME)]}, {}, "DENIED"),
    (ASSUME_ROLE, TARGET, {"identity": [MAY_ASSUME], "trust": [allow({"AWS": HOME}, ASSUME)]}, {}, "ALLOWED"),
    (ASSUME_ROLE, FAR, {"trust": [allow({"AWS": CALLER}, ASSUME)]}, {}, "DENIED"),
    (ASSUME_ROLE, FAR, {"identity": [MAY_ASSUME], "trust": [allow({"AWS": CALLER}, ASSUME)]}, {}, "ALLOWED"),
    (ASSUME_ROLE, FAR, {"identity": [MAY_ASSUME], "trust": [allow({"AWS": ABROAD_ROOT}, ASSUME)]}, {}, "DENIED"),
    (BOUNDARIES, TARGET, {"boundary": [NOTHING_HERE], "trust": [allow({"AWS": CALLER_SESSION}, ASSUME)]}, {}, "ALLOWED"),
    (BOUNDARIES, TARGET, {"boundary": [NOTHING_HERE], "trust": [allow({"AWS": CALLER}, ASSUME)]}, {}, "DENIED"),
    (NOT_PRINCIPAL, TARGET, {"trust": [{"Effect": "Deny", "NotPrincipal": {"AWS": CALLER}, "Action": ASSUME}]}, {}, "OUTSIDE"),
    (SESSION_TAGS, TARGET, {"trust": WITH_TAGS}, PASSES, "ALLOWED"),
    (SESSION_TAGS, TARGET, {"trust": WITH_TAGS}, {**PASSES, "external_id": None}, "DENIED"),
    (SESSION_TAGS, TARGET, {"trust": WITH_TAGS[:1]}, PASSES, "DENIED"),
    (SESSION_TAGS, TARGET, {"trust": WITH_TAGS}, {**PASSES, "tags": {"Project": "Other"}}, "DENIED"),
    (SESSION_TAGS, TARGET, {"trust": [allow({"AWS": CALLER}, "sts:*")], "session": CHAIN}, {"tags": {"Star": "2"}}, "DENIED"),
    (SESSION_TAGS, TARGET, {"trust": [allow({"AWS": CALLER}, "sts:*", Condition={"StringEquals": {"aws:ResourceTag/Star": "1"}})], "session": CHAIN, "target_tags": {"Star": "3"}}, {}, "ALLOWED"),
    (SESSION_TAGS, TARGET, {"trust": [allow({"AWS": CALLER}, "sts:*", Condition={"StringEquals": {"aws:PrincipalTag/star": "1"}})], "session": CHAIN, "caller_tags": {"STAR": "9"}}, {}, "ALLOWED"),
    (SESSION_TAGS, TARGET, {"trust": [allow({"AWS": CALLER}, ASSUME)], "session": CHAIN}, {}, "OUTSIDE"),
    (STS_KEYS, TARGET, {"trust": [allow({"AWS": CALLER}, ASSUME, Condition={"StringLike": {"sts:RoleSessionName": "ann"}})]}, {"session_name": "ann"}, "ALLOWED"),
    (STS_KEYS, TARGET, {"trust": [allow({"AWS": CALLER}, ASSUME, Condition={"StringEquals": {"iam:ResourceTag/Level": "open"}})], "target_tags": {"Level": "open"}}, {}, "ALLOWED"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "role", "policies", "request_values", "verdict"), ASSUMPTIONS)
def test_assume_role_is_decided_as_the_page_says(
    page: str, role: str, policies: dict[str, Any], request_values: dict[str, Any], verdict: str
) -> None:
    some_world, session = world(**policies)
    assert answer(some_world, AssumeRole(session=session, role=role, **request_values)).verdict == verdict, page


BY_WEB = "sts:AssumeRoleWithWebIdentity"
CLAIMS = {
    "StringEquals": {f"{ISSUER}:aud": "sts.amazonaws.com", f"{ISSUER}:sub": "system:serviceaccount:default:assumer"}
}
TOKENS: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    (STS_KEYS, [allow({"Federated": PROVIDER}, BY_WEB, Condition=CLAIMS)], {}, "ALLOWED"),
    (STS_KEYS, [allow({"Federated": PROVIDER}, BY_WEB, Condition=CLAIMS)], {"subject": "system:serviceaccount:x:y"}, "DENIED"),
    (STS_KEYS, [allow({"Federated": PROVIDER}, BY_WEB, Condition={"StringEquals": {f"{ISSUER}:ref": "main"}})], {"claims": {"ref": "main"}}, "DENIED"),
    (WEB_IDENTITY, [allow({"Federated": PROVIDER}, BY_WEB)], {"audience": "somebody else"}, "DENIED"),
    (WEB_IDENTITY, [allow({"Federated": PROVIDER}, BY_WEB)], {"issuer": "gitlab.example.org"}, "DENIED"),
    (WEB_IDENTITY, [allow({"Federated": PROVIDER}, ASSUME)], {}, "DENIED"),
    (SESSION_TAGS, [allow({"Federated": PROVIDER}, BY_WEB)], {"tags": {"Project": "Automation"}}, "DENIED"),
    (SESSION_TAGS, [allow({"Federated": PROVIDER}, [BY_WEB, TAG])], {"tags": {"Project": "Automation"}}, "ALLOWED"),
    (PRINCIPAL, [allow({"AWS": ROOT}, BY_WEB)], {}, "DENIED"),
]  # fmt: skip


@pytest.mark.parametrize(("page", "trust", "changes", "verdict"), TOKENS)
def test_a_web_identity_is_decided_as_the_page_says(
    page: str, trust: list[dict[str, Any]], changes: dict[str, Any], verdict: str
) -> None:
    question = AssumeRoleWithToken(
        role=TARGET,
        issuer=ISSUER,
        subject="system:serviceaccount:default:assumer",
        audience="sts.amazonaws.com",
    )
    assert answer(world(trust=trust)[0], replace(question, **changes)).verdict == verdict, page


PODS = {"Service": "pods.eks.amazonaws.com"}
IN_NAMESPACE = {"StringEquals": {"aws:RequestTag/kubernetes-namespace": "jobs"}}
POD_TRUSTS: list[tuple[list[dict[str, Any]], str]] = [
    ([allow(PODS, [ASSUME, TAG])], "ALLOWED"),
    ([allow(PODS, ASSUME)], "DENIED"),
    ([allow(PODS, [ASSUME, TAG], Condition=IN_NAMESPACE)], "ALLOWED"),
    ([allow(PODS, [ASSUME, TAG]), deny(PODS, TAG, Condition=IN_NAMESPACE)], "DENIED"),
    ([allow({"Service": "ec2.amazonaws.com"}, [ASSUME, TAG])], "DENIED"),
    ([allow(PODS, [ASSUME, TAG]), deny("*")], "DENIED"),
    ([allow(PODS, [ASSUME, TAG]), deny({"AWS": "*"})], "OUTSIDE"),
]


@pytest.mark.parametrize(("trust", "verdict"), POD_TRUSTS)
def test_a_pod_identity_is_decided_as_the_page_says(trust: list[dict[str, Any]], verdict: str) -> None:
    question = AssumeRoleForPod(
        role=TARGET, cluster=f"arn:aws:eks:eu-central-1:{HOME}:cluster/runners", namespace="jobs", service_account="job"
    )
    assert answer(world(trust=trust)[0], question).verdict == verdict, POD_ROLE
