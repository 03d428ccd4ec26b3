"""Roles that EKS Pod Identity gives: its tags, its session policy, and what is not known of it."""

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
    given = {"namespace": "jobs-small", "serviceAccount": "job", "roleArn": POD, **inputs}
    return resource("aws:eks/podIdentityAssociation:PodIdentityAssociation", "x", CICD, "dev", **given)


def to(
    target: str, *resources: Resource, actions: Any = BOTH, policies: Any = (ADMINISTERS,), **trust: Any
) -> Decision:
    """What the account reaches, where the role of its association may do these things."""
    pod = role("pod", trusts({"Service": "pods.eks.amazonaws.com"}, actions, **trust), policies=policies)
    other = role("other", trusts({"AWS": POD}))
    return reached(world(kubernetes("ServiceAccount", "job", "jobs-small"), pod, other, *resources), JOB, target)


@pytest.mark.parametrize(
    ("actions", "namespace", "found"),
    [
        (BOTH, None, ALLOWED),
        ("sts:AssumeRole", None, DENIED),
        (BOTH, "jobs-small", ALLOWED),
        (BOTH, "other", DENIED),
    ],
)
def test_pod_identity_gives_an_account_its_role(actions: Any, namespace: str | None, found: Decision) -> None:
    condition = {"StringEquals": {"aws:RequestTag/kubernetes-namespace": namespace}}
    assert to(POD, association(), actions=actions, **({"Condition": condition} if namespace else {})) is found


def test_without_tags_no_permission_to_tag_is_needed_and_no_tag_is_there() -> None:
    untagged = association(disableSessionTags=True)
    assert to(POD, untagged, actions="sts:AssumeRole") is ALLOWED
    condition = {"StringEquals": {"aws:RequestTag/kubernetes-namespace": "jobs-small"}}
    assert to(POD, untagged, Condition=condition) is DENIED


@pytest.mark.parametrize(
    ("policy", "found"),
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
def test_the_session_policy_of_an_association_limits_what_comes_after(policy: Any, found: Decision) -> None:
    limited = association(policy=policy, disableSessionTags=True)
    assert to(POD, limited) is ALLOWED, "whatever the session may do, it is one of the role"
    assert to(OTHER, limited) is found


def test_a_session_policy_grants_nothing() -> None:
    account_only = role("other", trusts({"AWS": CICD}))
    of = world(
        association(policy=ASSUMES_OTHER),
        role("pod", trusts({"Service": "pods.eks.amazonaws.com"}, BOTH)),
        account_only,
    )
    assert reached(of, JOB, OTHER) is DENIED


def test_a_policy_beside_a_target_role_limits_the_targets_session_only() -> None:
    nothing = document(statement("Deny", Action="*", Resource="*"))
    assert to(OTHER, association(policy=nothing, targetRoleArn=OTHER)) is ALLOWED


def test_whoever_else_becomes_the_role_is_not_limited() -> None:
    nothing = document(statement("Deny", Action="*", Resource="*"))
    pod = role("pod", trusts({"AWS": arn("people")}), policies=[ADMINISTERS])
    of = world(
        association(policy=nothing), pod, role("other", trusts({"AWS": POD})), role("people", policies=[ADMINISTERS])
    )
    assert by_role(of, arn("people"), OTHER) is ALLOWED


@pytest.mark.parametrize("what", ["iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy"])
def test_a_limited_session_that_may_change_roles_rises_within_its_limit(what: str) -> None:
    changes = document(statement(Action=[what, "sts:AssumeRole"], Resource="*"))
    limited = association(policy=changes, disableSessionTags=True)
    assert to(OTHER, limited, policies=[changes]) is ALLOWED
    reads = association(policy=document(statement(Action="iam:Get*", Resource="*")), disableSessionTags=True)
    assert to(OTHER, reads, policies=[changes]) is DENIED


@pytest.mark.parametrize("key", ["namespace", "serviceAccount", "roleArn", "disableSessionTags"])
def test_what_is_not_known_of_an_association_is_undecided(key: str) -> None:
    assert to(POD, association(**{key: UNKNOWN})) is UNDECIDED


def test_the_chain_of_a_limited_session_names_roles_as_they_are() -> None:
    pod = role("pod", trusts({"Service": "pods.eks.amazonaws.com"}, BOTH), policies=[ADMINISTERS])
    cell = next(
        each
        for each in derived(
            world(
                kubernetes("ServiceAccount", "job", "jobs-small"),
                association(policy=ASSUMES_OTHER),
                pod,
                role("other", trusts({"AWS": POD})),
            )
        )
        if each.principal == "sa:jobs-small/job" and each.role == OTHER
    )
    assert (cell.decision, cell.chain) == (ALLOWED, (POD, OTHER))
    assert flows(world(association(policy=ASSUMES_OTHER), pod)) == []
