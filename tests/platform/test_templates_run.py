"""The pipeline's jobs with the real commands: a merge request without credentials, then a deployment to production with ID tokens."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.organization import PROJECT
from tests.support.small_repository import git

if TYPE_CHECKING:
    from tests.support.company import Company

pytestmark = pytest.mark.sandbox
pytest_plugins = ["tests.support.company"]
NO_CLOUD = ("AWS_", "PULUMI_", "GITLAB_", "KUBE", "RUNNER_PLATFORM_")


@pytest.fixture(scope="module")
def request_variables(company: Company) -> dict[str, str]:
    """A merge request of the clone that raises a limit and deletes the rules."""
    company.commit("Secrets of the stacks: our own key")
    origin = company.folder / "origin.git"
    git(company.folder, "clone", "-q", "--bare", str(company.clone), str(origin))
    git(company.clone, "remote", "add", "origin", str(origin))
    git(company.clone, "checkout", "-q", "-b", "feature")
    file = company.clone / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("concurrent: 4,", "concurrent: 8,"))
    (company.clone / "policies/__main__.py").write_text("raise SystemExit('no rules')\n")
    company.commit("More of small, and no rules")
    return {
        "CI_MERGE_REQUEST_IID": "3",
        "CI_MERGE_REQUEST_PROJECT_ID": "1",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_MERGE_REQUEST_PROJECT_URL": f"file://{company.folder}/origin",
    }


def reviewed(company: Company, name: str, variables: dict[str, str], **more: str) -> str:
    """Run a job of the merge request without any cloud variable, and return its log."""
    done = company.job(name, NO_CLOUD, **variables, **more)
    assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("stack", ["dev"])
def test_check_applies_the_rules_of_the_target_branch(
    company: Company, request_variables: dict[str, str], stack: str
) -> None:
    log = reviewed(company, "check", request_variables, STACK=stack)
    assert stack in log
    for file in ("codequality.json", "junit.xml"):
        assert (company.clone / "reports" / stack / file).stat().st_size


@pytest.mark.parametrize("stack", ["dev", "foundation"])
def test_changes_of_the_branch_are_counted_per_stack(
    company: Company, request_variables: dict[str, str], stack: str
) -> None:
    reviewed(company, "changes", request_variables, STACK=stack)
    folder = company.clone / "reports" / stack
    counts = json.loads((folder / "terraform.json").read_text())
    assert counts["create"] == counts["delete"] == 0
    assert bool(counts["update"]) == (stack == "dev"), "the branch changes dev alone"
    assert {path.name for path in folder.iterdir()} >= {"changes.md", "summary.md", "access.json", "access.md"}


def test_the_summary_of_the_branch_names_its_cost(company: Company) -> None:
    text = (company.clone / "reports/dev/summary.md").read_text()
    assert re.search(r"most vCPU of small: \d+ → \d+ vCPU: \+\$\d", text)


def test_the_note_job_posts_nothing_without_a_token(company: Company, request_variables: dict[str, str]) -> None:
    assert "nothing is posted" in reviewed(company, "note", request_variables)


def test_a_deployment_to_production(company: Company) -> None:
    git(company.clone, "checkout", "-q", "main")
    for name in ("preview:dev", "preview:prod"):
        done = company.job(name)
        assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    early = company.job("prod")
    assert early.returncode == 1, "a promotion needs a deployed and proven trial stack"
    for name in ("dev", "prove:dev", "preview:prod", "prod", "prove:prod"):
        done = company.job(name)
        assert done.returncode == 0, f"{name}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_a_new_deployment_has_no_drift(company: Company) -> None:
    for stack in ("dev", "prod"):
        done = company.job("drift", STACK=stack)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_an_update_plan_of_another_commit_is_refused(company: Company) -> None:
    assert company.job("preview:dev").returncode == 0
    file = company.clone / "Pulumi.dev.yaml"
    file.write_text(file.read_text().replace("expire_days: 3", "expire_days: 5"))
    company.commit("Keep the cache for longer")
    done = company.job("dev")
    assert done.returncode == 1
    assert "the settings were changed" in done.stdout + done.stderr


def test_a_token_of_another_branch_is_refused(company: Company) -> None:
    done = company.job("preview:dev", RUNNER_PLATFORM_ID_TOKEN=company.token("feature"))
    assert done.returncode == 1
    assert "AssumeRoleWithWebIdentity" in done.stdout + done.stderr


def test_the_destroyed_trial_stack_leaves_only_documented_resources(company: Company) -> None:
    backend = company.command("backend").stdout.strip()
    for arguments in (("destroy", "--now"), ("audit",)):
        done = company.command(*arguments, "--stack", "dev", PULUMI_BACKEND_URL=backend)
        assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


def test_no_file_of_this_repository_was_changed(company: Company) -> None:
    assert git(company.clone, "log", "--oneline").count("\n") >= 1
    for file in ("foundation/Pulumi.foundation.yaml", "Pulumi.dev.yaml", "Pulumi.prod.yaml"):
        assert "encryptionsalt" in (PROJECT / file).read_text()
