"""The real pack process over gRPC: dev passes without a finding; rule metadata, configuration and invalid input."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from pulumi.runtime import proto

from access.resource import UNKNOWN, Resource, deployed
from config import foundation, load
from policies.rules import RULES
from runner_platform.check.diagnostics import SETTING_TAG, Places, findings
from runner_platform.check.policy_pack import PackProcess, configuration, evaluate, pack_for
from runner_platform.errors import FailedError
from tests.support.policy_cases import all_findings, findings_on_stack, resources_of
from tests.support.program import findings_of, mock_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def pack() -> Iterator[PackProcess]:
    """Yield a pack process for dev. An evaluation of a whole stack resets the process, so tests can share it."""
    with pack_for("dev") as process:
        yield process


def test_the_program_passes_every_rule_with_nothing_undecided(pack: PackProcess) -> None:
    results = evaluate(pack, dev_resources())
    assert [str(finding) for finding in results] == [], "the platform passes its own policies, with nothing undecided"


@pytest.mark.thorough
@pytest.mark.parametrize("stack", [foundation.STACK, "prod"])
def test_the_programs_of_further_stacks_pass_every_rule_too(stack: str) -> None:
    assert [str(finding) for finding in findings_of(stack, mock_run(stack).resources)] == []


@pytest.mark.parametrize("stack", [foundation.STACK, "prod"])
def test_the_rules_have_no_finding_on_further_stacks(stack: str) -> None:
    resources = resources_of(stack)
    alone = {resource.urn: all_findings(resource, stack) for resource in resources}
    assert {urn: findings for urn, findings in alone.items() if findings} == {}
    for rule in RULES:
        if rule.of_stack is not None:
            assert findings_on_stack(rule.id, resources, stack) == [], rule.id


def test_every_rule_is_a_policy_with_level_severity_and_remediation(pack: PackProcess) -> None:
    policies = {policy.name: policy for policy in pack.info().policies}
    assert len(policies) == len(RULES), "no two rules share a name"
    for rule in RULES:
        policy = policies[rule.name]
        assert policy.description.startswith(f"{rule.id}: ")
        assert policy.severity != proto.POLICY_SEVERITY_UNSPECIFIED
        assert policy.remediation_steps
        assert list(policy.tags) == [rule.id, *(f"{SETTING_TAG}{setting}" for setting in rule.settings)]
        assert set(policy.configSchema.properties.keys()) == set(rule.options), f"{rule.id}: each option has a schema"


def test_an_unknown_trust_is_undecided_for_every_rule_about_trusts(pack: PackProcess) -> None:
    resources = [
        with_input(resource, "assumeRolePolicy", UNKNOWN) if resource.name == "small-identity-job" else resource
        for resource in dev_resources()
    ]
    results = evaluate(pack, resources)
    assert results, "an unknown trust must not pass in silence"
    assert all(finding.fails for finding in results)
    assert all(finding.undecided for finding in results if finding.rule.startswith("T")), [
        str(finding) for finding in results
    ]
    assert {"T01", "T02", "T04", "T05"} <= {finding.rule for finding in results}


def test_a_secret_in_a_policy_document_never_reaches_a_message(pack: PackProcess) -> None:
    resources = [
        with_input(resource, "description", "hunter2-secret") if resource.type == "aws:iam/role:Role" else resource
        for resource in dev_resources()
    ]
    resources = [
        with_input(resource, "assumeRolePolicy", "hunter2-secret") if resource.type == "aws:iam/role:Role" else resource
        for resource in resources
    ]
    results = evaluate(pack, resources)
    assert results
    assert not [finding for finding in results if "hunter2" in finding.message]


def test_a_configuration_cannot_disable_rules(pack: PackProcess) -> None:
    pack.configuration = {"all": "disabled"}
    try:
        resources = [
            with_input(resource, "assumeRolePolicy", "{}") if resource.name == "small-identity-job" else resource
            for resource in dev_resources()
        ]
        results = evaluate(pack, resources)
    finally:
        pack.configuration = {}
    rules = {finding.rule for finding in results if finding.fails}
    assert "T01" in rules, "a branch cannot disable a rule by configuration"
    assert "H02" in rules, "the attempt is a finding"


def test_a_threshold_is_an_option(pack: PackProcess) -> None:
    pack.configuration = {"eks-cluster-closes-endpoint": {"widest_prefix": 28}}
    try:
        results = evaluate(pack, dev_resources())
    finally:
        pack.configuration = {}
    assert [finding.rule for finding in results] == ["E01"], "203.0.113.0/24 is wider than /28"


def test_a_finding_names_the_source_line_of_the_resource() -> None:
    resource = with_input(replace(dev_resources()[0], source="components/cluster.py:12"), "x", 1)
    diagnostic = proto.AnalyzeDiagnostic(policyName="n", message="T01: demands\nsomething is wrong", urn=resource.urn)
    finding = findings([diagnostic], Places("dev", [resource], {}))[0]
    assert (finding.file, finding.line, finding.rule) == ("components/cluster.py", 12, "T01")
    assert "components/cluster.py:12" in str(finding)


def test_a_pack_that_cannot_start_gives_a_plain_error(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="holds no policy pack"):
        findings_of("dev", [], policies=tmp_path)
    (tmp_path / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (tmp_path / "__main__.py").write_text("raise SystemExit('broken on purpose')\n")
    with pytest.raises(FailedError, match="did not start"):
        findings_of("dev", [], policies=tmp_path)


def test_an_invalid_configuration_file_gives_a_plain_error(tmp_path: Path) -> None:
    assert configuration(tmp_path) == {}
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FailedError, match="is not an object"):
        configuration(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FailedError, match="is not JSON"):
        configuration(tmp_path)


def test_a_deployed_state_is_evaluated_by_its_outputs(pack: PackProcess) -> None:
    resources = []
    for resource in dev_resources():
        outputs = dict(resource.inputs)
        if resource.name == "small-identity-job":
            outputs["assumeRolePolicy"] = (
                '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}'
            )
        provider = f"{resource.provider}::id" if resource.provider else ""
        resources.append(
            {
                "urn": resource.urn,
                "type": resource.type,
                "inputs": dict(resource.inputs),
                "outputs": outputs,
                "provider": provider,
            }
        )
    results = evaluate(pack, deployed({"resources": resources}))
    assert {"T01"} <= {finding.rule for finding in results if finding.urn.endswith("small-identity-job")}, (
        "the pack evaluates outputs, which include drift, and not inputs"
    )


def test_the_pack_refuses_another_project() -> None:
    pack = PackProcess(load.ROOT / "policies", "somebody-elses", "dev", {})
    with pack, pytest.raises(FailedError, match="leave --policy-pack out"):
        evaluate(pack, dev_resources()[:1])


def dev_resources() -> list[Resource]:
    return mock_run("dev").resources


def with_input(resource: Resource, key: str, value: Any) -> Resource:
    return replace(resource, inputs={**resource.inputs, key: value})
