"""Which attempts a proof makes, and what they must come to: read from the settings of both stacks."""

from __future__ import annotations

from collections import Counter

import pytest

from config import load
from runner_platform.prove import plan, strangers
from runner_platform.prove.model import REFUSED, Attempt, Forgery, Sdk, Way

STACKS = ("dev", "prod")
ACCOUNTS = load.of_foundation().accounts


def planned(stack: str, *, everything: bool = False) -> list[Attempt]:
    return list(plan.attempts(load.of_stack(stack), ACCOUNTS, plan.Scope.of(everything=everything)))


def all_strangers(stack: str) -> list[Attempt]:
    others = [load.of_stack(other) for other in STACKS if other != stack]
    return list(strangers.attempts(load.of_stack(stack), ACCOUNTS, others))


@pytest.mark.parametrize("stack", STACKS)
def test_everything_is_every_class_by_every_profile_by_every_sdk_by_every_way(stack: str) -> None:
    settings = load.of_stack(stack)
    found = {(each.runner_class, each.profile, each.sdk, each.way) for each in planned(stack, everything=True)}
    named = {
        (name, profile, sdk, way)
        for name in settings.runners
        for profile in ("base", *ACCOUNTS)
        for sdk in Sdk
        for way in (Way.NAMED, Way.ENV)
    }
    unnamed = {(name, "default", sdk, Way.DEFAULT) for name in settings.runners for sdk in Sdk}
    assert found == named | unnamed
    assert len(planned(stack, everything=True)) == len(found), "each once"


@pytest.mark.parametrize("stack", STACKS)
def test_the_quick_proof_has_every_class_and_profile_by_one_sdk(stack: str) -> None:
    found = planned(stack)
    assert {each.sdk for each in found} == {Sdk.BOTO3}
    assert {(each.runner_class, each.profile) for each in found} == {
        (each.runner_class, each.profile) for each in planned(stack, everything=True)
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
def test_what_is_expected_is_the_declared_matrix(stack: str, runner_class: str, profile: str, role: str) -> None:
    assert plan.promised(load.of_stack(stack), runner_class, profile) == role


@pytest.mark.parametrize("stack", STACKS)
def test_every_refusal_has_reasons_and_a_control_that_must_come_through(stack: str) -> None:
    attempts = [*planned(stack, everything=True), *all_strangers(stack)]
    by_key = {each.key: each for each in attempts}
    assert len(by_key) == len(attempts), "a key names one attempt"
    for each in attempts:
        if each.expected == REFUSED:
            assert each.reasons, each
            assert each.control is not None, each
            assert by_key[each.control].expected != REFUSED, f"{each.key}: a refusal beside another one proves nothing"


@pytest.mark.parametrize("stack", STACKS)
def test_strangers_have_no_class_and_are_refused_but_where_they_show_a_role_of_their_own(stack: str) -> None:
    found = all_strangers(stack)
    assert {each.runner_class for each in found} == {None}
    admitted = [each for each in found if each.expected != REFUSED]
    assert {each.profile for each in admitted} == {strangers.OWN_ROLE}
    assert {each.expected.rpartition("/")[2].partition("-")[0] for each in admitted} == {"runner"}


def test_every_kind_of_stranger_is_tried() -> None:
    settings = load.of_stack("prod")
    found = all_strangers("prod")
    names = {each.service_account for each in found}
    for name in settings.runners:
        assert {f"jobs-{name}/default", f"runner-{name}/default", f"runner-{name}/manager"} <= names
        assert {f"jobs-{other}/job with the config of {name}" for other in settings.runners if other != name} <= names
    assert {f"dev: jobs-{name}/job with the config of {name}" for name in load.of_stack("dev").runners} <= names
    assert {f"jobs-small/job, token {forgery.value}" for forgery in Forgery} <= names
    for name in ("small", "deploy"):
        for who in (f"jobs-{name}/job with a profile of its own", f"jobs-{name}/job, by its token"):
            profiles = {each.profile for each in found if each.service_account == who}
            roles = {f"{account}/platform-{role}" for account in ACCOUNTS for role in ("deployer", "reader")}
            assert {"node", *roles} <= profiles, "the platform's own roles are asked for, from a runner of each level"


def test_a_job_asks_for_each_delegated_role_that_is_not_its_class_s() -> None:
    who = "jobs-small/job with a profile of its own"
    asked = {each.profile for each in all_strangers("prod") if each.service_account == who}
    assert {"admin/delegated-role", "cicd/delegated-role", "prod/delegated-role"} <= asked
    assert not {"cicd/delegated-role-open", "dev/delegated-role-open"} & asked, "those are its own"


def test_tokens_that_cannot_be_forged_here_are_left_out() -> None:
    found = strangers.attempts(load.of_stack("dev"), ACCOUNTS, [], [Forgery.UNSIGNED])
    assert Counter(each.group for each in found)["wrong tokens"] == 1
