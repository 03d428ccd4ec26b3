"""The engine's locks: who holds a stack, whether that can be proven dead, and taking away exactly that one lock.

Owns the evidence. Age alone proves nothing; neither does a process id, which repeats from pod to pod. What proves: this very machine and
process namespace has no such process; Kubernetes has the run's pod no more; GitLab ended the job and its pod's grace is over; the job's
own timeout is long past.
`pulumi cancel` is no help: it deletes every lock of the stack, a live one too (`pkg/backend/diy/lock.go` of the engine).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

import psutil

from runner_platform.driver import gitlab_jobs, owners, pods
from runner_platform.driver.store import FolderStore
from runner_platform.errors import LockedError

if TYPE_CHECKING:
    from runner_platform.driver.owners import Owner
    from runner_platform.driver.project import Project


class Fate(Enum):
    """What is known of whoever made a lock."""

    DEAD = "dead"
    ALIVE = "alive"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Lock:
    """One lock of the engine."""

    key: str
    pid: int
    user: str
    host: str
    made: datetime | None
    """None where the lock cannot be understood."""

    @property
    def id(self) -> str:
        """Last part of its key."""
        return self.key.rpartition("/")[2].removesuffix(".json")


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A lock, who made it, and what is known of them."""

    lock: Lock
    owner: Owner | None
    """None for a run without the driver, such as a plain `pulumi up`."""
    fate: Fate
    why: str
    """The evidence, a sentence."""

    @property
    def name(self) -> str:
        """For people: who, since when."""
        who = self.owner.name if self.owner else f"process {self.lock.pid} of {self.lock.user} on {self.lock.host}"
        age = datetime.now(UTC) - self.lock.made if self.lock.made else None
        since = f", since {self.lock.made:%Y-%m-%d %H:%M:%S} UTC ({_spoken(age)})" if self.lock.made and age else ""
        operation = f" ({self.owner.operation})" if self.owner else ""
        return f"{who}{operation}{since}"


def held(project: Project) -> list[Holder]:
    """Every lock of a stack, with its holder and the evidence."""
    known = owners.read(project)
    return [judged(project, lock, known) for lock in _locks(project)]


def judged(project: Project, lock: Lock, known: list[Owner]) -> Holder:
    """Find a lock's owner among the records, and judge it."""
    owner = next((each for each in known if _made_by(lock, each)), None)
    fate, why = _fate(project, lock, owner)
    return Holder(lock=lock, owner=owner, fate=fate, why=why)


def release(project: Project, holder: Holder) -> None:
    """Take away exactly this lock and its owner's record.

    Raises:
        LockedError: its holder lives.
    """
    if holder.fate is Fate.ALIVE:
        raise LockedError(f"stack {project.stack} is held by {holder.name}: {holder.why}")
    project.store.delete(holder.lock.key)
    if holder.owner:
        owners.delete(project, holder.owner)


def _locks(project: Project) -> list[Lock]:
    found = []
    for key in project.store.keys(f".pulumi/locks/organization/{project.name}/{project.stack}/"):
        content = project.store.read(key)
        if content is not None:  # released just now
            found.append(_parsed(key, content))
    return found


def _parsed(key: str, content: bytes) -> Lock:
    try:
        raw: dict[str, Any] = json.loads(content)
        made = datetime.fromisoformat(raw["timestamp"]).astimezone(UTC)
        return Lock(key=key, pid=int(raw["pid"]), user=raw.get("username", ""), host=raw.get("hostname", ""), made=made)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Lock(key=key, pid=0, user="", host="", made=None)


def _made_by(lock: Lock, owner: Owner) -> bool:
    return owner.host == lock.host and owner.engine_pid == lock.pid


def _fate(project: Project, lock: Lock, owner: Owner | None) -> tuple[Fate, str]:
    if lock.made is None:
        return Fate.UNKNOWN, "the lock's content cannot be understood"
    if _here(project, lock, owner):
        return _process(lock.pid, lock.made)
    if owner is None:
        return Fate.UNKNOWN, f"it was made on another machine ({lock.host}) and has no record of this driver"
    return _elsewhere(project, owner)


