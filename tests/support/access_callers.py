"""Principals with real credentials in the sandbox, each with its node in the access graph, for the differential test.

STS knows all of them: service accounts of the clusters by TokenRequest, projects by GitLab's ID tokens, sessions of the deployed roles, and
a new role in each account. If a trust has to be widened for a session, it is restored at once.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.exceptions
import requests

from access.graph import AccessGraph
from access.inventory import Inventory
from access.resource import deployed
from config import load
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support.aws_cases import Caller, anonymous, with_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from access.chains import Node
    from tests.support.running_sandbox import Sandbox

STACKS = ("foundation", "dev", "prod")
CLUSTERS = {"runner-platform-dev": "dev", "runner-platform": "prod"}
AUDIENCE, OTHER_AUDIENCE = "sts.amazonaws.com", "https://kubernetes.default.svc"
STRANGER = "555555555555"
ADMINISTRATOR = "access-trial-administrator"
REFUSED = frozenset({"AccessDenied", "InvalidIdentityToken", "AccessDeniedException"})
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@dataclass(frozen=True, kw_only=True)
class Principal:
    """A principal with real credentials: a token, or a caller with keys."""

    name: str
    node: Node
    token: str = ""
    caller: Caller | None = None

    def can_assume(self, role: str, jobs: str, choices: Sequence[dict[str, str]] = ({},)) -> bool:
        """Whether STS gives it a session of a role, with any of these choices of further parameters."""
        return any(self._can_assume(role, jobs, {} if self.token else parameters) for parameters in choices)

    def _can_assume(self, role: str, jobs: str, extra: dict[str, str]) -> bool:
        fields = {"RoleArn": role, "RoleSessionName": "access-trial", **extra}
        try:
            if self.token:
                anonymous(jobs, "sts").assume_role_with_web_identity(WebIdentityToken=self.token, **fields)
            else:
                assert self.caller is not None
                self.caller.client("sts").assume_role(**fields)
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in REFUSED:
                raise
            return False
        return True


@dataclass(frozen=True, kw_only=True)
class Services:
    """The sandbox's STS, Kubernetes and GitLab."""

    jobs: str
    deployer: str
    gitlab: str
    gitlab_token: str
    kubeconfigs: dict[str, str]

    @classmethod
    def of(cls, sandbox: Sandbox) -> Services:
        variables = sandbox.variables
        return cls(
            jobs=variables["RUNNER_PLATFORM_JOB_ENDPOINT"],
            deployer=variables["AWS_ENDPOINT_URL"],
            gitlab=variables["GITLAB_BASE_URL"].partition("/api/")[0],
            gitlab_token=variables["GITLAB_TOKEN"],
            kubeconfigs={CLUSTERS[cluster.name]: cluster.kubeconfig for cluster in sandbox.state().clusters},
        )

    def root(self, account: str) -> Caller:
        return Caller(endpoint=self.deployer, key=account)

    def session_by_token(self, token: str, role: str) -> Caller:
        """Return a session of a role for a token."""
        response = anonymous(self.jobs, "sts").assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="access-trial", WebIdentityToken=token
        )
        return with_credentials(self.jobs, response)

    def project_token(self, subject: str) -> str:
        """Return a GitLab ID token of a project."""
        response = requests.post(
            f"{self.gitlab}/_sandbox/id-token",
            json={"sub": subject, "aud": "https://gitlab.com"},
            headers={"PRIVATE-TOKEN": self.gitlab_token},
            timeout=10,
        )
        response.raise_for_status()
        return str(response.json()["token"])

    @contextmanager
    def session_of(self, arn: str) -> Iterator[Caller]:
        """Yield a session of a role that only services may assume.

        The trust is widened for the root of the account, and restored before the session is used.
        """
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        iam = self.root(account).client("iam")
        before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
        iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        try:
            session = self.root(account).assume(arn)
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))
        yield session

    @contextmanager
    def administrator_role(self, account: str, name: str = ADMINISTRATOR) -> Iterator[tuple[str, Caller]]:
        """Create a role with all permissions, as an administrator might, and delete it at the end of the block."""
        iam, arn = self.root(account).client("iam"), f"arn:aws:iam::{account}:role/{name}"
        trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
        iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        try:
            iam.put_role_policy(RoleName=name, PolicyName="everything", PolicyDocument=EVERYTHING)
            yield arn, self.root(account).assume(arn)
        finally:
            iam.delete_role_policy(RoleName=name, PolicyName="everything")
            iam.delete_role(RoleName=name)


def deployed_graph(sandbox: Sandbox) -> AccessGraph:
    """Return the access graph of all deployed stacks together."""
    stacks = [load.of_stack(stack) for stack in ("dev", "prod")]
    resources = [resource for stack in STACKS for resource in deployed(sandbox.exported(stack))]
    return AccessGraph.of(resources, Inventory.of(stacks, load.of_foundation()))


def account_tokens(services: Services, graph: AccessGraph, stack: str) -> Iterator[Principal]:
    """Yield every service account of a cluster with a token for AWS; jobs' accounts also with one for another audience."""
    (issuer,) = graph.providers.of_clusters[stack]
    with KubeClient.from_kubeconfig(Path(services.kubeconfigs[stack])) as client:
        for account in client.list("v1", "ServiceAccount"):
            namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
            is_job = namespace.startswith("jobs-") and name == "job"
            for audience in [AUDIENCE, OTHER_AUDIENCE] if is_job else [AUDIENCE]:
                node = graph.token(issuer, f"system:serviceaccount:{namespace}:{name}", audience)
                token = request_token(client, namespace, name, audience)
                yield Principal(name=f"{stack}: {namespace}/{name} for {audience}", node=node, token=token)


def request_token(client: KubeClient, namespace: str, name: str, audience: str) -> str:
    """Return a token of a service account from TokenRequest."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"audiences": [audience], "expirationSeconds": 3600},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    response: dict[str, Any] = client.request("POST", path, body=body)
    return str(response["status"]["token"])
