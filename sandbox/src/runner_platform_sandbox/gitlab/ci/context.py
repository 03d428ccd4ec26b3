"""The situation of a pipeline: its ref, its source, its variables, and the files that it can include."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from runner_platform_sandbox.gitlab.ci.variables import Variable


def slug(text: str) -> str:
    """Return a text for host names and paths: lower case, digits and hyphens, at most 63 characters."""
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:63].strip("-")


class Files(Protocol):
    """Files of a project at one commit, and the way to other projects."""

    def read(self, path: str) -> str | None:
        """Return the text of a file, or None if there is no such file. The path has no `/` in front."""

    def paths(self) -> Collection[str]:
        """Return the paths of all files, for `rules: exists` and for includes with a `*`."""

    def changed_since(self, ref: str) -> Collection[str] | None:
        """Return the files that differ from another ref, for `compare_to`, or None if there is no such ref."""

    def last_commit(self, path: str) -> str | None:
        """Return the newest commit that changed a file, or None if there is no such file; for `cache: key: files_commits`."""

    def project(self, path: str, ref: str | None) -> Files | None:
        """Return the files of another project at a ref, tag, or commit, or None if the caller cannot see it.

        Args:
            path: Full path, such as `senncloud/runner-platform`.
            ref: Branch, tag, commit, or a component's version such as `~latest`; None means the default branch.
        """


@dataclass(frozen=True, kw_only=True)
class Context:
    """What GitLab knows about a pipeline before it has jobs."""

    ref: str
    """Branch or tag; in a merge request pipeline, the source branch."""
    tag: bool = False
    protected: bool = False
    default_branch: str = "main"
    source: str = "push"
    """Value of CI_PIPELINE_SOURCE: push, web, merge_request_event, schedule, api and so on."""
    changed_files: Collection[str] | None = None
    """Files that the push or the merge request changes; None if GitLab cannot tell, and then `rules: changes` is true."""
    predefined: Mapping[str, str] = field(default_factory=dict)
    """CI_* variables of project, commit, pipeline and merge request.

    Those that follow from the fields above (CI_COMMIT_BRANCH, CI_COMMIT_TAG, CI_COMMIT_REF_NAME, CI_PIPELINE_SOURCE and so on) are added.
    """
    project_variables: Collection[Variable] = ()
    """Variables of the project's settings; the reader applies `protected` and `environment_scope`."""
    pipeline_variables: Mapping[str, str] = field(default_factory=dict)
    """Variables that the starter of the pipeline gives; they win over all others."""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Inputs that the starter of the pipeline gives to `spec: inputs` of the main file."""

    def variables(self) -> dict[str, str]:
        """Return the predefined variables with those that follow from the ref. https://docs.gitlab.com/ci/variables/predefined_variables/."""
        values = {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_DEFAULT_BRANCH": self.default_branch,
            "CI_PIPELINE_SOURCE": self.source,
            "CI_COMMIT_REF_NAME": self.ref,
            "CI_COMMIT_REF_SLUG": slug(self.ref),
            "CI_COMMIT_REF_PROTECTED": "true" if self.protected else "false",
        }
        if self.tag:
            values["CI_COMMIT_TAG"] = self.ref
        elif not self.for_merge_request:
            values["CI_COMMIT_BRANCH"] = self.ref
        return {**values, **self.predefined}

    @property
    def for_merge_request(self) -> bool:
        """Whether this is a merge request pipeline."""
        return self.source == "merge_request_event"
