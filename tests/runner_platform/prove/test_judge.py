"""What an answer means: who was let in, who was refused for the right reason, and what proves nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner_platform.prove import judge
from runner_platform.prove.model import REFUSED, Answer, Attempt, Cell, Identity, Sdk, Way

ROLE = "arn:aws:iam::333333333333:role/cicd/delegated-role-open"
POSITIVE = Attempt(
    runner_class="small",
    service_account="jobs-small/job",
    identity=Identity(stack="prod", runner_class="small"),
    profile="dev",
    sdk=Sdk.BOTO3,
    way=Way.NAMED,
    expected=ROLE,
)
STRANGER = replace(
    POSITIVE,
    runner_class=None,
    service_account="jobs-small/default",
    expected=REFUSED,
    reasons=frozenset({"AccessDenied"}),
    control=POSITIVE.key,
)
KNOWN = judge.known_roles([POSITIVE])


def got(attempt: Attempt, **answer: str) -> str:
    return judge.judged(attempt, Answer(**answer), KNOWN).got


def test_a_session_is_named_by_its_role_with_the_path_that_sts_leaves_out() -> None:
    session = "arn:aws:sts::333333333333:assumed-role/delegated-role-open/runner-small"
    assert got(POSITIVE, arn=session) == ROLE
    assert judge.judged(POSITIVE, Answer(arn=session), KNOWN).ok


def test_the_same_role_name_in_another_account_is_another_role() -> None:
    session = "arn:aws:sts::444444444444:assumed-role/delegated-role-open/runner-small"
    assert got(POSITIVE, arn=session) == "arn:aws:iam::444444444444:role/delegated-role-open"


def test_roles_that_strangers_ask_for_are_known_by_their_full_names() -> None:
    asking = replace(
        STRANGER,
        identity=replace(
            STRANGER.identity,
            profiles="[profile x]\nrole_arn = arn:aws:iam::1:role/x\n"
            "[profile y]\nrole_arn = arn:aws:iam::111111111111:role/cicd-platform/platform-reader\n",
        ),
    )
    known = judge.known_roles([asking])
    session = "arn:aws:sts::111111111111:assumed-role/platform-reader/stranger"
    assert judge.judged(asking, Answer(arn=session), known).got.endswith(":role/cicd-platform/platform-reader")
    assert not judge.judged(asking, Answer(arn=session), known).ok, "let in, and should be refused"


def test_a_refusal_counts_only_for_the_reason_that_was_expected() -> None:
    assert got(STRANGER, error="no", kind="AccessDenied") == REFUSED
    assert got(STRANGER, error="Could not connect", kind="Unreachable") == "BROKEN: Could not connect"
    assert got(STRANGER, error="bad token", kind="InvalidIdentityToken").startswith("BROKEN")
    assert got(STRANGER) == "BROKEN: no answer"


@pytest.mark.parametrize("kind", sorted(judge.REFUSALS))
def test_a_class_that_is_refused_is_shown_as_refused(kind: str) -> None:
    cell = judge.judged(POSITIVE, Answer(error="no", kind=kind), KNOWN)
    assert (cell.got, cell.ok, cell.cause) == (REFUSED, False, "no")


def test_a_refusal_whose_control_fails_too_proves_nothing() -> None:
    refused = judge.judged(STRANGER, Answer(error="no", kind="AccessDenied"), KNOWN)
    fine = Cell(attempt=POSITIVE, got=ROLE)
    broken = Cell(attempt=POSITIVE, got=REFUSED)
    assert judge.with_controls([refused, fine])[0].ok
    shown = judge.with_controls([refused, broken])[0]
    assert not shown.ok
    assert "its control, jobs-small/job dev boto3 named, fails too" in shown.got
    assert not judge.with_controls([refused])[0].ok, "a control that was not tried is none"


def test_a_cell_s_document_has_the_eight_keys_that_are_promised() -> None:
    assert Cell(attempt=STRANGER, got=REFUSED).document() == {
        "class": None,
        "service_account": "jobs-small/default",
        "profile": "dev",
        "sdk": "boto3",
        "way": "named",
        "expected": "REFUSED",
        "got": "REFUSED",
        "ok": True,
    }
