"""Repair of creations that a killed run began and did not write down: search for the resource, then keep it or create it again.

An engine that is killed while a provider creates something cannot write down the result: the state only says that a creation began. Running
on would create a second resource (the engine only warns), and clearing the entry would lose the first. So this module searches in the cloud.
A resource that exists goes into the state under its id, and its own provider reads it back; otherwise the entry is removed and the resource
is created again.

The search is by the name in the inputs, or by tags if AWS chose the id. It covers every type that a second creation would double or fail on.
Types that are put in place (bucket settings, attachments, Kubernetes objects by server-side apply) need no search, since creating them again
has the same result. Helm releases: `runner_platform.driver.helm_releases`.

GitLab shows a runner's token once, in the answer to its creation. If that answer is lost, nobody can use the runner, and keeping it would
leave a class without a token. So the driver deletes the runner and creates it again. A runner with a manager is left alone: its token is
known, so it is another one. https://docs.gitlab.com/api/runners/
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import gitlab
import gitlab.exceptions
import requests
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runner_platform.driver import helm_releases, stack_state
from runner_platform.driver.engine_progress import label
from runner_platform.driver.stack_state import CREATING
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from runner_platform.driver.run import Run
    from runner_platform.driver.stack_state import StateEntry


SETTLE_SECONDS: Final = 3.0
"""A request that a provider sent before it died may take effect a moment later."""
RUNNER: Final = "gitlab:index/userRunner:UserRunner"
DEFAULT_GITLAB: Final = "https://gitlab.com"

BY_NAME: Final[dict[str, str]] = {
    "aws:autoscaling/group:Group": "{name}",
    "aws:cloudwatch/logGroup:LogGroup": "{name}",
    "aws:ecr/repository:Repository": "{name}",
    "aws:eks/accessEntry:AccessEntry": "{clusterName}:{principalArn}",
    "aws:eks/cluster:Cluster": "{name}",
    "aws:iam/instanceProfile:InstanceProfile": "{name}",
    "aws:iam/role:Role": "{name}",
    "aws:kms/alias:Alias": "{name}",
    "aws:s3/bucket:Bucket": "{bucket}",
    "aws:ssm/parameter:Parameter": "{name}",
}
"""Types with an id that is built from inputs. The engine reads each back, and so notices one that does not exist."""

BY_TAGS: Final[dict[str, str]] = {
    "aws:ec2/eip:Eip": "elastic-ip",
    "aws:ec2/internetGateway:InternetGateway": "internet-gateway",
    "aws:ec2/natGateway:NatGateway": "natgateway",
    "aws:ec2/routeTable:RouteTable": "route-table",
    "aws:ec2/securityGroup:SecurityGroup": "security-group",
    "aws:ec2/subnet:Subnet": "subnet",
    "aws:ec2/vpc:Vpc": "vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "vpc-endpoint",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "security-group-rule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "security-group-rule",
}
"""Types with an id of AWS's choice, and EC2's name for the type. The request that creates one also tags it."""

_RUNNER_IDENTITY: Final = {"description": "description", "runnerType": "runner_type"}
"""Inputs that tell the program's runners apart, with the API's name. Other properties may have been edited since."""
_RUNNER_OWNERS: Final = {"group_type": ("groups", "groupId"), "project_type": ("projects", "projectId")}


def settle_pending(run: Run) -> None:
    """Settle the pending operations of a stack while the run holds its turn.

    Raises:
        FailedError: a cloud cannot be asked, or several resources fit one creation.
    """
    if not stack_state.require(run.project).pending:
        return
    exported = json.loads(run.query("stack", "export"))
    operations = exported["deployment"].get("pending_operations") or []
    created, changed = [], []
    for operation in operations:
        entry = operation["resource"]
        if operation["type"] == CREATING:
            created.append(entry)
        else:
            changed.append(entry["urn"])
            run.report_leftover(f"{label(entry['urn'])} was in the middle of {operation['type']}; it is read back")
    _settle(run, exported, created=created, changed=changed)


def settle_unanswered(run: Run) -> None:
    """Search for resources whose creation was not answered, since the engine counts them as not created.

    Raises:
        FailedError: a cloud cannot be asked, or several resources fit one creation.
    """
    created = run.progress.unfinished
    if run.progress.uncertain and created:
        time.sleep(SETTLE_SECONDS)
        _settle(run, json.loads(run.query("stack", "export")), created=created, changed=[])


def _settle(run: Run, exported: dict[str, Any], *, created: list[StateEntry], changed: list[str]) -> None:
    deployment = exported["deployment"]
    entries = deployment.get("resources") or []
    ids = _find_ids(run, created, entries)
    deployment["resources"] = add_recovered(entries, created, ids)
    deployment["pending_operations"] = []
    _import(run, exported)
    kept = [entry["urn"] for entry, identifier in zip(created, ids, strict=True) if identifier]
    present = {entry["urn"] for entry in deployment["resources"]}
    targets = [urn for urn in (*kept, *changed) if urn in present]
    if targets:
        run.drive(lambda on_event: run.stack.refresh(on_event=on_event, target=targets))


def _find_ids(run: Run, created: Sequence[StateEntry], entries: Sequence[StateEntry]) -> list[str | None]:
    """Return an id for each resource to keep, and None for each to create again; report both."""
    ids = find_all([search_for(entry, entries) for entry in created])
    for index, entry in enumerate(created):
        if entry["type"] == helm_releases.RELEASE:
            ids[index] = helm_releases.find(run, entry.get("inputs", {}))
    for index, (entry, identifier) in enumerate(zip(created, list(ids), strict=True)):
        if identifier and entry["type"] == RUNNER:
            delete_runner(_provider_inputs(entry, entries).get("baseUrl"), identifier)
            ids[index] = None
            outcome = (
                f"it exists (runner {identifier}), but GitLab shows a token once only: it is deleted and made again"
            )
        else:
            outcome = f"it exists ({identifier}) and is kept" if identifier else "it is made again"
        run.report_leftover(f"{label(entry['urn'])} was being made when {run.why_unrecorded}; {outcome}")
    return ids


def add_recovered(
    entries: Sequence[StateEntry], created: Sequence[StateEntry], ids: Sequence[str | None]
) -> list[StateEntry]:
    """Add the resources with an id to the state's entries.

    A creation may be the first half of a replacement. Then the state still holds the old resource under the same URN, which the engine
    would have deleted next, so it is marked for deletion.
    """
    recovered = {
        entry["urn"]: {**entry, "id": identifier, "outputs": entry.get("inputs", {})}
        for entry, identifier in zip(created, ids, strict=True)
        if identifier
    }
    previous = [
        {**entry, "delete": True} if entry["urn"] in recovered and entry.get("custom") else entry for entry in entries
    ]
    return [*previous, *recovered.values()]


def _import(run: Run, exported: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="runner-platform-", suffix=".json") as file:  # mode 0600
        json.dump(exported, file)
        file.flush()
        run.query("stack", "import", "--file", file.name)


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search for one resource."""

    type: str
    inputs: dict[str, Any]
    """Checked inputs in wire names, with tags and the generated name, as the engine wrote them down."""
    profile: str | None
    """AWS profile of the resource's provider."""
    region: str | None
    known_ids: list[str]
    """Ids of this type and account that the state holds already; they belong to other resources."""
    url: str | None = None
    """Base URL of the resource's provider, if the program sets one."""


