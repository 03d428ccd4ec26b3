"""Managers on EC2 in simulated time: they take jobs as GitLab Runner does, and their machines run the real `machine/host.py`.

Modelled after the runner's documentation: SIGQUIT (take no job, finish, end), capacity and uses of an instance, the plugin's update every
minute and every two seconds while it expects instances, removal of all instances at start and at the end, and three tries to reach a host.
Source: https://docs.gitlab.com/runner/executors/docker_autoscaler/, advanced-configuration/#the-runnersautoscaler-section
"""

from __future__ import annotations

import json
import subprocess
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

from botocore import xform_name
from botocore.exceptions import ClientError

from components.documents.machines import config, user_data
from machine import host
from tests.support.simulated_time import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import MachineClassSettings
    from tests.support.auto_scaling import AutoScaling, Instance
    from tests.support.simulated_time import World

SET_UP = (60, 180)
"""Seconds of cloud-init, packages and image on a new machine."""
TICK, UPDATE, EXPECTING, TRIES = 2, 60, 2, 3


@dataclass
class Job:
    """A job of a project in GitLab."""

    project: str
    seconds: float
    state: str = "waiting"
    """`waiting`, `running`, `done`, or `lost` when a machine that worked was ended under it."""
    machines: list[str] = field(default_factory=list)
    notice: float = 0.0
    """Seconds until the loss of its host was noticed."""


class Machine:
    """An instance with the real host program; the subclass is what runs on it."""

    def __init__(self, world: World, service: AutoScaling, settings: dict[str, Any], instance: Instance) -> None:
        self.world, self.service, self.settings, self.instance = world, service, settings, instance
        self.programs: dict[threading.Thread, Program] = {}

    def start(self, main: Any) -> None:
        """Run a function of the host program on this machine."""
        program = Program(self.world, main)
        self.programs[program.thread] = program
        MACHINES[program.thread] = self

    def sleep(self, seconds: float) -> None:
        self.programs[threading.current_thread()].sleep(seconds)

    def metadata(self, path: str) -> str:
        ends = self.instance.state.startswith("Terminating")
        return {
            "instance-id": self.instance.id,
            "autoscaling/target-lifecycle-state": "Terminated" if ends else "InService",
        }[path]

    def stop_runner(self) -> Any:
        raise NotImplementedError

    def end(self) -> None:
        for program in self.programs.values():
            program.kill()


MACHINES: dict[threading.Thread, Machine] = {}


def _here() -> Machine:
    return MACHINES[threading.current_thread()]


class _Client:
    """boto3's client of a machine: methods of the emulated service by their Python names."""

    def __init__(self, service: AutoScaling) -> None:
        self._service = service

    def __getattr__(self, name: str) -> Any:
        operations = ("DescribeAutoScalingGroups", "RecordLifecycleActionHeartbeat", "CompleteLifecycleAction")
        operation = {xform_name(operation): operation for operation in operations}[name]
        return lambda **request: self._service.call(operation, **request)


@contextmanager
def host_programs() -> Iterator[None]:
    """Let the real host program meet the machine whose thread runs it, instead of this computer."""
    parts = {
        "metadata": lambda path: _here().metadata(path),
        "settings": lambda: _here().settings,
        "client": lambda _: _Client(_here().service),
        "time": SimpleNamespace(sleep=lambda seconds: _here().sleep(seconds)),
        "subprocess": SimpleNamespace(Popen=lambda _: _here().stop_runner(), TimeoutExpired=subprocess.TimeoutExpired),
        "sys": SimpleNamespace(argv=[], stderr=SimpleNamespace(write=lambda _: None)),
    }
    with mock.patch.multiple(host, **parts):
        yield


