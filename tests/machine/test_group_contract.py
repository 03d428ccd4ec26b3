"""Managers and workers in Auto Scaling groups: jobs survive updates and losses, over 20 seeds; without a protection they do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.machines import launch
from config.runners import AutoscalerRunner
from tests.support.auto_scaling import AutoScaling, group_of
from tests.support.machine_classes import AUTOSCALER, DOCKER, machine_class
from tests.support.runner_manager import Company, Job, host_programs
from tests.support.simulated_time import World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.auto_scaling import Group, Instance

SEEDS = [*range(2), *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(2, 20))]
"""A checkout is checked with two histories; all twenty take a minute."""
FEW = range(3)
MINUTE, HOUR = 60, 3600
BOTH = pytest.mark.parametrize("values", [DOCKER, AUTOSCALER], ids=["docker", "docker-autoscaler"])


@pytest.fixture(autouse=True, scope="module")
def _host_programs() -> Iterator[None]:
    with host_programs():
        yield


@dataclass
class Play:
    """A class of a seed's company, at work for half an hour."""

    world: World
    service: AutoScaling
    company: Company
    managers: Group
    workers: Group | None
    refresh: dict[str, Any]

    def add_jobs(self, count: int, longest: float = HOUR) -> list[Job]:
        chance = self.world.chance
        jobs = [
            Job(project=f"project-{chance.randrange(5)}", seconds=chance.uniform(60, longest)) for _ in range(count)
        ]
        self.company.jobs += jobs
        return jobs

    def change_template(self) -> None:
        """Do what `up` does after a change: new versions, and the refresh that the document of the managers asks for."""
        self.managers.version += 1
        preferences = self.refresh["preferences"]
        self.service.call(
            "StartInstanceRefresh",
            AutoScalingGroupName=self.managers.name,
            Strategy=self.refresh["strategy"],
            Preferences={
                "MinHealthyPercentage": preferences["min_healthy_percentage"],
                "MaxHealthyPercentage": preferences["max_healthy_percentage"],
            },
        )
        if self.workers is not None:
            self.workers.version += 1

    @property
    def lost(self) -> list[Job]:
        return [job for job in self.company.jobs if job.state == "lost"]

    def busy_worker(self) -> Instance:
        assert self.workers is not None
        return next(entry for entry in self.workers.instances.values() if self.company.jobs_on(entry))


def begin(seed: int, values: dict[str, Any], jobs: int = 8, **changes: Any) -> Play:
    """Start a class's groups; `changes` take protections of the groups' documents away."""
    settings = machine_class(values)
    world = World(seed)
    service = AutoScaling(world)
    company = Company(world, service, settings)
    document = launch.manager_group(settings)
    managers = group_of({key: value for key, value in document.items() if key not in changes.get("drop", ())})
    managers.on_start, managers.on_end = company.manager_started, company.manager_ended
    company.drains = managers.hook is not None
    workers = None
    if isinstance(settings.runner, AutoscalerRunner):
        workers = group_of(launch.worker_group(settings, settings.runner) | changes.get("workers", {}))
        workers.on_start, workers.on_end = company.worker_started, company.worker_ended
        service.add(workers)
    service.add(managers)
    play = Play(world, service, company, managers, workers, document["instance_refresh"])
    for name, value in changes.get("company", {}).items():
        setattr(company, name, value)
    play.add_jobs(jobs, float(settings.runner.longest_job))
    world.run(HOUR / 2)
    return play


def jobs_lost_by_a_new_template(seed: int, values: dict[str, Any], **changes: Any) -> int:
    play = begin(seed, values, **changes)
    play.change_template()
    play.add_jobs(6)
    play.world.run(6 * HOUR)
    assert {job.state for job in play.company.jobs} <= {"done", "lost"}, "no job waits for ever"
    assert [entry.version for entry in play.managers.instances.values()] == [play.managers.version]
    return len(play.lost)


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_no_job_is_lost_when_the_template_or_the_token_changes(seed: int, values: dict[str, Any]) -> None:
    assert jobs_lost_by_a_new_template(seed, values) == 0


