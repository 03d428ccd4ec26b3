"""The real pack process over gRPC, as the engine asks it: both stack files and the foundation without a finding, wiring, levels, bad input."""

from __future__ import annotations

from contextlib import ExitStack
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
from tests.support.program import STACKS, findings_of, mock_run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ALL = [foundation.STACK, *STACKS]


@pytest.fixture(scope="session")
def packs() -> Iterator[dict[str, PackProcess]]:
    """One process a stack for all tests of this worker; each judgement ends with the whole stack, which clears its memory."""
    with ExitStack() as running:
        yield {stack: running.enter_context(pack_for(stack)) for stack in ALL}


@pytest.mark.parametrize("stack", ALL)
def test_the_program_has_no_finding_and_everything_is_decided(packs: dict[str, PackProcess], stack: str) -> None:
    found = evaluate(packs[stack], mock_run(stack).resources)
    assert [str(each) for each in found] == [], "the platform passes its own policies, with nothing undecided"


def test_every_rule_is_a_policy_with_level_severity_and_remediation(packs: dict[str, PackProcess]) -> None:
    policies = {each.name: each for each in packs["dev"].info().policies}
    assert len(policies) == len(RULES), "no two rules share a name"
    for rule in RULES:
        policy = policies[rule.name]
        assert policy.description.startswith(f"{rule.id}: ")
        assert policy.severity != proto.POLICY_SEVERITY_UNSPECIFIED
        assert policy.remediation_steps
        assert list(policy.tags) == [rule.id, *(f"{SETTING_TAG}{each}" for each in rule.settings)]
        assert set(policy.configSchema.properties.keys()) == set(rule.options), f"{rule.id}: each option has a schema"


def test_an_unknown_value_is_undecided_for_each_rule_that_reads_it(packs: dict[str, PackProcess]) -> None:
    shown = [_with(each, "assumeRolePolicy", UNKNOWN) if each.name == "small-identity-job" else each for each in _dev()]
    found = evaluate(packs["dev"], shown)
    assert found, "an unknown trust is no trust that anybody has judged"
    assert all(each.fails for each in found)
    assert all(each.undecided for each in found if each.rule.startswith("T")), [str(each) for each in found]
    assert {"T01", "T02", "T04", "T05"} <= {each.rule for each in found}


def test_a_secret_in_a_policy_document_never_reaches_a_message(packs: dict[str, PackProcess]) -> None:
    shown = [
        _with(each, "description", "hunter2-secret") if each.type == "aws:iam/role:Role" else each for each in _dev()
    ]
    shown = [
        _with(each, "assumeRolePolicy", "hunter2-secret") if each.type == "aws:iam/role:Role" else each
        for each in shown
    ]
    found = evaluate(packs["dev"], shown)
    assert found
    assert not [each for each in found if "hunter2" in each.message]


def test_levels_are_not_configuration(packs: dict[str, PackProcess]) -> None:
    pack = packs["dev"]
    pack.configuration = {"all": "disabled"}
    try:
        shown = [
            _with(each, "assumeRolePolicy", "{}") if each.name == "small-identity-job" else each for each in _dev()
        ]
        found = evaluate(pack, shown)
    finally:
        pack.configuration = {}
    rules = {each.rule for each in found if each.fails}
    assert "T01" in rules, "a configuration of a branch cannot switch a rule off"
    assert "H02" in rules, "and trying is itself a finding"


def test_a_threshold_is_configuration(packs: dict[str, PackProcess]) -> None:
    pack = packs["dev"]
    pack.configuration = {"eks-cluster-closes-endpoint": {"widest_prefix": 28}}
    try:
        found = evaluate(pack, _dev())
    finally:
        pack.configuration = {}
    assert [each.rule for each in found] == ["E01"], "203.0.113.0/24 is wider than /28"


def test_a_finding_says_where_the_program_makes_the_resource() -> None:
    shown = _with(replace(_dev()[0], source="components/cluster.py:12"), "x", 1)
    diagnostic = proto.AnalyzeDiagnostic(policyName="n", message="T01: demands\nsomething is wrong", urn=shown.urn)
    found = findings([diagnostic], Places("dev", [shown], {}))[0]
    assert (found.file, found.line, found.rule) == ("components/cluster.py", 12, "T01")
    assert "components/cluster.py:12" in str(found)


def test_a_pack_that_cannot_start_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(FailedError, match="holds no policy pack"):
        findings_of("dev", [], policies=tmp_path)
    (tmp_path / "PulumiPolicy.yaml").write_text("runtime: python\n")
    (tmp_path / "__main__.py").write_text("raise SystemExit('broken on purpose')\n")
    with pytest.raises(FailedError, match="did not start"):
        findings_of("dev", [], policies=tmp_path)


def test_a_configuration_that_is_no_object_is_a_sentence(tmp_path: Path) -> None:
    assert configuration(tmp_path) == {}
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(FailedError, match="is not an object"):
        configuration(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FailedError, match="is not JSON"):
        configuration(tmp_path)


def test_a_deployed_state_is_judged_by_what_the_cloud_has() -> None:
    resources = []
    for each in _dev():
        outputs = dict(each.inputs)
        if each.name == "small-identity-job":
            outputs["assumeRolePolicy"] = (
                '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}}'
            )
        provider = f"{each.provider}::id" if each.provider else ""
        resources.append(
            {"urn": each.urn, "type": each.type, "inputs": dict(each.inputs), "outputs": outputs, "provider": provider}
        )
    found = findings_of("dev", deployed({"resources": resources}))
    assert {"T01"} <= {each.rule for each in found if each.urn.endswith("small-identity-job")}, (
        "drift is judged, not intent"
    )


def test_another_project_is_refused() -> None:
    pack = PackProcess(load.ROOT / "policies", "somebody-elses", "dev", {})
    with pack, pytest.raises(FailedError, match="leave --policy-pack out"):
        evaluate(pack, _dev()[:1])


def _dev() -> list[Resource]:
    return mock_run("dev").resources


def _with(shown: Resource, key: str, value: Any) -> Resource:
    return replace(shown, inputs={**shown.inputs, key: value})