def _here(project: Project, lock: Lock, owner: Owner | None) -> bool:
    """Whether the lock's process id can be looked up here: same machine, same process namespace."""
    if owner is not None:
        return owner.machine == owners.machine() != ""
    # Without a record only a folder's lock says enough: another machine of that name would have to share the folder.
    return lock.host == socket.gethostname() and isinstance(project.store, FolderStore)


def _process(pid: int, made: datetime) -> tuple[Fate, str]:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return Fate.DEAD, f"process {pid} has ended on this machine"
        if process.create_time() > made.timestamp():
            return Fate.DEAD, f"process {pid} of this machine is younger than the lock: its id was given out again"
    except psutil.NoSuchProcess:
        return Fate.DEAD, f"there is no process {pid} on this machine any more"
    except psutil.Error:
        return Fate.UNKNOWN, f"process {pid} of this machine cannot be looked at"
    return Fate.ALIVE, f"process {pid} runs on this machine"


def fate_of(project: Project, owner: Owner) -> tuple[Fate, str]:
    """What is known of a run by its record alone."""
    if owner.machine == owners.machine() != "":
        return _process(owner.pid, datetime.fromisoformat(owner.started) + timedelta(seconds=2))
    return _elsewhere(project, owner)


def _elsewhere(project: Project, owner: Owner) -> tuple[Fate, str]:
    """A run on another machine: its pod says more than its job, which GitLab may call finished while the pod still ends."""
    evidence = pods.asked(project, owner.pod) if owner.pod else None
    if evidence is not None:
        return (Fate.ALIVE if evidence.alive else Fate.DEAD), evidence.why
    return _job(owner)


def _job(owner: Owner) -> tuple[Fate, str]:
    now = datetime.now(UTC)
    if owner.ends and now > datetime.fromisoformat(owner.ends) + owners.GRACE:
        return Fate.DEAD, f"GitLab ended its job at {owner.ends} at the latest, and its pod's grace is over"
    if not (owner.job and owner.project):
        return Fate.UNKNOWN, f"it runs on another machine ({owner.host}) and is no GitLab job"
    status = gitlab_jobs.status(owner.project, owner.job, owner.job_url)
    if status is None:
        return (
            Fate.UNKNOWN,
            f"GitLab does not tell about job {owner.job}; a token with read_api in {gitlab_jobs.TOKEN} would let it",
        )
    if status.finished is None:
        return Fate.ALIVE, f"GitLab says that job {owner.job} is {status.name}"
    if now < status.finished + owners.GRACE:
        over = status.finished + owners.GRACE
        return Fate.ALIVE, f"job {owner.job} is {status.name}, but its pod may live until {over:%H:%M:%S} UTC"
    return Fate.DEAD, f"GitLab says that job {owner.job} is {status.name} since {status.finished:%Y-%m-%d %H:%M:%S} UTC"


def orphaned_engine(owner: Owner) -> int | None:
    """The process id of an engine of this machine that outlived its driver; None where there is none."""
    if owner.machine != owners.machine() or owner.engine_pid is None or _driver_lives(owner):
        return None
    try:
        engine = psutil.Process(owner.engine_pid)
        same = abs(engine.create_time() - (owner.engine_started or 0)) < 1 and engine.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return owner.engine_pid if same and owner.engine_pid != os.getpid() else None


def interrupt(engine: int) -> None:
    """Ask an engine without a driver to finish what it has in hand."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(engine, signal.SIGINT)


def _driver_lives(owner: Owner) -> bool:
    try:
        driver = psutil.Process(owner.pid)
        began = datetime.fromisoformat(owner.started).timestamp()
        return driver.status() != psutil.STATUS_ZOMBIE and driver.create_time() < began + 2
    except psutil.Error:
        return False


def _spoken(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"