@BOTH
def test_without_the_hook_a_new_template_loses_jobs(values: dict[str, Any]) -> None:
    drop = ("initial_lifecycle_hooks",)
    assert sum(jobs_lost_by_a_new_template(seed, values, drop=drop) for seed in FEW) > 0


def test_without_waiting_for_the_predecessor_its_workers_are_removed() -> None:
    changes = {"company": {"waits": False}}
    assert sum(jobs_lost_by_a_new_template(seed, AUTOSCALER, **changes) for seed in FEW) > 0


def test_a_refresh_of_workers_would_lose_jobs() -> None:
    play = begin(1, AUTOSCALER)
    assert play.workers is not None
    play.service.call(
        "StartInstanceRefresh",
        AutoScalingGroupName=play.workers.name,
        Preferences={"MinHealthyPercentage": 0, "ScaleInProtectedInstances": "Refresh"},
    )
    play.world.run(6 * HOUR)
    assert play.lost


def drain_of_a_long_job(seed: int, *, heartbeats: bool, seconds: float = 5 * HOUR) -> tuple[Job, float]:
    """Return a job that ran while its manager was replaced, and the hours until the manager had gone."""
    play = begin(seed, {**DOCKER, "longest_job": "6h"}, jobs=0, company={"heartbeats": heartbeats})
    job = Job(project="project-1", seconds=seconds)
    play.company.jobs.append(job)
    play.world.run(MINUTE)
    old = next(iter(play.managers.instances.values()))
    play.change_template()
    start = play.world.now
    while old.id in play.managers.instances and play.world.now - start < 20 * HOUR:
        play.world.run(MINUTE)
    return job, (play.world.now - start) / HOUR


@pytest.mark.parametrize("seed", SEEDS)
def test_a_drain_with_heartbeats_outlasts_the_patience_of_the_hook(seed: int) -> None:
    job, hours = drain_of_a_long_job(seed, heartbeats=True)
    assert job.state == "done"
    assert hours == pytest.approx(5, abs=0.4)


def test_without_heartbeats_the_hook_ends_a_drain() -> None:
    job, hours = drain_of_a_long_job(1, heartbeats=False)
    assert job.state == "lost"
    assert hours < 1.5


def test_the_longest_job_bounds_a_drain() -> None:
    job, hours = drain_of_a_long_job(1, heartbeats=True, seconds=100 * HOUR)
    assert job.state == "lost", "GitLab ends such a job long before"
    assert hours == pytest.approx(6 + 1 / 6, abs=0.4), "the longest job, ten minutes, and the start of the successor"


def notice_of_a_lost_host(seed: int, connect_minutes: int | None = None) -> float:
    """Return the seconds until a lost spot host was noticed, after its jobs have run elsewhere."""
    changes = {} if connect_minutes is None else {"connect_seconds": connect_minutes * MINUTE}
    play = begin(seed, {**AUTOSCALER, "spot": True}, company=changes)
    worker = play.busy_worker()
    victims = play.company.jobs_on(worker)
    play.company.lose_worker(worker)
    play.world.run(6 * HOUR)
    for job in victims:
        assert job.state == "done"
        assert job.machines[-1] != worker.id, "it ran again elsewhere"
    assert not play.lost
    return max(job.notice for job in victims)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_spot_host_is_noticed_and_its_job_runs_elsewhere(seed: int) -> None:
    assert notice_of_a_lost_host(seed) <= 6 * MINUTE


def test_with_the_default_of_the_plugin_a_lost_host_is_noticed_late() -> None:
    assert notice_of_a_lost_host(1, connect_minutes=10) > 6 * MINUTE


def capacity_after_up(seed: int, *, ignored: bool) -> tuple[int, int]:
    """Return the desired capacity of the workers before and after an `up` that changes something else."""
    play = begin(seed, AUTOSCALER)
    assert play.workers is not None
    before = play.workers.desired
    changes = {} if ignored else {"desired": 0}
    play.service.update(play.workers.name, warm_up=1, **changes)
    return before, play.workers.desired


