"""Rules of runner classes, in the form of `config/checks.py`: names, tags, accounts, owners, times, and the machines that jobs run on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from config import machine_types, names
from config.capabilities import Level
from config.checks import Check, reserved, unlisted
from config.errors import Problem
from config.quantities import MEBIBYTE, memory_text
from config.runners import MACHINE_RUNNERS, AutoscalerRunner, DockerRunner, FargateRunner, KubernetesRunner, Runner
from config.sections import CLASS_NAME, RESERVED_NAMES
from config.versions import CHART_WITH_NATIVE_SECCOMP

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from config.sections import Account, Alarms, Chart, Network, Organization

POOLS_OF_EKS = ("default", "system")
"""Names of objects that Auto Mode itself makes; a class's NodePool and NodeClass have the class's name.

Source: https://docs.aws.amazon.com/eks/latest/userguide/set-builtin-node-pools.html
"""
SPOT_LIMIT = 3600
"""Longest job, in seconds, of a class on spot nodes."""
SHORTEST_JOB, LONGEST_JOB = 600, 24 * 3600
"""Seconds. GitLab refuses shorter timeouts; above a day, a node's life of 21 days leaves too little room."""


def runner_tags(runners: Mapping[str, Runner], organization: Organization, stack: str) -> Iterator[Problem]:
    """Check that the tags of a job select one class, since a job for one class could run on another."""
    stack_names = names.Names(organization=organization, stack=stack)
    selections = [TagSelection.of(name, runner, stack_names.tag(name)) for name, runner in runners.items()]
    for position, selection in enumerate(selections):
        clash = next(filter(None, map(selection.clash_with, selections[:position])), None)
        if clash is not None:
            yield Problem(path=f"runners.{selection.name}.{selection.key}", message=clash)


@dataclass(frozen=True, kw_only=True)
class TagSelection:
    """How jobs select a class in GitLab: a runner takes a job if it has all tags of the job."""

    name: str
    """The class, as messages name it."""
    key: str
    """`tag` or `tags`: the key of the class's settings."""
    level: Level
    tags: tuple[str, ...]

    @classmethod
    def of(cls, name: str, runner: Runner, default: str) -> TagSelection:
        """Return the selection of a class; `default` is its tag if it names none."""
        return cls(
            name=name, key="tags" if runner.tags else "tag", level=runner.level, tags=runner.tags_in_gitlab(default)
        )

    def clash_with(self, owner: TagSelection) -> str | None:
        """Return why a job for one class could run on the other, with the remedy, else None."""
        tags, owner_tags = set(self.tags), set(owner.tags)
        shared = tags & owner_tags
        text = ", ".join(repr(tag) for tag in sorted(shared))
        if tags == owner_tags:
            return f"{text} is also the tag of {owner.name!r}, so that a job for one class could run on the other; give each class its own"
        if shared in (tags, owner_tags):
            return (
                f"{text} selects {owner.name!r} too, so that a job for one class could run on the other; "
                "give each class a tag that the other has not"
            )
        if shared and self.level is not owner.level:
            return (
                f"{text} is shared with {owner.name!r} of level {owner.level.value}, so that a job could run on the wrong level; "
                "share tags within a level only"
            )
        return None


