"""Random worlds hold what the comparison with the reasoner needs."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.access.oracle.conditions import NEGATED, OPERATORS, listed
from tests.access.oracle.evaluator import answer
from tests.access.oracle.worlds import random_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.access.oracle.world import World

KEYS = {
    *("aws:PrincipalArn", "aws:PrincipalAccount", "aws:PrincipalOrgID", "aws:PrincipalTag/Team", "aws:PrincipalType"),
    *(
        "aws:userid",
        "aws:RequestTag/Team",
        "aws:TagKeys",
        "aws:ResourceTag/Level",
        "aws:SourceAccount",
        "aws:SourceArn",
    ),
    *(
        "sts:ExternalId",
        "sts:RoleSessionName",
        "sts:TransitiveTagKeys",
        "gitlab.example.com:sub",
        "gitlab.example.com:aud",
    ),
}


def statements(world: World) -> Iterator[dict[str, Any]]:
    roles, sessions, resources = world.roles.values(), world.sessions, world.resources.values()
    documents = [role.trust for role in roles] + [document for role in roles for document in role.policies]
    limits = [role.boundary for role in roles] + [session.policy for session in sessions]
    for document in [*documents, *limits, *(resource.policy for resource in resources)]:
        yield from listed(document["Statement"]) if document else ()


def test_a_seed_always_leads_to_the_same_world() -> None:
    assert random_world(7) == random_world(7) != random_world(8)


def test_the_worlds_use_every_element_operator_and_condition_key() -> None:
    elements: set[str] = set()
    operators: set[str] = set()
    keys: set[str] = set()
    texts = ""
    for seed in range(150):
        for statement in statements(random_world(seed)[0]):
            elements |= statement.keys()
            operators |= statement.get("Condition", {}).keys()
            keys |= {key for block in statement.get("Condition", {}).values() for key in block}
            texts += json.dumps(statement)
    names = {re.sub(r"^For\w+:|IfExists$", "", operator) for operator in operators}
    assert names == {*OPERATORS, *NEGATED, "Null"} - {"BinaryEquals"}
    assert {"NotAction", "NotResource", "NotPrincipal", "Principal", "Condition"} <= elements
    assert keys >= KEYS
    assert {"ForAllValues:StringLike", "ForAnyValue:StringEquals", "ArnLikeIfExists"} <= operators
    assert all(
        text in texts for text in ("Federated", "Service", ":root", ":assumed-role/", '"*"', "${aws:PrincipalTag")
    )


def test_every_kind_of_question_gets_every_verdict() -> None:
    verdicts: dict[str, set[str]] = defaultdict(set)
    for seed in range(60):
        world, questions = random_world(seed)
        for question in questions:
            verdicts[type(question).__name__].add(answer(world, question).verdict)
    assert set(map(frozenset, verdicts.values())) == {frozenset(["ALLOWED", "DENIED", "OUTSIDE"])}
    assert set(verdicts) == {"Act", "AssumeRole", "AssumeRoleForPod", "AssumeRoleWithToken"}
