"""The policy pack in the real engine: a first preview, a preview of deployed stacks, and the deployed state."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from access.resource import STACK_TYPE, deployed
from runner_platform.check.resource_list import from_json
from runner_platform_sandbox.organization import PROJECT, read
from runner_platform_sandbox.tools.discovery import Tools
from tests.support.existing_resources import client_of
from tests.support.program import findings_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox

STACKS = ("foundation", "dev", "prod")
POLICY = re.compile(r"\[(mandatory|advisory)\]\s+(?:\[severity: \w+\]\s+)?(\S+)\s+\((\S+): (\S+)\)")


def findings(done: Completed) -> list[tuple[str, str, str]]:
    """Return level, policy and resource of each finding in the engine's output."""
    return [(level, policy, name) for level, policy, _, name in POLICY.findall(done.stdout)]


def previewed(
    sandbox: Sandbox, stack: str, *, project: Path = PROJECT, policies: Path | None = None, backend: Path | None = None
) -> Completed:
    """Run `pulumi preview --policy-pack policies`, as an operator types it."""
    variables = sandbox.variables | ({"PULUMI_BACKEND_URL": f"file://{backend}"} if backend else {})
    folder = project / "foundation" if stack == "foundation" else project
    command = [
        str(Tools.find(sandbox.paths).pulumi),
        "preview",
        "--stack",
        stack,
        "--policy-pack",
        str(policies or PROJECT / "policies"),
    ]
    return sandbox.run([*command, "--non-interactive", "--color", "never"], variables, folder)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the program with the same environment, for tests that break it."""
    project = tmp_path / "project"
    skipped = shutil.ignore_patterns(
        ".venv", ".git", "reports", ".*_cache", "__pycache__", "tests", "sandbox", "docs", "image"
    )
    shutil.copytree(PROJECT, project, ignore=skipped)
    (project / ".venv").symlink_to(PROJECT / ".venv")
    return project


@pytest.mark.parametrize("stack", STACKS)
def test_a_deployed_stack_has_no_finding_in_a_preview(sandbox: Sandbox, stack: str) -> None:
    done = previewed(sandbox, stack)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runner-platform@v1.0.0" in done.stdout, "the engine runs the pack"
    assert findings(done) == [], "all values are known, and every rule passes"


def test_a_first_preview_defers_only_the_documents_with_the_issuer(sandbox: Sandbox, tmp_path: Path) -> None:
    variables = sandbox.variables | {"PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    program = str(Tools.find(sandbox.paths).pulumi)
    sandbox.run([program, "stack", "init", "dev", "--non-interactive"], variables, PROJECT)
    done = previewed(sandbox, "dev", backend=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    deferred = findings(done)
    assert {level for level, _, _ in deferred} == {"advisory"}, "only documents with the issuer are undecided"
    documents = [name for _, policy, name in deferred if policy == "iam-role-trusts-no-anonymous-principal"]
    assert len(documents) == len(set(documents)), "each document once"
    assert set(documents) == {
        f"{runner_class}-identity-{account}"
        for runner_class in ("small", "medium", "big", "deploy", "review")
        for account in ("job", "manager")
    }
    assert done.stdout.count("DEFERRED") == len(deferred)
    assert "UNDECIDED" not in done.stdout


def test_a_violation_stops_a_preview_of_the_deployed_stack(sandbox: Sandbox, copy: Path) -> None:
    trust = copy / "components" / "documents" / "trust.py"
    opened = trust.read_text().replace('"ArnEquals": {"aws:PrincipalArn": sorted(role_arns)},', "")
    assert opened != trust.read_text(), "the test must follow a change of the document"
    trust.write_text(opened)
    done = previewed(sandbox, "dev", project=copy)
    assert done.returncode != 0, "a mandatory finding makes a preview fail"
    assert ("mandatory", "iam-role-trusts-no-bare-account", "delegated-dev-open-role") in findings(done), done.stdout


@pytest.mark.parametrize("operation", ["preview", "up"])
def test_the_driver_stops_at_a_violation_and_changes_nothing(sandbox: Sandbox, copy: Path, operation: str) -> None:
    trust = copy / "components" / "documents" / "trust.py"
    trust.write_text(trust.read_text().replace('"ArnEquals": {"aws:PrincipalArn": sorted(role_arns)},', ""))
    before = trusts(sandbox)
    command = [sys.executable, "-m", "runner_platform", operation, "--stack", "dev", "--folder", str(copy)]
    done = sandbox.run(command, sandbox.variables, PROJECT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "iam-role-trusts-no-bare-account (mandatory)" in done.stderr, "the message names the rule"
    assert trusts(sandbox) == before, "no trust is changed"


def trusts(sandbox: Sandbox) -> dict[str, str]:
    """Return the trust policies of the dev account's roles from AWS."""
    roles = client_of(sandbox, read().accounts["dev"])("iam").list_roles()["Roles"]
    return {role["Arn"]: json.dumps(role["AssumeRolePolicyDocument"], sort_keys=True) for role in roles}


@pytest.mark.parametrize("stack", STACKS)
def test_the_deployed_state_has_no_finding(sandbox: Sandbox, stack: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "runner_platform",
        "check",
        "--deployed",
        "--stack",
        stack,
        "--reports",
        str(tmp_path),
    ]
    done = sandbox.run(command, sandbox.variables, PROJECT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no policy finding" in done.stdout
    assert "target: " in done.stderr, "a command names the backend that it reads"
    assert json.loads((tmp_path / stack / "codequality.json").read_text()) == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_mock_run_names_every_resource_as_the_engine_does(sandbox: Sandbox, stack: str) -> None:
    listed = sandbox.run([sys.executable, "-m", "runner_platform", "resources", "--stack", stack, "--json"])
    project = "runner-platform-foundation" if stack == "foundation" else "runner-platform"
    mocked = {resource.urn for resource in from_json(json.loads(listed.stdout), stack, project)}
    in_state = {resource["urn"] for resource in sandbox.exported(stack)["resources"] if resource["type"] != STACK_TYPE}
    assert mocked == in_state, "an exception names a URN, and must match everywhere"


def test_a_change_by_hand_is_found_in_the_state(sandbox: Sandbox) -> None:
    deployment = sandbox.exported("dev")
    for resource in deployment["resources"]:
        if resource["urn"].endswith("::delegated-dev-open-role"):
            document = json.loads(resource["outputs"]["assumeRolePolicy"])
            del document["Statement"][0]["Condition"]["ArnEquals"]
            resource["outputs"]["assumeRolePolicy"] = json.dumps(document)
    rules = {finding.rule for finding in findings_of("dev", deployed(deployment)) if finding.fails}
    assert {"T02"} <= rules, "outputs count, not the program's inputs"


def test_the_pack_of_another_checkout_applies_its_own_rules(sandbox: Sandbox, copy: Path) -> None:
    (copy / "policies" / "rules" / "__init__.py").write_text(
        "from policies.rules import hygiene\nfrom policies.rule import rules_of\nRULES = rules_of(hygiene)\n"
    )
    done = previewed(sandbox, "dev", policies=copy / "policies")
    assert done.returncode == 0, done.stdout + done.stderr
    program = "import policies.rules, sys; print(len(policies.rules.RULES))"
    ours = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert int(ours.stdout) > 40, "this checkout still has all rules"
