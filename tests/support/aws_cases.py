"""What the tests of the AWS server share: a server of their own, callers, tokens.

Only the AWS server runs: no Kubernetes, no engine. Ports are free ones, state lives in a temporary folder.
"""

from __future__ import annotations

import base64
import json
import socket
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import boto3
import botocore
import botocore.config
import botocore.exceptions
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.aws.process import AwsServer
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REGION = "eu-central-1"
ADMIN, CICD, DEV, PROD = "111111111111", "222222222222", "333333333333", "444444444444"
MANAGEMENT, STRANGER = "999999999999", "555555555555"
ORGANIZATION = {
    "id": "o-example1234",
    "region": REGION,
    "partition": "aws",
    "management": MANAGEMENT,
    "accounts": {"admin": ADMIN, "cicd": CICD, "dev": DEV, "prod": PROD},
}
_SESSION: Any = boto3.session.Session(region_name=REGION)
"""Keeps the models of the services, which are slow to load."""
_CONFIG = botocore.config.Config(
    retries={"total_max_attempts": 1},
    proxies={},
    parameter_validation=False,  # the server is to judge, not the client
    s3={"addressing_style": "path"},
)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody's credentials, at one listener."""

    endpoint: str
    key: str
    secret: str = "any"
    token: str | None = None

    def client(self, service: str, region: str = REGION) -> Any:
        """Return a client; it neither retries nor reads the person's AWS files."""
        return _SESSION.client(
            service,
            region_name=region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
            aws_session_token=self.token,
            config=_CONFIG,
        )

    def assume(self, role: str, **fields: Any) -> Caller:
        """Return who the caller is after AssumeRole."""
        answer = self.client("sts").assume_role(**{"RoleArn": role, "RoleSessionName": "test", **fields})
        return with_credentials(self.endpoint, answer)

    @property
    def arn(self) -> str:
        """Who STS says that this is."""
        return str(self.client("sts").get_caller_identity()["Arn"])


def with_credentials(endpoint: str, answer: dict[str, Any]) -> Caller:
    """Return the caller with the credentials of an answer of STS."""
    given = answer["Credentials"]
    return Caller(
        endpoint=endpoint, key=given["AccessKeyId"], secret=given["SecretAccessKey"], token=given["SessionToken"]
    )


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A running AWS server."""

    server: AwsServer
    paths: Paths
    ports: tuple[int, int]

    @property
    def deployer(self) -> str:
        """URL of the deployer's listener."""
        return f"http://127.0.0.1:{self.ports[0]}"

    @property
    def jobs(self) -> str:
        """URL of the jobs' listener."""
        return f"http://127.0.0.1:{self.ports[1]}"

    @property
    def admin(self) -> AwsAdmin:
        """The control routes."""
        return AwsAdmin(self.deployer)

    def root(self, account: str, *, jobs: bool = False) -> Caller:
        """Return the root of an account."""
        return Caller(endpoint=self.jobs if jobs else self.deployer, key=account)

    def start(self) -> None:
        """Start the server, on the ports that it had."""
        python = Tools.find(Paths.from_environment()).ministack_python
        self.server.start(self.paths, python, *self.ports)


@contextmanager
def cloud(folder: Path) -> Iterator[Cloud]:
    """Run an AWS server whose organisation is declared."""
    paths = Paths(cache=folder / "cache", root=folder / "sandbox")
    running = Cloud(server=AwsServer(), paths=paths, ports=(free_port(), free_port()))
    running.start()
    try:
        running.admin.organization(ORGANIZATION)
        yield running
    finally:
        running.server.stop()


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def refusal(call: Any, *arguments: Any, **fields: Any) -> tuple[int, str]:
    """Return status and code of the error that a call ends with; a call that succeeds fails the test."""
    try:
        call(*arguments, **fields)
    except botocore.exceptions.ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
    raise AssertionError(f"{call.__name__} was allowed")


def policy(*statements: dict[str, Any]) -> str:
    """Return a policy document; a statement allows unless it says otherwise."""
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **one} for one in statements]})


def trusting(account: str, **condition: Any) -> str:
    """Return a trust document for an account."""
    statement = {"Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "sts:AssumeRole"}
    return policy(statement | ({"Condition": condition} if condition else {}))


@cache
def anonymous(endpoint: str, service: str) -> Any:
    """Return a client that signs nothing."""
    config = _CONFIG.merge(botocore.config.Config(signature_version=botocore.UNSIGNED))
    return _SESSION.client(service, endpoint_url=endpoint, config=config)


@cache
def key_pair(_name: str) -> rsa.RSAPrivateKey:
    """Return the key of that name; making one takes a while."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwks(name: str, kid: str) -> dict[str, Any]:
    """Return the public part of a key as an issuer shows it."""
    numbers = key_pair(name).public_key().public_numbers()
    parts = {"n": _encoded(numbers.n.to_bytes(256, "big")), "e": _encoded(numbers.e.to_bytes(3, "big"))}
    return {"keys": [{"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", **parts}]}


def token(issuer: str, subject: str, *, key: str = "issuer", kid: str | None = "1", **claims: Any) -> str:
    """Return a token as Kubernetes issues it; a claim that is None is left out."""
    now = int(time.time())
    said = {"iss": issuer, "sub": subject, "aud": ["sts.amazonaws.com"], "iat": now, "nbf": now, "exp": now + 600}
    header = {"alg": "RS256", "typ": "JWT"} | ({} if kid is None else {"kid": kid})
    signed = unsigned(header, {name: value for name, value in (said | claims).items() if value is not None})
    signature = key_pair(key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signed}.{_encoded(signature)}"


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    """Return the two parts of a token that are signed."""
    return ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def unique(prefix: str = "t") -> str:
    """Return a name that no other test uses."""
    return f"{prefix}-{uuid.uuid4().hex[:10]}"
