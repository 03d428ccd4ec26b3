"""A proof by pipelines: GitLab gives jobs to the real runners of stack `dev`, and strangers' jobs to none."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import gitlab
import pytest

from config import load

if TYPE_CHECKING:
    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox
STRANGER = "somebody/fork"


def api(sandbox: Sandbox) -> gitlab.Gitlab:
    variables = sandbox.variables
    base = variables["GITLAB_BASE_URL"].partition("/api/")[0]
    return gitlab.Gitlab(base, private_token=variables["GITLAB_TOKEN"])


def seed(token: str) -> dict[str, Any]:
    """Give the platform's user a project outside of the platform's group."""
    return {
        "groups": {"7001": {"path": STRANGER.partition("/")[0]}},
        "projects": {"7002": {"path": STRANGER, "group": "7001"}},
        "tokens": {token: {"user": "platform", "groups": {"1234": "OWNER", "7001": "OWNER"}}},
    }


def prove(sandbox: Sandbox, *options: str) -> Completed:
    command = [
        sys.executable,
        "-m",
        "runner_platform",
        "prove",
        "--stack",
        "dev",
        "--by",
        "pipeline",
        "--json",
        *options,
    ]
    with_runners = [sys.executable, "-m", "runner_platform", "sandbox", "runners", "--stack", "dev", "--", *command]
    return sandbox.run(with_runners, sandbox.variables)


def test_every_cell_is_a_job_and_strangers_jobs_are_taken_by_nobody(sandbox: Sandbox) -> None:
    client = api(sandbox)
    client.http_put(f"{client.url}/_sandbox/seed", post_data=seed(str(client.private_token)))
    done = prove(sandbox, "--stranger", STRANGER)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results: list[dict[str, Any]] = json.loads(done.stdout)
    assert all(result["ok"] for result in results)
    runners, accounts = load.of_stack("dev").runners, load.of_foundation().accounts
    cells = {(result["class"], result["profile"]) for result in results if result["class"]}
    assert cells == {(name, profile) for name in runners for profile in ("default", "base", *accounts)}
    strangers = [result["service_account"] for result in results if result["class"] is None]
    assert sum(STRANGER in caller for caller in strangers) == len(runners)
    assert sum("not protected" in caller for caller in strangers) == 1
    for path in ("senncloud/deployments", STRANGER):
        project = client.projects.get(path)
        protected = [branch.name for branch in project.protectedbranches.list(get_all=True)]
        assert not [name for name in protected if name.startswith("runner-platform-prove")], "branches are removed"


def test_a_project_that_does_not_exist_is_named(sandbox: Sandbox) -> None:
    command = [sys.executable, "-m", "runner_platform", "prove", "--stack", "dev", "--by", "pipeline"]
    done = sandbox.run([*command, "--project", "senncloud/absent"], sandbox.variables)
    assert done.returncode == 1
    assert "refuses" in done.stderr
    assert "senncloud/absent" in done.stderr
