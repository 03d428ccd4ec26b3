"""Flows from an open class into a protected class: images, state and caches, allowed or undecided."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from access.decision import Decision
from access.flows import Flow, flows
from access.inventory import Inventory, InventoryClass
from access.resource import UNKNOWN, Resource
from config import load
from config.capabilities import Level
from tests.support.access_cases import CICD as HOME
from tests.support.access_cases import (
    FACTS,
    document,
    exact,
    issuer,
    kubernetes,
    resource,
    role,
    statement,
    trusts_token,
    world,
)
from tests.support.access_programs import changed, whole

if TYPE_CHECKING:
    from access.graph import AccessGraph

CICD, DEV, PROD = (load.of_foundation().accounts[name].id for name in ("cicd", "dev", "prod"))
CLASSES = Inventory(
    organization=FACTS.organization,
    accounts=FACTS.accounts,
    gitlab=FACTS.gitlab,
    classes=[
        InventoryClass(
            stack="dev", name=name, level=level, manager_namespace=f"runner-{name}", jobs_namespace=f"jobs-{name}"
        )
        for name, level in (("open", Level.OPEN), ("shut", Level.PROTECTED))
    ],
)
STATE = "arn:aws:s3:::state/shut/*"


def release(name: str, config: str | None = None) -> Resource:
    text = f"""
