"""What the containers of a stack's job pods see when they run as processes.

The runner image has its programs from the sandbox's tools and from this machine, its files from `image/` and from the stack's
settings. Its variables are those of `image/Containerfile`, and the addresses of the sandbox's AWS for jobs, which an SDK would
otherwise look for in the internet. GitLab's helper image has the real helper program.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.documents.config_toml import JOB_USER, runner_image
from components.documents.profiles import class_profiles
from runner_platform_sandbox.deployed_stack import deployed_stack, job_addresses
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.process_node import (
    Image,
    ProcessNode,
    ProcessNodeError,
    Surroundings,
    folder_of_nodes,
    obstacle,
    running,
)
from runner_platform_sandbox.tools import catalogue
from runner_platform_sandbox.tools.discovery import discover
from runner_platform_sandbox.tools.ensure import ensure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.settings import Settings
    from runner_platform_sandbox.paths import Paths

HELPER_PATTERN: Final = r"[^ ]*/(gitlab-runner-helper:[^ ]+|runner:[^ ]+-helper)"
"""GitLab's helper image, in any registry and version; protected classes take it from the platform's registry, under its name there."""
BIN: Final = "/usr/local/bin"
"""Folder of the runner image's own programs."""
HELPER_PROGRAM: Final = "/usr/bin/gitlab-runner-helper"
"""Where the executor expects the helper image's program (`executors/kubernetes/kubernetes.go`)."""
_IMAGE_TOOLS: Final = (catalogue.TOFU, catalogue.HELM, catalogue.KUBECTL, catalogue.PULUMI)
"""Tools of the runner image (`image/build/go-tools.txt`)."""
_BESIDE_PULUMI: Final = ("pulumi-language-python", "pulumi-language-python-exec")
_BUILD_SHELL: Final = "#!/bin/sh\nexec bash\n"
"""The helper image's gitlab-runner-build: it runs the script on its standard input."""
_SYSTEM: Final = tuple(Path(folder) for folder in ("/usr", "/opt", "/nix"))
"""Folders that every container sees anyway (`sandbox/tools/process-node/root.go`)."""


@contextlib.contextmanager
def running_process_node(paths: Paths, stack: str) -> Iterator[ProcessNode]:
    """Run the job pods of a deployed stack as processes until the block ends.

    Args:
        paths: The sandbox; it runs.
        stack: Name of the stack, such as `dev`.

    Raises:
        SandboxError: The sandbox does not run, or the stack is not deployed.
        ProcessNodeError: This machine refuses namespaces, or the node does not start.
    """
    with running(surroundings(paths, stack)) as node:
        yield node


def surroundings(paths: Paths, stack: str) -> Surroundings:
    """Return the surroundings of a deployed stack's process node; build its program if it is missing.

    Raises:
        SandboxError: The sandbox does not run, or the stack is not deployed.
        ProcessNodeError: This machine refuses namespaces.
    """
    problem = obstacle()
    if problem:
        raise ProcessNodeError(problem)
    deployed = deployed_stack(paths, stack)
    settings = deployed.settings
    tools = ensure(paths, [tool.name for tool in catalogue.LATER_TOOLS])
    return Surroundings(
        program=tools.process_node,
        folder=folder_of_nodes(paths.root) / deployed.cluster.name,
        kubeconfig=deployed.kubeconfig,
        authority=deployed.kubeconfig.parent / "keys" / "ca.crt",
        images=(
            runner_image_contents(settings, _tools(paths), deployed.aws),
            helper_image_contents(tools.gitlab_runner.with_name("gitlab-runner-helper")),
        ),
        registries=(settings.names.registry_host(settings.platform_account.id),),
        programs=python_folders(),
    )


def runner_image_contents(settings: Settings, tools: Mapping[str, Path], aws: str) -> Image:
    """Compose the runner image of a stack.

    Args:
        settings: Settings of the stack.
        tools: Programs of the image by name.
        aws: URL of the jobs' listener of AWS.
    """
    image = PROJECT / "image"
    folders = {f"{BIN}/{name}": str(program) for name, program in tools.items()}
    folders[f"{BIN}/aws"] = str(Path(sys.prefix) / "bin" / "aws")
    for part in ("doctor", "probes"):
        folders[f"/usr/local/lib/runner-platform/image/{part}"] = str(image / part)
    for entry in Path(sys.prefix).iterdir():
        folders[f"/opt/runner-platform/{entry.name}"] = str(entry)
    folders["/opt/runner-platform/uv.lock"] = str(PROJECT / "uv.lock")
    configs = {
        f"/etc/runner-platform/classes/{name}/config": class_profiles(settings.runner_class(name))
        for name in settings.runners
    }
    return Image(
        pattern=re.escape(runner_image(settings.names, settings.platform_account.id)),
        environment={
            "HOME": "/home/runner",
            "AWS_CONFIG_FILE": "/etc/runner-platform/aws/config",
            "AWS_SDK_LOAD_CONFIG": "1",
            "AWS_PAGER": "",
            **job_addresses(aws),
            "AWS_EC2_METADATA_DISABLED": "true",
        },
        user=JOB_USER,
        working_dir="/home/runner",
        files=configs | {f"{BIN}/{file.name}": file.read_text() for file in sorted((image / "bin").iterdir())},
        folders=folders,
    )


def helper_image_contents(program: Path) -> Image:
    """Compose GitLab's helper image.

    Args:
        program: The helper program.
    """
    return Image(
        pattern=HELPER_PATTERN,
        environment={"HOME": "/root"},
        files={"/usr/bin/gitlab-runner-build": _BUILD_SHELL},
        folders={HELPER_PROGRAM: str(program)},
    )


def python_folders() -> tuple[Path, ...]:
    """List the folders of the project's Python environment and of its interpreter, as its scripts name them."""
    base = Path(sys.base_prefix)
    folders = dict.fromkeys([Path(sys.prefix), base, base.resolve()])
    return tuple(folder for folder in folders if not any(folder.is_relative_to(system) for system in _SYSTEM))


def _tools(paths: Paths) -> dict[str, Path]:
    present = discover(paths, _IMAGE_TOOLS)
    programs = {name: tool.program for name, tool in present.items()}
    if catalogue.PULUMI.name in programs:
        folder = programs[catalogue.PULUMI.name].parent
        programs |= {name: folder / name for name in _BESIDE_PULUMI}
    return programs
