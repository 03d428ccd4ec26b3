"""The whole stack `dev` with Pulumi's own Kubernetes plugin in place of the stand-in; nothing in the program changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from config import load
from sandbox.tests.support.chart_server import serving
from tests.support.kubernetes_plugin import use_real_plugin

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox


def test_a_stack_is_deployed_whole_and_neither_preview_nor_refresh_changes_it(own: Sandbox, tmp_path: Path) -> None:
    made = own.up("foundation")
    assert made.returncode == 0, made.stdout + made.stderr
    with serving(tmp_path, load.of_stack("dev").chart.version) as charts:
        use_real_plugin(own.paths, charts.variables)
        driver = [sys.executable, "-m", "runner_platform", "up", "--stack", "dev", "--create", "--json"]
        done = own.run(driver, own.variables)
        assert done.returncode == 0, done.stdout + done.stderr
        releases = [entry for entry in own.exported("dev")["resources"] if entry["type"].endswith("v3:Release")]
        assert releases
        assert all(entry["outputs"]["status"]["status"] == "deployed" for entry in releases)
        for command in (("preview",), ("refresh", "--yes")):
            again = own.pulumi(*command, "--expect-no-changes", "--stack", "dev")
            assert again.returncode == 0, again.stdout + again.stderr