class Manager(Machine):
    """A machine with a runner."""

    def __init__(self, company: Company, instance: Instance) -> None:
        super().__init__(company.world, company.service, company.settings_of_host, instance)
        self.company, self.taking, self.stopped = company, False, False
        self.running: list[Job] = []
        self.world.after(self.world.chance.uniform(*SET_UP), lambda: self.start(self._main))
        if company.drains:
            self.start(host.drain)

    def _main(self) -> None:
        if self.company.waits:
            host.wait_for_predecessor()
        self.begin()
        self.taking = not self.stopped
        self.world.every(TICK, self._tick)

    def begin(self) -> None:
        """Do what the runner does when it starts."""

    def _tick(self) -> bool:
        if not self.instance.alive:
            return False
        self.work()
        if self.stopped and not self.running:
            self.finish()
            return False
        return True

    def work(self) -> None:
        while self.taking and len(self.running) < self.company.concurrent and (job := self.company.next_job()):
            self.run(job, self.instance)

    def finish(self) -> None:
        """Do what the runner does before it ends."""
        self.ended = True

    def run(self, job: Job, machine: Instance) -> None:
        job.state = "running"
        job.machines.append(machine.id)
        self.running.append(job)
        turn = len(job.machines)

        def done() -> None:
            if job.state == "running" and len(job.machines) == turn and machine.alive and self.instance.alive:
                job.state = "done"
                self.running.remove(job)

        self.world.after(job.seconds, done)

    ended = False

    def stop_runner(self) -> Any:
        self.taking, self.stopped = False, True
        begun = self.world.now

        def wait(timeout: float) -> int:
            if not self.company.heartbeats:
                timeout = float("inf")
            until = self.world.now + timeout
            while not self.ended and self.world.now - begun < self.company.grace:
                if self.world.now >= until:
                    raise subprocess.TimeoutExpired("systemctl", timeout)
                self.sleep(TICK)
            return 0

        return SimpleNamespace(wait=wait)

    def end(self) -> None:
        super().end()
        for job in [job for job in self.running if job.state == "running"]:
            job.state = "lost"


