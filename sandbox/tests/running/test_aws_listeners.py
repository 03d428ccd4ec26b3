"""The listener of jobs: no root, no control route, no registry without login; and what the sandbox does not have."""

from __future__ import annotations

import base64
import time
from typing import Any

import pytest
import requests

from tests.support.aws_cases import CICD, DEV, Caller, Cloud, policy, refusal, trusting, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)


def ask(method: str, url: str, **fields: Any) -> requests.Response:
    """Send a plain request."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=10, **fields)


@pytest.mark.parametrize("key", [CICD, DEV, "000000000000", "test"])
@pytest.mark.parametrize(
    ("service", "call"),
    [
        ("sts", "get_caller_identity"),
        ("iam", "list_roles"),
        ("s3", "list_buckets"),
        ("ec2", "describe_vpcs"),
        ("eks", "list_clusters"),
        ("ecr", "describe_repositories"),
        ("logs", "describe_log_groups"),
    ],
)
def test_a_root_key_is_no_key_for_jobs(aws: Cloud, key: str, service: str, call: str) -> None:
    root = Caller(endpoint=aws.jobs, key=key)
    assert refusal(getattr(root.client(service), call))[0] == 403


def test_a_root_key_in_a_presigned_address_is_none_either(aws: Cloud) -> None:
    bucket = unique()
    s3 = Caller(endpoint=aws.deployer, key=CICD, secret="test").client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    for_deployer = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert ask("GET", for_deployer).content == b"secret"
    for_jobs = Caller(endpoint=aws.jobs, key=CICD, secret="test").client("s3")
    address = for_jobs.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    assert ask("GET", address).status_code == 403
    old = f"{aws.jobs}/{bucket}/k?AWSAccessKeyId={CICD}&Expires=9999999999&Signature=abc"
    assert ask("GET", old).status_code == 403
    lower = address.replace("X-Amz-Credential", "x-amz-credential")
    assert ask("GET", lower).status_code == 403
    assert ask("GET", f"{aws.jobs}/{bucket}/k").status_code == 403, "without credentials"


def test_a_root_key_in_a_form_does_not_upload(aws: Cloud) -> None:
    bucket = unique()
    aws.root(CICD).client("s3").create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    fields = {"key": "k", "AWSAccessKeyId": CICD, "policy": base64.b64encode(b"{}").decode(), "signature": "x"}
    newer = {
        "key": "k",
        "x-amz-credential": f"{CICD}/20260101/eu-central-1/s3/aws4_request",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-signature": "0" * 64,
        "x-amz-date": "20260101T000000Z",
        "policy": base64.b64encode(b"{}").decode(),
    }
    for form in (fields, newer):
        answer = ask("POST", f"{aws.jobs}/{bucket}", data=form, files={"file": b"content"})
        assert answer.status_code in {400, 403}, answer.text
    assert aws.root(CICD).client("s3").list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer abc",
        "Basic dGVzdDp0ZXN0",
        "AWS4-HMAC-SHA256 Credential=",
        "AWS test:signature",
        "AWS 222222222222:x",
        "",
    ],
)
def test_other_ways_to_sign_lead_nowhere(aws: Cloud, authorization: str) -> None:
    form = {"Action": "ListRoles", "Version": "2010-05-08"}
    answer = ask("POST", f"{aws.jobs}/", data=form, headers={"authorization": authorization})
    assert answer.status_code in {400, 403}, answer.text
    assert "<Roles>" not in answer.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("PUT", "/a-bucket"),
        ("GET", "/clusters"),
        ("POST", "/clusters"),
        ("GET", "/health"),
        ("PUT", "/latest/api/token"),
        ("GET", "/latest/meta-data/iam/security-credentials/"),
        ("POST", "/Execute"),
        ("GET", "/2015-03-31/functions"),
        ("GET", "/oidc/id/ABC/keys"),
    ],
)
def test_nothing_is_done_for_a_job_that_does_not_sign(aws: Cloud, method: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer x"}):
        answer = ask(method, aws.jobs + path, data=b"{}", headers=headers)
        assert answer.status_code == 403, answer.text
        assert "ccess" in answer.text


def test_nobody_gets_credentials_of_an_instance(aws: Cloud) -> None:
    job = session(aws, CICD, {"Action": "*", "Resource": "*"})
    answers = [ask("PUT", f"{aws.deployer}/latest/api/token"), ask("GET", f"{aws.deployer}/latest/meta-data/")]
    presigned = job.client("s3").generate_presigned_url("get_object", Params={"Bucket": "latest", "Key": "meta-data/"})
    answers.append(ask("GET", presigned))
    assert [one.status_code >= 400 for one in answers] == [True] * 3


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("GET", "/_ministack/health"),
        ("GET", "/_ministack/config"),
        ("POST", "/_ministack/eks-auth/222222222222/eu-central-1/c/aaaaaaaaaaaaaaaaaaaa"),
        ("GET", "/_sandbox/health"),
        ("GET", "/_sandbox/clusters"),
        ("PUT", "/_sandbox/issuers"),
        ("GET", "//_sandbox/clusters"),
        ("GET", "/%5Fsandbox/clusters"),
        ("GET", "/_localstack/health"),
    ],
)
def test_control_routes_are_not_for_jobs(aws: Cloud, method: str, path: str) -> None:
    answer = ask(method, aws.jobs + path)
    assert answer.status_code == 403
    assert "auth_token" not in answer.text


def test_a_wrong_control_request_says_what_is_wrong_with_it(aws: Cloud) -> None:
    assert ask("GET", f"{aws.deployer}/_sandbox/nothing").status_code == 404
    assert ask("PUT", f"{aws.deployer}/_sandbox/issuers", data="{").status_code == 400
    missing = ask("PUT", f"{aws.deployer}/_sandbox/issuers", json={"issuer": "https://x"})
    assert (missing.status_code, "jwks" in missing.text) == (400, True)
    wrong: Any
    for wrong in ([], {"accounts": []}, {"accounts": {}, "partition": "aws"}):
        assert ask("PUT", f"{aws.deployer}/_sandbox/organization", json=wrong).status_code == 400
    other = ask("PUT", f"{aws.deployer}/_sandbox/organization", json={"partition": "aws-cn"})
    assert (other.status_code, "aws-cn" in other.text) == (400, True)


def session(aws: Cloud, account: str, *statements: dict[str, Any]) -> Caller:
    """Return a session of a role with these permissions, at the jobs' listener."""
    iam, name = aws.root(account).client("iam"), unique("push")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(account))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(*statements))
    made = aws.root(account).assume(arn)
    return Caller(endpoint=aws.jobs, key=made.key, secret=made.secret, token=made.token)


