"""What is left of a stack after its destruction, in every account, in GitLab and on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import gitlab

from config import load
from tests.support.doubles import doubled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from config.names import Names
    from tests.support.live import Sandbox

GROUP, PROJECT = 1234, 5678
"""Owners of the stacks' runners, as the stack files name them."""


def leftovers(sandbox: Sandbox, stack: str) -> list[str]:
    """Everything of a destroyed stack that still exists, besides what stays on purpose: keys in their waiting period."""
    names = load.of_stack(stack).names
    found = [f"GitLab runner {each.id}" for each in runners_of(sandbox) if f" of {names.cluster}," in each.description]
    found += [f"cluster {each.name}" for each in sandbox.state().clusters if each.name == names.cluster]
    for account in load.of_foundation().accounts.values():
        found += [f"{account.id}: {each}" for each in _of_account(client_of(sandbox, account.id), names)]
    return [*found, *doubled(sandbox, stack)]


def _of_account(client: Callable[[str], Any], names: Names) -> Iterator[str]:
    iam, logs = client("iam"), client("logs")
    yield from (role["Arn"] for role in iam.list_roles()["Roles"] if role["Path"] == names.role_path)
    yield from (
        each["Arn"]
        for each in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]
        if "oidc.eks." in each["Arn"] and _tagged(iam, each["Arn"], names.stack)
    )
    yield from (each["Name"] for each in client("s3").list_buckets()["Buckets"] if each["Name"].endswith(names.suffix))
    repositories = client("ecr").describe_repositories()["repositories"]
    yield from (each["repositoryArn"] for each in repositories if each["repositoryName"].startswith(names.prefix))
    groups = logs.describe_log_groups()["logGroups"]
    yield from (each["logGroupName"] for each in groups if names.cluster in each["logGroupName"].split("/"))


def _tagged(iam: Any, arn: str, stack: str) -> bool:
    tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
    return {"Key": "platform:stack", "Value": stack} in tags


def runners_of(sandbox: Sandbox) -> list[Any]:
    """All runners that GitLab has, whole."""
    variables = sandbox.variables
    base = variables["GITLAB_BASE_URL"].rstrip("/").removesuffix("/api/v4")
    api = gitlab.Gitlab(base, private_token=variables["GITLAB_TOKEN"])
    found = [
        *api.groups.get(GROUP, lazy=True).runners.list(get_all=True),
        *api.projects.get(PROJECT, lazy=True).runners.list(get_all=True),
    ]
    return [api.runners.get(each.id) for each in found]


def client_of(sandbox: Sandbox, account: str) -> Callable[[str], Any]:
    """Makes AWS clients that act as the account's root."""
    session = boto3.Session(aws_access_key_id=account, aws_secret_access_key="root", region_name="eu-central-1")
    return lambda service: session.client(service, endpoint_url=f"http://127.0.0.1:{sandbox.state().ports.aws}")


def keys_of(sandbox: Sandbox, account: str, suffix: str) -> list[dict[str, Any]]:
    """Keys of a stack in an account: their descriptions end with what they are for."""
    client = client_of(sandbox, account)("kms")
    found = [client.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in client.list_keys()["Keys"]]
    return [key for key in found if key.get("Description", "").endswith(suffix)]
