"""`aws eks get-token`, unchanged, against the cluster's authentication webhook."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from sandbox.tests.support.aws_network import cluster_request
from tests.support.aws_cases import CICD, REGION, Caller, Cloud, policy, trusting, unique

if TYPE_CHECKING:
    from runner_platform_sandbox.aws.client import EksCluster

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)


@pytest.fixture(scope="module")
def cluster(aws: Cloud) -> EksCluster:
    """A cluster that answers."""
    request = cluster_request(aws, CICD)
    aws.root(CICD).client("eks").create_cluster(**request)
    made = next(one for one in aws.admin.clusters() if one.name == request["name"])
    aws.admin.report(made, {"status": "ACTIVE"})
    return made


def entry(aws: Cloud, cluster: EksCluster, **fields: Any) -> str:
    """Make a role with an access entry and return the role's ARN."""
    iam = aws.root(CICD).client("iam")
    arn = str(
        iam.create_role(RoleName=unique("who"), Path="/cicd-platform/", AssumeRolePolicyDocument=trusting(CICD))[
            "Role"
        ]["Arn"]
    )
    aws.root(CICD).client("eks").create_access_entry(clusterName=cluster.name, principalArn=arn, **fields)
    return arn


def get_token(aws: Cloud, folder: Path, role: str, name: str, job: Caller | None = None) -> str:
    """Run the AWS CLI with a profile that becomes the role, and return the token; a job uses its own listener."""
    root = Caller(endpoint=aws.deployer, key=CICD)
    source = job or root
    endpoint = source.endpoint
    config, credentials = folder / "config", folder / "credentials"
    session = unique("session")
    config.write_text(
        f"[profile who]\nrole_arn = {role}\nsource_profile = root\nrole_session_name = {session}\nregion = {REGION}\n"
    )
    session_token = f"aws_session_token = {source.token}\n" if source.token else ""
    credentials.write_text(
        f"[root]\naws_access_key_id = {source.key}\naws_secret_access_key = {source.secret}\n{session_token}"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "*",
    }
    command = [str(Path(sys.executable).with_name("aws")), "eks", "get-token", "--cluster-name", name]
    done = subprocess.run(
        [*command, "--region", REGION, "--profile", "who"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return str(json.loads(done.stdout)["status"]["token"])


def review(aws: Cloud, cluster: EksCluster, token: str, secret: str | None = None) -> dict[str, Any]:
    """Ask the webhook as the API server does."""
    url = f"{aws.deployer}/_ministack/eks-auth/{CICD}/{REGION}/{cluster.name}/{secret or cluster.auth_token}"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.post(url, json=body, timeout=10)
    status: dict[str, Any] = answer.json()["status"]
    return status


def test_a_token_of_the_cli_shows_who_calls(aws: Cloud, cluster: EksCluster, tmp_path: Path) -> None:
    role = entry(aws, cluster, kubernetesGroups=["readers"])
    token = get_token(aws, tmp_path, role, cluster.name)
    found = review(aws, cluster, token)
    assert found["authenticated"] is True
    assert found["user"]["username"].startswith(f"arn:aws:sts::{CICD}:assumed-role/{role.rpartition('/')[2]}/session-")
    assert found["user"]["groups"] == ["system:authenticated", "readers"]
    assert review(aws, cluster, token, "x" * 40)["authenticated"] is False, "the webhook's own secret"
    aws.root(CICD).client("eks").delete_access_entry(clusterName=cluster.name, principalArn=role)
    assert review(aws, cluster, token)["authenticated"] is False, "no entry, no access"


def test_a_token_for_another_cluster_opens_nothing(aws: Cloud, cluster: EksCluster, tmp_path: Path) -> None:
    role = entry(aws, cluster)
    token = get_token(aws, tmp_path, role, "another")
    assert review(aws, cluster, token)["authenticated"] is False


def test_a_changed_token_opens_nothing(aws: Cloud, cluster: EksCluster, tmp_path: Path) -> None:
    role = entry(aws, cluster)
    token = get_token(aws, tmp_path, role, cluster.name)
    prefix, encoded = "k8s-aws-v1.", token.removeprefix("k8s-aws-v1.")
    url = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()

    def with_url(changed: str) -> str:
        return prefix + base64.urlsafe_b64encode(changed.encode()).decode().rstrip("=")

    assert review(aws, cluster, with_url(url))["authenticated"] is True
    for changed in (
        url.replace("127.0.0.1", "localhost"),
        url.replace(aws.deployer, "http://127.0.0.1:1"),
        url.replace("GetCallerIdentity", "GetSessionToken"),
        url.replace("X-Amz-Signature=", "X-Amz-Signature=0"),
        url.replace(aws.deployer + "/", aws.deployer + "/other"),
    ):
        assert changed != url
        assert review(aws, cluster, with_url(changed))["authenticated"] is False


def test_a_token_made_at_the_jobs_listener_is_as_good(aws: Cloud, cluster: EksCluster, tmp_path: Path) -> None:
    role, iam, name = entry(aws, cluster), aws.root(CICD).client("iam"), unique("job")
    own = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(CICD))["Role"]["Arn"]
    may = policy({"Action": "sts:AssumeRole", "Resource": role})
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=may)
    session = aws.root(CICD).assume(own)
    job = Caller(endpoint=aws.jobs, key=session.key, secret=session.secret, token=session.token)
    assert review(aws, cluster, get_token(aws, tmp_path, role, cluster.name, job))["authenticated"] is True


def test_the_role_of_the_nodes_is_not_a_user(aws: Cloud, cluster: EksCluster, tmp_path: Path) -> None:
    role = entry(aws, cluster, type="EC2")
    assert review(aws, cluster, get_token(aws, tmp_path, role, cluster.name))["authenticated"] is False
