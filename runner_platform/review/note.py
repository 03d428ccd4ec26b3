"""Posts the reports of a merge request as one note, updated in place.

Reads only files, written by a job that ran unreviewed code: it follows no link, takes no text for an instruction, and must be run from
reviewed code. `RUNNER_PLATFORM_NOTE_TOKEN` holds the token (a project access token, scope `api`, role Reporter); `CI_JOB_TOKEN` may only
read notes. https://docs.gitlab.com/api/notes/#merge-requests
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gitlab
import gitlab.exceptions
import requests

from runner_platform.errors import FailedError
from runner_platform.reports import changes, summary
from runner_platform.reports.markdown import code, details, harmless

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from gitlab.v4.objects import ProjectMergeRequest

TOKEN_VARIABLE = "RUNNER_PLATFORM_NOTE_TOKEN"  # noqa: S105  # the variable's name
MARKER = "<!-- runner-platform: what this merge request changes -->"
"""First line of the note, by which it is found again; GitLab does not show comments. Only a note of the same author counts."""
FOLDED = {changes.FILE: "All changes", "access.md": "Access"}
"""Titles of the files that are folded below a stack's summary."""
LONGEST_FILE = 60_000
"""Longest file in the note, in characters; long notes make the page slow."""
LONGEST_NOTE = 400_000
"""Longest note in characters; GitLab accepts a million."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """The merge request of a note, and the run that it reports."""

    url: str
    """Root of the GitLab instance."""
    project: str
    """Id of the merge request's target project."""
    merge_request: str
    """Number of the merge request in the project."""
    commit: str
    pipeline: str
    """Address of the pipeline's page."""


def target(environment: Mapping[str, str]) -> Target:
    """The merge request of a job, from GitLab's predefined variables.

    Raises:
        FailedError: the job belongs to no merge request pipeline.
    """
    names = {
        "url": "CI_SERVER_URL",
        "project": "CI_MERGE_REQUEST_PROJECT_ID",
        "merge_request": "CI_MERGE_REQUEST_IID",
        "commit": "CI_COMMIT_SHA",
        "pipeline": "CI_PIPELINE_URL",
    }
    missing = [name for name in names.values() if not environment.get(name)]
    if missing:
        raise FailedError(
            f"no merge request to post to: {', '.join(missing)} is not set; run `note` in a job of a merge request pipeline"
        )
    return Target(**{key: environment[name] for key, name in names.items()})


def body(folder: Path, run: Target) -> str:
    """The note's Markdown.

    Args:
        folder: reports, a subfolder per stack.
        run: the run that wrote them.

    Raises:
        FailedError: there is no summary in the folder.
    """
    stacks = (
        sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
        if folder.is_dir()
        else []
    )
    parts = [part for stack in stacks for part in _of_stack(folder / stack)]
    if not parts:
        raise FailedError(
            f"{folder} holds no {summary.FILE} of any stack; `runner-platform diff REF --reports {folder}` writes them"
        )
    text = "\n".join([MARKER, f"At {code(run.commit[:8])}, from [this pipeline]({run.pipeline}).", "", *parts])
    return (
        text
        if len(text) <= LONGEST_NOTE
        else f"{text[:LONGEST_NOTE]}\n\n… cut: the whole is in the pipeline's artifacts.\n"
    )


def _of_stack(folder: Path) -> Iterator[str]:
    summary_text = _read(folder / summary.FILE)
    if summary_text is None:
        return
    yield harmless(summary_text)
    for name, title in FOLDED.items():
        text = _read(folder / name)
        if text is not None and len(text) > LONGEST_FILE:
            yield f"{title}: too long for a note; {code(name)} is in the artifacts of the stack's job.\n"
        elif text is not None:
            yield details(title, harmless(text))


def _read(path: Path) -> str | None:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return None
        return file.read(4 * LONGEST_NOTE).decode(errors="replace")


def publish(run: Target, token: str, text: str) -> str:
    """Create the note, or update the existing one; return `created`, `updated` or `unchanged`.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    api = gitlab.Gitlab(run.url, private_token=token, retry_transient_errors=True, timeout=30)
    try:
        api.auth()
        author = api.user.id if api.user else None
        request = api.projects.get(run.project, lazy=True).mergerequests.get(run.merge_request, lazy=True)
        return _upserted(request, author, text)
    except gitlab.exceptions.GitlabError as error:
        raise FailedError(
            f"GitLab refuses the note: {error.error_message}; the token in {TOKEN_VARIABLE} needs scope `api` and the role Reporter"
        ) from None
    except requests.RequestException as error:
        raise FailedError(f"GitLab at {run.url} cannot be asked: {error}") from None


def _upserted(request: ProjectMergeRequest, author: int | None, text: str) -> str:
    notes = request.notes.list(iterator=True, order_by="created_at", sort="asc", per_page=100)
    own_notes = (
        note for note in notes if note.author["id"] == author and not note.system and note.body.startswith(MARKER)
    )
    note = next(own_notes, None)
    if note is None:
        request.notes.create({"body": text})
        return "created"
    if note.body == text:
        return "unchanged"
    note.body = text
    note.save()
    return "updated"