def search_for(entry: StateEntry, entries: Sequence[StateEntry]) -> Search:
    """Describe the search for one resource of the state.

    An id in the state belongs to another resource, even under the same URN, since that one is to be replaced. A name may exist in several
    accounts, so only ids of the same provider count.
    """
    provider = _provider_inputs(entry, entries)
    keys = ("type", "provider")
    siblings = [sibling for sibling in entries if all(sibling.get(key) == entry.get(key) for key in keys)]
    return Search(
        type=entry["type"],
        inputs=entry.get("inputs", {}),
        profile=provider.get("profile"),
        region=provider.get("region"),
        known_ids=[sibling["id"] for sibling in siblings if sibling.get("id")],
        url=provider.get("baseUrl"),
    )


def _provider_inputs(entry: StateEntry, entries: Sequence[StateEntry]) -> dict[str, Any]:
    urn = str(entry.get("provider", "")).rpartition("::")[0]
    inputs: dict[str, Any] = next((provider for provider in entries if provider["urn"] == urn), {}).get("inputs", {})
    return inputs


def find_all(searches: Sequence[Search]) -> list[str | None]:
    """Return an id for each existing resource, and None for the others.

    Identical requests are interchangeable: they get the ids in any order.

    Raises:
        FailedError: more resources fit than requests, so that none can be chosen; or a cloud cannot be asked.
    """
    try:
        return _find_all(searches)
    except (BotoCoreError, ClientError) as error:
        raise FailedError(f"cannot find out what the killed run created: {error}") from None


