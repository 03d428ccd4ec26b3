"""Chains of roles: by assuming a role and by changing one, through cycles and thousands of roles."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from access.chains import Node
from access.decision import Decision
from tests.support.access_cases import (
    CICD,
    DEV,
    arn,
    by_role,
    document,
    may_assume,
    resource,
    role,
    statement,
    trusts,
    world,
)

if TYPE_CHECKING:
    from access.graph import AccessGraph
    from access.resource import Resource

pytestmark = pytest.mark.thorough

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED


def chain(graph: AccessGraph, start: Node, target: str) -> list[str]:
    return [node.name for node in graph.reach({start: True})[Node("role", target)].nodes if node.kind == "role"]


def rights(*statements: Any) -> list[Any]:
    return [document(*statements)]


# Between roles --------------------------------------------------------------------------------------------------------


def test_the_shortest_chain_is_reported() -> None:
    def link(name: str, after: str, *targets: str) -> Resource:
        return role(name, trusts({"AWS": arn(after)}), policies=[may_assume(*map(arn, targets))])

    long_and_short = [
        role("a", policies=[may_assume(arn("b"), arn("c"))]),
        link("b", "a", "d"),
        link("d", "b", "e"),
        link("c", "a", "e"),
        role("e", trusts({"AWS": [arn("d"), arn("c")]})),
    ]
    assert chain(world(*long_and_short), Node("role", arn("a")), arn("e")) == [arn("a"), arn("c"), arn("e")]


def test_an_allowed_chain_is_preferred_to_a_shorter_undecided_chain() -> None:
    unsure = {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}
    graph = world(
        role("a"),
        role("b", trusts({"AWS": arn("a")})),
        role("c", trusts({"AWS": arn("b")}), trusts({"AWS": arn("a")}, Condition=unsure)),
        role("d", trusts({"AWS": arn("a")}, Condition=unsure)),
        role("e", trusts({"AWS": arn("d")})),
    )
    assert chain(graph, Node("role", arn("a")), arn("c")) == [arn("a"), arn("b"), arn("c")]
    assert by_role(graph, arn("a"), arn("c")) is ALLOWED
    assert by_role(graph, arn("a"), arn("e")) is UNDECIDED, "a chain is undecided if one of its steps is undecided"


@pytest.mark.parametrize(("count", "targets"), [(5000, "narrowed"), (1000, "any"), (1000, "exact")])
def test_chains_through_thousands_of_roles_in_a_circle_are_found_in_seconds(count: int, targets: str) -> None:

    def role_in_circle(index: int) -> Resource:
        before, after = arn(f"r{(index - 1) % count}"), arn(f"r{(index + 1) % count}")
        trust = trusts({"AWS": CICD}, Condition={"ArnEquals": {"aws:PrincipalArn": [before]}})
        trust = trust if targets == "narrowed" else trusts({"AWS": CICD} if targets == "any" else {"AWS": before})
        return role(f"r{index}", trust, policies=[may_assume("*" if targets == "any" else after)])

    roles = [role_in_circle(index) for index in range(count)]
    start = time.process_time()
    reach = world(*roles).reach({Node("role", arn("r0")): True})
    assert len(reach) == count
    assert time.process_time() - start < 15, "the index skips roles whose trusts cannot match"


# By changing roles ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("permission", "expected"),
    [
        ({"Action": "iam:UpdateAssumeRolePolicy", "Resource": arn("b")}, ALLOWED),
        ({"Action": "iam:*", "Resource": "*"}, ALLOWED),
        ({"Action": ["iam:DeleteRole", "iam:CreateRole", "iam:PutRolePolicy"], "Resource": arn("b")}, ALLOWED),
        ({"Action": ["iam:CreateRole", "iam:PutRolePolicy"], "Resource": arn("b")}, DENIED),
        ({"Action": "iam:UpdateAssumeRolePolicy", "Resource": arn("c")}, DENIED),
        ({"Action": ["iam:PassRole", "lambda:CreateFunction"], "Resource": "*"}, DENIED),
        ({"Action": ["iam:PassRole", "ec2:RunInstances"], "Resource": "*"}, ALLOWED),
        ({"Action": "iam:PassRole", "Resource": "*"}, DENIED),
        (
            {"Action": "iam:PassRole", "Resource": "*", "Condition": {"StringEquals": {"iam:PassedToService": "x"}}},
            DENIED,
        ),
        ({"Action": "iam:GetRole", "Resource": "*"}, DENIED),
    ],
)
def test_a_role_that_may_change_or_pass_another_role_can_become_it(
    permission: dict[str, Any], expected: Decision
) -> None:
    graph = world(
        role("a", policies=rights(statement(**permission))), role("b", trusts({"Service": "ec2.amazonaws.com"}))
    )
    assert by_role(graph, arn("a"), arn("b")) is expected


def test_passing_a_role_to_an_unknown_service_is_undecided() -> None:
    passes = rights(statement(Action="iam:PassRole", Resource="*"))
    graph = world(role("a", policies=passes), role("b", trusts({"Service": "new.amazonaws.com"})))
    assert by_role(graph, arn("a"), arn("b")) is UNDECIDED


@pytest.mark.parametrize("action", ["iam:PutRolePolicy", "iam:AttachRolePolicy"])
def test_a_role_that_may_extend_its_policies_reaches_every_role_that_trusts_it(action: str) -> None:
    target = role("delegated", trusts({"AWS": CICD}), account=DEV)
    on_itself = rights(statement(Action=action, Resource=arn("a")))
    assert by_role(world(role("a", policies=on_itself), target), arn("a"), arn("delegated", DEV)) is ALLOWED
    on_another = rights(statement(Action=action, Resource=arn("b")))
    assert by_role(world(role("a", policies=on_another), role("b"), target), arn("a"), arn("delegated", DEV)) is DENIED
    trusting = role("b", trusts({"AWS": arn("a")}))
    assert by_role(world(role("a", policies=on_another), trusting, target), arn("a"), arn("delegated", DEV)) is ALLOWED


def test_a_role_that_may_rewrite_its_managed_policy_may_do_anything() -> None:
    policy = resource("aws:iam/policy:Policy", "p", CICD, name="p", policy=json.dumps(document(
        statement(Action="iam:CreatePolicyVersion", Resource=f"arn:aws:iam::{CICD}:policy/p"))))  # fmt: skip
    attached = resource(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "x",
        CICD,
        role="a",
        policyArn=f"arn:aws:iam::{CICD}:policy/p",
    )
    graph = world(role("a"), policy, attached, role("delegated", trusts({"AWS": CICD}), account=DEV))
    assert by_role(graph, arn("a"), arn("delegated", DEV)) is ALLOWED


def test_a_boundary_limits_added_permissions_until_the_boundary_can_be_removed() -> None:
    no_iam_and_sts = document(statement(NotAction=["sts:*", "iam:*"], Resource="*"))
    boundary = resource("aws:iam/policy:Policy", "b", CICD, name="b", policy=no_iam_and_sts)
    bounded = role("b", trusts({"AWS": arn("a")}), permissionsBoundary=f"arn:aws:iam::{CICD}:policy/b")
    target = role("delegated", trusts({"AWS": arn("b")}), account=DEV)

    def with_rights(*actions: str) -> Decision:
        granted = rights(statement(Action=list(actions), Resource=arn("b")))
        return by_role(world(role("a", policies=granted), bounded, boundary, target), arn("a"), arn("delegated", DEV))

    assert with_rights("iam:PutRolePolicy") is DENIED
    assert with_rights("iam:PutRolePolicy", "iam:DeleteRolePermissionsBoundary") is ALLOWED


def test_a_role_that_may_create_roles_without_a_boundary_acts_for_the_account() -> None:
    boundary = resource(
        "aws:iam/policy:Policy",
        "b",
        CICD,
        name="b",
        policy=document(statement(NotAction=["sts:*", "iam:*"], Resource="*")),
    )
    target = role("delegated", trusts({"AWS": CICD}), account=DEV)
    makes = {"Action": ["iam:CreateRole", "iam:PutRolePolicy"], "Resource": arn("deploy/*")}
    carries = {"Condition": {"StringEquals": {"iam:PermissionsBoundary": f"arn:aws:iam::{CICD}:policy/b"}}}
    bounded = role("bounded", permissionsBoundary=f"arn:aws:iam::{CICD}:policy/b")

    def decision_with(*permissions: dict[str, Any]) -> Decision:
        granted = rights(*(statement(**permission) for permission in permissions))
        graph = world(role("a", policies=granted), bounded, boundary, target)
        return by_role(graph, arn("a"), arn("delegated", DEV))

    assert decision_with(makes) is ALLOWED
    assert decision_with({**makes, **carries}) is DENIED
    creates, attaches = ({**makes, "Action": action} for action in ("iam:CreateRole", "iam:AttachRolePolicy"))
    administrator = {"ArnEquals": {"iam:PolicyARN": "arn:aws:iam::aws:policy/AdministratorAccess"}}
    assert decision_with(creates, {**attaches, "Condition": administrator}) is ALLOWED, (
        "it chooses the policy that fits"
    )
