"""A cluster with the classes of stack dev, and their real managers: the objects that the program registers, without nodes.

Pods stay pending, so a test reads what the runner asked for and cancels the job.
"""

from __future__ import annotations

import copy
import json
import subprocess
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from config.names import helm_release, namespace_jobs
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.providers.kubernetes.charts import OWN_CHART
from runner_platform_sandbox.runner_managers import Surroundings, running
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support import job_server
from sandbox.tests.support.kubernetes_cases import trial
from tests.support.program import mock_run
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.client import KubeClient
    from runner_platform_sandbox.runner_managers import RunnerManager
    from sandbox.tests.support.job_server import Job, JobServer

STACK = "dev"
RELEASE = "kubernetes:helm.sh/v3:Release"
NODES = ("kubernetes:karpenter.sh/", "kubernetes:eks.amazonaws.com/")
JOB_ANNOTATION = "job.runner.gitlab.com/id"


@dataclass(frozen=True)
class RunnerCluster:
    """Managers of every class, the cluster that they make pods in, and GitLab's queue."""

    client: KubeClient
    jobs: JobServer
    managers: dict[str, RunnerManager]
    surroundings: Surroundings
    pods: dict[int, dict[str, Any]] = field(default_factory=dict)
    plain: dict[str, Job] = field(default_factory=dict)

    def plain_pod(self, runner_class: str) -> dict[str, Any]:
        """Return the pod of a job that asks for nothing but the class's own image; one job a class."""
        if runner_class not in self.plain:
            template = tomllib.loads(self.managers[runner_class].config_file.read_text())
            image = {"name": template["runners"][0]["kubernetes"]["image"]}
            self.plain[runner_class] = self.jobs.add(token(runner_class), image=image)
        return self.pod(runner_class, self.plain[runner_class])

    def pod(self, runner_class: str, job: Job) -> dict[str, Any]:
        """Return the pod that the manager made for a job, and cancel the job."""
        if job.number not in self.pods:
            until(lambda: self._found(runner_class, job), f"the pod of job {job.number}; its log:\n{job.text}", 120)
            job.cancelled = True
        return copy.deepcopy(self.pods[job.number])

    def _found(self, runner_class: str, job: Job) -> bool:
        assert not job.ended, job.text
        for pod in self.client.list("v1", "Pod", namespace_jobs(runner_class)):
            self.pods[int(pod["metadata"]["annotations"][JOB_ANNOTATION])] = pod
        return job.number in self.pods


def token(runner_class: str) -> str:
    """Return the authentication token of a class's runner."""
    return f"glrt-{runner_class}"


@contextmanager
def runner_cluster(folder: Path) -> Iterator[RunnerCluster]:
    """Run a cluster with the classes of stack dev and their managers, and end all of it afterwards."""
    tools = Tools.find(Paths.from_environment())
    with trial(folder / "cluster") as cluster, job_server.serving() as jobs:
        classes = apply_classes(cluster.client, tools.helm)
        surroundings = Surroundings(
            program=tools.gitlab_runner,
            root=folder,
            stack=STACK,
            kubeconfig=cluster.cluster.admin_kubeconfig,
            gitlab=jobs.url,
            aws="http://127.0.0.1:1",
            region="eu-central-1",
        )
        with running(surroundings, classes) as managers:
            yield RunnerCluster(
                cluster.client, jobs, {manager.runner_class: manager for manager in managers}, surroundings
            )


def apply_classes(client: KubeClient, helm: Path) -> list[str]:
    """Apply what the program registers for its runner classes, without nodes, and return the classes."""
    resources = [resource for resource in mock_run(STACK).resources if resource.type.startswith("kubernetes:")]
    objects = [resource.inputs for resource in resources if not resource.type.startswith((*NODES, RELEASE))]
    classes = []
    for resource in resources:
        if resource.type == RELEASE:
            classes.append(str(resource.inputs["name"]).removeprefix(helm_release("")))
            objects += rendered(helm, resource.inputs)
    for body in sorted(copy.deepcopy(objects), key=lambda body: body["kind"] != "Namespace"):
        if body["kind"] == "Secret":
            own = token(body["metadata"]["namespace"].removeprefix("runner-"))
            body["stringData"] = {"runner-token": own, "runner-registration-token": ""}
        client.apply(body)
    return classes


def rendered(helm: Path, release: Any) -> list[Any]:
    """Render a release's chart with the sandbox's own chart."""
    command = [str(helm), "template", release["name"], str(OWN_CHART), "--namespace", release["namespace"]]
    done = subprocess.run(
        [*command, "--values", "-"],
        input=json.dumps(release["values"]),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return [body for body in yaml.safe_load_all(done.stdout) if body]
