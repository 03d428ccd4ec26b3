"""Objects and fixtures that the tests of the kubernetes stand-in share."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.providers.kubernetes.provider import Kubernetes
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.live_cluster import running_cluster
from sandbox.tests.support.provider_driver import Driver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.kubernetes.cluster import Cluster

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


@pytest.fixture
def stack(cluster: Cluster, request: pytest.FixtureRequest) -> Driver:
    """A stack for the test with a namespace `home`; the end of the cluster deletes the namespace."""
    driver = Driver(provider(cluster), stack=request.node.name)
    driver.up(NAMESPACE, "home", {})
    return driver


def provider(cluster: Cluster, **config: Any) -> Kubernetes:
    started = Kubernetes()
    started.configure({"kubeconfig": cluster.admin_kubeconfig.read_text(), **config})
    return started


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
