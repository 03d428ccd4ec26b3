"""AssumeRoleWithWebIdentity: a token opens a role only when everything about it is right.

Expected codes: AssumeRoleWithWebIdentity in the STS API reference.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.aws_cases import (
    CICD,
    DEV,
    Caller,
    Cloud,
    anonymous,
    jwks,
    policy,
    refusal,
    token,
    unique,
    unsigned,
    with_credentials,
)

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

HOST = "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789AB"
ISSUER = f"https://{HOST}"
SUBJECT = "system:serviceaccount:jobs-small:job"
NAME = "runner-web-identity"
ROLE = f"arn:aws:iam::{CICD}:role/cicd/{NAME}"
INVALID = (400, "InvalidIdentityToken")
DENIED = (403, "AccessDenied")


def trust(**equals: Any) -> str:
    """Return a trust document for the issuer's tokens."""
    provider = f"arn:aws:iam::{CICD}:oidc-provider/{HOST}"
    condition = {"StringEquals": {f"{HOST}:{name}": value for name, value in equals.items()}}
    return policy(
        {"Principal": {"Federated": provider}, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": condition}
    )


@pytest.fixture(scope="module", autouse=True)
def identity(aws: Cloud) -> None:
    """Make the provider, the role, and tell the server the issuer's keys."""
    aws.admin.issuer(ISSUER, jwks("issuer", "1"))
    iam = aws.root(CICD).client("iam")
    iam.create_open_id_connect_provider(Url=ISSUER, ClientIDList=["sts.amazonaws.com", "second.example"])
    iam.create_role(RoleName=NAME, Path="/cicd/", AssumeRolePolicyDocument=trust(sub=SUBJECT, aud="sts.amazonaws.com"))


def call(aws: Cloud, web_token: str, role: str = ROLE, **fields: Any) -> dict[str, Any]:
    """Ask for the role with a token."""
    fields = {"RoleSessionName": "job-1"} | fields
    answer: dict[str, Any] = anonymous(aws.jobs, "sts").assume_role_with_web_identity(
        RoleArn=role, WebIdentityToken=web_token, **fields
    )
    return answer


def refused(aws: Cloud, web_token: str, role: str = ROLE, **fields: Any) -> tuple[int, str]:
    """Return how the call is refused."""
    return refusal(call, aws, web_token, role, **fields)


def test_a_service_account_token_whose_audience_is_a_list_opens_the_role(aws: Cloud) -> None:
    answer = call(aws, token(ISSUER, SUBJECT))
    assert answer["SubjectFromWebIdentityToken"] == SUBJECT
    assert answer["Audience"] == "sts.amazonaws.com"
    assert answer["Provider"] == f"arn:aws:iam::{CICD}:oidc-provider/{HOST}"
    assert with_credentials(aws.jobs, answer).arn == f"arn:aws:sts::{CICD}:assumed-role/{NAME}/job-1"


def test_a_token_whose_audience_is_one_string_opens_the_role_too(aws: Cloud) -> None:
    assert call(aws, token(ISSUER, SUBJECT, aud="sts.amazonaws.com"))["Audience"] == "sts.amazonaws.com"


def test_a_token_without_key_id_is_checked_against_every_key_of_the_issuer(aws: Cloud) -> None:
    call(aws, token(ISSUER, SUBJECT, kid=None))
    assert refused(aws, token(ISSUER, SUBJECT, kid=None, key="other")) == INVALID


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:jobs-small:manager",
        "system:serviceaccount:jobs-medium:job",
        "system:serviceaccount:jobs-small:job ",
        "",
    ],
)
def test_another_service_account_is_not_admitted(aws: Cloud, subject: str) -> None:
    assert refused(aws, token(ISSUER, subject)) in {DENIED, INVALID}


