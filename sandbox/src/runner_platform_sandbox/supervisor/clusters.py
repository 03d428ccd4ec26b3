"""One control plane for each EKS cluster of the AWS server.

The supervisor calls `step` again and again. Each call compares the AWS server's clusters with the running control
planes and starts, heals or removes the difference in threads. A cluster is known by its issuer: a cluster that was
deleted and made again under the same name is another one.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.state import ClusterState
from runner_platform_sandbox.supervisor.restarts import Restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runner_platform_sandbox.aws.client import EksCluster
    from runner_platform_sandbox.state import Process
    from runner_platform_sandbox.supervisor.parts import Cloud, ControlPlane

SIDE_BY_SIDE = 2
"""Control planes that start at once; more would only share the same processor time."""


@dataclass(kw_only=True)
class _Managed:
    record: EksCluster
    plane: ControlPlane
    work: Future[None] | None = None
    status: str = "CREATING"
    reported: bool = False
    message: str = ""
    access_version: str | None = None
    processes: list[Process] = field(default_factory=list)
    restarts: Restarts = field(default_factory=Restarts)

    @property
    def label(self) -> str:
        return f"cluster {self.record.name}"

    @property
    def busy(self) -> bool:
        return self.work is not None and not self.work.done()


class Reconciler:
    """Keeps control planes in step with the AWS server's clusters.

    Args:
        cloud: The source of clusters, and the receiver of reports about them.
        make: Makes the control plane of a cluster record, without starting it.
        note: Takes sentences for people.
    """

    def __init__(self, cloud: Cloud, make: Callable[[EksCluster], ControlPlane], note: Callable[[str], None]) -> None:
        self._cloud = cloud
        self._make = make
        self._note = note
        self._managed: dict[str, _Managed] = {}
        self._leaving: dict[str, _Managed] = {}
        self._pool = ThreadPoolExecutor(max_workers=SIDE_BY_SIDE, thread_name_prefix="cluster")
        self._stopping = threading.Event()

    def step(self) -> None:
        """Compare once and begin the work; returns at once, the work goes on in threads."""
        records = {record.id: record for record in self._cloud.clusters()}
        for key in [key for key, managed in self._leaving.items() if not managed.busy]:
            del self._leaving[key]
        for key in [key for key in self._managed if key not in records]:
            self._remove(key)
        for key, record in records.items():
            if key not in self._leaving:
                self._keep(key, record)

    def _remove(self, key: str) -> None:
        managed = self._managed[key]
        if managed.busy:
            return  # its start ends first; the next step removes it
        del self._managed[key]
        self._leaving[key] = managed
        self._note(f"{managed.label} was deleted; its control plane is stopped and removed")
        managed.work = self._pool.submit(managed.plane.remove)

    def _keep(self, key: str, record: EksCluster) -> None:
        managed = self._managed.get(key)
        if managed is None:
            managed = self._managed[key] = _Managed(record=record, plane=self._make(record))
            managed.restarts.due(time.monotonic())
            managed.work = self._pool.submit(self._bring_up, managed)
            return
        managed.record = record
        if managed.busy or managed.restarts.given_up:
            return
        dead = managed.plane.dead()
        if dead or managed.status == "FAILED":
            self._heal(managed, dead)
        elif not managed.reported or record.status != managed.status:
            managed.work = self._pool.submit(self._report, managed)
        elif record.access_version != managed.access_version:
            managed.access_version = record.access_version
            managed.work = self._pool.submit(managed.plane.access_changed)

    def _heal(self, managed: _Managed, dead: Sequence[str]) -> None:
        if managed.restarts.due(time.monotonic()):
            if dead:
                self._note(f"{managed.label}: {', '.join(dead)} ended by itself; started again")
            managed.work = self._pool.submit(self._bring_up, managed)
        elif managed.restarts.given_up:
            managed.status = "FAILED"
            managed.message = managed.message or f"{', '.join(dead)} keeps ending"
            self._note(f"{managed.label}: given up after five starts within a minute: {managed.message}")
            managed.work = self._pool.submit(self._report, managed)

    def _bring_up(self, managed: _Managed) -> None:
        """Start the dead processes. An error is noted; later steps try again while the budget allows."""
        if self._stopping.is_set():
            return
        try:
            managed.plane.start()
        except Exception as error:  # noqa: BLE001 - a broken cluster must not end the supervisor; the person is told
            managed.status, managed.message = "FAILED", str(error)
            self._note(f"{managed.label} did not start: {error}")
            return
        managed.status, managed.message, managed.reported = "ACTIVE", "", False
        managed.access_version = managed.record.access_version
        managed.plane.access_changed()
        self._report(managed)

    def _report(self, managed: _Managed) -> None:
        condition: dict[str, Any] = {"status": managed.status}
        if managed.status == "ACTIVE":
            plane = managed.plane
            condition |= {
                "endpoint": plane.endpoint,
                "certificate_authority": plane.certificate_authority,
                "jwks": plane.jwks(),
            }
        self._cloud.report(managed.record, condition)
        managed.reported = True

    def failures(self) -> list[str]:
        """Return the errors of finished work since the last call."""
        texts = []
        for managed in [*self._managed.values(), *self._leaving.values()]:
            if managed.work is not None and managed.work.done():
                error, managed.work = managed.work.exception(), None
                if error is not None:
                    managed.reported = False
                    texts.append(f"{managed.label}: {error}")
        return texts

    def processes(self) -> list[Process]:
        """Return the live processes of all control planes."""
        planes = [*self._managed.values(), *self._leaving.values()]
        for managed in planes:
            if not managed.busy:  # a busy plane changes its list at this moment
                managed.processes = list(managed.plane.processes())
        return [process for managed in planes for process in managed.processes]

    def states(self) -> list[ClusterState]:
        """Return the state of each cluster."""
        return [_state(key, managed) for key, managed in sorted(self._managed.items())]

    def stop(self) -> None:
        """Stop all control planes side by side and keep their files."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)
        with ThreadPoolExecutor(max_workers=SIDE_BY_SIDE) as pool:
            for managed in self._managed.values():
                pool.submit(managed.plane.stop)


def _state(key: str, managed: _Managed) -> ClusterState:
    active = managed.status == "ACTIVE"
    return ClusterState(
        account=managed.record.account,
        region=managed.record.region,
        name=managed.record.name,
        issuer_id=key,
        status=managed.status,
        pinned=managed.record.version,
        served=managed.plane.version() if active else "",
        endpoint=managed.plane.endpoint if active else "",
        certificate_authority=managed.plane.certificate_authority if active else "",
        kubeconfig=managed.plane.kubeconfig(),
        message=managed.message,
    )
