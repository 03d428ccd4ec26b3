"""A project's files in memory, and pipelines from text."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.gitlab.ci.context import Context
from runner_platform_sandbox.gitlab.ci.reader import read_pipeline

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from runner_platform_sandbox.gitlab.ci.pipeline import Job, Pipeline


@dataclass(frozen=True, kw_only=True)
class MemoryFiles:
    """Files of one project, and of other projects by path and ref."""

    texts: Mapping[str, str] = field(default_factory=dict)
    projects: Mapping[tuple[str, str | None], MemoryFiles] = field(default_factory=dict)
    changes: Mapping[str, Collection[str]] = field(default_factory=dict)

    def read(self, path: str) -> str | None:
        return self.texts.get(path)

    def paths(self) -> Collection[str]:
        return self.texts.keys()

    def changed_since(self, ref: str) -> Collection[str] | None:
        return self.changes.get(ref)

    def last_commit(self, path: str) -> str | None:
        return f"commit of {path}" if path in self.texts else None

    def project(self, path: str, ref: str | None) -> MemoryFiles | None:
        return self.projects.get((path, ref))


def files(texts: Mapping[str, str]) -> MemoryFiles:
    """Return a project's files, their texts without common indentation."""
    return MemoryFiles(texts={path: textwrap.dedent(text) for path, text in texts.items()})


def pipeline(text: str, project: MemoryFiles | None = None, **situation: Any) -> Pipeline:
    """Return the pipeline of an indented text, on the unprotected branch `main` if nothing else is said."""
    context = Context(**{"ref": "main", **situation})
    return read_pipeline(textwrap.dedent(text), context=context, files=project or MemoryFiles())


def jobs(text: str, project: MemoryFiles | None = None, **situation: Any) -> dict[str, Job]:
    """Return a pipeline's jobs by name."""
    return {job.name: job for job in pipeline(text, project, **situation).jobs}


def job(text: str, project: MemoryFiles | None = None, **situation: Any) -> Job:
    """Return the only job of a pipeline."""
    (only,) = pipeline(text, project, **situation).jobs
    return only
