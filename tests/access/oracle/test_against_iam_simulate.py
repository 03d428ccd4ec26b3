"""The evaluator held to iam-simulate on 2,000 random worlds, by its recorded answers.

Where the two differ, AWS's documentation decides. It decides for this evaluator in every kind that is listed here.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.access.oracle.conditions import NEGATED, listed
from tests.access.oracle.evaluator import answer
from tests.access.oracle.iam_simulate.recording import ALLOWED, DENIED, REFUSED, recorded_answers
from tests.access.oracle.readings import Readings
from tests.access.oracle.requests import requests
from tests.access.oracle.world import Act, AssumeRole
from tests.access.oracle.worlds import random_world

if TYPE_CHECKING:
    from tests.access.oracle.evaluator import Answer
    from tests.access.oracle.world import Document, Question, World

LETTERS = {"ALLOWED": ALLOWED, "DENIED": DENIED}
GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
KINDS = {
    "a session policy does not limit what a resource's policy grants to the session": f"{GUIDE}access_policies.html#policies_session",
    "a variable is plain text before version 2012-10-17": f"{GUIDE}reference_policies_variables.html",
    "a resource with a variable without a value matches nothing, in NotResource, too": f"{GUIDE}reference_policies_variables.html#policy-vars-no-value",
    "a negated operator matches a variable without a value": f"{GUIDE}reference_policies_variables.html#policy-vars-no-value",
}
"""Kinds of differences, with the page that decides for this evaluator."""


def documents(world: World, question: Question) -> list[Document]:
    """Return every policy document that can decide the question."""
    request = requests(world, question, Readings({}))[0]
    chosen = [*request.identity_policies, request.boundary, request.session_policy, request.resource_policy]
    return [document for document in chosen if document is not None]


def kind_of_difference(world: World, question: Question, own: Answer) -> str | None:
    """Return the listed kind that a difference is of, or None."""
    kinds = list(KINDS)
    session_policy = question.session.policy if isinstance(question, Act | AssumeRole) else None
    if session_policy and ("names the session" in own.reason or "aws:PrincipalArn" in own.reason):
        return kinds[0]
    texts = [(document, json.dumps(document)) for document in documents(world, question)]
    if any("${" in text and document["Version"] != "2012-10-17" for document, text in texts):
        return kinds[1]
    statements = [statement for document, _ in texts for statement in listed(document["Statement"])]
    if any("${" in str(statement.get("NotResource")) for statement in statements):
        return kinds[2]
    conditions = [entry for statement in statements for entry in statement.get("Condition", {}).items()]
    negated = tuple(NEGATED)
    if any(operator.rpartition(":")[2].startswith(negated) and "${" in str(keys) for operator, keys in conditions):
        return kinds[3]
    return None


@pytest.mark.thorough
def test_both_evaluators_agree_but_where_the_documentation_decides_for_this_one() -> None:
    recorded = recorded_answers()
    differences: Counter[str | None] = Counter()
    unexplained: list[str] = []
    agreed = 0
    for seed, letters in enumerate(recorded):
        world, questions = random_world(seed)
        for number, (question, letter) in enumerate(zip(questions, letters, strict=True)):
            own = answer(world, question)
            if own.verdict == "OUTSIDE" or letter not in {ALLOWED, DENIED}:
                continue
            if LETTERS[own.verdict] == letter:
                agreed += 1
                continue
            kind = kind_of_difference(world, question, own)
            differences[kind] += 1
            if kind is None:
                unexplained.append(f"world {seed}, question {number}: {own}")
    assert not unexplained, "\n".join(unexplained[:20])
    assert agreed > 43_000
    assert set(differences) == set(KINDS), "every listed kind still occurs"
    assert differences.total() < 250


def test_iam_simulate_accepts_every_recorded_document() -> None:
    letters = "".join(recorded_answers())
    assert REFUSED not in letters
    assert min(letters.count(ALLOWED), letters.count(DENIED)) > 9_000
