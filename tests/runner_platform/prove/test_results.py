"""Results of answers: accepted, refused for the expected reason, or broken."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner_platform.prove.attempts import REFUSED, Attempt, Identity, Sdk, Way
from runner_platform.prove.results import REFUSALS, Answer, Result, result_of, roles_in, with_controls

ROLE = "arn:aws:iam::333333333333:role/cicd/delegated-role-open"
POSITIVE = Attempt(
    runner_class="small",
    caller="jobs-small/job",
    identity=Identity(stack="prod", runner_class="small"),
    profile="dev",
    sdk=Sdk.BOTO3,
    way=Way.NAMED,
    expected=ROLE,
)
STRANGER = replace(
    POSITIVE,
    runner_class=None,
    caller="jobs-small/default",
    expected=REFUSED,
    refusal_kinds=frozenset({"AccessDenied"}),
    control=POSITIVE.key,
)
ROLES = roles_in([POSITIVE])


def got(attempt: Attempt, **answer: str) -> str:
    return result_of(attempt, Answer(**answer), ROLES).got


def test_a_session_becomes_its_role_with_the_path_that_sts_omits() -> None:
    session = "arn:aws:sts::333333333333:assumed-role/delegated-role-open/runner-small"
    assert got(POSITIVE, arn=session) == ROLE
    assert result_of(POSITIVE, Answer(arn=session), ROLES).ok


def test_the_same_role_name_in_another_account_is_another_role() -> None:
    session = "arn:aws:sts::444444444444:assumed-role/delegated-role-open/runner-small"
    assert got(POSITIVE, arn=session) == "arn:aws:iam::444444444444:role/delegated-role-open"


def test_roles_in_the_profiles_of_strangers_keep_their_path() -> None:
    attempt = replace(
        STRANGER,
        identity=replace(
            STRANGER.identity,
            profiles="[profile x]\nrole_arn = arn:aws:iam::1:role/x\n"
            "[profile y]\nrole_arn = arn:aws:iam::111111111111:role/cicd-platform/platform-reader\n",
        ),
    )
    roles = roles_in([attempt])
    session = "arn:aws:sts::111111111111:assumed-role/platform-reader/stranger"
    assert result_of(attempt, Answer(arn=session), roles).got.endswith(":role/cicd-platform/platform-reader")
    assert not result_of(attempt, Answer(arn=session), roles).ok, "accepted, but expected to be refused"


def test_a_refusal_counts_only_for_an_expected_kind_of_failure() -> None:
    assert got(STRANGER, error="no", kind="AccessDenied") == REFUSED
    assert got(STRANGER, error="Could not connect", kind="Unreachable") == "BROKEN: Could not connect"
    assert got(STRANGER, error="bad token", kind="InvalidIdentityToken").startswith("BROKEN")
    assert got(STRANGER) == "BROKEN: no answer"


@pytest.mark.parametrize("kind", sorted(REFUSALS))
def test_a_refused_class_is_refused_and_wrong(kind: str) -> None:
    result = result_of(POSITIVE, Answer(error="no", kind=kind), ROLES)
    assert (result.got, result.ok, result.cause) == (REFUSED, False, "no")


def test_a_refusal_with_a_failed_control_is_broken() -> None:
    refused = result_of(STRANGER, Answer(error="no", kind="AccessDenied"), ROLES)
    succeeded = Result(attempt=POSITIVE, got=ROLE)
    failed = Result(attempt=POSITIVE, got=REFUSED)
    assert with_controls([refused, succeeded])[0].ok
    result = with_controls([refused, failed])[0]
    assert not result.ok
    assert "its control (jobs-small/job dev boto3 named) failed too" in result.got
    assert not with_controls([refused])[0].ok, "the control was not tried"


def test_the_json_of_a_result_has_eight_keys() -> None:
    assert Result(attempt=STRANGER, got=REFUSED).document() == {
        "class": None,
        "service_account": "jobs-small/default",
        "profile": "dev",
        "sdk": "boto3",
        "way": "named",
        "expected": "REFUSED",
        "got": "REFUSED",
        "ok": True,
    }
