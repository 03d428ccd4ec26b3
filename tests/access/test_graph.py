"""Sessions that no document tells apart are asked once: the answers stay, and the work stays small."""

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
POWERS = ["iam:PutRolePolicy", "iam:UpdateAssumeRolePolicy", "iam:CreateRole", "iam:PassRole", "ec2:RunInstances", "*"]
ADMINISTERS = document(statement(Action="*", Resource="*"))

policies = st.fixed_dictionaries(
    {
        "Effect": st.sampled_from(["Allow", "Allow", "Deny"]),
        "Action": st.lists(st.sampled_from(["sts:AssumeRole", *POWERS]), min_size=1, max_size=3),
        "Resource": st.lists(st.sampled_from(["*", *ARNS]), min_size=1, max_size=2),
        "Condition": conditions,
    }
)
shared = st.lists(policies, min_size=1, max_size=2)
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
@given(shared, st.fixed_dictionaries(dict.fromkeys(NAMES, roles)))
def test_asking_alike_sessions_together_changes_no_answer(its: list[Any], made: dict[str, dict[str, Any]]) -> None:
    resources = [resource("aws:iam/policy:Policy", "bound", CICD, "dev", name="bound", policy=ADMINISTERS)]
    for name, parts in made.items():
        more = {"permissionsBoundary": BOUNDARY} if parts["bound"] else {}
        own = document(*(its if parts["own"] is None else parts["own"]))
        resources.append(role(name, *parts["trust"], policies=[own], tags=parts["tag"], **more))
    together = _answers(world(*resources))
    with mock.patch.object(AccessGraph, "alike", return_value=None):
        assert _answers(world(*resources)) == together


def _answers(of: AccessGraph) -> dict[tuple[str, str], tuple[bool, int] | None]:
    """For each start and role how good the best way is."""
    found: dict[tuple[str, str], tuple[bool, int] | None] = {}
    for start in (Node("account", CICD), Node("account", DEV), *(Node("role", each) for each in ARNS)):
        reach = of.reach({start: True})
        for target in ARNS:
            way = of.best(reach, target)
            found[start.name, target] = None if way is None else way.rank
    return found


@pytest.mark.parametrize(
    ("trust", "apart"),
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
def test_only_a_trust_that_looks_at_arns_tells_sessions_of_an_account_apart(trust: Any, apart: bool) -> None:
    assert depends_on_role_arn(normalise(document(trust))) is apart


def administrators(count: int, kind: str) -> list[Resource]:
    """Roles of one account that may do everything."""
    trust = {
        "all trust the account": lambda _: trusts({"AWS": CICD}),
        "none trusts anybody": lambda _: trusts({"Service": "ec2.amazonaws.com"}),
        "each trusts another one": lambda i: trusts({"AWS": arn(f"r{i - 1}")}),
        "each has a document of its own": lambda _: trusts({"AWS": CICD}),
    }[kind]
    denied = statement("Deny", Action="sqs:*", Resource="arn:aws:sqs:*:*:q{}")

    def policy(index: int) -> Any:
        own = {**denied, "Resource": denied["Resource"].format(index)}
        return ADMINISTERS if "own" not in kind else document(*ADMINISTERS["Statement"], own)

    return [role(f"r{index}", trust(index), policies=[policy(index)]) for index in range(count)]


@pytest.mark.parametrize(
    "kind",
    [
        "all trust the account",
        "none trusts anybody",
        "each trusts another one",
        "each has a document of its own",
    ],
)
def test_thousands_of_administrators_are_walked_in_seconds(kind: str) -> None:
    count = 5000 if "own" not in kind else 1000
    start = time.process_time()
    of = world(*administrators(count, kind))
    with mock.patch.object(escalation, "power_over", side_effect=escalation.power_over) as asked:
        reach = of.reach({Node("role", arn("r0")): True})
        assert {of.best(reach, each) is not None for each in of.roles} == {True}
        assert asked.call_count <= 2 * count, "each role is asked about by a few, not by all the others"
        first = asked.call_count
        cells = derived(of)
        assert asked.call_count <= first + 2 * count, "and no more by whoever comes next"
    assert len(cells) >= 5 * count
    assert time.process_time() - start < 30