@pytest.mark.parametrize("seed", SEEDS)
def test_up_never_lowers_the_desired_capacity(seed: int) -> None:
    before, after = capacity_after_up(seed, ignored=True)
    assert after == before > 0


def test_an_engine_that_sets_the_capacity_takes_machines_away() -> None:
    before, after = capacity_after_up(1, ignored=False)
    assert after < before


def jobs_lost_by_a_lower_ceiling(seed: int, **workers: Any) -> int:
    play = begin(seed, AUTOSCALER, workers=workers)
    assert play.workers is not None
    play.service.update(play.workers.name, maximum=1)
    play.company.autoscaler["max_instances"] = 1
    play.world.run(9 * HOUR)
    return len(play.lost)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lower_ceiling_ends_no_machine_with_a_job(seed: int) -> None:
    assert jobs_lost_by_a_lower_ceiling(seed) == 0


def test_without_scale_in_protection_a_lower_ceiling_loses_jobs() -> None:
    assert jobs_lost_by_a_lower_ceiling(1, protect_from_scale_in=False) > 0


def unasked_instances(seed: int, **workers: Any) -> int:
    """Return how many more instances the group launched than the plugin asked for."""
    play = begin(seed, AUTOSCALER, jobs=10, workers=workers)
    play.world.run(4 * HOUR)
    assert play.workers is not None
    return play.workers.launched - play.company.asked


@pytest.mark.parametrize("seed", SEEDS)
def test_the_group_launches_only_what_the_plugin_asks_for(seed: int) -> None:
    assert unasked_instances(seed) == 0


def test_rebalancing_of_zones_launches_what_nobody_asked_for() -> None:
    assert sum(unasked_instances(seed, suspended_processes=[]) for seed in FEW) > 0


def projects_of_machines(seed: int, **changes: Any) -> list[int]:
    """Return how many projects each machine has served."""
    play = begin(seed, {**AUTOSCALER, **changes}, jobs=12)
    play.world.run(9 * HOUR)
    assert {job.state for job in play.company.jobs} == {"done"}
    projects: dict[str, set[str]] = {}
    for job in play.company.jobs:
        for machine in job.machines:
            projects.setdefault(machine, set()).add(job.project)
    return [len(names) for names in projects.values()]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_projects_share_no_machine(seed: int) -> None:
    assert set(projects_of_machines(seed)) == {1}


def test_projects_share_a_machine_where_uses_says_so() -> None:
    assert max(projects_of_machines(1, uses=6, capacity=2)) > 1


def jobs_lost_by_destroy(seed: int, values: dict[str, Any], *, in_order: bool = True) -> int:
    """Return how many running jobs a destroy ends; in order, the manager's group goes before that of its workers."""
    play = begin(seed, values)
    running = [job for job in play.company.jobs if job.state == "running"]
    play.service.destroy(play.managers.name)
    if in_order:
        play.world.run(3 * HOUR)
        assert play.managers.deleted
    if play.workers is not None:
        play.service.destroy(play.workers.name)
    play.world.run(3 * HOUR)
    assert all(group.deleted and not group.instances for group in play.service.groups.values())
    return len([job for job in running if job.state != "done"])


@BOTH
@pytest.mark.parametrize("seed", SEEDS)
def test_destroy_lets_jobs_finish_and_leaves_nothing(seed: int, values: dict[str, Any]) -> None:
    assert jobs_lost_by_destroy(seed, values) == 0


def test_workers_that_go_with_their_manager_lose_jobs() -> None:
    assert sum(jobs_lost_by_destroy(seed, AUTOSCALER, in_order=False) for seed in FEW) > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_manager_that_is_lost_leaves_no_worker_behind(seed: int) -> None:
    play = begin(seed, AUTOSCALER)
    assert play.workers is not None
    orphans = set(play.workers.instances)
    play.service.lose(next(iter(play.managers.instances.values())))
    play.world.run(15 * MINUTE)
    assert not orphans & set(play.workers.instances), "the successor removes what it did not start"
    later = play.add_jobs(3)
    play.world.run(6 * HOUR)
    assert {job.state for job in later} == {"done"}
    assert not play.workers.instances
