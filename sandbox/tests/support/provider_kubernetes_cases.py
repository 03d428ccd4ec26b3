"""Objects and fixtures for the tests of the kubernetes provider: most run with the stand-in and with the real plugin."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.providers.kubernetes.manifest import kind_of_token
from runner_platform_sandbox.providers.kubernetes.provider import Kubernetes
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.live_cluster import running_cluster
from sandbox.tests.support.plugin_process import PluginProcess
from sandbox.tests.support.provider_driver import Driver
from sandbox.tests.support.provider_kubernetes_differences import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from runner_platform_sandbox.kubernetes.cluster import Cluster
    from runner_platform_sandbox.providers.stand_in import Naming, Target

NAMESPACE = "kubernetes:core/v1:Namespace"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
SERVICE_ACCOUNT = "kubernetes:core/v1:ServiceAccount"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JOB = "kubernetes:batch/v1:Job"
QUOTA = "kubernetes:core/v1:ResourceQuota"
NODE_POOL = "kubernetes:karpenter.sh/v1:NodePool"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
RELEASE = "kubernetes:helm.sh/v3:Release"

CHART = str(Path(__file__).parents[3] / "sandbox" / "chart" / "gitlab-runner")
TOKEN = "glrt-very-secret-token"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A control plane for the module, with tools on PATH and Helm's files in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        folders = [str(folder) for folder in Tools.find(Paths.from_environment()).path_folders()]
        patch.setenv("PATH", os.pathsep.join([*folders, os.environ["PATH"]]))
        patch.setenv("HELM_CACHE_HOME", str(tmp_path_factory.mktemp("helm")))
        with running_cluster(tmp_path_factory.mktemp("cluster")) as started:
            yield started


class KubernetesPlugin(PluginProcess):
    """The real plugin, given what the SDK adds to the program's properties."""

    def check(self, target: Target, news: dict[str, Any], olds: dict[str, Any], naming: Naming) -> dict[str, Any]:
        """Return checked inputs of an object with its kind, or of a release."""
        if target.token != RELEASE:
            kind = kind_of_token(target.token)
            news = {"apiVersion": kind.api_version, "kind": kind.kind, **news}
        return super().check(target, news, olds, naming)


@pytest.fixture(scope="module")
def plugin(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., KubernetesPlugin]]:
    """Starts the real plugin for a configuration; a process serves every test of the module with the same one."""
    environment = {name: os.environ[name] for name in ("PATH", "HELM_CACHE_HOME")}
    folder = tmp_path_factory.mktemp("plugin")
    environment["HOME"] = str(folder)
    program = Tools.find(Paths.from_environment()).kubernetes_plugin
    started: dict[str, KubernetesPlugin] = {}

    def start(**config: Any) -> KubernetesPlugin:
        settings = {"kubeconfig": cluster.admin_kubeconfig.read_text(), **config}
        key = json.dumps(settings, sort_keys=True)
        if key not in started:
            started[key] = KubernetesPlugin(
                program, "kubernetes", settings, environment=environment, log=folder / "plugin.log"
            )
        return started[key]

    yield start
    for process in started.values():
        process.stop()


@pytest.fixture
def stand_in(cluster: Cluster, request: pytest.FixtureRequest) -> Driver:
    """A stack with the stand-in as its provider and a namespace `home`; the end of the cluster deletes the namespace."""
    return new_stack(lambda **config: provider(cluster, **config), request)


@pytest.fixture(params=["stand-in", "plugin"])
def stack(cluster: Cluster, request: pytest.FixtureRequest) -> Driver:
    """A stack with a namespace `home`, once with the stand-in and once with the real plugin.

    A test that the plugin must fail is in the list of differences, which the page on stand-ins shows.
    """
    if request.param == "stand-in":
        return new_stack(lambda **config: provider(cluster, **config), request)
    known_difference = difference(request.node.originalname)
    if known_difference is not None:
        request.applymarker(pytest.mark.xfail(reason=known_difference.plugin, strict=True))
    return new_stack(request.getfixturevalue("plugin"), request)


def new_stack(start: Callable[..., Any], request: pytest.FixtureRequest) -> Driver:
    """Return a stack of the test with its namespace.

    Args:
        start: Starts a provider with a configuration.
        request: Names the test.
    """
    driver = Driver(start(), stack=request.node.name.replace("/", "-"), start=start)
    driver.up(NAMESPACE, "home", {})
    return driver


def provider(cluster: Cluster, **config: Any) -> Kubernetes:
    started = Kubernetes()
    started.configure({"kubeconfig": cluster.admin_kubeconfig.read_text(), **config})
    return started


def message(stack: Driver, *, stand_in: str, plugin: str) -> str:
    """Return the pattern of the error that this stack's provider gives."""
    return plugin if isinstance(stack.provider, PluginProcess) else stand_in


def home(stack: Driver) -> str:
    return stack.states["home"].id


def config_map(stack: Driver, **more: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": home(stack), "name": "settings"}, "data": {"a": "1"}, **more}


def deployment(stack: Driver, **pod: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "main", "image": "example"}], **pod}
    template = {"metadata": {"labels": {"app": "x"}}, "spec": spec}
    return {
        "metadata": {"namespace": home(stack), "name": "x"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template},
    }


def release(stack: Driver, timeout: int = 60, **values: Any) -> dict[str, Any]:
    return {
        "chart": CHART,
        "name": "gitlab-runner-small",
        "namespace": home(stack),
        "timeout": timeout,
        "values": {"gitlabUrl": "https://gitlab.com", "runnerToken": TOKEN, **values},
    }


def changed(inputs: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(inputs)
    *folders, last = path.split(".")
    place = result
    for folder in folders:
        place = place[folder]
    place[last] = value
    return result
