"""The metadata service, asked by boto3 and by hand. Its source is a description in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
import requests

from runner_platform_sandbox.machines.metadata import MetadataService

if TYPE_CHECKING:
    from collections.abc import Iterator

GOOD = {
    "Code": "Success",
    "Type": "AWS-HMAC",
    "AccessKeyId": "ASIA0000000000000000",
    "SecretAccessKey": "secret",
    "Token": "session",
    "LastUpdated": "2026-01-01T00:00:00Z",
    "Expiration": "2099-01-01T00:00:00Z",
}
TTL = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
ROLES = "/latest/meta-data/iam/security-credentials/"


class Description:
    """What the service tells; tests change it."""

    token_required = True
    enabled = True
    user_data = b"#cloud-config\n"
    role = "manager"
    document: dict[str, Any] = GOOD

    def texts(self) -> dict[str, str]:
        return {"meta-data/placement/region": "eu-central-1"}

    def credentials(self) -> tuple[str, dict[str, Any]]:
        return self.role, self.document


class Host:
    """A process on the host, which has the address."""

    def __init__(self, address: str, description: Description) -> None:
        self.address = address
        self.description = description
        self.http = requests.Session()
        self.http.trust_env = False

    def put(self, path: str = "/latest/api/token", **headers: str) -> requests.Response:
        return self.http.put(self.address + path, headers=headers, timeout=5)

    def get(self, path: str, token: str | None = None) -> requests.Response:
        headers = {} if token is None else {"X-aws-ec2-metadata-token": token}
        return self.http.get(self.address + path, headers=headers, timeout=5)

    def token(self) -> str:
        return self.put(**TTL).text


@pytest.fixture
def host() -> Iterator[Host]:
    description = Description()
    service = MetadataService(description)
    yield Host(service.address, description)
    service.close()


def test_boto3_gets_the_roles_credentials_and_the_region(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_EC2_METADATA_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", host.address)
    credentials = boto3.session.Session().get_credentials()
    assert credentials is not None
    assert (credentials.access_key, credentials.token, credentials.method) == (
        GOOD["AccessKeyId"],
        "session",
        "iam-role",
    )
    refused = {"Code": "AssumeRoleUnauthorizedAccess", "Message": "EC2 cannot assume the role manager."}
    host.description.document = refused
    assert boto3.session.Session().get_credentials() is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (TTL, 200),
        ({}, 400),
        ({"X-aws-ec2-metadata-token-ttl-seconds": "0"}, 400),
        ({"X-aws-ec2-metadata-token-ttl-seconds": "21601"}, 400),
        ({**TTL, "X-Forwarded-For": "10.0.0.1"}, 403),
    ],
)
def test_a_token_needs_its_seconds_and_no_proxy(host: Host, headers: dict[str, str], status: int) -> None:
    assert host.put(**headers).status_code == status


def test_a_token_comes_with_its_seconds_as_go_demands(host: Host) -> None:
    assert host.put(**TTL).headers["X-aws-ec2-metadata-token-ttl-seconds"] == "60"


def test_no_answer_without_a_valid_token(host: Host) -> None:
    region = "/latest/meta-data/placement/region"
    assert host.get(region).status_code == 401
    assert host.get(region, "made up").status_code == 401
    answer = host.get(region, host.token())
    assert (answer.status_code, answer.text) == (200, "eu-central-1")
    host.description.token_required = False
    assert host.get(region).status_code == 200
    assert host.get(region, "made up").status_code == 401, "a wrong token is never right"


def test_a_template_can_switch_the_service_off(host: Host) -> None:
    host.description.enabled = False
    assert host.put(**TTL).status_code == 403
    assert host.get("/latest/user-data").status_code == 403


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (ROLES, 200),
        (ROLES.rstrip("/"), 200),
        (f"{ROLES}manager", 200),
        (f"{ROLES}another", 404),
        ("/latest/user-data", 200),
        ("/latest/meta-data/nothing", 404),
    ],
)
def test_paths_are_those_of_aws(host: Host, path: str, status: int) -> None:
    assert host.get(path, host.token()).status_code == status


def test_an_instance_without_a_role_has_no_credentials_and_none_without_user_data(host: Host) -> None:
    host.description.role, host.description.user_data = "", b""
    assert host.get(ROLES, host.token()).status_code == 404
    assert host.get("/latest/user-data", host.token()).status_code == 404