def runner_names(runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check the names of runner classes."""
    for name in runners:
        if not CLASS_NAME.fullmatch(name) or name in RESERVED_NAMES:
            yield Problem(
                path=f"runners.{name}",
                message=f"is not a name for a class; use small letters and digits, 2 to 16, and none of {reserved()}",
            )
        elif name in POOLS_OF_EKS:
            yield Problem(
                path=f"runners.{name}",
                message=f"is not a name for a class, since Auto Mode has objects of that name itself; use none of {', '.join(POOLS_OF_EKS)}",
            )


def runner_accounts(
    runners: Mapping[str, Runner], accounts: Mapping[str, Account], account_names: Collection[str]
) -> Iterator[Problem]:
    """Check that `runners.<class>.accounts` only narrows the accounts of the class's level."""
    for name, runner in runners.items():
        path = f"runners.{name}.accounts"
        for account in runner.accounts or ():
            if account not in account_names:
                yield unlisted(path, account, account_names)
            elif account in accounts and not accounts[account].capabilities(runner.level):
                yield Problem(
                    path=path,
                    message=f"{account!r} has nothing for level {runner.level.value}; a class narrows its level and never widens it: "
                    f"drop the account here, or list capabilities under accounts.{account}.{runner.level.value}",
                )


def runner_owners(runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that a protected class has exactly one project or group, and an open class neither."""
    for name, runner in runners.items():
        owners = [key for key in ("project", "group") if getattr(runner, key)]
        if runner.level is Level.OPEN and owners:
            yield Problem(
                path=f"runners.{name}.{owners[0]}",
                message="belongs to a protected class; an open class is a runner of gitlab.group: drop it, or write level: protected",
            )
        if runner.level is Level.PROTECTED and len(owners) != 1:
            yield Problem(
                path=f"runners.{name}",
                message=f"names {' and '.join(owners) or 'neither project nor group'}; a protected class serves exactly one project, "
                "or one group made for deploying projects",
            )


def runner_jobs(runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that the longest job fits GitLab, spot nodes and the builder."""
    for name, runner in runners.items():
        path = f"runners.{name}"
        if not SHORTEST_JOB <= runner.longest_job <= LONGEST_JOB:
            yield Problem(
                path=f"{path}.longest_job",
                message=f"is {runner.longest_job} s; write a time from 10m (GitLab's shortest timeout) to 24h",
            )
        if isinstance(runner, KubernetesRunner | AutoscalerRunner) and runner.spot and runner.longest_job > SPOT_LIMIT:
            yield Problem(
                path=f"{path}.spot",
                message=f"spot nodes may go at any time, and longest_job is {runner.longest_job // 60} min; lower it to 1h or less, or drop spot",
            )
        if isinstance(runner, KubernetesRunner) and runner.builder and runner.pod_security == "restricted":
            yield Problem(
                path=f"{path}.builder",
                message="the plain builder is root in its container, which pod_security: restricted refuses; use baseline",
            )


def pod_security(runners: Mapping[str, Runner], chart: Chart) -> Iterator[Problem]:
    """Check that the chart can write the seccomp profile of restricted job pods (runner 18.11 or newer)."""
    if chart.version is None or tuple(map(int, chart.version.split("."))) >= CHART_WITH_NATIVE_SECCOMP:
        return
    for name, runner in runners.items():
        if isinstance(runner, KubernetesRunner) and runner.pod_security == "restricted":
            yield Problem(
                path=f"runners.{name}.pod_security",
                message=f"restricted needs a seccomp profile on job pods, which chart {chart.version} cannot write; "
                f"raise chart.version to {'.'.join(map(str, CHART_WITH_NATIVE_SECCOMP))} or newer, or use baseline",
            )


RESERVED_MIB = 768
"""Memory of a machine that its jobs do not get: the system, Docker and the manager."""
SMALLEST_SHARE_MIB = 512
"""Memory below which a job of usual tools does not start well."""
MOST_JOBS_OF_A_CORE = 4


def job_memory_mib(machine: machine_types.MachineType, jobs: int) -> int:
    """Return the MiB of memory that each of several jobs on one machine gets."""
    return (machine.memory_mib - RESERVED_MIB) // jobs


def machines(runners: Mapping[str, Runner], organization: Organization) -> Iterator[Problem]:
    """Check that the region offers the instance types of each class, all for one processor, and that the jobs fit."""
    for name, runner in runners.items():
        for path, type_name in _types_of(runner):
            problem = _type_problem(type_name, organization.region, spot=path != "manager" and _is_spot(runner))
            if problem is not None:
                yield Problem(path=f"runners.{name}.{path}", message=problem)
        yield from _processors(name, runner)
        yield from _jobs_of_a_machine(name, runner)


def _types_of(runner: Runner) -> Iterator[tuple[str, str]]:
    """Yield the path below the class, and the name, of each instance type."""
    if isinstance(runner, DockerRunner):
        yield "instance", runner.instance
    if isinstance(runner, AutoscalerRunner):
        yield from ((f"instances.types.{position}", name) for position, name in enumerate(runner.instances.types))
    if isinstance(runner, AutoscalerRunner | FargateRunner):
        yield "manager", runner.manager


def _is_spot(runner: Runner) -> bool:
    """Whether the instances of a class's jobs are spot instances."""
    return isinstance(runner, AutoscalerRunner) and runner.spot


def _type_problem(name: str, region: str, *, spot: bool) -> str | None:
    """Return why a machine of a region cannot have an instance type, with the remedy, else None."""
    machine = machine_types.machine_type(name)
    if machine is None:
        nearest = machine_types.nearest(name)
        if machine_types.exists_in_ec2(name):
            hint = f"such as {nearest[0]!r}" if nearest else "such as m7i.large"
            return (
                f"{name!r} is a Mac, bare metal, has an accelerator, or is newer than the catalogue ({machine_types.source()}); "
                f"write a type without them, {hint}, or renew config/machine_types.json"
            )
        hint = f"did you mean {nearest[0]!r}?" if nearest else "write one such as m7i.large"
        return f"{name!r} is no instance type of EC2; {hint}"
    if machine_types.offered_in(name, region) is False:
        return (
            f"{name!r} was not offered in {region} when {machine_types.source()} recorded the offers; choose another type. If "
            "`aws ec2 describe-instance-type-offerings` lists it there by now, renew config/machine_types.json"
        )
    if spot and not machine.spot:
        return f"{name!r} is not sold as spot capacity; drop spot, or choose another type"
    return None


def _processors(name: str, runner: Runner) -> Iterator[Problem]:
    if not isinstance(runner, AutoscalerRunner):
        return
    catalogued = [machine for type_name in runner.instances.types if (machine := machine_types.machine_type(type_name))]
    odd = next((machine for machine in catalogued if machine.arch != catalogued[0].arch), None)
    if odd is not None:
        yield Problem(
            path=f"runners.{name}.instances.types",
            message=f"{odd.name!r} is {odd.arch} and {catalogued[0].name!r} is {catalogued[0].arch}; an image is built for one processor: "
            "list types of one, and make a class of its own for the rest",
        )


def _jobs_of_a_machine(name: str, runner: Runner) -> Iterator[Problem]:
    """Check that the jobs of one machine get enough memory and cores."""
    type_names: tuple[str, ...]
    if isinstance(runner, DockerRunner):
        key, jobs, type_names = "concurrent", runner.concurrent, (runner.instance,)
    elif isinstance(runner, AutoscalerRunner):
        key, jobs, type_names = "capacity", runner.capacity, runner.instances.types
    else:
        return
    for machine in filter(None, map(machine_types.machine_type, type_names)):
        most = min((machine.memory_mib - RESERVED_MIB) // SMALLEST_SHARE_MIB, machine.vcpus * MOST_JOBS_OF_A_CORE)
        if jobs > most:
            yield Problem(
                path=f"runners.{name}.{key}",
                message=f"is {jobs}, and {machine.name} has {machine.vcpus} vCPU and {memory_text(machine.memory_mib * MEBIBYTE)}: "
                f"{RESERVED_MIB} MiB are the machine's own, and a job needs {SMALLEST_SHARE_MIB} MiB and a quarter of a core; "
                + (f"write {most} or less, or a larger type" if most > 0 else "choose a larger type"),
            )
            return


def public_machines(network: Network, runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that a network without NAT has no pods: nodes have no public addresses."""
    pods = [name for name, runner in runners.items() if not isinstance(runner, MACHINE_RUNNERS)]
    if network.nat == "none" and pods:
        yield Problem(
            path="network.nat",
            message=f"is none, and {', '.join(pods)} of runners {'are' if len(pods) > 1 else 'is'} of executor kubernetes, whose nodes have no public "
            "addresses; write nat: single or per-zone",
        )


def alarms_of_pods(alarms: Alarms, runners: Mapping[str, Runner]) -> Iterator[Problem]:
    """Check that alarms have something to watch: they read the logs of managers on Kubernetes."""
    if alarms.topic is not None and not any(isinstance(runner, KubernetesRunner) for runner in runners.values()):
        yield Problem(
            path="alarms.topic",
            message="is set, and no class is of executor kubernetes, whose managers the alarms watch; drop alarms",
        )


RUNNER_CHECKS: tuple[Check, ...] = (
    runner_tags,
    runner_names,
    runner_accounts,
    runner_owners,
    runner_jobs,
    pod_security,
    machines,
    public_machines,
    alarms_of_pods,
)
"""Rules of runner classes."""