def _find_all(searches: Sequence[Search]) -> list[str | None]:
    groups: dict[str, list[int]] = {}
    for index, search in enumerate(searches):
        groups.setdefault(json.dumps(asdict(search), sort_keys=True), []).append(index)
    results: list[str | None] = [None] * len(searches)
    for indices in groups.values():
        search = searches[indices[0]]
        ids = sorted(set(candidate_ids(search)) - set(search.known_ids))
        if len(ids) > len(indices):
            raise FailedError(
                f"{search.type}: {', '.join(ids)} all look like what was being made when a run was killed; "
                "take the right one into the state with `pulumi import`, delete the others"
            )
        for index, identifier in zip(indices, ids, strict=False):
            results[index] = identifier
    return results


def candidate_ids(search: Search) -> Iterable[str]:
    """Return ids of resources that fit the search."""
    if search.type in BY_NAME:
        return [BY_NAME[search.type].format_map(search.inputs)]
    if search.type == RUNNER:
        return find_runners(search.url, search.inputs)
    if search.type not in BY_TAGS and search.type not in SEARCHES:
        return []
    region = search.inputs.get("region") or search.region
    session = boto3.Session(profile_name=search.profile, region_name=region)
    if search.type in BY_TAGS:
        return _find_tagged(session, BY_TAGS[search.type], search.inputs)
    return SEARCHES[search.type](session, search.inputs)


def _client(session: boto3.Session, service: Any) -> Any:
    return session.client(service, config=Config(retries={"mode": "standard", "total_max_attempts": 10}))


def _find_tagged(session: boto3.Session, kind: str, inputs: dict[str, Any]) -> Iterable[str]:
    tags = inputs.get("tags") or {}
    if not tags:
        return []
    tags_by_id: dict[str, dict[str, str]] = {}
    pages = (
        _client(session, "ec2")
        .get_paginator("describe_tags")
        .paginate(Filters=[{"Name": "resource-type", "Values": [kind]}])
    )
    for page in pages:
        for tag in page["Tags"]:
            tags_by_id.setdefault(tag["ResourceId"], {})[tag["Key"]] = tag["Value"]
    return [identifier for identifier, present in tags_by_id.items() if _same_tags(present, tags)]


def _same_tags(present: dict[str, str], tags: dict[str, str]) -> bool:
    return {key: value for key, value in present.items() if not key.startswith("aws:")} == tags


