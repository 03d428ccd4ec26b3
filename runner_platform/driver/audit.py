"""The proof after a destroy: what of a stack still exists, over every account, the cluster and GitLab.

Owns what stays on purpose (keys in their waiting period, state stores, the stack's own empty state) and the rest, each with the command
that removes it. Leaves out how one AWS account is searched (`runner_platform.driver.audit_aws`). Reads only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
import gitlab.exceptions
import requests
from botocore.config import Config

from config import foundation, load, names
from config.settings import Settings
from runner_platform import live_runners
from runner_platform.driver import audit_aws, state
from runner_platform.driver.audit_aws import Left, Wanted
from runner_platform.errors import FailedError
from runner_platform.kube.client import Cluster

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform.driver.project import Project

PROD = "prod"


def audit(project: Project) -> list[Left]:
    """Everything of a stack that still exists.

    Raises:
        FailedError: an account or GitLab cannot be asked; half an audit proves nothing.
    """
    found = [*_state(project)]
    for account in load.of_foundation().accounts:
        wanted = _wanted(project, account)
        try:
            found += audit_aws.left(_clients(project, wanted.profile), wanted)
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise FailedError(f"account {account} cannot be searched as profile {wanted.profile}: {error}") from None
    return [*found, *_namespaces(project), *_runners(project)]


def _state(project: Project) -> list[Left]:
    known = state.read(project)
    if known is None:
        return []
    where = f"{project.store.url} {state.key_of(project)}"
    if known.empty:
        return [Left(account="", kind="state", id=where, command="", stays="the stack's empty state, with its history")]
    command = f"runner-platform destroy --stack {project.stack}"
    return [Left(account="", kind="state", id=f"{where}: {len(known.resources)} resources", command=command)]


def _wanted(project: Project, account: str) -> Wanted:
    shared = load.of_foundation()
    identifier = shared.accounts[account].id
    if project.stack == foundation.STACK:
        bucket = names.state_bucket(shared.organization, identifier)
        return Wanted(
            stack=project.stack,
            account=account,
            profile=f"foundation-{account}",
            role_path=names.PLATFORM_ROLE_PATH,
            cluster="",
            buckets={bucket: "a state store: it outlives every stack, and its versions are the backup of the states"},
            repositories="",
        )
    its = project.settings
    assert isinstance(its, Settings)  # noqa: S101  # any stack but the foundation's
    return Wanted(
        stack=project.stack,
        account=account,
        profile=f"platform-{account}",
        role_path=its.names.role_path,
        cluster=its.names.cluster,
        buckets={its.names.cache_bucket(identifier): ""},
        repositories="" if project.stack == PROD else its.names.prefix,
    )


def _clients(project: Project, profile: str) -> Callable[[str], Any]:
    config = Config(retries={"mode": "adaptive", "total_max_attempts": 10})
    session = boto3.Session(profile_name=profile, region_name=project.settings.organization.region)
    return lambda service: session.client(service, config=config)  # type: ignore[call-overload]  # not a literal here


def _namespaces(project: Project) -> list[Left]:
    """Namespaces of the classes, where the cluster is still there."""
    cluster = Cluster.of(project.settings) if isinstance(project.settings, Settings) else None
    if cluster is None:
        return []
    present = [each["metadata"]["name"] for each in cluster.get("/api/v1/namespaces")["items"]]
    return [
        Left(account="", kind="namespace", id=f"{cluster.name}/{name}", command=f"kubectl delete namespace {name}")
        for name in present
        if name.startswith(("runner-", "jobs-"))
    ]


def _runners(project: Project) -> list[Left]:
    """Runners that GitLab still has; their descriptions name the cluster."""
    settings = project.settings
    if not isinstance(settings, Settings) or settings.gitlab.runners == "external":
        return []
    api = live_runners.connection(settings.gitlab.url)
    owners = {
        f"/groups/{each.group or settings.gitlab.group}" for each in settings.runners.values() if not each.project
    }
    owners |= {f"/projects/{each.project}" for each in settings.runners.values() if each.project}
    found: dict[int, str] = {}
    try:
        for owner in sorted(owners):
            for each in api.http_list(f"{owner}/runners", get_all=True):
                if f" of {settings.names.cluster}, generation " in str(each.get("description")):
                    found[int(each["id"])] = str(each["description"])
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(f"GitLab at {api.url} cannot be searched: {error}") from None
    remove = f'curl --fail --request DELETE --header "PRIVATE-TOKEN: $GITLAB_TOKEN" {api.url}/api/v4/runners'
    return [
        Left(account="", kind="runner", id=f"{number} ({description})", command=f"{remove}/{number}")
        for number, description in sorted(found.items())
    ]
