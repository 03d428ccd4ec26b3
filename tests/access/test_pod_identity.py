"""Roles that EKS Pod Identity gives to service accounts: session tags, session policies and unknown inputs."""

from __future__ import annotations

from typing import Any

import pytest

from access.chains import Node
from access.decision import Decision
from access.flows import flows
from access.matrix import derived
from access.resource import UNKNOWN, Resource
from tests.support.access_cases import (
    CICD,
    arn,
    by_role,
    document,
    kubernetes,
    reached,
    resource,
    role,
    statement,
    trusts,
    world,
)

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED
BOTH = ["sts:AssumeRole", "sts:TagSession"]
POD, OTHER = arn("pod"), arn("other")
JOB = Node("sa", "dev/jobs-small/job")
ADMINISTERS = document(statement(Action="*", Resource="*"))
ASSUMES_OTHER = document(statement(Action="sts:AssumeRole", Resource=OTHER))


def association(**inputs: Any) -> Resource:
    association_inputs = {"namespace": "jobs-small", "serviceAccount": "job", "roleArn": POD, **inputs}
    return resource("aws:eks/podIdentityAssociation:PodIdentityAssociation", "x", CICD, "dev", **association_inputs)


def decision_for(
    target: str, *resources: Resource, actions: Any = BOTH, policies: Any = (ADMINISTERS,), **trust: Any
) -> Decision:
    """Return the decision for the service account and the target, given the policies of the associated role."""
    pod = role("pod", trusts({"Service": "pods.eks.amazonaws.com"}, actions, **trust), policies=policies)
    other_role = role("other", trusts({"AWS": POD}))
    return reached(world(kubernetes("ServiceAccount", "job", "jobs-small"), pod, other_role, *resources), JOB, target)


@pytest.mark.parametrize(("actions", "expected"), [(BOTH, ALLOWED), ("sts:AssumeRole", DENIED)])
def test_pod_identity_gives_a_service_account_its_role(actions: Any, expected: Decision) -> None:
    assert decision_for(POD, association(), actions=actions) is expected


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        ("kubernetes-namespace", "jobs-small"),
        ("kubernetes-service-account", "job"),
        ("eks-cluster-name", "platform"),
    ],
)
def test_pod_identity_tags_the_session_with_where_the_pod_is(tag: str, value: str) -> None:
    cluster = resource("aws:eks/cluster:Cluster", "c", CICD, name="platform")
    for expected, decision in ((value, ALLOWED), ("other", DENIED)):
        condition = {"StringEquals": {f"aws:RequestTag/{tag}": expected}}
        assert decision_for(POD, association(), cluster, Condition=condition) is decision


def test_an_association_without_session_tags_needs_no_permission_to_tag() -> None:
    untagged = association(disableSessionTags=True)
    assert decision_for(POD, untagged, actions="sts:AssumeRole") is ALLOWED
    condition = {"StringEquals": {"aws:RequestTag/kubernetes-namespace": "jobs-small"}}
    assert decision_for(POD, untagged, Condition=condition) is DENIED


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (None, ALLOWED),
        (ASSUMES_OTHER, ALLOWED),
        (document(statement(Action="s3:*", Resource="*")), DENIED),
        (
            document(statement(Action="*", Resource="*"), statement("Deny", Action=["sts:*", "iam:*"], Resource="*")),
            DENIED,
        ),
        (UNKNOWN, UNDECIDED),
        ("{", UNDECIDED),
    ],
)
def test_the_session_policy_of_an_association_limits_further_roles(policy: Any, expected: Decision) -> None:
    limited = association(policy=policy, disableSessionTags=True)
    assert decision_for(POD, limited) is ALLOWED, "a session policy does not stop the account from becoming the role"
    assert decision_for(OTHER, limited) is expected


def test_a_session_policy_grants_nothing() -> None:
    account_only = role("other", trusts({"AWS": CICD}))
    graph = world(
        association(policy=ASSUMES_OTHER),
        role("pod", trusts({"Service": "pods.eks.amazonaws.com"}, BOTH)),
        account_only,
    )
    assert reached(graph, JOB, OTHER) is DENIED


def test_a_session_policy_limits_the_target_role_of_the_association_only() -> None:
    nothing = document(statement("Deny", Action="*", Resource="*"))
    assert decision_for(OTHER, association(policy=nothing, targetRoleArn=OTHER)) is ALLOWED


def test_a_session_policy_does_not_limit_other_principals_of_the_role() -> None:
    nothing = document(statement("Deny", Action="*", Resource="*"))
    pod = role("pod", trusts({"AWS": arn("people")}), policies=[ADMINISTERS])
    graph = world(
        association(policy=nothing), pod, role("other", trusts({"AWS": POD})), role("people", policies=[ADMINISTERS])
    )
    assert by_role(graph, arn("people"), OTHER) is ALLOWED


@pytest.mark.parametrize("action", ["iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"])
def test_a_limited_session_that_may_change_roles_stays_within_its_limit(action: str) -> None:
    changes = document(statement(Action=[action, "sts:AssumeRole"], Resource="*"))
    limited = association(policy=changes, disableSessionTags=True)
    assert decision_for(OTHER, limited, policies=[changes]) is ALLOWED
    reads = association(policy=document(statement(Action="iam:Get*", Resource="*")), disableSessionTags=True)
    assert decision_for(OTHER, reads, policies=[changes]) is DENIED


@pytest.mark.parametrize("key", ["namespace", "serviceAccount", "roleArn", "disableSessionTags"])
def test_an_unknown_input_of_an_association_is_undecided(key: str) -> None:
    assert decision_for(POD, association(**{key: UNKNOWN})) is UNDECIDED


def test_the_chain_of_a_limited_session_names_role_arns() -> None:
    pod = role("pod", trusts({"Service": "pods.eks.amazonaws.com"}, BOTH), policies=[ADMINISTERS])
    cell = next(
        cell
        for cell in derived(
            world(
                kubernetes("ServiceAccount", "job", "jobs-small"),
                association(policy=ASSUMES_OTHER),
                pod,
                role("other", trusts({"AWS": POD})),
            )
        )
        if cell.principal == "sa:jobs-small/job" and cell.role == OTHER
    )
    assert (cell.decision, cell.chain) == (ALLOWED, (POD, OTHER))
    assert flows(world(association(policy=ASSUMES_OTHER), pod)) == []
