"""Real nodes for the runner classes of a deployed stack, with the images that their jobs need."""

from __future__ import annotations

import contextlib
import platform
from typing import TYPE_CHECKING

from components.documents.config_toml import GITLAB_HELPER_IMAGE, runner_image
from components.documents.config_toml import helper_image as protected_helper_image
from runner_platform_sandbox.deployed_stack import deployed_stack, job_addresses
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.real_node.images import with_variables
from runner_platform_sandbox.real_node.job_images import helper_image, job_image
from runner_platform_sandbox.real_node.node import RealNode
from runner_platform_sandbox.real_node.programs import Programs, machine_obstacle
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER, KUBE_ROUTER, KUBELET
from runner_platform_sandbox.tools.ensure import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner_platform_sandbox.paths import Paths


@contextlib.contextmanager
def running_nodes(paths: Paths, stack: str, classes: Sequence[str]) -> Iterator[list[RealNode]]:
    """Run one real node for each runner class of a deployed stack, and end them afterwards; build their tools if they are missing.

    Pods reach GitLab and the jobs' AWS listener at the ports that both have on this machine's loopback.

    Args:
        paths: The sandbox; it runs.
        stack: Name of the stack, such as `dev`.
        classes: Names of runner classes.

    Raises:
        SandboxError: This machine cannot run a node (see `programs.obstacle`), the sandbox does not run, the stack or a
            class is not deployed, or a node does not start.
    """
    if not machine_obstacle():
        ensure(paths, [tool.name for tool in (GITLAB_RUNNER, KUBELET, KUBE_ROUTER)])
    programs = Programs.find(paths)
    deployed = deployed_stack(paths, stack)
    names, account = deployed.settings.names, deployed.settings.platform_account.id
    image, protected_helper = runner_image(names, account), protected_helper_image(names, account)
    with KubeClient.from_kubeconfig(deployed.kubeconfig) as client, contextlib.ExitStack() as nodes:
        running = []
        for runner_class in classes:
            node = RealNode(
                paths,
                deployed.kubeconfig.parent,
                client,
                programs,
                pool=runner_class,
                region=deployed.cluster.region,
                loopback=[deployed.ports.aws_jobs, deployed.ports.gitlab],
            )
            add_images(paths, node, image, protected_helper, aws=deployed.aws)
            running.append(nodes.enter_context(node))
        yield running


def add_images(paths: Paths, node: RealNode, image: str, *helpers: str, aws: str = "") -> None:
    """Let a node serve a job image under the name of the class's image, and the runner's helper image.

    The runner's helper has a tag with processor and version; a pod of `prove` names none.

    Args:
        paths: Has the cache.
        node: The node.
        image: Full name of the job image.
        helpers: Further full names of the helper image.
        aws: Address of AWS for the jobs, which the job image then names; empty if each job names it.
    """
    program = ensure(paths, [GITLAB_RUNNER.name]).gitlab_runner
    version = (program.parents[1] / "share" / "VERSION").read_text().strip()
    tags = ("latest", f"{platform.machine()}-v{version}")
    helper = helper_image(
        paths, program.with_name("gitlab-runner-helper"), *(f"{GITLAB_HELPER_IMAGE}:{tag}" for tag in tags), *helpers
    )
    node.add_image("helper", helper)
    layout = job_image(paths, image)
    if aws:
        with_variables(layout, node.place_of_image("job"), job_addresses(aws))
    else:
        node.add_image("job", layout)
