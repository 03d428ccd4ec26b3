"""The engine's locks on a stack: which run holds a lock, whether that run is proven dead, and removing exactly that lock.

The engine's lock names only a process and a machine. So the driver writes an owner record beside the state
(`.runner-platform/owners/<project>/<stack>/<run>.json`): before a run, again when its engine has started; it deletes the record at the end.
A record locks nothing. A record without a run is what the next run reports as left by a killed one.

Age alone proves nothing; neither does a process id, since ids repeat from pod to pod. A run is proven dead if this machine and process
namespace has no such process, if Kubernetes has no such pod (`runner_platform.driver.evidence`), if GitLab ended the job and the pod's
grace is over, or if the job's timeout passed long ago. `pulumi cancel` is no substitute: it deletes every lock of the stack, a live one too
(`pkg/backend/diy/lock.go` of the engine).
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import socket
import uuid
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import psutil

from runner_platform.driver import evidence
from runner_platform.driver.backend import FolderStore
from runner_platform.driver.evidence import Pod
from runner_platform.errors import LockedError, WrongUseError

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

POD_GRACE: Final = timedelta(minutes=15)
"""How long a job's pod may live after GitLab calls the job finished: the class's pod grace, with room for clocks that differ."""


@dataclass(frozen=True, kw_only=True)
class OwnerRecord:
    """The owner record: one run of the driver, written beside the state."""

    id: str
    operation: str
    user: str
    host: str
    machine: str
    """Boot id and process namespace; a process id has a meaning within both only."""
    pid: int
    """Process id of the driver."""
    started: str
    """Start of the driver's process, RFC 3339."""
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
    """The run's pod; None outside of Kubernetes."""

    @property
    def name(self) -> str:
        """The run's name in messages."""
        if self.job:
            return f"job {self.job} of pipeline {self.pipeline} ({self.job_url}) on {self.host}"
        return f"{self.user} on {self.host}, process {self.pid}"


def new_record(operation: str) -> OwnerRecord:
    """Describe this process, with GitLab's predefined variables if it is a job."""
    started = datetime.fromtimestamp(psutil.Process().create_time(), UTC)
    return OwnerRecord(
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
        ends=_job_end(),
        pod=evidence.this_pod(),
    )


def machine() -> str:
    """Return an id of this boot and this process namespace, or an empty string if the kernel does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def write_record(project: Project, record: OwnerRecord) -> None:
    """Write the record beside the state."""
    project.store.write(_record_key(project, record.id), json.dumps(asdict(record), indent=1).encode())


def add_engine(project: Project, record: OwnerRecord, pid: int) -> OwnerRecord:
    """Write the engine's process into the record."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.Error:
        return record  # the engine has ended already
    complete = replace(record, engine_pid=pid, engine_started=started)
    write_record(project, complete)
    return complete


def delete_record(project: Project, record: OwnerRecord) -> None:
    """Delete the record."""
    project.store.delete(_record_key(project, record.id))


def read_records(project: Project) -> list[OwnerRecord]:
    """Read all records of a stack, oldest first. Records in an unknown form are left out."""
    records = []
    for key in project.store.keys(_records_prefix(project)):
        try:
            raw = json.loads(project.store.read(key) or b"{}")
            raw["pod"] = Pod(**raw["pod"]) if raw.get("pod") else None
            records.append(
                OwnerRecord(**{field.name: raw[field.name] for field in fields(OwnerRecord) if field.name in raw})
            )
        except (ValueError, TypeError, AttributeError):
            continue
    return sorted(records, key=lambda record: record.started)


def _records_prefix(project: Project) -> str:
    return f".runner-platform/owners/{project.name}/{project.stack}/"


def _record_key(project: Project, identifier: str) -> str:
    return f"{_records_prefix(project)}{identifier}.json"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _job_end() -> str | None:
    """`CI_JOB_STARTED_AT` plus `CI_JOB_TIMEOUT` (seconds): https://docs.gitlab.com/ci/variables/predefined_variables/."""
    try:
        started = datetime.fromisoformat(os.environ["CI_JOB_STARTED_AT"])
        return (started + timedelta(seconds=int(os.environ["CI_JOB_TIMEOUT"]))).isoformat()
    except (KeyError, ValueError):
        return None


class Fate(Enum):
    """Whether the holder of a lock is alive."""

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
    created: datetime | None
    """None if the lock cannot be read."""

    @property
    def id(self) -> str:
        """Last part of the lock's key."""
        return self.key.rpartition("/")[2].removesuffix(".json")


