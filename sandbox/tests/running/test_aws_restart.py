"""What was answered is still true after the server was killed."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.aws.client import AwsAdmin, AwsAdminError
from runner_platform_sandbox.aws.process import AwsServer, AwsServerError
from runner_platform_sandbox.machines import machine
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.aws_network import cluster_request
from tests.support.aws_cases import (
    CICD,
    DEV,
    MANAGEMENT,
    ORGANIZATION,
    Caller,
    Cloud,
    cloud,
    jwks,
    policy,
    refusal,
    token,
    trusting,
    unique,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sandbox


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Cloud]:
    """A server that the test may kill."""
    with cloud(tmp_path) as running:
        yield running


def kill(own: Cloud) -> None:
    """End the server without any warning."""
    pid = own.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    own.server.stop()


def versioned_bucket(own: Cloud) -> Any:
    """Make a bucket with two versions of an object, and return the client."""
    s3 = own.root(DEV).client("s3")
    s3.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    for body in (b"first", b"content"):
        s3.put_object(Bucket="bucket", Key="a/b", Body=body)
    return s3


@pytest.mark.parametrize("gently", [True, False])
def test_everything_is_there_after_a_restart(own: Cloud, *, gently: bool) -> None:
    root = own.root(CICD)
    request = cluster_request(own, CICD)
    root.client("eks").create_cluster(**request)
    cluster = own.admin.clusters()[0]
    said = {"status": "ACTIVE", "endpoint": "https://127.0.0.1:6443", "certificate_authority": "Y2E="}
    own.admin.report(cluster, said | {"jwks": jwks("issuer", "1")})
    iam = root.client("iam")
    provider = iam.create_open_id_connect_provider(Url=cluster.issuer, ClientIDList=["sts.amazonaws.com"])
    principal = {"Federated": provider["OpenIDConnectProviderArn"]}
    trust = policy({"Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity"})
    job = iam.create_role(RoleName="job", Path="/cicd/", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    who = iam.create_role(RoleName="who", AssumeRolePolicyDocument=trusting(CICD))["Role"]["Arn"]
    root.client("eks").create_access_entry(clusterName=cluster.name, principalArn=who)
    session = root.assume(who)
    s3 = versioned_bucket(own)
    kms = own.root(DEV).client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    secret = kms.encrypt(KeyId=key, Plaintext=b"plain")["CiphertextBlob"]
    before = own.admin.clusters()

    own.server.stop() if gently else kill(own)
    own.start()

    assert own.admin.clusters() == before
    found = root.client("eks").describe_cluster(name=cluster.name)["cluster"]
    assert (found["status"], found["endpoint"]) == ("ACTIVE", "https://127.0.0.1:6443")
    assert found["certificateAuthority"] == {"data": "Y2E="}
    assert found["computeConfig"] == {"enabled": True}
    fields = {"RoleArn": job, "RoleSessionName": "job", "WebIdentityToken": token(cluster.issuer, "system:s")}
    assert root.client("sts").assume_role_with_web_identity(**fields)["SubjectFromWebIdentityToken"] == "system:s"
    assert session.arn.endswith(":assumed-role/who/test"), "sessions go on too"
    assert s3.get_object(Bucket="bucket", Key="a/b")["Body"].read() == b"content"
    assert len(s3.list_object_versions(Bucket="bucket")["Versions"]) == 2
    assert kms.decrypt(CiphertextBlob=secret)["Plaintext"] == b"plain"
    organization = own.root(DEV).client("organizations").describe_organization()["Organization"]
    assert organization["Id"] == "o-example1234"


def test_nothing_that_was_answered_is_lost_when_the_server_is_killed_at_work(own: Cloud) -> None:
    done: list[str] = []

    def work(number: int) -> None:
        iam = own.root(DEV).client("iam")
        for step in range(200):
            name = f"role-{number}-{step}"
            try:
                iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(DEV))
            except Exception:  # noqa: BLE001 - the server is gone, whatever that looks like here
                return
            done.append(name)
            if len(done) == 40:
                kill(own)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert len(done) >= 40
    own.start()
    kept = {role["RoleName"] for role in own.root(DEV).client("iam").list_roles()["Roles"]}
    assert set(done) <= kept


def test_deletions_survive_too(own: Cloud) -> None:
    iam, s3 = own.root(DEV).client("iam"), own.root(DEV).client("s3")
    iam.create_role(RoleName="gone", AssumeRolePolicyDocument=trusting(DEV))
    s3.create_bucket(Bucket="gone", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="gone", Key="k", Body=b"x")
    iam.delete_role(RoleName="gone")
    s3.delete_object(Bucket="gone", Key="k")
    s3.delete_bucket(Bucket="gone")
    kill(own)
    own.start()
    assert refusal(iam.get_role, RoleName="gone") == (404, "NoSuchEntity")
    assert "gone" not in [one["Name"] for one in s3.list_buckets()["Buckets"]]


def test_the_organisation_may_be_declared_again(own: Cloud) -> None:
    role = f"arn:aws:iam::{DEV}:role/OrganizationAccountAccessRole"
    before = own.root(DEV).client("iam").get_role(RoleName="OrganizationAccountAccessRole")["Role"]["RoleId"]
    own.admin.organization(ORGANIZATION)
    assert own.root(MANAGEMENT).assume(role).arn
    after = own.root(DEV).client("iam").get_role(RoleName="OrganizationAccountAccessRole")["Role"]["RoleId"]
    assert before == after


def test_the_state_is_readable_by_its_owner_only(own: Cloud) -> None:
    own.root(DEV).client("iam").create_role(RoleName=unique(), AssumeRolePolicyDocument=trusting(DEV))
    files = [path for path in own.paths.aws.rglob("*") if path.is_file()]
    assert files
    assert not [path.name for path in files if path.stat().st_mode & 0o077]


def test_everything_listens_on_loopback_only(own: Cloud) -> None:
    listening = [line.split() for line in _sockets("tcp") + _sockets("tcp6")]
    ports = {f"{port:04X}" for port in own.ports}
    found = {
        parts[1].rpartition(":")[0] for parts in listening if parts[3] == "0A" and parts[1].rpartition(":")[2] in ports
    }
    assert found == {"0100007F"}


def _sockets(kind: str) -> list[str]:
    """Return the lines of the kernel's table of sockets."""
    return Path(f"/proc/net/{kind}").read_text(encoding="ascii").splitlines()[1:]


