"""What runs jobs while a pipeline lasts: the runner managers of its classes, and the node that runs the pods that they make."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.job_mode import job_mode
from runner_platform_sandbox.process_images import running_process_node
from runner_platform_sandbox.real_node.stack import running_nodes
from runner_platform_sandbox.runner_managers import running_managers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.runner_managers import RunnerManager


@contextlib.contextmanager
def executing(
    paths: Paths, stack: str, classes: Sequence[str], say: Callable[[str], None], *, real_pods: bool = False
) -> Iterator[list[RunnerManager]]:
    """Take and run the jobs of runner classes until the block ends.

    Args:
        paths: The sandbox; it runs.
        stack: Name of the deployed stack.
        classes: Names of runner classes.
        say: Takes the sentence that tells how jobs run.
        real_pods: Runs jobs in real pods, not as processes; builds what this needs first.

    Raises:
        SandboxError: Jobs cannot run on this machine, or a part of it does not start.
    """
    mode = job_mode("" if real_pods else None)
    if not mode.possible:
        raise SandboxError(str(mode))
    node = running_nodes(paths, stack, classes) if real_pods else running_process_node(paths, stack)
    with node:
        say(str(mode))
        with running_managers(paths, stack, classes) as managers:
            yield managers
