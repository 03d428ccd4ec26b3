"""Kubernetes and gitlab under the real engine: deployed, repeated, refreshed, changed, destroyed.

The kubernetes provider is the stand-in, and once the real plugin.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.gitlab.server import GitLab, serve
from sandbox.tests.support.chart_server import serving
from sandbox.tests.support.provider_kubernetes_cases import cluster
from tests.support.engine_home import engine_home
from tests.support.kubernetes_plugin import use_real_plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.kubernetes.cluster import Cluster
    from runner_platform_sandbox.paths import Paths

pytestmark = pytest.mark.sandbox
__all__ = ["cluster"]  # a fixture
PROGRAM = Path(__file__).parents[1] / "programs" / "kubernetes"
NOBODY = "http://127.0.0.1:9"


@dataclass
class Engine:
    """The command line of the engine, in a home of its own."""

    environment: dict[str, str]
    program: Path
    gitlab: GitLab

    def run(self, *arguments: str, fails: bool = False) -> str:
        command = ["pulumi", *arguments, "--non-interactive", "--color=never", "--stack", "test"]
        done = subprocess.run(
            command, cwd=self.program, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, output
        return output


@pytest.fixture(scope="module")
def gitlab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[GitLab, str]]:
    gitlab = GitLab(tmp_path_factory.mktemp("gitlab"), "https://gitlab.com")
    server = serve(gitlab, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield gitlab, f"http://127.0.0.1:{server.server_address[1]}/api/v4/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def pulumi(cluster: Cluster, gitlab: tuple[GitLab, str], tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with the stand-ins; no chart repository can be reached."""
    return _engine(cluster, gitlab, tmp_path_factory.mktemp("engine"), NOBODY)[0]


@pytest.fixture(scope="module")
def pulumi_with_plugin(
    cluster: Cluster, gitlab: tuple[GitLab, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """An engine with the real plugin of Kubernetes, and a chart repository."""
    with serving(tmp_path_factory.mktemp("charts"), "0.93.0") as charts:
        driven, paths = _engine(cluster, gitlab, tmp_path_factory.mktemp("plugin"), charts.address)
        use_real_plugin(paths, {})
        yield driven


def _engine(cluster: Cluster, gitlab: tuple[GitLab, str], folder: Path, repository: str) -> tuple[Engine, Paths]:
    paths, environment = engine_home(folder)
    environment |= {"GITLAB_BASE_URL": gitlab[1], "GITLAB_TOKEN": GITLAB_TOKEN}
    program = folder / "program"
    shutil.copytree(PROGRAM, program, ignore=shutil.ignore_patterns("__pycache__"))
    driven = Engine(environment, program, gitlab[0])
    driven.run("stack", "init")
    driven.run("config", "set", "kubeconfig", cluster.admin_kubeconfig.read_text())
    driven.run("config", "set", "repository", repository)
    return driven, paths


@pytest.mark.parametrize("fixture", ["pulumi", "pulumi_with_plugin"])
def test_a_program_is_deployed_repeated_refreshed_changed_and_destroyed(
    fixture: str, cluster: Cluster, request: pytest.FixtureRequest
) -> None:
    pulumi: Engine = request.getfixturevalue(fixture)
    assert "to create" in pulumi.run("preview"), "a first preview needs nothing to exist"
    output = pulumi.run("up", "--yes", "--skip-preview")
    outputs = json.loads(pulumi.run("stack", "output", "--json"))
    assert outputs["release"].startswith("manager-"), "a release without a name gets one"
    assert outputs["version"] == "19.4.0", "the sandbox's own chart, in the version that was asked for"
    (runner,) = pulumi.gitlab.store.runners.values()
    secrets = cluster.client.list("v1", "Secret", outputs["namespace"])
    assert any(item["data"].get("runner-token") for item in secrets)
    pulumi.run("up", "--yes", "--expect-no-changes")
    pulumi.run("refresh", "--yes", "--expect-no-changes")
    pulumi.run("up", "--yes", "--expect-no-changes", "--refresh")
    state = pulumi.run("stack", "export")
    assert runner["token"] not in state + output, "the token is a secret everywhere"
    changed = pulumi.run("up", "--yes", "--skip-preview", "-c", "concurrent=20")
    assert "updated" in changed
    assert "1 updated" in changed, "only the release changes"
    pulumi.run("destroy", "--yes", "--skip-preview")
    assert cluster.client.find("v1", "Namespace", outputs["namespace"]) is None
    assert pulumi.gitlab.store.runners == {}


def test_a_deleted_cluster_is_named_and_previewed_by_inputs(pulumi: Engine, cluster: Cluster) -> None:
    pulumi.run("up", "--yes", "--skip-preview")
    text = cluster.admin_kubeconfig.read_text()
    pulumi.run("config", "set", "kubeconfig", text.replace(cluster.endpoint, "https://127.0.0.1:9"))
    assert "8 unchanged" in pulumi.run("preview"), "a preview without the cluster compares inputs"
    output = pulumi.run("up", "--yes", "--skip-preview", "-c", "concurrent=30", fails=True)
    assert "the Kubernetes cluster cannot be reached" in output
    pulumi.run("config", "set", "kubeconfig", text)
    pulumi.run("up", "--yes", "--skip-preview")
    pulumi.run("destroy", "--yes", "--skip-preview")
