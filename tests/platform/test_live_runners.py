"""The live comparison against the fake GitLab: what somebody changes there turns the command red and is named."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import gitlab
import pytest

if TYPE_CHECKING:
    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox


def compared(sandbox: Sandbox) -> Completed:
    return sandbox.run([sys.executable, "-m", "runner_platform", "runners", "--stack", "prod"], sandbox.variables)


def api_of(sandbox: Sandbox) -> gitlab.Gitlab:
    variables = sandbox.variables
    base = variables["GITLAB_BASE_URL"].rstrip("/").removesuffix("/api/v4")
    return gitlab.Gitlab(base, private_token=variables["GITLAB_TOKEN"])


def test_a_protected_runner_that_somebody_opened_in_gitlab_turns_the_comparison_red(sandbox: Sandbox) -> None:
    assert compared(sandbox).returncode == 0, "freshly deployed, every runner is as the settings say"
    outputs = json.loads(sandbox.pulumi("stack", "output", "runner_ids", "--json", "--stack", "prod").stdout)
    runner = api_of(sandbox).runners.get(int(outputs["deploy"]))
    runner.access_level = "not_protected"
    runner.save()
    try:
        done = compared(sandbox)
        assert done.returncode == 1
        assert "deploy: access_level is 'not_protected' and should be 'ref_protected'" in done.stdout
        assert "small: as the settings say" in done.stdout
        assert "target: GitLab at http://127.0.0.1:" in done.stderr, "what is asked is said first"
    finally:
        runner.access_level = "ref_protected"
        runner.save()
    assert compared(sandbox).returncode == 0
