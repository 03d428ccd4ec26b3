"""Projects of the sandbox's GitLab, and the platform's own one with the CI/CD components that a pipeline includes.

A pipeline that includes `senncloud/runner-platform` gets the `templates/` of this checkout, whatever version it names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import gitlab.exceptions

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.errors import WRONG_USE, SandboxError
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.run import snapshot

if TYPE_CHECKING:
    from gitlab import Gitlab
    from gitlab.v4.objects import Project

PLATFORM: Final = "senncloud/runner-platform"
_VERSION: Final = re.compile(rf"{PLATFORM}/[a-z0-9-]+@([A-Za-z0-9._-]+)")


def publish(client: Gitlab, pipeline_file: str) -> None:
    """Push the components of this checkout, if a pipeline file names their project."""
    if PLATFORM not in pipeline_file:
        return
    versions = sorted(set(_VERSION.findall(pipeline_file)))
    refs = ["refs/heads/main", *(f"refs/tags/{version}" for version in versions)]
    remote = project(client, PLATFORM).http_url_to_repo
    snapshot.push(remote, GITLAB_TOKEN, refs, folder=PROJECT, paths=["templates"])


def project(client: Gitlab, path: str) -> Project:
    """Return a project by its full path, made in its group if it does not exist.

    Raises:
        SandboxError: There is no such group.
    """
    try:
        return client.projects.get(path)
    except gitlab.exceptions.GitlabGetError:
        group, _, name = path.rpartition("/")
    try:
        owner = client.groups.get(group)
    except gitlab.exceptions.GitlabGetError:
        raise SandboxError(
            f"the sandbox's GitLab has no project {path} and no group {group or '(none)'} to make it in",
            "name a project of group senncloud, such as `--project senncloud/website`",
            exit_code=WRONG_USE,
        ) from None
    return client.projects.get(client.projects.create({"path": name, "namespace_id": owner.id}).id)
