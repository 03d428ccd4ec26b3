"""Settings that companies need leave the pack without a finding, except where it cannot know."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from config import boundary_document
from policies.rule import FindingKind, evaluate_resource
from policies.rules import RULES
from policies.stack import ResourceIndex, evaluate_stack
from tests.support.policy_cases import options_with, read_by_pack, run_with
from tests.support.program import mock_run_of, one_class, put

if TYPE_CHECKING:
    from access.resource import Resource
    from policies.rule import Finding
    from policies.stack_run import StackRun

pytestmark = pytest.mark.thorough

DOCUMENTED = "company/known"
"""A boundary whose document is a file."""


def company(**changes: Any) -> dict[str, Any]:
    """Dev with one class, and everything that a company asked for."""
    values = one_class()
    for path, value in {
        "accounts.log-archive": {"id": "555555555555", "open": ["state"]},
        "gitlab.url": "https://example.com/gitlab",
        "gitlab_oidc": {"app": {"account": "dev", "level": "open", "project": "senncloud/app", "ref": "main"}},
        "registry.mutable": {"open": ["cache"], "protected": ["cache"]},
        "runners.small.tags": ["docker", "small"],
        "tags.further": {"CostCenter": "4711"},
        **changes,
    }.items():
        put(values, path, value)
    return values


@cache
def _run_and_resources(boundary: str | None) -> tuple[StackRun, tuple[Resource, ...]]:
    values = company(**{"platform.boundary": boundary})
    values["platform"] |= {"boundary_document": "company-boundary.json"} if boundary == DOCUMENTED else {}
    return run_with("dev", values), read_by_pack(mock_run_of("dev", values).resources)


def findings(boundary: str | None, only: str = "") -> dict[str, list[Finding]]:
    """Findings of all rules, or of one only, by rule; rules without findings are left out."""
    run, resources = _run_and_resources(boundary)
    index = ResourceIndex(list(resources), run)
    by_rule: dict[str, list[Finding]] = {}
    for rule in RULES if not only else [rule for rule in RULES if rule.id == only]:
        options = options_with(rule, {})
        of_resources = [f for resource in resources for f in evaluate_resource(rule, resource, run, options)]
        if of_rule := [*evaluate_stack(rule, index, options), *of_resources]:
            by_rule[rule.id] = of_rule
    return by_rule


def test_what_companies_need_is_no_finding() -> None:
    assert findings(None) == {}


def test_a_boundary_that_the_program_does_not_know_leaves_access_undecided() -> None:
    by_rule = findings("company/boundary")
    assert set(by_rule) == {"T10"}, "the rules of boundaries take the organisation's"
    assert {finding.kind for finding in by_rule["T10"]} == {FindingKind.UNDECIDED}


def test_a_repository_that_nobody_listed_keeps_its_tags() -> None:
    run, resources = _run_and_resources(None)
    (rule,) = [rule for rule in RULES if rule.id == "C01"]
    for resource in resources:
        if resource.type == "aws:ecr/repository:Repository" and resource.inputs["imageTagMutability"] == "IMMUTABLE":
            changed = replace(resource, inputs={**resource.inputs, "imageTagMutability": "MUTABLE"})
            texts = [finding.text for finding in evaluate_resource(rule, changed, run, options_with(rule, {}))]
            assert "registry.mutable does not list the repository" in " ".join(texts)


@pytest.mark.parametrize(
    ("denied", "rules"), [("iam:CreateUser", set()), ("sts:AssumeRole", {"T10"})], ids=["harmless", "too narrow"]
)
def test_a_boundary_with_its_document_is_evaluated(
    denied: str, rules: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    statements = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": denied, "Resource": "*"},
    ]
    monkeypatch.setattr(boundary_document, "problems", lambda *_: ())
    monkeypatch.setattr(boundary_document, "read", lambda *_: {"Version": "2012-10-17", "Statement": statements})
    by_rule = findings(DOCUMENTED, only="T10")
    assert set(by_rule) == rules
    assert {finding.kind for entries in by_rule.values() for finding in entries} <= {FindingKind.VIOLATION}, (
        "jobs that cannot enter an account are a difference from the settings, and nothing is undecided"
    )