@pytest.mark.parametrize(
    ("why", "claims"),
    [
        ("another audience", {"aud": ["https://kubernetes.default.svc"]}),
        ("no audience", {"aud": None}),
        ("an empty audience", {"aud": []}),
        ("another issuer", {"iss": "https://oidc.eks.eu-central-1.amazonaws.com/id/FFFF"}),
        ("the issuer over http", {"iss": f"http://{HOST}"}),
        ("the issuer with a slash", {"iss": f"{ISSUER}/"}),
        ("no issuer", {"iss": None}),
        ("an issuer that is a number", {"iss": 5}),
        ("not valid yet", {"nbf": int(time.time()) + 86400}),
        ("issued in the future", {"iat": int(time.time()) + 86400}),
        ("no expiry", {"exp": None}),
        ("an expiry that is text", {"exp": "never"}),
        ("no time of issue", {"iat": None}),
        ("no subject", {"sub": None}),
    ],
)
def test_a_token_with_a_wrong_claim_is_invalid(aws: Cloud, why: str, claims: dict[str, Any]) -> None:
    assert refused(aws, token(ISSUER, SUBJECT, **claims)) == INVALID, why


def test_an_expired_token_says_so(aws: Cloud) -> None:
    now = int(time.time())
    expired = token(ISSUER, SUBJECT, iat=now - 7200, nbf=now - 7200, exp=now - 3600)
    assert refused(aws, expired) == (400, "ExpiredTokenException")


def test_a_token_signed_by_another_key_is_invalid(aws: Cloud) -> None:
    assert refused(aws, token(ISSUER, SUBJECT, key="other")) == INVALID
    assert refused(aws, token(ISSUER, SUBJECT, key="other", kid="2")) == INVALID


def test_an_unsigned_token_is_invalid(aws: Cloud) -> None:
    good = token(ISSUER, SUBJECT)
    assert refused(aws, good.rpartition(".")[0] + ".") == INVALID
    assert refused(aws, good[:-20]) == INVALID
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": SUBJECT, "aud": ["sts.amazonaws.com"], "iat": now, "exp": now + 600}
    assert refused(aws, unsigned({"alg": "none"}, claims) + ".") == INVALID
    assert refused(aws, unsigned({"alg": "HS256", "kid": "1"}, claims) + ".AAAA") == INVALID


@pytest.mark.parametrize("junk", ["junk", "a.b.c", "....", "eyJhbGciOiJSUzI1NiJ9.W10.AAAA"])
def test_what_is_no_token_is_invalid(aws: Cloud, junk: str) -> None:
    assert refused(aws, junk) == INVALID


def test_a_provider_id_does_not_stand_for_a_missing_issuer(aws: Cloud) -> None:
    assert refused(aws, token(ISSUER, SUBJECT, iss=None), ProviderId=HOST) == INVALID


def test_an_account_without_the_provider_knows_no_token(aws: Cloud) -> None:
    name = unique()
    aws.root(DEV).client("iam").create_role(
        RoleName=name,
        AssumeRolePolicyDocument=policy(
            {
                "Principal": {"Federated": f"arn:aws:iam::{DEV}:oidc-provider/{HOST}"},
                "Action": "sts:AssumeRoleWithWebIdentity",
            }
        ),
    )
    assert refused(aws, token(ISSUER, SUBJECT), f"arn:aws:iam::{DEV}:role/{name}") == INVALID


def test_a_deleted_provider_admits_nobody(aws: Cloud) -> None:
    host, name = f"example.com/{unique()}", unique()
    aws.admin.issuer(f"https://{host}", jwks("issuer", "1"))
    iam = aws.root(CICD).client("iam")
    provider = iam.create_open_id_connect_provider(Url=f"https://{host}", ClientIDList=["sts.amazonaws.com"])
    arn = provider["OpenIDConnectProviderArn"]
    iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=policy({"Principal": {"Federated": arn}, "Action": "sts:AssumeRoleWithWebIdentity"}),
    )
    role = f"arn:aws:iam::{CICD}:role/{name}"
    call(aws, token(f"https://{host}", SUBJECT), role)
    iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)
    assert refused(aws, token(f"https://{host}", SUBJECT), role) == INVALID