@dataclass(frozen=True, kw_only=True)
class Holder:
    """A lock with its holder and the evidence about the holder."""

    lock: Lock
    record: OwnerRecord | None
    """None for a run without the driver, such as a plain `pulumi up`."""
    fate: Fate
    why: str
    """The evidence as a sentence."""

    @property
    def name(self) -> str:
        """The holder and the lock's age, in messages."""
        run = self.record.name if self.record else f"process {self.lock.pid} of {self.lock.user} on {self.lock.host}"
        operation = f" ({self.record.operation})" if self.record else ""
        if self.lock.created is None:
            return f"{run}{operation}"
        age = _format_age(datetime.now(UTC) - self.lock.created)
        return f"{run}{operation}, since {self.lock.created:%Y-%m-%d %H:%M:%S} UTC ({age})"


def holders(project: Project) -> list[Holder]:
    """Return every lock of a stack with its holder and the evidence."""
    records = read_records(project)
    return [_holder(project, lock, records) for lock in _read_locks(project)]


def _holder(project: Project, lock: Lock, records: list[OwnerRecord]) -> Holder:
    record = next((entry for entry in records if (entry.host, entry.engine_pid) == (lock.host, lock.pid)), None)
    fate, why = _holder_fate(project, lock, record)
    return Holder(lock=lock, record=record, fate=fate, why=why)


def release(project: Project, holder: Holder) -> None:
    """Delete exactly this lock and the record of its run.

    Raises:
        LockedError: the holder is alive.
    """
    if holder.fate is Fate.ALIVE:
        raise LockedError(
            f"stack {project.stack} is held by {holder.name}: {holder.why}. Wait for the run, or cancel its job"
        )
    project.store.delete(holder.lock.key)
    if holder.record:
        delete_record(project, holder.record)


def _read_locks(project: Project) -> list[Lock]:
    locks = []
    for key in project.store.keys(f".pulumi/locks/organization/{project.name}/{project.stack}/"):
        content = project.store.read(key)
        if content is not None:  # else the lock was released just now
            locks.append(_parse_lock(key, content))
    return locks


