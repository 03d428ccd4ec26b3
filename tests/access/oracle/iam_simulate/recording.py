"""Questions in the form of iam-simulate, and its recorded answers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.access.oracle.readings import Readings
from tests.access.oracle.requests import RefusedError, Request, requests
from tests.access.oracle.worlds import ISSUER, random_world

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.access.oracle.conditions import Context, Values
    from tests.access.oracle.world import Document, Question, World

FOLDER = Path(__file__).parent
RECORD = FOLDER / "answers.json"
WORLDS = 2000
LISTED_ISSUER = "accounts.google.com"
"""An issuer whose condition keys are in iam-simulate's data; it stands for the issuer of the worlds."""
ALLOWED, DENIED, REFUSED, NOT_ASKED = "a", "d", "r", "-"


def simulations(world: World, question: Question) -> list[dict[str, Any]]:
    """Return the question as simulations, which must all be allowed; none if it has no such form.

    A question has no such form if AWS refuses it before any policy, or if the caller's own policies see other condition keys
    than the resource's policy.
    """
    try:
        asked = requests(world, question, Readings({}))
    except RefusedError:
        return []
    if any(
        request.identity_context and _values(request.identity_context) != _values(request.context) for request in asked
    ):
        return []
    return [_simulation(request) for request in asked]


def _values(context: Context) -> dict[str, Values]:
    return {key: value for key in sorted(context.keys) if (value := context.get(key)) is not None}


def _simulation(request: Request) -> dict[str, Any]:
    caller = request.caller
    simulation: dict[str, Any] = {
        "request": {
            "principal": caller.session or caller.service or caller.federated,
            "action": request.action,
            "resource": {"resource": request.resource, "accountId": request.owner},
            "contextVariables": _values(request.context),
        },
        "identityPolicies": _named(request.identity_policies),
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
        "resourcePolicy": request.resource_policy,
    }
    if request.boundary is not None:
        simulation["permissionBoundaryPolicies"] = _named((request.boundary,))
    if request.session_policy is not None:
        simulation["sessionPolicy"] = request.session_policy
    changed: dict[str, Any] = json.loads(json.dumps(simulation).replace(ISSUER, LISTED_ISSUER))
    return changed


def _named(documents: tuple[Document, ...]) -> list[dict[str, Any]]:
    return [{"name": f"policy-{number}", "policy": document} for number, document in enumerate(documents)]


def asked_worlds(count: int = WORLDS) -> Iterator[list[list[dict[str, Any]]]]:
    """Yield the simulations of each question of each world."""
    for seed in range(count):
        world, questions = random_world(seed)
        yield [simulations(world, question) for question in questions]


def digest() -> str:
    """Return a digest that changes with the worlds."""
    text = json.dumps(list(asked_worlds(20)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def recorded_answers() -> list[str]:
    """Return a letter for every question of every world.

    Raises:
        AssertionError: The record belongs to other worlds.
    """
    record = json.loads(RECORD.read_text())
    assert record["digest"] == digest(), f"{RECORD.name} belongs to other worlds; record again, as its folder explains"
    answers: list[str] = record["answers"]
    return answers
