"""Who runs on a stack: a record beside the state, since the engine's own lock names a process and a machine and nothing else.

Owns the record (`.runner-platform/owners/<project>/<stack>/<run>.json` in the backend): written before a run, completed when its engine
has started, deleted at its end. What a killed run leaves is what the next one says it found. A record locks nothing by itself.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import uuid
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from runner_platform.driver.pods import Pod, this_pod

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

GRACE: Final = timedelta(minutes=15)
"""How long a job's pod may live after GitLab calls the job finished: the class's pod grace, with room for clocks that differ."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """One run of the driver."""

    id: str
    operation: str
    user: str
    host: str
    machine: str
    """Boot and process namespace: process ids mean something within one only."""
    pid: int
    """Of the driver."""
    started: str
    """When the driver's process started, RFC 3339."""
    engine_pid: int | None = None
    engine_started: float | None = None
    """Seconds since the epoch, as the kernel counts them."""
    pipeline: str | None = None
    job: str | None = None
    job_url: str | None = None
    project: str | None = None
    """Id of the GitLab project."""
    ends: str | None = None
    """When GitLab ends the job at the latest, RFC 3339."""
    pod: Pod | None = None
    """The pod that it runs in; None outside of Kubernetes."""

    @property
    def name(self) -> str:
        """For people."""
        if self.job:
            return f"job {self.job} of pipeline {self.pipeline} ({self.job_url}) on {self.host}"
        return f"{self.user} on {self.host}, process {self.pid}"

    @property
    def age(self) -> timedelta:
        """Since it started."""
        return datetime.now(UTC) - datetime.fromisoformat(self.started)


def this_run(operation: str) -> Owner:
    """The record of this process, from GitLab's predefined variables where it is a job."""
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    return Owner(
        id=uuid.uuid4().hex,
        operation=operation,
        user=os.environ.get("GITLAB_USER_LOGIN") or _user(),
        host=socket.gethostname(),
        machine=machine(),
        pid=os.getpid(),
        started=started.isoformat(timespec="seconds"),
        pipeline=os.environ.get("CI_PIPELINE_ID"),
        job=os.environ.get("CI_JOB_ID"),
        job_url=os.environ.get("CI_JOB_URL"),
        project=os.environ.get("CI_PROJECT_ID"),
        ends=_ends(),
        pod=this_pod(),
    )


def machine() -> str:
    """Names this boot of this machine and this container's process ids; empty where the kernel does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def write(project: Project, owner: Owner) -> None:
    """Put the record beside the state."""
    project.store.write(_key(project, owner.id), json.dumps(asdict(owner), indent=1).encode())


def with_engine(project: Project, owner: Owner, pid: int) -> Owner:
    """Complete the record with the engine's process."""
    try:
        began = psutil.Process(pid).create_time()
    except psutil.Error:
        return owner  # it has ended already
    known = replace(owner, engine_pid=pid, engine_started=began)
    write(project, known)
    return known


def delete(project: Project, owner: Owner) -> None:
    """Take the record away."""
    project.store.delete(_key(project, owner.id))


def read(project: Project) -> list[Owner]:
    """All records of a stack, oldest first; what cannot be understood is left out."""
    found = []
    for key in project.store.keys(_prefix(project)):
        try:
            raw = json.loads(project.store.read(key) or b"{}")
            raw["pod"] = Pod(**raw["pod"]) if raw.get("pod") else None
            found.append(Owner(**{field.name: raw[field.name] for field in fields(Owner) if field.name in raw}))
        except (ValueError, TypeError, AttributeError):
            continue
    return sorted(found, key=lambda owner: owner.started)


def _prefix(project: Project) -> str:
    return f".runner-platform/owners/{project.name}/{project.stack}/"


def _key(project: Project, identifier: str) -> str:
    return f"{_prefix(project)}{identifier}.json"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _ends() -> str | None:
    """`CI_JOB_STARTED_AT` plus `CI_JOB_TIMEOUT` (seconds): https://docs.gitlab.com/ci/variables/predefined_variables/."""
    try:
        began = datetime.fromisoformat(os.environ["CI_JOB_STARTED_AT"])
        return (began + timedelta(seconds=int(os.environ["CI_JOB_TIMEOUT"]))).isoformat()
    except (KeyError, ValueError):
        return None