[[runners]]
[runners.cache]
Type = "s3"
Path = "{name}"
[runners.cache.s3]
BucketName = "cache"
[runners.kubernetes]
namespace = "jobs-{name}"
service_account = "job"
automount_service_account_token = false
allowed_images = ["{HOME}.dkr.ecr.eu-central-1.amazonaws.com/{name}/*"]
allowed_services = ["{HOME}.dkr.ecr.eu-central-1.amazonaws.com/{name}/*"]
[[runners.kubernetes.pod_spec]]
patch = '''
volumes: [{{name: aws, projected: {{sources: [{{serviceAccountToken: {{audience: sts.amazonaws.com, path: token}}}}]}}}}]
'''
"""
    values = {"runners": {"config": text if config is None else config}, "serviceAccount": {"name": "manager"}}
    return resource("kubernetes:helm.sh/v3:Release", name, "", "dev", namespace=f"runner-{name}", values=values)


def job_role(name: str, *statements: Any, **condition: Any) -> Resource:
    trust = condition or exact(f"system:serviceaccount:jobs-{name}:job")
    return role(name, trusts_token(trust), policies=[document(*statements)])


def may(action: str, *resources: Any, **elements: Any) -> Any:
    return statement(Action=action, Resource=list(resources), **elements)


def condition_on_source_ip(name: str) -> dict[str, Any]:
    return {
        "StringEquals": {**exact(f"system:serviceaccount:jobs-{name}:job")["StringEquals"], "aws:sourceip": "10.0.0.1"}
    }


WRITES = job_role("open", may("s3:PutObject", "arn:aws:s3:::state/*"))
READS = job_role("shut", may("s3:GetObject", STATE))
PUSHES = job_role("open", may("ecr:PutImage", f"arn:aws:ecr:eu-central-1:{HOME}:repository/open/*"))


def flows_between(*resources: Resource) -> list[Flow]:
    both = (release("open"), release("shut"))
    accounts = [kubernetes("ServiceAccount", "job", f"jobs-{name}") for name in ("open", "shut")]
    replaced = {resource.name for resource in resources}
    defaults = [default for default in (issuer(), *accounts, *both) if default.name not in replaced]
    return flows(world(*defaults, *resources, facts=CLASSES))


def decisions_by_kind(*resources: Resource) -> set[tuple[str, Decision]]:
    return {(flow.kind, flow.decision) for flow in flows_between(*resources)}


def test_an_open_role_that_writes_state_which_a_protected_role_reads_is_a_flow() -> None:
    (flow,) = flows_between(WRITES, READS)
    assert (flow.kind, flow.pattern, flow.decision, flow.reason) == ("state", STATE, Decision.ALLOWED, "")
    assert flow.chain[-1].endswith(":role/open")


def test_an_undecided_chain_to_the_reader_leaves_the_flow_undecided() -> None:
    condition = condition_on_source_ip("shut")
    (flow,) = flows_between(WRITES, job_role("shut", may("s3:GetObject", STATE), **condition))
    assert flow.decision is Decision.UNDECIDED
    assert "aws:sourceip" in flow.reason


def test_an_undecided_chain_to_the_writer_leaves_the_flow_undecided() -> None:
    condition = condition_on_source_ip("open")
    assert decisions_by_kind(job_role("open", may("s3:PutObject", STATE), **condition), READS) == {
        ("state", Decision.UNDECIDED)
    }


def test_an_allowed_chain_to_a_reader_makes_the_flow_allowed() -> None:
    condition = condition_on_source_ip("shut")
    second_reader = role("other", trusts_token(condition), policies=[document(may("s3:GetObject", STATE))])
    assert decisions_by_kind(WRITES, READS, second_reader) == {("state", Decision.ALLOWED)}


@pytest.mark.parametrize(
    "reads",
    [
        may("s3:GetObject", UNKNOWN),
        may("s3:GetObject", STATE, Condition={"StringEquals": {"aws:sourcevpc": "vpc-1"}}),
    ],
)
def test_an_unknown_resource_or_condition_of_the_reader_is_undecided(reads: Any) -> None:
    assert decisions_by_kind(WRITES, job_role("shut", reads)) == {("state", Decision.UNDECIDED)}


def test_a_reader_with_an_unknown_policy_may_read_everything() -> None:
    inputs = {"name": "unknown", "role": "shut", "policy": UNKNOWN}
    unknown_policy = resource("aws:iam/rolePolicy:RolePolicy", "unknown", HOME, "dev", **inputs)
    assert ("state", Decision.UNDECIDED) in decisions_by_kind(WRITES, job_role("shut"), unknown_policy)


def test_a_reader_with_not_resource_reads_all_other_resources() -> None:
    all_but_other = statement(Action="s3:GetObject", NotResource=["arn:aws:s3:::other/*"])
    assert decisions_by_kind(WRITES, job_role("shut", all_but_other)) == {("state", Decision.ALLOWED)}
    nothing = statement(Action="s3:GetObject", NotResource=["arn:aws:s3:::*"])
    assert decisions_by_kind(WRITES, job_role("shut", nothing)) == set()


def test_an_unreadable_config_of_a_protected_class_may_consume_anything() -> None:
    assert decisions_by_kind(PUSHES) == set(), "the two classes share nothing"
    unreadable = release("shut", "[[runners")
    assert {("image", Decision.UNDECIDED), ("cache", Decision.UNDECIDED)} <= decisions_by_kind(PUSHES, unreadable)
    assert all("cannot be read" in flow.reason for flow in flows_between(PUSHES, unreadable))


def test_an_unreadable_config_of_an_open_class_may_share_any_cache() -> None:
    assert ("cache", Decision.UNDECIDED) in decisions_by_kind(release("open", "[[runners"))


# The real programs ----------------------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_no_open_class_writes_anything_that_a_protected_class_consumes() -> None:
    assert flows(whole()) == []


def with_capability(policy: str, stack: str, old: str, new: str) -> AccessGraph:
    def inputs(candidate: Resource) -> dict[str, Any] | None:
        is_policy = (
            candidate.type == "aws:iam/rolePolicy:RolePolicy"
            and candidate.inputs.get("name") == policy
            and candidate.stack == stack
        )
        if not is_policy or "open" not in candidate.inputs["role"]:
            return None
        return {"policy": candidate.inputs["policy"].replace(old, new)}

    return changed(inputs)


@pytest.mark.thorough
def test_pushing_an_image_that_a_protected_class_of_another_stack_runs_is_a_flow() -> None:
    detected_flows = flows(with_capability("ecr-push", "dev", "repository/dev/open/", "repository/protected/"))
    assert {(flow.writer.partition("/")[0], flow.consumer, flow.kind) for flow in detected_flows} == {
        ("job:dev", "job:prod/deploy", "image")
    }
    assert detected_flows[0].chain[-1] == f"arn:aws:iam::{CICD}:role/cicd-dev/delegated-role-open-dev"
    runner_flows = flows(with_capability("ecr-push", "prod", "repository/open/*", "repository/protected/runner"))
    assert {flow.consumer for flow in runner_flows} == {"job:prod/deploy"}


@pytest.mark.thorough
def test_writing_the_state_of_a_protected_class_is_a_flow() -> None:
    home = f"o-senncloud01-state-{DEV}-eu-central-1/open/"
    detected_flows = flows(
        with_capability("state", "prod", home, home.replace(DEV, PROD).replace("/open/", "/protected/"))
    )
    assert {(flow.kind, flow.consumer, flow.decision) for flow in detected_flows} == {
        ("state", "job:prod/deploy", Decision.ALLOWED)
    }


@pytest.mark.thorough
@pytest.mark.parametrize(("old", "new"), [('Path = "small"', 'Path = "deploy"'), ('Path = "small"', 'Path = ""')])
def test_a_cache_that_both_trust_levels_use_is_a_flow(old: str, new: str) -> None:
    def with_shared_cache(candidate: Resource) -> dict[str, Any] | None:
        if candidate.name != "small-runner-release" or candidate.stack != "dev":
            return None
        values = json.loads(json.dumps(candidate.inputs["values"]))
        values["runners"]["config"] = values["runners"]["config"].replace(old, new)
        return {"values": values}

    detected_flows = flows(changed(with_shared_cache))
    assert {(flow.writer, flow.consumer, flow.kind) for flow in detected_flows} == {
        ("job:dev/small", "job:dev/deploy", "cache")
    }


@pytest.mark.thorough
def test_running_any_image_makes_every_image_of_an_open_class_a_flow() -> None:
    def any_image(candidate: Resource) -> dict[str, Any] | None:
        if candidate.name != "deploy-runner-release" or candidate.stack != "dev":
            return None
        values = json.loads(json.dumps(candidate.inputs["values"]))
        values["runners"]["config"] = values["runners"]["config"].replace("dev/protected/**", "**")
        return {"values": values}

    assert {flow.kind for flow in flows(changed(any_image))} == {"image"}
