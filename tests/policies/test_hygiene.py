"""Rules about the policy run: providers, resources that the engine did not send, lowered rules, exceptions."""

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
    ("path", "value", "message"),
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
def test_a_provider_without_a_fixed_account_is_a_violation(path: str, value: Any, message: str) -> None:
    assert_violation("H01", with_input(resource_named("prod", "prod", AWS), path, value), message)


def test_a_provider_with_an_unknown_account_is_undecided() -> None:
    assert_undecided(
        "H01", with_input(resource_named("prod", "prod", AWS), "allowedAccountIds", UNKNOWN), "allowedAccountIds"
    )
    role = resource_named("prod", "delegated-prod-protected-role")
    assert_undecided("H01", replace(role, provider_inputs={"allowedAccountIds": UNKNOWN}), "provider.allowedAccountIds")


def test_a_resource_without_an_explicit_provider_is_a_violation() -> None:
    role = resource_named("prod", "delegated-prod-protected-role")
    assert_violation("H01", replace(role, provider=""), "no explicit provider")
    assert_violation(
        "H01",
        replace(role, provider="urn:pulumi:prod::p::pulumi:providers:aws::default_7_0_0"),
        "no explicit provider",
    )
    assert report("H01", resource_named("prod", "small-runner-jobs")) == [], "the rule is about AWS providers only"


def test_a_resource_that_the_engine_did_not_send_is_a_finding() -> None:
    findings = findings_on_stack("H02", resources_of("prod"), pack_state=PackState(never_shown=[URN]))
    assert [(finding.urn, "no rule has checked it" in finding.text) for finding in findings] == [(URN, True)]


def test_a_configuration_that_lowers_rules_is_a_finding() -> None:
    findings = findings_on_stack("H02", resources_of("prod"), pack_state=PackState(lowered=["T10", "R08"]))
    assert [finding.text for finding in findings] == ["the configuration lowers T10, R08; this has no effect"]


def entry(**changes: Any) -> Entry:
    return Entry(
        **{"rule": "T01", "resource": URN, "reason": "until the partner has moved", "expires": TODAY, **changes}
    )


def test_an_exception_covers_one_rule_on_one_resource_until_it_expires() -> None:
    exceptions = Exceptions([entry()], TODAY)
    assert exceptions.cover("T01", URN)
    assert not exceptions.cover("T02", URN)
    assert not exceptions.cover("T01", f"{URN}y")
    assert not Exceptions([entry()], date(2026, 11, 22)).cover("T01", URN), "an expired exception covers nothing"


def test_expired_and_unused_exceptions_of_the_stack_are_findings() -> None:
    used, unused = entry(), entry(rule="T02")
    expired, foreign = entry(rule="T03", expires=date(2026, 1, 1)), entry(resource=URN.replace("prod", "dev"))
    exceptions = Exceptions([used, unused, expired, foreign], TODAY)
    assert exceptions.cover("T01", URN)
    findings = findings_on_stack("H04", resources_of("prod"), pack_state=PackState(exceptions=exceptions))
    assert [finding.text.partition(":")[0] for finding in findings] == [
        "the exception for T02 covers nothing any more",
        "the exception for T03 expired on 2026-01-01",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_an_invalid_exceptions_file_reports_the_wrong_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "exceptions.yaml"
    file.write_text(text)
    with pytest.raises(SettingsError) as raised:
        Exceptions.read(file)
    assert message in str(raised.value)


def test_an_exceptions_file_may_be_absent(tmp_path: Path) -> None:
    assert Exceptions.read(tmp_path / "none.yaml").entries == []
    file = tmp_path / "exceptions.yaml"
    file.write_text(f"- {{rule: T01, resource: '{URN}', reason: until the partner has moved, expires: 2026-11-21}}\n")
    assert Exceptions.read(file).entries == [entry()]


def test_every_rule_has_a_unique_id_and_name_and_a_full_description() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.name == rule.name.lower()
        assert len(rule.name.split("-")) >= 4, f"{rule.name}: <service>-<resource>-<verb>-<what>"
        assert not rule.demands.endswith("."), (
            f"{rule.id}: write a clause without a full stop; messages put the id in front"
        )
        assert rule.remedy.endswith("."), f"{rule.id}: write a sentence that tells the reader what to do"
        assert rule.stops, f"{rule.id}: name the attacks that this rule stops"
        assert rule.source, f"{rule.id}: name a source"
        assert (rule.of_resource is None) != (rule.of_stack is None), f"{rule.id}: set either of_resource or of_stack"


def test_the_rule_about_exceptions_runs_last() -> None:
    assert RULES[-1].id == "H04", "all other rules must mark their exceptions as used first"
    assert PackServer(RULES, Exceptions())
