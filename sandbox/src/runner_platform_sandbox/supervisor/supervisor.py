"""The supervisor: starts servers and clusters in order, restarts them, writes `state.json`, and stops them in reverse.

The servers (AWS, GitLab) are looked after here, the clusters by `runner_platform_sandbox.supervisor.clusters`.
"""

from __future__ import annotations

import contextlib
import threading
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox import environment, state
from runner_platform_sandbox.aws.client import AwsAdminError
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.supervisor.clusters import Reconciler
from runner_platform_sandbox.supervisor.restarts import Restarts

if TYPE_CHECKING:
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.supervisor.parts import Assembly, Part

STEP_SECONDS: Final = 0.5


@dataclass(kw_only=True)
class _Server:
    """AWS or GitLab: a part that should always run."""

    name: str
    part: Part
    restarts: Restarts = field(default_factory=Restarts)


class Supervisor:
    """Runs one sandbox until it is asked to stop.

    Args:
        paths: The sandbox.
        parts: Its servers, and the maker of control planes.
        current: The state to go on with: run id and ports.
    """

    def __init__(self, paths: Paths, parts: Assembly, current: state.State) -> None:
        self._paths = paths
        self._parts = parts
        self._lock = threading.Lock()
        mine = ProcessId.mine()
        self._state = current.model_copy(
            update={
                "supervisor": state.Process(name=state.SUPERVISOR, pid=mine.pid, started=mine.started),
                "ready": False,
                "failure": "",
                "processes": [],
                "clusters": [],
            }
        )
        self._written = ""
        self._servers = [_Server(name=name, part=part) for name, part in parts.servers.items()]
        self._clusters = Reconciler(parts.cloud, parts.control_plane, self.note)
        self._stop = threading.Event()

    def run(self) -> int:
        """Start, watch until asked to stop, stop. Returns the exit code."""
        self._save()
        try:
            self._start()
            while not self._stop.wait(STEP_SECONDS):
                self._step()
        except SandboxError as error:
            self._fail(str(error))
            return 1
        except Exception as error:  # noqa: BLE001 - the last resort: a person must read that nothing is watched any more
            traceback.print_exc()  # into the supervisor's log, for developers of the sandbox
            self._fail(f"the supervisor failed: {type(error).__name__}: {error}")
            return 1
        finally:
            self._shut_down()
        return 0

    def note(self, text: str) -> None:
        """Write a sentence to the log and to `sandbox status`."""
        print(time.strftime("%H:%M:%S"), text, flush=True)  # noqa: T201 - standard output is the log
        with self._lock:
            self._state.note(time.time(), text)

    def request_stop(self) -> None:
        """Make `run` end after its current step; safe in a signal handler."""
        self._stop.set()

    def _start(self) -> None:
        for server in self._servers:
            if self._stop.is_set():
                return
            server.part.start()
            self._parts.introduce()
            self._save()
        self._step()  # the state now lists the clusters that AWS kept, so that a caller can wait for them
        with self._lock:
            self._state.ready = True
        self._save()

    def _step(self) -> None:
        healthy = [self._heal(server) for server in self._servers]
        if healthy[0]:
            try:
                self._clusters.step()
            except (OSError, SandboxError, AwsAdminError) as error:
                # AWS may be dying right now; the next step sees whether it is dead.
                print(time.strftime("%H:%M:%S"), "cannot list the clusters:", error, flush=True)  # noqa: T201
        for text in self._clusters.failures():
            self.note(text)
        self._save()

    def _heal(self, server: _Server) -> bool:
        dead = server.part.dead()
        if not dead:
            return True
        gave_up_before = server.restarts.given_up
        if server.restarts.due(time.monotonic()):
            self.note(f"{server.name}: {', '.join(dead)} ended by itself; started again with its kept state")
            with contextlib.suppress(Exception):
                server.part.stop()
            try:
                server.part.start()
                self._parts.introduce()
            except (OSError, SandboxError, AwsAdminError) as error:
                self.note(f"{server.name} did not start: {error}")
                return False
            return True
        if server.restarts.given_up and not gave_up_before:
            text = f"{server.name} keeps ending ({', '.join(dead)}): given up after five starts within a minute"
            self.note(text)
            with self._lock:
                self._state.failure = text
        return False

    def _fail(self, text: str) -> None:
        self.note(text)
        with self._lock:
            self._state.failure = text
            self._state.ready = False
        self._save()

    def _shut_down(self) -> None:
        """Stop the clusters first, since they ask AWS about tokens, and AWS last."""
        with contextlib.suppress(Exception):
            self._clusters.stop()
        for server in reversed(self._servers):
            try:
                server.part.stop()
            except Exception:  # noqa: BLE001 - the other servers must still be stopped; `sandbox stop` ends this one
                traceback.print_exc()
        with self._lock:
            self._state.supervisor, self._state.processes, self._state.clusters = None, [], []
            self._state.ready = False
        self._save()

    def _save(self) -> None:
        """Write the state and the kubeconfig if the state changed."""
        with self._lock:
            if self._state.supervisor is not None:
                self._state.processes = [
                    *(process for server in self._servers for process in server.part.processes()),
                    *self._clusters.processes(),
                ]
                self._state.clusters = self._clusters.states()
            text = self._state.model_dump_json()
            if text == self._written:
                return
            state.write(self._paths, self._state)
            environment.write_kubeconfig(self._paths, self._state, self._parts.organization)
            self._written = text