def test_an_audience_outside_of_the_providers_client_list_is_invalid_whatever_the_trust_says(aws: Cloud) -> None:
    name = unique()
    aws.root(CICD).client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust(sub=SUBJECT))
    role = f"arn:aws:iam::{CICD}:role/{name}"
    call(aws, token(ISSUER, SUBJECT, aud="second.example"), role)
    assert refused(aws, token(ISSUER, SUBJECT, aud="third.example"), role) == INVALID


def test_any_member_of_an_audience_list_may_match_the_trust(aws: Cloud) -> None:
    call(aws, token(ISSUER, SUBJECT, aud=["third.example", "sts.amazonaws.com"]))
    assert refused(aws, token(ISSUER, SUBJECT, aud=["second.example"])) == DENIED


@pytest.mark.parametrize("path", ["", "other/", "cicd/more/", "CICD/"])
def test_a_role_is_only_found_under_its_own_path(aws: Cloud, path: str) -> None:
    assert refused(aws, token(ISSUER, SUBJECT), f"arn:aws:iam::{CICD}:role/{path}{NAME}") == DENIED


@pytest.mark.parametrize(
    "fields",
    [
        {"RoleSessionName": "a b/c"},
        {"RoleSessionName": "ä-session"},
        {"DurationSeconds": 43200},
        {"DurationSeconds": 3601},
    ],
)
def test_session_name_and_duration_have_limits(aws: Cloud, fields: dict[str, Any]) -> None:
    assert refused(aws, token(ISSUER, SUBJECT), **fields) == (400, "ValidationError")


def test_a_role_that_allows_more_lasts_longer_with_a_token_for_it_is_not_chaining(aws: Cloud) -> None:
    name = unique()
    aws.root(CICD).client("iam").create_role(
        RoleName=name, AssumeRolePolicyDocument=trust(sub=SUBJECT), MaxSessionDuration=7200
    )
    call(aws, token(ISSUER, SUBJECT), f"arn:aws:iam::{CICD}:role/{name}", DurationSeconds=7200)


def test_a_session_policy_limits_the_session(aws: Cloud) -> None:
    name = unique()
    iam = aws.root(CICD).client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust(sub=SUBJECT))
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy({"Action": "*", "Resource": "*"}))
    role = f"arn:aws:iam::{CICD}:role/{name}"
    limited = call(aws, token(ISSUER, SUBJECT), role, Policy=policy({"Action": "s3:*", "Resource": "*"}))
    session: Caller = with_credentials(aws.jobs, limited)
    session.client("s3").list_buckets()
    assert refusal(session.client("iam").list_roles)[0] == 403


def test_organisation_keys_are_absent_since_the_call_is_not_signed(aws: Cloud) -> None:
    name = unique()
    document = policy(
        {
            "Principal": {"Federated": f"arn:aws:iam::{CICD}:oidc-provider/{HOST}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": "o-example1234"}},
        }
    )
    aws.root(CICD).client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)
    assert refused(aws, token(ISSUER, SUBJECT), f"arn:aws:iam::{CICD}:role/{name}") == DENIED


def test_gitlab_subjects_match_by_pattern(aws: Cloud) -> None:
    aws.admin.issuer("https://gitlab.com", jwks("gitlab", "g"))
    iam, name = aws.root(CICD).client("iam"), unique()
    iam.create_open_id_connect_provider(Url="https://gitlab.com", ClientIDList=["https://gitlab.com"])
    iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=policy(
            {
                "Principal": {"Federated": f"arn:aws:iam::{CICD}:oidc-provider/gitlab.com"},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {"StringLike": {"gitlab.com:sub": "project_path:acme/*:ref_type:branch:ref:main"}},
            }
        ),
    )
    role = f"arn:aws:iam::{CICD}:role/{name}"

    def by(subject: str) -> str:
        return token("https://gitlab.com", subject, key="gitlab", kid="g", aud="https://gitlab.com")

    call(aws, by("project_path:acme/shop:ref_type:branch:ref:main"), role)
    assert refused(aws, by("project_path:other/shop:ref_type:branch:ref:main"), role) == DENIED
    assert refused(aws, by("project_path:acme/shop:ref_type:branch:ref:feature"), role) == DENIED