class ScalingManager(Manager):
    """A machine with a runner of the executor docker-autoscaler, and its fleeting plugin."""

    def __init__(self, company: Company, instance: Instance) -> None:
        super().__init__(company, instance)
        self.used: dict[str, int] = {}
        self.jobs_of: dict[str, list[Job]] = {}
        self.members: list[dict[str, Any]] = []
        self.group: dict[str, Any] = {}
        self.idle_since: dict[str, float] = {}
        self._updated = float("-inf")

    def begin(self) -> None:
        for member in self._describe():
            self._remove(member["InstanceId"])

    def _describe(self) -> list[dict[str, Any]]:
        answer = self.service.call("DescribeAutoScalingGroups", AutoScalingGroupNames=[self.company.workers])
        self.group = answer["AutoScalingGroups"][0] if answer["AutoScalingGroups"] else {}
        self.members = [
            member for member in self.group.get("Instances", ()) if member["LifecycleState"] in {"Pending", "InService"}
        ]
        return self.members

    def _remove(self, instance: str) -> None:
        with suppress(ClientError):  # the group may have been faster
            self.service.call(
                "TerminateInstanceInAutoScalingGroup", InstanceId=instance, ShouldDecrementDesiredCapacity=True
            )
        self.used.pop(instance, None)

    def work(self) -> None:
        expecting = any(member["LifecycleState"] == "Pending" for member in self.members)
        if self.world.now - self._updated >= (EXPECTING if expecting or self.company.waiting() else UPDATE):
            self._updated = self.world.now
            self._describe()
        for job in [job for job in self.running if job.state != "running"]:
            self.running.remove(job)
        self._assign()
        self._retire()

    def _assign(self) -> None:
        document = self.company.autoscaler
        ready = [member["InstanceId"] for member in self.members if self.company.is_ready(member["InstanceId"])]
        while self.taking and self.company.waiting():
            free = [
                instance
                for instance in ready
                if len(self._jobs(instance)) < document["capacity_per_instance"]
                and self.used.get(instance, 0) < document["max_use_count"]
            ]
            if not free:
                break
            job, instance = self.company.next_job(), free[0]
            assert job is not None
            self.used[instance] = self.used.get(instance, 0) + 1
            self.jobs_of.setdefault(instance, []).append(job)
            self.run(job, self.company.machine(instance))
        self._ask(document)

    def _ask(self, document: dict[str, Any]) -> None:
        fresh = [member for member in self.members if not self.used.get(member["InstanceId"])]
        missing = -(-len(self.company.waiting()) // document["capacity_per_instance"]) - len(fresh)
        desired = min(len(self.members) + missing, document["max_instances"])
        if self.taking and missing > 0 and self.group and desired > self.group["DesiredCapacity"]:
            self.company.asked += desired - self.group["DesiredCapacity"]
            self.service.call("SetDesiredCapacity", AutoScalingGroupName=self.company.workers, DesiredCapacity=desired)
            self._describe()

    def _jobs(self, instance: str) -> list[Job]:
        return [job for job in self.jobs_of.get(instance, ()) if job.state == "running"]

    def _retire(self) -> None:
        for member in self.members:
            instance = member["InstanceId"]
            if self._jobs(instance) or not self.company.is_ready(instance):
                self.idle_since.pop(instance, None)
                continue
            idle = self.world.now - self.idle_since.setdefault(instance, self.world.now)
            if self.used.get(instance, 0) >= self.company.autoscaler["max_use_count"] or idle > self.company.idle:
                self._remove(instance)

    def finish(self) -> None:
        if self.company.autoscaler["delete_instances_on_shutdown"]:
            for member in self._describe():
                self._remove(member["InstanceId"])
        super().finish()


class Company:
    """GitLab's jobs, and the machines of one class."""

    def __init__(self, world: World, service: AutoScaling, settings: MachineClassSettings) -> None:
        document = config.config_document(settings)
        (runner,) = document["runners"]
        self.world, self.service = world, service
        self.jobs: list[Job] = []
        self.grace = document["shutdown_timeout"]
        self.concurrent = document["concurrent"]
        self.autoscaler: dict[str, Any] = runner.get("autoscaler", {})
        self.connect_seconds = 60 * int(self.autoscaler.get("connector_config", {"timeout": "2m"})["timeout"][:-1])
        self.idle = 600
        files = user_data.files_of(user_data.manager_user_data(settings))
        self.settings_of_host = json.loads(files["/etc/runner-platform/host.json"])
        self.workers = settings.names.worker_group(settings.name)
        self.heartbeats = self.drains = self.waits = True
        self.managers: dict[str, Manager] = {}
        self.ready: dict[str, Instance] = {}
        self.asked = 0

    def waiting(self) -> list[Job]:
        return [job for job in self.jobs if job.state == "waiting"]

    def next_job(self) -> Job | None:
        return next((job for job in self.jobs if job.state == "waiting"), None)

    def manager_started(self, instance: Instance) -> None:
        kind = ScalingManager if self.autoscaler else Manager
        self.managers[instance.id] = kind(self, instance)

    def manager_ended(self, instance: Instance) -> None:
        if instance.id in self.managers:
            self.managers[instance.id].end()

    def worker_started(self, instance: Instance) -> None:
        def ready() -> None:
            self.ready[instance.id] = instance

        self.world.after(self.world.chance.uniform(*SET_UP), ready)

    def worker_ended(self, instance: Instance) -> None:
        """Lose the jobs of a worker that somebody ended while it worked."""
        for job in self.jobs_on(instance):
            if not job.notice:
                job.state = "lost"

    def jobs_on(self, instance: Instance) -> list[Job]:
        return [job for job in self.jobs if job.state == "running" and job.machines[-1] == instance.id]

    def lose_worker(self, instance: Instance) -> None:
        """Take a spot host away; its manager tries to reach it, gives the job up, and GitLab starts it again."""
        victims = self.jobs_on(instance)
        for job in victims:
            job.notice = self.world.chance.uniform(TRIES - 1, TRIES) * self.connect_seconds

            def again(job: Job = job) -> None:
                job.state = "waiting"

            self.world.after(job.notice, again)
        self.service.lose(instance)

    def is_ready(self, instance: str) -> bool:
        return instance in self.ready and self.ready[instance].alive

    def machine(self, instance: str) -> Instance:
        return self.ready[instance]
