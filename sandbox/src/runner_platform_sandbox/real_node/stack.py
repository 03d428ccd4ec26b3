"""Real nodes for the runner classes of a deployed stack, with the images that their jobs need."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.documents.config_toml import helper_image as protected_helper_image
from components.documents.config_toml import runner_image
from config import load
from runner_platform_sandbox import state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.real_node.images import with_variables
from runner_platform_sandbox.real_node.job_images import helper_image, job_image
from runner_platform_sandbox.real_node.node import RealNode
from runner_platform_sandbox.real_node.programs import Programs
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER
from runner_platform_sandbox.tools.ensure import ensure
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runner_platform_sandbox.paths import Paths

HELPER_IMAGE: Final = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper"
"""GitLab's own, which open classes use."""


@contextlib.contextmanager
def running_nodes(paths: Paths, stack: str, classes: Sequence[str]) -> Iterator[list[RealNode]]:
    """Run one real node for each runner class of a deployed stack, and end them afterwards.

    Pods reach GitLab and the jobs' AWS listener at the ports that both have on this machine's loopback.

    Args:
        paths: The sandbox; it runs.
        stack: Name of the stack, such as `dev`.
        classes: Names of runner classes.

    Raises:
        SandboxError: This machine cannot run a node (see `programs.obstacle`), the sandbox does not run, the stack or a
            class is not deployed, or a node does not start.
    """
    programs = Programs.find(paths)
    current = state.read(paths)
    if current is None or not current.running:
        raise SandboxError("the sandbox does not run", "start it: `make up`")
    settings = load.of_stack(stack)
    name = settings.names.cluster
    cluster = next((cluster for cluster in current.clusters if cluster.name == name), None)
    if cluster is None or cluster.status != "ACTIVE":
        raise SandboxError(f"stack {stack} has no cluster {name} in the sandbox", "deploy it: `make up`")
    image = runner_image(settings.names, settings.platform_account.id)
    kubeconfig = Path(cluster.kubeconfig)
    with KubeClient.from_kubeconfig(kubeconfig) as client, contextlib.ExitStack() as nodes:
        running = []
        for runner_class in classes:
            node = RealNode(
                paths,
                kubeconfig.parent,
                client,
                programs,
                pool=runner_class,
                region=cluster.region,
                loopback=[current.ports.aws_jobs, current.ports.gitlab],
            )
            aws = f"http://127.0.0.1:{current.ports.aws_jobs}"
            add_images(
                paths, node, image, protected_helper_image(settings.names, settings.platform_account.id), aws=aws
            )
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
    try:
        program = ensure(paths, [GITLAB_RUNNER.name]).gitlab_runner
    except ToolsError as error:
        raise SandboxError(str(error)) from error
    version = (program.parents[1] / "share" / "VERSION").read_text().strip()
    tags = ("latest", f"{platform.machine()}-v{version}")
    helper = helper_image(
        paths, program.with_name("gitlab-runner-helper"), *(f"{HELPER_IMAGE}:{tag}" for tag in tags), *helpers
    )
    node.add_image("helper", helper)
    layout = job_image(paths, image)
    if aws:
        variables = {"AWS_ENDPOINT_URL": aws, "AWS_ENDPOINT_URL_STS": aws}  # Go's STS client reads the second one alone
        with_variables(layout, node.place_of_image("job"), variables)
    else:
        node.add_image("job", layout)
