"""Start, stop and reset of a whole sandbox.

`prepare` is the way from nothing to a sandbox that can be deployed to: tools, processes, engine home, environment.
`start` starts the supervisor as a detached process and waits for it; `stop` also ends processes of a killed
supervisor. The callers hold the lock (`runner_platform_sandbox.lock`).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import (
    disk,
    engine,
    environment,
    organization,
    ports,
    process_node,
    processes,
    runner_managers,
    state,
)
from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.real_node.node import end_nodes
from runner_platform_sandbox.terminal import sayer
from runner_platform_sandbox.tools.ensure import ensure

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from rich.console import Console

    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import State

START_SECONDS: Final = 90.0
STOP_SECONDS: Final = 60.0
PATIENCE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "RUNNER_PLATFORM_CHART_REPOSITORY")
"""Variables that the sandbox's processes inherit; no AWS, Kubernetes or home settings of the person."""


def prepare(
    paths: Paths,
    console: Console,
    phase: Callable[[str], AbstractContextManager[object]] = lambda _: contextlib.nullcontext(),
) -> State:
    """Make the sandbox ready for deployments; a step that is done already changes nothing.

    Args:
        paths: The sandbox.
        console: Where progress is shown.
        phase: Is entered around each step with its name, to measure it.

    Returns:
        The state of the running sandbox.

    Raises:
        SandboxError: A tool cannot be built, or the sandbox does not start.
    """
    members = organization.read()  # first: an unreadable file costs no waiting yet
    with phase("tools"):
        tools = ensure(paths, console=console)
    with phase("sandbox"):
        current = start(paths, sayer(console))
        # The stack files may name more accounts or people than when the sandbox was started.
        AwsAdmin(f"http://127.0.0.1:{current.ports.aws}").organization(members.request())
    with phase("engine"):
        engine.prepare(paths, tools, Path(sys.prefix))
        environment.install(paths, current, members)
    return current


def start(paths: Paths, progress: Callable[[str], None] = lambda _: None) -> State:
    """Start the sandbox unless it runs.

    Args:
        paths: The sandbox.
        progress: Takes a sentence for each step.

    Returns:
        The state once AWS answers and each of its clusters is up or failed.

    Raises:
        SandboxError: A port is taken, the disk is full, or a part does not start; names it.
    """
    current = state.read(paths)
    if current is not None and current.running and not current.given_up:
        return _wait_ready(paths, _log(paths))
    fresh = current is None
    _make_folders(paths)
    disk.require_space(paths, disk.NEW if fresh else disk.KEPT)
    if current is not None:
        if current.running:
            progress("a part of the sandbox had failed for good: starting the whole again")
        stop(paths, progress)
        current = state.read(paths)
    if current is None:
        current = state.State(run_id=secrets.token_hex(4), ports=ports.choose())
    ports.require_free(current.ports)
    current.failure, current.ready, current.supervisor = "", False, None
    state.write(paths, current)
    progress("starting a new sandbox" if fresh else "starting the sandbox with its kept state")
    supervisor = _spawn(paths)
    return _wait_ready(paths, _log(paths), supervisor)


def stop(paths: Paths, progress: Callable[[str], None] = lambda _: None) -> int:
    """End every process of the sandbox and no other; the files on disk stay.

    Returns:
        The number of ended processes.

    Raises:
        SandboxError: A process could not be ended; names it.
    """
    ended = _end_all(paths, progress)
    final = state.read(paths)
    if final is not None:
        final.supervisor, final.processes, final.clusters, final.ready = None, [], [], False
        state.write(paths, final)
    return ended


def reset(paths: Paths, progress: Callable[[str], None] = lambda _: None) -> None:
    """Stop the sandbox and empty its root: AWS, clusters and stack states go; built tools stay.

    Raises:
        SandboxError: A process cannot be ended, or a file cannot be removed.
    """
    _end_all(paths, progress)  # writes nothing, so that it works where the disk is full
    for entry in sorted(paths.root.iterdir()) if paths.root.is_dir() else []:
        if entry == paths.lock_file:
            continue  # held right now
        try:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        except OSError as error:
            raise SandboxError(f"cannot remove {entry}: {error.strerror}", "remove it yourself") from error


def _end_all(paths: Paths, progress: Callable[[str], None]) -> int:
    ended = runner_managers.end_leftovers(paths.root)  # first: they remove their pods
    ended += process_node.end_leftovers(paths.root)
    ended += end_nodes(paths.clusters)
    current = state.read(paths)
    if current is None:
        return ended
    supervisor = current.supervisor
    if supervisor is not None and supervisor.identity.alive:
        members = len(processes.family(supervisor.identity))
        progress(f"stopping {members} processes, clusters first")
        ended += members
        processes.end(supervisor.identity, patience=STOP_SECONDS)
    return ended + _end_leftovers(paths, current, progress)


def _end_leftovers(paths: Paths, current: State, progress: Callable[[str], None]) -> int:
    """End the processes of a killed supervisor: recorded ones, last started first, then the others of its session."""
    recorded = [process for process in reversed(current.processes) if process.identity.alive]
    for process in recorded:
        progress(f"ending {process.name} (process {process.pid}), left by an earlier run")
        processes.end(process.identity, patience=PATIENCE_SECONDS)
    unrecorded = []
    if current.supervisor is not None:
        unrecorded = processes.in_session(current.supervisor.pid, paths.root)
    for process_id in unrecorded:
        processes.end(process_id, patience=PATIENCE_SECONDS)
    survivors = [process.name for process in current.processes if process.identity.alive]
    if survivors:
        raise SandboxError(f"could not end {', '.join(survivors)}", "check that you may signal these processes")
    return len(recorded) + len(unrecorded)


def child_environment(paths: Paths) -> dict[str, str]:
    """Return the environment of the sandbox's processes: their own HOME, and no way to a real cloud."""
    inherited = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return inherited | {
        "HOME": str(paths.home),
        "RUNNER_PLATFORM_CACHE": str(paths.cache),
        "RUNNER_PLATFORM_SANDBOX": str(paths.root),
        "PYTHONUNBUFFERED": "1",
    }


def _spawn(paths: Paths) -> ProcessId:
    with _log(paths).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "runner_platform_sandbox.supervisor"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=paths.root,
            env=child_environment(paths),
            start_new_session=True,
        )
    identity = ProcessId.of(process.pid)
    if identity is None:
        raise SandboxError("the supervisor ended at once", f"see {_log(paths)}")
    return identity


def _wait_ready(paths: Paths, log: Path, supervisor: ProcessId | None = None) -> State:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        current = state.read(paths)
        if current is not None and current.failure:
            raise SandboxError(f"the sandbox did not start: {current.failure}", f"see {log}")
        if current is not None and current.ready and all(cluster.status != "CREATING" for cluster in current.clusters):
            return current
        identity = supervisor or (current.supervisor.identity if current and current.supervisor else None)
        if identity is not None and not identity.alive:
            raise SandboxError(f"the supervisor ended before the sandbox was ready: {_last_line(log)}", f"see {log}")
        time.sleep(_POLL_SECONDS)
    raise SandboxError(f"the sandbox was not ready after {START_SECONDS:.0f} s: {_last_line(log)}", f"see {log}")


def _make_folders(paths: Paths) -> None:
    for folder in (paths.root, paths.home, paths.bin, paths.aws, paths.clusters, paths.backend, paths.logs):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SandboxError(f"cannot make {folder}: {error.strerror}", disk.REMEDY) from error


def _log(paths: Paths) -> Path:
    return paths.logs / "supervisor.log"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").split("\n")
    except OSError:
        return "it wrote no log"
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")
