"""Asks GitLab whether a job has ended. Reads only; a `CI_JOB_TOKEN` may not, a token with `read_api` may.

https://docs.gitlab.com/api/jobs/#get-a-single-job
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import gitlab
import gitlab.exceptions
import requests

TOKEN: Final = "RUNNER_PLATFORM_READ_TOKEN"  # noqa: S105  # a variable's name
"""A token with `read_api` of its own, since that of the runners should be able to do nothing else."""
ENDED: Final = frozenset({"success", "failed", "canceled", "skipped"})
"""Statuses of a job that nothing runs for any more; `canceling` still runs."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """What GitLab says of a job."""

    name: str
    finished: datetime | None
    """None while it may run."""


def status(project: str, job: str, url: str | None) -> Status | None:
    """A job's status; None where GitLab cannot be asked or does not tell.

    Args:
        project: the project's id.
        job: the job's id.
        url: the job's page, which says which GitLab it is.
    """
    token, base = os.environ.get(TOKEN) or os.environ.get("GITLAB_TOKEN"), _base(url)
    if not token or not base:
        return None
    api = gitlab.Gitlab(base, private_token=token, timeout=15)
    try:
        found = api.http_get(f"/projects/{int(project)}/jobs/{int(job)}")
    except (gitlab.exceptions.GitlabError, requests.RequestException, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    name, finished = str(found.get("status")), found.get("finished_at")
    over = datetime.fromisoformat(finished).astimezone(UTC) if finished and name in ENDED else None
    return Status(name=name, finished=over)


def _base(url: str | None) -> str:
    own = os.environ.get("GITLAB_BASE_URL") or os.environ.get("CI_SERVER_URL")
    if own:
        return own.rstrip("/").removesuffix("/api/v4")
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