def test_a_taken_port_is_said_with_the_log(own: Cloud, tmp_path: Path) -> None:
    second = AwsServer()
    paths = Paths(cache=tmp_path / "cache", root=tmp_path / "second")
    python = Tools.find(Paths.from_environment()).ministack_python
    with pytest.raises(AwsServerError, match=r"aws\.log"):
        second.start(paths, python, *own.ports)
    assert not second.alive()
    assert own.server.alive()


def test_a_server_that_is_gone_is_named(own: Cloud) -> None:
    kill(own)
    assert not own.server.alive()
    with pytest.raises(AwsAdminError, match=str(own.ports[0])):
        AwsAdmin(own.deployer).clusters()


def test_groups_templates_and_the_sessions_of_machines_survive(own: Cloud) -> None:
    root, name = own.root(CICD), "fleet"
    iam, scaling = root.client("iam"), root.client("autoscaling")
    trust = policy({"Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"})
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    data = {"IamInstanceProfile": {"Name": name}, "InstanceMarketOptions": {"MarketType": "spot"}}
    root.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)
    template = {"LaunchTemplateName": name}
    scaling.create_auto_scaling_group(
        AutoScalingGroupName=name, MinSize=1, MaxSize=1, LaunchTemplate=template, AvailabilityZones=["eu-central-1a"]
    )
    with machine.start(own.admin, CICD, "eu-central-1", name) as (_, played):
        document = played.credentials()[1]
    before = scaling.describe_auto_scaling_groups()["AutoScalingGroups"]
    kill(own)
    own.start()
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"] == before
    versions = root.client("ec2").describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
    assert versions[0]["LaunchTemplateData"] == data
    session = Caller(
        endpoint=own.jobs, key=document["AccessKeyId"], secret=document["SecretAccessKey"], token=document["Token"]
    )
    assert session.arn.endswith(f":assumed-role/{name}/{played.instance}")