def _find_keys(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    client = _client(session, "kms")
    tags = inputs.get("tags") or {}
    for page in client.get_paginator("list_keys").paginate():
        for key in page["Keys"]:
            metadata = client.describe_key(KeyId=key["KeyId"])["KeyMetadata"]
            if metadata["KeyState"] == "PendingDeletion" or metadata.get("KeyManager") == "AWS":
                continue
            present = {tag["TagKey"]: tag["TagValue"] for tag in client.list_resource_tags(KeyId=key["KeyId"])["Tags"]}
            same_description = metadata.get("Description", "") == inputs.get("description", "")
            if tags and _same_tags(present, tags) and same_description:
                yield key["KeyId"]


def _find_flow_logs(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    observed = [inputs[name] for name in ("vpcId", "subnetId", "eniId") if inputs.get(name)]
    answer = _client(session, "ec2").describe_flow_logs(Filters=[{"Name": "resource-id", "Values": observed}])
    for flow_log in answer["FlowLogs"]:
        if _same_tags({tag["Key"]: tag["Value"] for tag in flow_log.get("Tags", [])}, inputs.get("tags") or {}):
            yield flow_log["FlowLogId"]


def _find_policies(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    for page in _client(session, "iam").get_paginator("list_policies").paginate(Scope="Local"):
        yield from (policy["Arn"] for policy in page["Policies"] if policy["PolicyName"] == inputs.get("name"))


def _find_oidc_providers(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    host = str(inputs.get("url", "")).removeprefix("https://")
    for provider in _client(session, "iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        if provider["Arn"].partition("/")[2] == host:
            yield provider["Arn"]


def _find_associations(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    tables = _client(session, "ec2").describe_route_tables(RouteTableIds=[inputs["routeTableId"]])["RouteTables"]
    for table in tables:
        for association in table.get("Associations", []):
            if association.get("SubnetId") == inputs.get("subnetId"):
                yield association["RouteTableAssociationId"]


def _find_templates(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    filters = [
        {"Name": "launch-template-name", "Values": [inputs["name"]]}
    ]  # by name alone, a missing one would be an error
    answer = _client(session, "ec2").describe_launch_templates(Filters=filters)
    return [template["LaunchTemplateId"] for template in answer["LaunchTemplates"]]


def _find_task_clusters(session: boto3.Session, inputs: dict[str, Any]) -> Iterable[str]:
    answer = _client(session, "ecs").describe_clusters(clusters=[inputs["name"]])
    return [cluster["clusterArn"] for cluster in answer["clusters"] if cluster["status"] != "INACTIVE"]


SEARCHES: Final[dict[str, Callable[[boto3.Session, dict[str, Any]], Iterable[str]]]] = {
    "aws:ec2/flowLog:FlowLog": _find_flow_logs,
    "aws:ec2/launchTemplate:LaunchTemplate": _find_templates,
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _find_associations,
    "aws:ecs/cluster:Cluster": _find_task_clusters,
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": _find_oidc_providers,
    "aws:iam/policy:Policy": _find_policies,
    "aws:kms/key:Key": _find_keys,
}
"""Types with a search of their own."""


def find_runners(url: str | None, inputs: Mapping[str, Any]) -> list[str]:
    """Return ids of GitLab runners that match the inputs and have no manager.

    Args:
        url: base URL of the resource's provider, if the program sets one.
        inputs: inputs of the resource in wire names. Without a description no runner matches.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    owner = _RUNNER_OWNERS.get(str(inputs.get("runnerType")))
    if owner is None or not inputs.get("description"):
        return []
    kind, key = owner
    api = _gitlab(url)
    try:
        runners = api.http_list(f"/{kind}/{int(inputs[key])}/runners", {"type": inputs["runnerType"]}, get_all=True)
        ids = [runner["id"] for runner in runners if runner.get("description") == inputs["description"]]
        return [
            str(identifier) for identifier in ids if _runner_matches(api, identifier, inputs, kind, int(inputs[key]))
        ]
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(
            f"GitLab at {api.url} cannot be asked for lost runners: {error}; check GITLAB_TOKEN"
        ) from None


def delete_runner(url: str | None, identifier: str) -> None:
    """Delete a runner. A missing runner is no error.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    try:
        _gitlab(url).runners.delete(int(identifier))
    except gitlab.exceptions.GitlabDeleteError as error:
        if error.response_code != requests.codes.not_found:
            raise FailedError(
                f"runner {identifier} was made by a killed run, its token is lost, and GitLab does not let it be deleted: "
                f"{error.error_message}; delete it in GitLab, the next run makes another"
            ) from None
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(f"GitLab cannot be reached to delete runner {identifier}: {error}") from None


def _gitlab(url: str | None) -> gitlab.Gitlab:
    base = (url or os.environ.get("GITLAB_BASE_URL") or DEFAULT_GITLAB).rstrip("/").removesuffix("/api/v4")
    token = os.environ.get("GITLAB_TOKEN", "")
    return gitlab.Gitlab(base, private_token=token, retry_transient_errors=True, timeout=30)


def _runner_matches(api: gitlab.Gitlab, identifier: int, inputs: Mapping[str, Any], kind: str, owner: int) -> bool:
    """Whether a runner has the identity, tags and owner of the inputs, and no manager.

    The list of an owner also holds runners that it may use but does not own.
    """
    runner = api.http_get(f"/runners/{identifier}")
    assert isinstance(runner, dict)  # noqa: S101  # by GitLab's reference
    same = all(runner.get(word) == inputs[key] for key, word in _RUNNER_IDENTITY.items())
    tags = sorted(runner.get("tag_list") or ()) == sorted(inputs.get("tagLists") or ())
    owned = owner in [int(entry["id"]) for entry in runner.get(kind) or ()]
    return same and tags and owned and not api.http_list(f"/runners/{identifier}/managers", get_all=True)
