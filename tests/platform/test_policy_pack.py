"""The pack in the real engine, before anything is deployed and after, and on the deployed state: the same rules at three gates."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from runner_platform.check.judge import judge_deployed
from runner_platform.review.worktree import urn_of
from runner_platform.urns import STACK_TYPE
from runner_platform_sandbox.organization import PROJECT, read
from runner_platform_sandbox.tools.result import Tools
from tests.support.existing_resources import client_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox

STACKS = ("foundation", "dev", "prod")
POLICY = re.compile(r"\[(mandatory|advisory)\]\s+(\S+)\s+\((\S+): (\S+)\)")


def findings(done: Completed) -> list[tuple[str, str, str]]:
    """Level, policy and resource of each finding that the engine shows."""
    return [(level, policy, name) for level, policy, _, name in POLICY.findall(done.stdout)]


def previewed(
    sandbox: Sandbox, stack: str, *, project: Path = PROJECT, policies: Path | None = None, backend: Path | None = None
) -> Completed:
    """`pulumi preview --policy-pack policies`, as an operator types it."""
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
    """A copy of the program with the same environment, to be spoilt."""
    made = tmp_path / "project"
    skipped = shutil.ignore_patterns(
        ".venv", ".git", "reports", ".*_cache", "__pycache__", "tests", "sandbox", "docs", "image"
    )
    shutil.copytree(PROJECT, made, ignore=skipped)
    (made / ".venv").symlink_to(PROJECT / ".venv")
    return made


@pytest.mark.parametrize("stack", STACKS)
def test_a_deployed_stack_has_no_finding_in_a_preview(sandbox: Sandbox, stack: str) -> None:
    done = previewed(sandbox, stack)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runner-platform@v1.0.0" in done.stdout, "the pack was asked"
    assert findings(done) == [], "everything is known, and as the rules demand"


def test_a_first_preview_defers_the_issuers_documents_once_and_decides_everything_else(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    variables = sandbox.variables | {"PULUMI_BACKEND_URL": f"file://{tmp_path}"}
    program = str(Tools.find(sandbox.paths).pulumi)
    sandbox.run([program, "stack", "init", "dev", "--non-interactive"], variables, PROJECT)
    done = previewed(sandbox, "dev", backend=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = findings(done)
    assert {level for level, _, _ in found} == {"advisory"}, "nothing is undecided but what waits for the issuer"
    documents = [name for _, policy, name in found if policy == "iam-role-trusts-no-anonymous-principal"]
    assert len(documents) == len(set(documents)), "each document once"
    assert set(documents) == {
        f"{each}-identity-{who}"
        for each in ("small", "medium", "big", "deploy", "review")
        for who in ("job", "manager")
    }
    assert done.stdout.count("DEFERRED") == len(found)
    assert "UNDECIDED" not in done.stdout


def test_a_violation_stops_a_preview_of_the_deployed_stack(sandbox: Sandbox, copy: Path) -> None:
    trust = copy / "components" / "documents" / "trust.py"
    opened = trust.read_text().replace('"ArnEquals": {"aws:PrincipalArn": sorted(role_arns)},', "")
    assert opened != trust.read_text(), "the seed fell on stone: the document is written otherwise now"
    trust.write_text(opened)
    done = previewed(sandbox, "dev", project=copy)
    assert done.returncode != 0, "a mandatory finding ends a preview with an error"
    assert ("mandatory", "iam-role-trusts-no-bare-account", "delegated-dev-open-role") in findings(done), done.stdout


@pytest.mark.parametrize("operation", ["preview", "up"])
def test_the_driver_stops_at_a_violation_and_changes_nothing(sandbox: Sandbox, copy: Path, operation: str) -> None:
    trust = copy / "components" / "documents" / "trust.py"
    trust.write_text(trust.read_text().replace('"ArnEquals": {"aws:PrincipalArn": sorted(role_arns)},', ""))
    before = trusts(sandbox)
    command = [sys.executable, "-m", "runner_platform", operation, "--stack", "dev", "--folder", str(copy)]
    done = sandbox.run(command, sandbox.variables, PROJECT)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "iam-role-trusts-no-bare-account (mandatory)" in done.stderr, "the rule is named, with what is wrong"
    assert trusts(sandbox) == before, "a trust that a rule refuses is never written"


def trusts(sandbox: Sandbox) -> dict[str, str]:
    """Trust documents of the dev account's roles, as AWS has them."""
    roles = client_of(sandbox, read().accounts["dev"])("iam").list_roles()["Roles"]
    return {each["Arn"]: json.dumps(each["AssumeRolePolicyDocument"], sort_keys=True) for each in roles}


@pytest.mark.parametrize("stack", STACKS)
def test_what_is_deployed_has_no_finding(sandbox: Sandbox, stack: str, tmp_path: Path) -> None:
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
    assert "target: " in done.stderr, "a command that touches a backend says which"
    assert json.loads((tmp_path / stack / "codequality.json").read_text()) == []


@pytest.mark.parametrize("stack", STACKS)
def test_a_mock_run_names_every_resource_as_the_engine_does(sandbox: Sandbox, stack: str) -> None:
    listed = sandbox.run([sys.executable, "-m", "runner_platform", "resources", "--stack", stack, "--json"])
    project = "runner-platform-foundation" if stack == "foundation" else "runner-platform"
    mocked = {urn_of(each, stack, project) for each in json.loads(listed.stdout)}
    deployed = {each["urn"] for each in sandbox.exported(stack)["resources"] if each["type"] != STACK_TYPE}
    assert mocked == deployed, "an exception is written for a URN, whichever gate showed it"


def test_what_somebody_changed_by_hand_is_found_in_the_state(sandbox: Sandbox) -> None:
    deployment = sandbox.exported("dev")
    for resource in deployment["resources"]:
        if resource["urn"].endswith("::delegated-dev-open-role"):
            document = json.loads(resource["outputs"]["assumeRolePolicy"])
            del document["Statement"][0]["Condition"]["ArnEquals"]
            resource["outputs"]["assumeRolePolicy"] = json.dumps(document)
    rules = {each.rule for each in judge_deployed("dev", deployment) if each.fails}
    assert {"T02"} <= rules, "what the cloud has counts, not what the program once said"


def test_the_gate_of_another_checkout_judges_with_its_rules(sandbox: Sandbox, copy: Path) -> None:
    (copy / "policies" / "rules" / "__init__.py").write_text(
        "from policies.rules import hygiene\nfrom policies.rule import rules_of\nRULES = rules_of(hygiene)\n"
    )
    done = previewed(sandbox, "dev", policies=copy / "policies")
    assert done.returncode == 0, done.stdout + done.stderr
    program = "import policies.rules, sys; print(len(policies.rules.RULES))"
    ours = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT)
    assert int(ours.stdout) > 40, "this checkout has all rules, whatever the other has"