LOGIN = {"Action": "ecr:GetAuthorizationToken", "Resource": "*"}


def login(caller: Caller) -> dict[str, str]:
    """Return the header of a registry client that has logged in."""
    data = caller.client("ecr").get_authorization_token()["authorizationData"][0]
    return {
        "authorization": f"Basic {data['authorizationToken']}",
        "host": f"{CICD}.dkr.ecr.eu-central-1.amazonaws.com",
    }


def test_the_registry_wants_a_login_and_the_permission(aws: Cloud) -> None:
    name = unique("open/app")
    root = aws.root(CICD).client("ecr")
    root.create_repository(repositoryName=name)
    upload, manifest = f"{aws.jobs}/v2/{name}/blobs/uploads/", f"{aws.jobs}/v2/{name}/manifests/latest"
    host = {"host": f"{CICD}.dkr.ecr.eu-central-1.amazonaws.com"}
    for listener in (aws.jobs, aws.deployer):
        for headers in (host, host | {"authorization": "Basic QVdTOnBhc3N3b3Jk"}, host | {"authorization": "Bearer x"}):
            answer = ask("GET", f"{listener}/v2/", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic")
            assert ask("POST", f"{listener}/v2/{name}/blobs/uploads/", headers=headers).status_code == 401
    repository = f"arn:aws:ecr:eu-central-1:{CICD}:repository/{name}"
    pusher = login(session(aws, CICD, LOGIN, {"Action": "ecr:*", "Resource": repository}))
    reader = login(session(aws, CICD, LOGIN, {"Action": "ecr:BatchGetImage", "Resource": repository}))
    assert ask("GET", f"{aws.jobs}/v2/", headers=reader).status_code == 200
    assert ask("POST", upload, headers=pusher).status_code == 202
    assert ask("POST", upload, headers=reader).status_code == 403
    document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    assert ask("PUT", manifest, headers=reader, json=document).status_code == 403
    assert ask("PUT", manifest, headers=pusher, json=document).status_code == 201
    assert ask("GET", manifest, headers=reader).status_code == 200
    assert ask("DELETE", manifest, headers=reader).status_code == 403


def test_another_account_pulls_only_what_the_repository_lets_it(aws: Cloud) -> None:
    name = unique("open/shared")
    root = aws.root(CICD).client("ecr")
    root.create_repository(repositoryName=name)
    manifest = f"{aws.jobs}/v2/{name}/manifests/latest"
    document = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json"}
    ask("PUT", manifest, headers=login(session(aws, CICD, LOGIN, {"Action": "ecr:*", "Resource": "*"})), json=document)
    other = login(session(aws, DEV, LOGIN, {"Action": "ecr:*", "Resource": "*"}))
    assert ask("GET", manifest, headers=other).status_code == 403
    condition = {"StringEquals": {"aws:PrincipalOrgID": "o-example1234"}}
    root.set_repository_policy(
        repositoryName=name,
        policyText=policy({"Principal": "*", "Action": "ecr:BatchGetImage", "Condition": condition}),
    )
    assert ask("GET", manifest, headers=other).status_code == 200
    assert ask("PUT", manifest, headers=other, json=document).status_code == 403


@pytest.mark.parametrize("service", ["service-quotas", "guardduty", "redshift", "pricing", "ram"])
def test_a_service_that_is_not_there_is_named_at_once(aws: Cloud, service: str) -> None:
    calls = {
        "service-quotas": "list_services",
        "guardduty": "list_detectors",
        "redshift": "describe_clusters",
        "pricing": "describe_services",
        "ram": "get_resource_share_invitations",
    }
    client = aws.root(CICD).client(service)
    before = time.monotonic()
    status, code = refusal(getattr(client, calls[service]))
    assert status == 400
    assert code in {"UnknownOperationException", "InvalidAction"}
    assert time.monotonic() - before < 1
