"""The images of job pods: a small job image with the AWS CLI, and the runner's helper image.

Their registries cannot be reached from every machine, so both are made of Debian's packages once and kept in the tools' cache.
A node serves them under the names that the real images have.
"""

from __future__ import annotations

import shutil
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.real_node import debian
from runner_platform_sandbox.real_node.images import write_image
from runner_platform_sandbox.tools.cache import digest, locked, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner_platform_sandbox.paths import Paths

HELPER_PACKAGES: Final = ("bash", "dash", "coreutils", "hostname", "git", "sed", "grep", "findutils", "ca-certificates")
JOB_PACKAGES: Final = (*HELPER_PACKAGES, "python3")
_VARIABLES: Final = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]

_CLI: Final = (
    "awscli",
    "colorama",
    "dateutil",
    "docutils",
    "jmespath",
    "pyasn1",
    "rsa",
    "six.py",
    "urllib3",
    "yaml",
)
"""The AWS CLI of the sandbox's environment, with its own botocore, and what it imports."""
_SERVICES: Final = ("sts", "s3", "ecr", "iam", "eks", "sdb")
"""Services whose models the image has; the CLI reads the last one at each start."""
_BUILD: Final = """\
#!/bin/bash
umask 0000
exec /bin/bash
"""
"""GitLab's helper image has this program, too: a shell that reads its standard input, and whose files every user of the job can write."""


def job_image(paths: Paths, *names: str) -> Path:
    """Return the layout of a job image with bash, git, Python and the AWS CLI.

    Args:
        paths: Has the cache.
        names: Full names of the image, each with a tag.
    """

    def fill(root: Path) -> None:
        debian.make_root(JOB_PACKAGES, root)
        _copy_cli(root)

    return _cached(paths, [*JOB_PACKAGES, *_CLI, *_SERVICES], names, fill, Cmd=["/bin/bash"])


def helper_image(paths: Paths, helper: Path, *names: str) -> Path:
    """Return the layout of the runner's helper image.

    Args:
        paths: Has the cache.
        helper: The program `gitlab-runner-helper`.
        names: Full names of the image, each with a tag.
    """

    def fill(root: Path) -> None:
        debian.make_root(HELPER_PACKAGES, root)
        shutil.copy(helper, root / "usr" / "bin" / "gitlab-runner-helper")
        build = root / "usr" / "bin" / "gitlab-runner-build"
        build.write_text(_BUILD)
        build.chmod(0o755)

    return _cached(paths, [str(helper), _BUILD, *HELPER_PACKAGES], names, fill, Cmd=["/bin/bash"])


def _cached(
    paths: Paths, key: list[str], names: Sequence[str], fill: Callable[[Path], None], **settings: object
) -> Path:
    """Return an image's layout in the cache; make it if it is absent."""
    folder = paths.tools / f"image-{digest(part.encode() for part in (*key, *names))}"
    if not folder.exists():
        with locked(paths, folder.name, lambda _: None):
            if not folder.exists():
                with staged(paths, folder.name, folder) as staging:
                    root = staging / "root"
                    fill(root)
                    write_image(staging / "layout", root, names, Env=_VARIABLES, **settings)
                    shutil.rmtree(root)
    return folder / "layout"


def _copy_cli(root: Path) -> None:
    packages = Path(sysconfig.get_path("purelib"))
    target = root / "usr" / "lib" / "python3" / "dist-packages"
    target.mkdir(parents=True, exist_ok=True)
    for name in _CLI:
        source = packages / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=_ignored, copy_function=_copy)
        else:
            shutil.copy(source, target / name)
    program = root / "usr" / "bin" / "aws"
    program.write_text("#!/usr/bin/python3\nfrom awscli.clidriver import main\nraise SystemExit(main())\n")
    program.chmod(0o755)


def _ignored(_: str, names: list[str]) -> set[str]:
    """Leave out documentation."""
    return {name for name in names if name in {"__pycache__", "examples", "topics"}}


def _copy(source: str, target: str) -> None:
    """Copy a file; of a service that jobs do not call, only the name of its model, without which the CLI does not start."""
    parts = Path(source).parts
    service = parts[-3] if parts[-4:-3] == ("data",) else _SERVICES[0]
    if service in _SERVICES:
        shutil.copy(source, target)
    elif parts[-1] == "service-2.json":
        Path(target).write_text("{}")
