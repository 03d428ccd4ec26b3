"""Rules of the gate itself: providers, what was never shown, what is switched off, exceptions and their end."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from access.resource import UNKNOWN
from config.errors import SettingsError
from policies.exceptions import Entry, Exceptions
from policies.pack import PackServer
from policies.rules import RULES
from policies.stack import PackState
from tests.support.policy_cases import (
    ABSENT,
    assert_undecided,
    assert_violation,
    findings_on_stack,
    report,
    resource_named,
    resources_of,
    with_input,
)

if TYPE_CHECKING:
    from pathlib import Path

AWS = "pulumi:providers:aws"
URN = "urn:pulumi:prod::runner-platform::aws:iam/role:Role::x"
TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("allowedAccountIds", ABSENT, "the profile alone decides"),
        ("allowedAccountIds", '["444444444444", "333333333333"]', "not exactly one of the settings' accounts"),
        ("allowedAccountIds", '["999999999999"]', "not exactly one of the settings' accounts"),
        (
            "allowedAccountIds",
            '["333333333333"]',
            "allowedAccountIds is account dev, for which the profile is platform-dev",
        ),
        ("profile", "platform-dev", "for which the profile is platform-prod"),
        ("profile", ABSENT, "for which the profile is platform-prod"),
        ("accessKey", "x", "accessKey is set"),
        ("assumeRoles", "[]", "assumeRoles is set"),
        ("endpoints", "[]", "endpoints is set"),
    ],
)
def test_a_provider_that_is_not_pinned_to_its_account_is_found(path: str, value: Any, said: str) -> None:
    assert_violation("H01", with_input(resource_named("prod", "prod", AWS), path, value), said)


def test_a_provider_whose_account_is_not_known_is_undecided() -> None:
    assert_undecided(
        "H01", with_input(resource_named("prod", "prod", AWS), "allowedAccountIds", UNKNOWN), "allowedAccountIds"
    )
    role = resource_named("prod", "delegated-prod-protected-role")
    assert_undecided("H01", replace(role, provider_inputs={"allowedAccountIds": UNKNOWN}), "provider.allowedAccountIds")


def test_a_resource_without_a_provider_of_its_own_is_found() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    assert_violation("H01", replace(role, provider=""), "no explicit provider")
    assert_violation(
        "H01",
        replace(role, provider="urn:pulumi:prod::p::pulumi:providers:aws::default_7_0_0"),
        "no explicit provider",
    )
    assert report("H01", resource_named("prod", "small-runner-jobs")) == [], "outside AWS there are no accounts"


def test_what_the_engine_never_showed_is_found() -> None:
    found = findings_on_stack("H02", resources_of("prod"), pack_state=PackState(never_shown=[URN]))
    assert [(each.urn, "no rule has checked it" in each.text) for each in found] == [(URN, True)]


def test_a_rule_that_is_switched_off_is_found() -> None:
    found = findings_on_stack("H02", resources_of("prod"), pack_state=PackState(lowered=["T10", "R08"]))
    assert [each.text for each in found] == ["the configuration lowers T10, R08; this has no effect"]


def entry(**changes: Any) -> Entry:
    return Entry(
        **{"rule": "T01", "resource": URN, "reason": "until the partner has moved", "expires": TODAY, **changes}
    )


def test_an_exception_covers_one_rule_on_one_resource_until_its_day_is_over() -> None:
    exceptions = Exceptions([entry()], TODAY)
    assert exceptions.cover("T01", URN)
    assert not exceptions.cover("T02", URN)
    assert not exceptions.cover("T01", f"{URN}y")
    assert not Exceptions([entry()], date(2026, 11, 22)).cover("T01", URN), "an expired one covers nothing"


def test_expired_and_unused_exceptions_are_findings_and_those_of_other_stacks_are_not() -> None:
    used, unused = entry(), entry(rule="T02")
    expired, foreign = entry(rule="T03", expires=date(2026, 1, 1)), entry(resource=URN.replace("prod", "dev"))
    exceptions = Exceptions([used, unused, expired, foreign], TODAY)
    assert exceptions.cover("T01", URN)
    found = findings_on_stack("H04", resources_of("prod"), pack_state=PackState(exceptions=exceptions))
    assert [each.text.partition(":")[0] for each in found] == [
        "the exception for T02 covers nothing any more",
        "the exception for T03 expired on 2026-01-01",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not YAML"),
        ("{a: b}", "is not a list"),
        ("[{rule: T01}]", "is not an entry"),
        (f"[{{rule: 1, resource: '{URN}', reason: '{'x' * 20}', expires: 2026-11-21}}]", "[0].rule: is 1, not text"),
        (
            f"[{{rule: T01, resource: '{URN}', reason: '{'x' * 20}', expires: soon}}]",
            "[0].expires: is 'soon', not a date",
        ),
        (
            f"[{{rule: T01, resource: '{URN}', reason: '{'x' * 20}', expires: 2026-11-21T10:00:00}}]",
            "[0].expires: is '2026-11-21 10:00:00', not a date",
        ),
        (f"[{{rule: T01, resource: x, reason: '{'x' * 20}', expires: 2026-11-21}}]", "[0].resource: is 'x', not a URN"),
        (f"[{{rule: T01, resource: '{URN}', reason: because, expires: 2026-11-21}}]", "[0].reason: is shorter"),
    ],
)
def test_a_file_of_exceptions_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "exceptions.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        Exceptions.read(file)
    assert said in str(raised.value)


def test_a_file_of_exceptions_may_be_absent_or_whole(tmp_path: Path) -> None:
    assert Exceptions.read(tmp_path / "none.yaml").entries == []
    file = tmp_path / "exceptions.yaml"
    file.write_text(f"- {{rule: T01, resource: '{URN}', reason: until the partner has moved, expires: 2026-11-21}}\n")
    assert Exceptions.read(file).entries == [entry()]


def test_rules_are_told_apart_and_described() -> None:
    assert len({each.id for each in RULES}) == len(RULES)
    assert len({each.name for each in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.name == rule.name.lower()
        assert len(rule.name.split("-")) >= 4, f"{rule.name}: <service>-<resource>-<verb>-<what>"
        assert not rule.demands.endswith("."), f"{rule.id}: a clause, since the id stands before it"
        assert rule.remedy.endswith("."), f"{rule.id}: a sentence that says what to do"
        assert rule.stops, f"{rule.id}: what it stops"
        assert rule.source, f"{rule.id}: where it comes from"
        assert (rule.of_resource is None) != (rule.of_stack is None), f"{rule.id}: of resources or of stacks"


def test_the_rule_about_exceptions_is_asked_last() -> None:
    assert RULES[-1].id == "H04", "only then is it known which exceptions were needed"
    assert PackServer(RULES, Exceptions())