def _parse_lock(key: str, content: bytes) -> Lock:
    try:
        raw: dict[str, Any] = json.loads(content)
        return Lock(
            key=key,
            pid=int(raw["pid"]),
            user=raw.get("username", ""),
            host=raw.get("hostname", ""),
            created=datetime.fromisoformat(raw["timestamp"]).astimezone(UTC),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return Lock(key=key, pid=0, user="", host="", created=None)


def _holder_fate(project: Project, lock: Lock, record: OwnerRecord | None) -> tuple[Fate, str]:
    if lock.created is None:
        return Fate.UNKNOWN, "the lock's content cannot be read"
    if _is_local(project, lock, record):
        return _process_fate(lock.pid, lock.created)
    if record is None:
        return Fate.UNKNOWN, f"it was made on another machine ({lock.host}) and has no record of this driver"
    return _remote_fate(project, record)


def _is_local(project: Project, lock: Lock, record: OwnerRecord | None) -> bool:
    """Whether the lock's process id belongs to this machine and process namespace."""
    if record is not None:
        return record.machine == machine() != ""
    # Without a record the host's name is enough for a folder only: another machine by that name would have to share the folder.
    return lock.host == socket.gethostname() and isinstance(project.store, FolderStore)


def _process_fate(pid: int, created: datetime) -> tuple[Fate, str]:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return Fate.DEAD, f"process {pid} has ended on this machine"
        if process.create_time() > created.timestamp():
            return Fate.DEAD, f"process {pid} of this machine is younger than the lock: its id was given out again"
    except psutil.NoSuchProcess:
        return Fate.DEAD, f"there is no process {pid} on this machine any more"
    except psutil.Error:
        return Fate.UNKNOWN, f"process {pid} of this machine cannot be looked at"
    return Fate.ALIVE, f"process {pid} runs on this machine"


def fate_of(project: Project, record: OwnerRecord) -> tuple[Fate, str]:
    """Decide by its record alone whether a run is alive; return the evidence too."""
    if record.machine == machine() != "":
        return _process_fate(record.pid, datetime.fromisoformat(record.started) + timedelta(seconds=2))
    return _remote_fate(project, record)


def _remote_fate(project: Project, record: OwnerRecord) -> tuple[Fate, str]:
    """Ask for the pod first: GitLab may call a job finished while its pod still ends."""
    answer = evidence.ask_kubernetes(project, record.pod) if record.pod else None
    if answer is not None:
        return (Fate.ALIVE if answer.alive else Fate.DEAD), answer.why
    return _job_fate(record)


def _job_fate(record: OwnerRecord) -> tuple[Fate, str]:
    now = datetime.now(UTC)
    if record.ends and now > datetime.fromisoformat(record.ends) + POD_GRACE:
        return Fate.DEAD, f"GitLab ended its job at {record.ends} at the latest, and its pod's grace is over"
    if not (record.job and record.project):
        return Fate.UNKNOWN, f"it runs on another machine ({record.host}) and is no GitLab job"
    status = evidence.ask_gitlab(record.project, record.job, record.job_url)
    if status is None:
        return (
            Fate.UNKNOWN,
            f"GitLab does not tell about job {record.job}; set {evidence.READ_TOKEN} to a token with read_api",
        )
    if status.finished is None:
        return Fate.ALIVE, f"GitLab says that job {record.job} is {status.name}"
    pod_end = status.finished + POD_GRACE
    if now < pod_end:
        return Fate.ALIVE, f"job {record.job} is {status.name}, but its pod may live until {pod_end:%H:%M:%S} UTC"
    since = f"{status.finished:%Y-%m-%d %H:%M:%S} UTC"
    return Fate.DEAD, f"GitLab says that job {record.job} is {status.name} since {since}"


def orphaned_engine(record: OwnerRecord) -> int | None:
    """Return the process id of a local engine without its driver, or None."""
    if record.machine != machine() or record.engine_pid is None or _driver_lives(record):
        return None
    try:
        engine = psutil.Process(record.engine_pid)
        same = abs(engine.create_time() - (record.engine_started or 0)) < 1
        lives = same and engine.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
    return record.engine_pid if lives and record.engine_pid != os.getpid() else None


def interrupt(engine: int) -> None:
    """Ask an engine without a driver to finish the resource in hand."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(engine, signal.SIGINT)


def _driver_lives(record: OwnerRecord) -> bool:
    try:
        driver = psutil.Process(record.pid)
        started = datetime.fromisoformat(record.started).timestamp()
        return driver.status() != psutil.STATUS_ZOMBIE and driver.create_time() < started + 2
    except psutil.Error:
        return False


def _format_age(age: timedelta) -> str:
    seconds = int(age.total_seconds())
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


@dataclass(frozen=True, kw_only=True)
class LockReport:
    """One line of `runner-platform unlock`: a lock, and whether it was removed."""

    lock: str
    """The lock's id."""
    holder: str
    fate: str
    """`dead`, `alive` or `unknown`."""
    why: str
    removed: bool
    job_url: str | None

    @property
    def sentence(self) -> str:
        """The report as a sentence."""
        if self.removed:
            outcome = "removed" if self.fate == Fate.DEAD.value else "removed, as you asked"
        elif self.fate == Fate.ALIVE.value:
            outcome = "kept: it is alive. Wait for it, or cancel its job"
        else:
            outcome = f"kept: nothing proves it dead. If you know that it is, `--lock {self.lock}` removes it"
        return f"lock {self.lock} of {self.holder}: {self.why}; {outcome}"


def unlock(project: Project, lock: str | None = None) -> list[LockReport]:
    """Report every lock of a stack and remove the locks of dead runs.

    Args:
        project: the stack.
        lock: id of a lock to remove although nothing proves its holder dead; only this lock is reported.

    Raises:
        WrongUseError: the stack has no lock with this id.
        LockedError: the holder of the named lock is alive.
    """
    current = holders(project)
    if lock is None:
        return [_report(project, holder, remove=holder.fate is Fate.DEAD) for holder in current]
    named = [holder for holder in current if holder.lock.id == lock]
    if not named:
        ids = ", ".join(holder.lock.id for holder in current) or "none"
        raise WrongUseError(f"stack {project.stack} has no lock {lock!r}; it has: {ids}")
    return [_report(project, holder, remove=True) for holder in named]


def _report(project: Project, holder: Holder, *, remove: bool) -> LockReport:
    if remove:
        release(project, holder)
    return LockReport(
        lock=holder.lock.id,
        holder=holder.name,
        fate=holder.fate.value,
        why=holder.why,
        removed=remove,
        job_url=holder.record.job_url if holder.record else None,
    )
