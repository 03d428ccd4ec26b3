"""Sessions that every policy treats alike are evaluated as a group: the same decisions, with far less work."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access import escalation
from access.chains import Node
from access.graph import AccessGraph
from access.matrix import derived
from access.policy_documents import normalise
from access.trust_index import depends_on_role_arn
from tests.access.test_properties import FEW, conditions, statements
from tests.support.access_cases import CICD, DEV, arn, document, resource, role, statement, trusts, world

if TYPE_CHECKING:
    from access.resource import Resource

NAMES = ("a", "b", "c", "d")
ARNS = [arn(name) for name in NAMES]
BOUNDARY = f"arn:aws:iam::{CICD}:policy/bound"
ESCALATING_ACTIONS = [
    "iam:PutRolePolicy",
    "iam:UpdateAssumeRolePolicy",
    "iam:CreateRole",
    "iam:PassRole",
    "ec2:RunInstances",
    "*",
]
ADMINISTERS = document(statement(Action="*", Resource="*"))

policies = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Action": st.lists(st.sampled_from(["sts:AssumeRole", *ESCALATING_ACTIONS]), min_size=1, max_size=3),
        "Resource": st.lists(st.sampled_from(["*", *ARNS]), min_size=1, max_size=2),
        "Condition": conditions,
    }
)
shared_statements = st.lists(policies, min_size=1, max_size=2)
roles = st.fixed_dictionaries(
    {
        "trust": st.lists(statements("Allow", "Deny"), min_size=1, max_size=2),
        "own": st.none() | st.lists(policies, max_size=2),
        "bound": st.booleans(),
        "tag": st.sampled_from([{}, {"team": "x"}]),
    }
)


@pytest.mark.thorough
@FEW
@given(shared_statements, st.fixed_dictionaries(dict.fromkeys(NAMES, roles)))
def test_grouping_sessions_that_policies_treat_alike_changes_no_decision(
    shared_policy: list[Any], generated_roles: dict[str, dict[str, Any]]
) -> None:
    resources = [resource("aws:iam/policy:Policy", "bound", CICD, "dev", name="bound", policy=ADMINISTERS)]
    for name, parts in generated_roles.items():
        boundary = {"permissionsBoundary": BOUNDARY} if parts["bound"] else {}
        policy = document(*(shared_policy if parts["own"] is None else parts["own"]))
        resources.append(role(name, *parts["trust"], policies=[policy], tags=parts["tag"], **boundary))
    together = best_ranks(world(*resources))
    with mock.patch.object(AccessGraph, "group_of", return_value=None):
        assert best_ranks(world(*resources)) == together


def best_ranks(graph: AccessGraph) -> dict[tuple[str, str], tuple[bool, int] | None]:
    """Return the rank of the best chain for each pair of a start and a role."""
    ranks: dict[tuple[str, str], tuple[bool, int] | None] = {}
    for start in (Node("account", CICD), Node("account", DEV), *(Node("role", role_arn) for role_arn in ARNS)):
        reach = graph.reach({start: True})
        for target in ARNS:
            chain = graph.best(reach, target)
            ranks[start.name, target] = None if chain is None else chain.rank
    return ranks


@pytest.mark.parametrize(
    ("trust", "depends"),
    [
        (trusts({"AWS": CICD}), False),
        (trusts("*"), False),
        (trusts({"Service": "ec2.amazonaws.com"}), False),
        (trusts({"AWS": CICD}, Condition={"StringEquals": {"aws:PrincipalTag/team": "x"}}), False),
        (trusts({"AWS": CICD}, Condition={"ArnLike": {"AWS:PrincipalArn": "arn:aws:iam::*:role/x*"}}), True),
        (trusts({"AWS": arn("a")}), True),
        (trusts({"AWS": f"arn:aws:sts::{CICD}:assumed-role/a/s"}), True),
        (trusts({"AWS": "AROAEXAMPLEEXAMPLE12"}), True),
        (trusts({"AWS": "[unknown]"}), True),
        ({"Effect": "Deny", "NotPrincipal": {"AWS": CICD}, "Action": "*"}, True),
    ],
)
def test_only_a_trust_that_compares_arns_distinguishes_sessions_of_an_account(trust: Any, depends: bool) -> None:
    assert depends_on_role_arn(normalise(document(trust))) is depends


def administrators(count: int, kind: str) -> list[Resource]:
    """Roles of one account that may do everything."""
    trust = {
        "all trust the account": lambda _index: trusts({"AWS": CICD}),
        "all trust a service": lambda _index: trusts({"Service": "ec2.amazonaws.com"}),
        "every role trusts the one before": lambda index: trusts({"AWS": arn(f"r{index - 1}")}),
        "every role has its own policy": lambda _index: trusts({"AWS": CICD}),
    }[kind]
    denied = statement("Deny", Action="sqs:*", Resource="arn:aws:sqs:*:*:q{}")

    def policy(index: int) -> Any:
        unique_denial = {**denied, "Resource": denied["Resource"].format(index)}
        return ADMINISTERS if "own" not in kind else document(*ADMINISTERS["Statement"], unique_denial)

    return [role(f"r{index}", trust(index), policies=[policy(index)]) for index in range(count)]


@pytest.mark.thorough
@pytest.mark.parametrize(
    "kind",
    [
        "all trust the account",
        "all trust a service",
        "every role trusts the one before",
        "every role has its own policy",
    ],
)
def test_chains_of_thousands_of_administrators_are_found_in_seconds(kind: str) -> None:
    count = 5000 if "own" not in kind else 1000
    start = time.process_time()
    graph = world(*administrators(count, kind))
    with mock.patch.object(escalation, "power_over", side_effect=escalation.power_over) as power_over:
        reach = graph.reach({Node("role", arn("r0")): True})
        assert {graph.best(reach, role_arn) is not None for role_arn in graph.roles} == {True}
        assert power_over.call_count <= 2 * count, "a role is evaluated for a few principals, not for every other role"
        first_call_count = power_over.call_count
        cells = derived(graph)
        assert power_over.call_count <= first_call_count + 2 * count, "the access matrix reuses these results"
    assert len(cells) >= 5 * count
    assert time.process_time() - start < 30
