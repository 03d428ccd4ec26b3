"""Branches of a proof's pipelines: pushed by Git over HTTP, protected if the attempt asks for it, and removed at the end."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from gitlab.exceptions import GitlabError

from runner_platform.errors import FailedError
from runner_platform.prove.pipeline_jobs import PIPELINE_FILE, PROBE, PROBE_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gitlab.v4.objects import Project

SECONDS = 120
MESSAGE = "Prove who gets in\n\n[skip ci]"
"""GitLab starts no pipeline for a push whose commit message says so; the proof starts its own."""


@contextlib.contextmanager
def pushed(project: Project, branch: str, text: str, token: str, *, protected: bool) -> Iterator[None]:
    """Push a branch with the pipeline file and the probe alone; remove it when the block ends.

    Args:
        project: project that the token may push to.
        branch: name of a branch that does not exist.
        text: pipeline file.
        token: access token with the scope `write_repository`.
        protected: protects the branch, so that jobs of it are jobs of a protected ref.

    Raises:
        FailedError: GitLab refuses the protection or the push.
    """
    with tempfile.TemporaryDirectory(prefix="runner-platform-prove-") as name:
        folder = Path(name)
        _commit(folder, text)
        if protected:
            _set_protection(project, branch, protected=True)
        try:
            _git(folder, "push", "--quiet", project.http_url_to_repo, f"HEAD:refs/heads/{branch}", token=token)
        except FailedError:
            if protected:
                _set_protection(project, branch, protected=False)
            raise
        try:
            yield
        finally:
            if protected:  # first: a protected branch cannot be removed by a push
                _set_protection(project, branch, protected=False)
            _git(folder, "push", "--quiet", project.http_url_to_repo, f":refs/heads/{branch}", token=token)


def _set_protection(project: Project, branch: str, *, protected: bool) -> None:
    try:
        if protected:
            project.protectedbranches.create({"name": branch})
        else:
            project.protectedbranches.delete(branch)
    except GitlabError as error:
        raise FailedError(
            f"GitLab refuses the protection of branch {branch} of project {project.path_with_namespace}: {error.error_message}; "
            "GITLAB_TOKEN needs the scopes api and write_repository, and the role Maintainer in this project"
        ) from None


def _commit(folder: Path, text: str) -> None:
    (folder / PIPELINE_FILE).write_text(text)
    shutil.copy(PROBE, folder / PROBE_FILE)
    _git(folder, "init", "--quiet")
    _git(folder, "add", PIPELINE_FILE, PROBE_FILE)
    _git(folder, "commit", "--quiet", "--message", MESSAGE)


def _git(folder: Path, *arguments: str, token: str = "") -> None:
    """Run Git without the person's configuration. The token is in the environment, because others can read arguments."""
    header = b64encode(f"oauth2:{token}".encode()).decode()
    configuration = {
        "user.name": "runner-platform prove",
        "user.email": "prove@runner-platform.invalid",
        **({"http.extraHeader": f"Authorization: Basic {header}"} if token else {}),
    }
    done = subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_TERMINAL_PROMPT": "0", **_as_variables(configuration)},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    if done.returncode:
        reason = done.stderr.strip() or f"exit code {done.returncode}"
        raise FailedError(f"git {arguments[0]} failed: {reason}; GITLAB_TOKEN needs the scope write_repository")


def _as_variables(configuration: Mapping[str, str]) -> dict[str, str]:
    """Return variables that configure Git.

    Source: https://git-scm.com/docs/git-config#ENVIRONMENT
    """
    variables = {"GIT_CONFIG_COUNT": str(len(configuration))}
    for number, (key, value) in enumerate(configuration.items()):
        variables |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return variables
