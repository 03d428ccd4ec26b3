"""The planned attempts of both stacks, and their expected results."""

from __future__ import annotations

from collections import Counter

import pytest

from config import load
from runner_platform.prove import attempts, strangers
from runner_platform.prove.attempts import REFUSED, Attempt, Forgery, Sdk, Way

STACKS = ("dev", "prod")
ACCOUNTS = load.of_foundation().accounts


def class_attempts(stack: str, *, everything: bool = False) -> list[Attempt]:
    return list(attempts.of_classes(load.of_stack(stack), ACCOUNTS, attempts.Scope.of(everything=everything)))


def stranger_attempts(stack: str) -> list[Attempt]:
    neighbours = [load.of_stack(name) for name in STACKS if name != stack]
    return list(strangers.of_stack(load.of_stack(stack), ACCOUNTS, neighbours))


@pytest.mark.parametrize("stack", STACKS)
def test_the_full_proof_tries_every_class_profile_sdk_and_way_once(stack: str) -> None:
    settings = load.of_stack(stack)
    planned = class_attempts(stack, everything=True)
    combinations = {(attempt.runner_class, attempt.profile, attempt.sdk, attempt.way) for attempt in planned}
    named = {
        (name, profile, sdk, way)
        for name in settings.runners
        for profile in ("base", *ACCOUNTS)
        for sdk in Sdk
        for way in (Way.NAMED, Way.ENV)
    }
    unnamed = {(name, "default", sdk, Way.DEFAULT) for name in settings.runners for sdk in Sdk}
    assert combinations == named | unnamed
    assert len(planned) == len(combinations)


@pytest.mark.parametrize("stack", STACKS)
def test_the_quick_proof_tries_every_class_and_profile_with_one_sdk(stack: str) -> None:
    quick = class_attempts(stack)
    assert {attempt.sdk for attempt in quick} == {Sdk.BOTO3}
    assert {(attempt.runner_class, attempt.profile) for attempt in quick} == {
        (attempt.runner_class, attempt.profile) for attempt in class_attempts(stack, everything=True)
    }


@pytest.mark.parametrize(
    ("stack", "runner_class", "profile", "role"),
    [
        ("prod", "small", "default", "arn:aws:iam::222222222222:role/cicd/runner-small"),
        ("prod", "small", "base", "arn:aws:iam::222222222222:role/cicd/runner-small"),
        ("prod", "small", "dev", "arn:aws:iam::333333333333:role/cicd/delegated-role-open"),
        ("prod", "small", "prod", REFUSED),
        ("prod", "deploy", "prod", "arn:aws:iam::444444444444:role/cicd/delegated-role"),
        ("prod", "deploy", "dev", REFUSED),
        ("prod", "review", "cicd", REFUSED),
        ("dev", "deploy", "cicd", "arn:aws:iam::222222222222:role/cicd-dev/delegated-role-dev"),
        ("dev", "deploy", "admin", REFUSED),
    ],
)
def test_the_expected_role_is_that_of_the_stack_file(stack: str, runner_class: str, profile: str, role: str) -> None:
    assert attempts.expected_role(load.of_stack(stack), runner_class, profile) == role


@pytest.mark.parametrize("stack", STACKS)
def test_every_refusal_has_kinds_and_a_control_that_must_succeed(stack: str) -> None:
    planned = [*class_attempts(stack, everything=True), *stranger_attempts(stack)]
    by_key = {attempt.key: attempt for attempt in planned}
    assert len(by_key) == len(planned), "a key identifies one attempt"
    for attempt in planned:
        if attempt.expected == REFUSED:
            assert attempt.refusal_kinds, attempt
            assert attempt.control is not None, attempt
            assert by_key[attempt.control].expected != REFUSED, f"{attempt.key}: its control must not be a refusal"


@pytest.mark.parametrize("stack", STACKS)
def test_strangers_have_no_class_and_get_no_role_except_their_own(stack: str) -> None:
    planned = stranger_attempts(stack)
    assert {attempt.runner_class for attempt in planned} == {None}
    accepted = [attempt for attempt in planned if attempt.expected != REFUSED]
    assert {attempt.profile for attempt in accepted} == {strangers.OWN_ROLE}
    assert {attempt.expected.rpartition("/")[2].partition("-")[0] for attempt in accepted} == {"runner"}


def test_every_kind_of_stranger_is_tried() -> None:
    classes = load.of_stack("prod").runners
    planned = stranger_attempts("prod")
    callers = {attempt.caller for attempt in planned}
    for name in classes:
        assert {f"jobs-{name}/default", f"runner-{name}/default", f"runner-{name}/manager"} <= callers
        jobs = {f"jobs-{job_class}/job with the config of {name}" for job_class in classes if job_class != name}
        assert jobs <= callers
    assert {f"dev: jobs-{name}/job with the config of {name}" for name in load.of_stack("dev").runners} <= callers
    assert {f"jobs-small/job, token {forgery.value}" for forgery in Forgery} <= callers
    for name in ("small", "deploy"):
        for caller in (f"jobs-{name}/job with a profile of its own", f"jobs-{name}/job, by its token"):
            profiles = {attempt.profile for attempt in planned if attempt.caller == caller}
            roles = {f"{account}/platform-{role}" for account in ACCOUNTS for role in ("deployer", "reader")}
            assert {"node", *roles} <= profiles, "a job of each level asks for the platform's own roles"


def test_a_job_asks_for_each_delegated_role_that_is_not_its_class_s() -> None:
    caller = "jobs-small/job with a profile of its own"
    profiles = {attempt.profile for attempt in stranger_attempts("prod") if attempt.caller == caller}
    assert {"admin/delegated-role", "cicd/delegated-role", "prod/delegated-role"} <= profiles
    assert not {"cicd/delegated-role-open", "dev/delegated-role-open"} & profiles, "these are its own"


def test_impossible_forgeries_are_not_planned() -> None:
    planned = strangers.of_stack(load.of_stack("dev"), ACCOUNTS, [], [Forgery.UNSIGNED])
    assert Counter(attempt.group for attempt in planned)["wrong tokens"] == 1
