"""`runner-platform runners` with the sandbox's GitLab: the command names a change in GitLab and fails."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import gitlab
import pytest

if TYPE_CHECKING:
    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox


def compare(sandbox: Sandbox) -> Completed:
    return sandbox.run([sys.executable, "-m", "runner_platform", "runners", "--stack", "prod"], sandbox.variables)


def api_of(sandbox: Sandbox) -> gitlab.Gitlab:
    variables = sandbox.variables
    base = variables["GITLAB_BASE_URL"].rstrip("/").removesuffix("/api/v4")
    return gitlab.Gitlab(base, private_token=variables["GITLAB_TOKEN"])


def test_a_protected_runner_that_was_opened_in_gitlab_fails_the_comparison(sandbox: Sandbox) -> None:
    assert compare(sandbox).returncode == 0, "after a deployment, every runner is as the settings say"
    outputs = json.loads(sandbox.pulumi("stack", "output", "runner_ids", "--json", "--stack", "prod").stdout)
    runner = api_of(sandbox).runners.get(int(outputs["deploy"]))
    runner.access_level = "not_protected"
    runner.save()
    try:
        done = compare(sandbox)
        assert done.returncode == 1
        assert "deploy: access_level is 'not_protected' and should be 'ref_protected'" in done.stdout
        assert "small: as the settings say" in done.stdout
        assert "target: GitLab at http://127.0.0.1:" in done.stderr, "the target is named first"
    finally:
        runner.access_level = "ref_protected"
        runner.save()
    assert compare(sandbox).returncode == 0
