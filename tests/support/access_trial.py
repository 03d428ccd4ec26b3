"""Callers with real credentials in the sandbox, and the reasoner's node for each: what the differential test compares.

Every caller is somebody whom STS knows: service accounts of the clusters by TokenRequest, projects by GitLab's ID tokens, sessions of the
deployed roles, and a role of a person's own in each account. Trusts that are widened for a session are put back at once.
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
from access.resource import Resource, from_wire
from config import load
from runner_platform.check.shown import deployed
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support.aws_cases import Caller, anonymous, with_credentials

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from access.chains import Node
    from tests.support.live import Sandbox

STACKS = ("foundation", "dev", "prod")
CLUSTERS = {"runner-platform-dev": "dev", "runner-platform": "prod"}
AUDIENCE, OTHER_AUDIENCE = "sts.amazonaws.com", "https://kubernetes.default.svc"
STRANGER = "555555555555"
SOMEBODY = "access-trial-somebody"
REFUSED = frozenset({"AccessDenied", "InvalidIdentityToken", "AccessDeniedException"})
EVERYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Somebody with real credentials."""

    name: str
    node: Node
    token: str = ""
    caller: Caller | None = None

    def enters(self, role: str, jobs: str, choices: Sequence[dict[str, str]] = ({},)) -> bool:
        """Whether STS lets it become a role, by any of what it may choose to send besides."""
        return any(self._enters(role, jobs, {} if self.token else each) for each in choices)

    def _enters(self, role: str, jobs: str, extra: dict[str, str]) -> bool:
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
class Place:
    """The sandbox's STS, Kubernetes and GitLab."""

    jobs: str
    deployer: str
    gitlab: str
    gitlab_token: str
    kubeconfigs: dict[str, str]

    @classmethod
    def of(cls, sandbox: Sandbox) -> Place:
        variables = sandbox.variables
        return cls(
            jobs=variables["RUNNER_PLATFORM_JOB_ENDPOINT"],
            deployer=variables["AWS_ENDPOINT_URL"],
            gitlab=variables["GITLAB_BASE_URL"].partition("/api/")[0],
            gitlab_token=variables["GITLAB_TOKEN"],
            kubeconfigs={CLUSTERS[each.name]: each.kubeconfig for each in sandbox.state().clusters},
        )

    def root(self, account: str) -> Caller:
        return Caller(endpoint=self.deployer, key=account)

    def entered(self, token: str, role: str) -> Caller:
        """A session of a role by a token."""
        decision = anonymous(self.jobs, "sts").assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="access-trial", WebIdentityToken=token
        )
        return with_credentials(self.jobs, decision)

    def project(self, subject: str) -> str:
        """A GitLab ID token."""
        decision = requests.post(
            f"{self.gitlab}/_sandbox/id-token",
            json={"sub": subject, "aud": "https://gitlab.com"},
            headers={"PRIVATE-TOKEN": self.gitlab_token},
            timeout=10,
        )
        decision.raise_for_status()
        return str(decision.json()["token"])

    @contextmanager
    def opened(self, arn: str) -> Iterator[Caller]:
        """A session of a role whose trust admits services only: widened for its account's root, and put back before it is used."""
        account, name = arn.split(":")[4], arn.rpartition("/")[2]
        iam = self.root(account).client("iam")
        before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
        trust = {"Effect": "Allow", "Principal": {"AWS": account}, "Action": "sts:AssumeRole"}
        iam.update_assume_role_policy(
            RoleName=name, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        )
        try:
            found = self.root(account).assume(arn)
        finally:
            iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))
        yield found

    @contextmanager
    def somebody(self, account: str, name: str = SOMEBODY) -> Iterator[tuple[str, Caller]]:
        """A role that an administrator of an account made, with every permission; it is gone afterwards."""
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


def world_of(sandbox: Sandbox) -> AccessGraph:
    """The world as it is deployed, all stacks together."""
    stacks = [load.of_stack(stack) for stack in ("dev", "prod")]
    listed = [each for stack in STACKS for each in resources_of(sandbox.exported(stack))]
    return AccessGraph.of(listed, Inventory.of(stacks, load.of_foundation()))


def resources_of(deployment: dict[str, Any]) -> list[Resource]:
    shown = deployed(deployment)
    ids = {each.urn: each.inputs.get("allowedAccountIds") for each in shown if each.type == "pulumi:providers:aws"}
    found = []
    for each in shown:
        listed = ids.get(each.provider) or "[]"
        accounts = json.loads(listed) if isinstance(listed, str) else listed
        found.append(
            Resource(each.urn, each.type, each.name, str(accounts[0]) if accounts else "", from_wire(each.inputs))
        )
    return found


def account_tokens(place: Place, world: AccessGraph, stack: str) -> Iterator[Trial]:
    """Every service account of a cluster with a token for AWS; jobs with one for somebody else too."""
    (issuer,) = world.providers.of_clusters[stack]
    with KubeClient.from_kubeconfig(Path(place.kubeconfigs[stack])) as client:
        for each in client.list("v1", "ServiceAccount"):
            namespace, name = each["metadata"]["namespace"], each["metadata"]["name"]
            wanted = [AUDIENCE, OTHER_AUDIENCE] if namespace.startswith("jobs-") and name == "job" else [AUDIENCE]
            for audience in wanted:
                node = world.token(issuer, f"system:serviceaccount:{namespace}:{name}", audience)
                token = requested(client, namespace, name, audience)
                yield Trial(name=f"{stack}: {namespace}/{name} for {audience}", node=node, token=token)


def requested(client: KubeClient, namespace: str, name: str, audience: str) -> str:
    """A token of a service account, by TokenRequest."""
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"audiences": [audience], "expirationSeconds": 3600},
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    decision: dict[str, Any] = client.request("POST", path, body=body)
    return str(decision["status"]["token"])
