"""The runner class that would replace a `[[runners]]`: its settings, which keys they come from, and what is assumed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from config import machine_types
from config.errors import FieldError
from config.quantities import MEBIBYTE, cpu_text, memory_text, parse_cpu, parse_memory, refuse_odd_size
from config.redaction import shown
from config.runner_checks import MOST_JOBS_OF_A_CORE, POOLS_OF_EKS, RESERVED_MIB, SMALLEST_SHARE_MIB
from config.sections import RESERVED_NAMES
from runner_platform.import_config.machine_options import DEFAULT_TYPE, TRUE, options_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from runner_platform.import_config.reading import RunnerConfig, RunnerSection

JOB_MIB: Final = 2048
"""Memory of a job, if the file has no limit: most compilers and package managers run within."""
JOBS_OF_A_CORE: Final = 2
_LARGE = tuple(f"m7i.{size}xlarge" for size in (4, 8, 12, 16, 24, 48))
MACHINES: Final = ("t3.medium", "t3.large", "t3.xlarge", "t3.2xlarge", *_LARGE)
"""Instances for a class of executor docker, smallest first: one that mostly waits costs less if it is burstable."""
WORKERS: Final = ("m7i.large", "m7i.xlarge", "m7i.2xlarge", *_LARGE)
"""Instances for an autoscaled class, if the file names none, smallest first."""
MOST: Final = {"docker": 100, "docker-autoscaler": 500, "fargate": 200, "kubernetes": 1000}
"""The most jobs or instances of a class, by executor."""
MOST_USES, MOST_CAPACITY = 1000, 50
SMALLEST_DISK_GIB, LARGEST_DISK_GIB = 20, 16 * 1024
LONGEST_NAME: Final = 16
TAKEN_NAMES: Final = RESERVED_NAMES | {*POOLS_OF_EKS}
SPOT_LABELS: Final = {"karpenter.sh/capacity-type": "spot", "eks.amazonaws.com/capacitytype": "spot"}
IN_CONTAINERS: Final = "executor; jobs run in containers and no longer on the machine itself, so they need `image:`"
_DOCKER_MEMORY = re.compile(r"(\d+)([bkmg]?)", re.IGNORECASE)


@dataclass(kw_only=True)
class ImportedClass:
    """A class of the stack file."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    """As the stack file writes them."""
    sources: dict[str, str] = field(default_factory=dict)
    """Keys of the runner's file that a setting has its value from, by setting."""
    assumed: dict[str, str] = field(default_factory=dict)
    """Why a setting has its value although the file does not say it, by setting."""
    becomes: dict[str, str] = field(default_factory=dict)
    """The setting that has the value of a key, by key in small letters or by `machineoptions.<option>`."""

    def take(self, setting: str, value: Any, *keys: str) -> None:
        """Set a value that comes from keys of the runner's file."""
        self.settings[setting] = value
        self.sources[setting] = " and ".join(keys)
        text = flow(value)
        for key in keys:
            self.becomes[key.casefold()] = f"{setting}: {text}"

    def assume(self, setting: str, value: Any, reason: str) -> None:
        """Set a value that the runner's file does not say."""
        self.settings[setting] = value
        self.assumed[setting] = reason


def flow(value: Any) -> str:
    """Return a value as the stack file writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {flow(member)}' for key, member in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(flow(member) for member in value)}]"
    # A number in quotes is a text: cores of a class are written so.
    return f'"{value}"' if isinstance(value, str) and re.fullmatch(r"[\d.]+", value) else str(value)


def class_of(section: RunnerSection, config: RunnerConfig, names: Iterable[str]) -> ImportedClass | str:
    """Return the class that would replace a runner, or why there is none.

    Args:
        section: the runner.
        config: the file it stands in.
        names: names of classes that are taken.
    """
    build = BUILDERS.get(section.executor)
    if section.executor == "custom" and is_fargate(section):
        build = _fargate
    if build is None:
        return NO_CLASS.get(
            section.executor,
            f"GitLab Runner has no executor {shown(section.executor)!r}; correct it, or drop the section",
        )
    result = ImportedClass(name=class_name(section, names))
    build(section, config, result)
    result.assume(
        "level", "open", "a runner that GitLab calls protected becomes level: protected, with its project or group"
    )
    result.assume("longest_job", "1h", "GitLab's page of the runner shows its maximum job timeout; 10m to 24h")
    return result


NO_CLASS: Final = {
    "": "the section names no executor, so the runner itself refuses it; write one, or drop the section",
    "ssh": "jobs on a server of yours by SSH need a key that all of them share; let jobs run here and call the server's own interface",
    "parallels": "no class runs macOS; keep this runner",
    "virtualbox": "no class runs virtual machines of yours; keep this runner, or put its tools into an image",
    "docker-windows": "no class runs Windows; keep this runner",
    "docker-autoscaler-windows": "no class runs Windows; keep this runner",
    "custom": "programs of yours would start jobs with the manager's rights; keep this runner, or move its jobs into containers",
    "docker-ssh": "GitLab Runner has removed this executor; use executor: docker",
    "docker-ssh+machine": "GitLab Runner has removed this executor; use executor: docker-autoscaler",
}
"""Why an executor has no class here."""


def is_fargate(section: RunnerSection) -> bool:
    """Whether a custom executor is GitLab's Fargate driver, as its programs or their arguments say."""
    return any(
        "fargate" in str(entry.value).casefold() for entry in section.entries if entry.key.startswith("runners.custom.")
    )


def class_name(section: RunnerSection, names: Iterable[str]) -> str:
    """Return a name for the class, made from the runner's name: small letters and digits, 2 to 16, free."""
    text = section.text("name")
    words = re.findall(r"[a-z0-9]+", text.lower()) if shown(text) == text else []
    while len(words) > 1 and len("".join(words)) > LONGEST_NAME:
        words.pop(0)
    name = "".join(words).lstrip("0123456789")[:LONGEST_NAME]
    if len(name) < 2 or name in TAKEN_NAMES:  # noqa: PLR2004  # the shortest name of a class
        name = "imported"
    used, number, candidate = set(names), 2, name
    while candidate in used:
        candidate, number = f"{name[: LONGEST_NAME - len(str(number))]}{number}", number + 1
    return candidate


def _jobs(section: RunnerSection, config: RunnerConfig, result: ImportedClass, setting: str, executor: str) -> int:
    """Set the number of jobs or instances from `limit`, else from `concurrent`."""
    key, limit = ("limit", section.number("limit")) if section.number("limit") else ("concurrent", config.concurrent)
    number = min(limit, MOST[executor])
    result.take(setting, number, key if key == "concurrent" else f"runners.{key}")
    if number < limit:
        result.assume(setting, number, f"the most of one class; {key} is {limit}, so make several classes")
    return number


def _docker(section: RunnerSection, config: RunnerConfig, result: ImportedClass) -> None:
    result.take("executor", "docker", "runners.executor")
    if section.executor == "shell":
        result.sources["executor"] = IN_CONTAINERS
    concurrent = _jobs(section, config, result, "concurrent", "docker")
    instance, room = _machine_for(section, MACHINES, concurrent)
    result.assume("instance", instance, room)
    for key in ("memory", "cpus"):
        if section.text(f"docker.{key}"):
            result.becomes[f"runners.docker.{key}"] = f"instance: {instance}, {room}"
    result.assume("disk", "50Gi", "images and jobs together")


def _machine_for(section: RunnerSection, names: Iterable[str], jobs: int) -> tuple[str, str]:
    """Return the smallest of several instance types that jobs fit on, else the last one, and the reason."""
    asked = docker_mib(section.value("docker.memory"))
    memory = max(-(-asked * 4 // 3) or JOB_MIB, SMALLEST_SHARE_MIB)  # a quarter of a job's share is its services'
    cores = max(_cores(section.value("docker.cpus")), 1 / MOST_JOBS_OF_A_CORE)
    machines = [machine for machine in map(machine_types.machine_type, names) if machine is not None]
    fitting = [
        machine
        for machine in machines
        if machine.memory_mib >= RESERVED_MIB + jobs * memory and machine.vcpus >= jobs * cores
    ]
    load = f"{_jobs_text(jobs)} of {memory_text((asked or memory) * MEBIBYTE)} and {cores:g} cores"
    if fitting:
        return fitting[0].name, f"room for {load}"
    return machines[-1].name, f"the largest one; {load} need more, so make several classes"


def _jobs_text(number: int) -> str:
    return "1 job" if number == 1 else f"{number} jobs"


def _cores(value: Any) -> float:
    try:
        return parse_cpu(value) / 1000
    except FieldError:
        return 1 / JOBS_OF_A_CORE


def docker_mib(value: Any) -> int:
    """Return the MiB of a size as Docker writes it, such as `2g`; 0 for anything else."""
    match = _DOCKER_MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        return 0
    return int(match[1]) * {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30}[match[2].lower()] // MEBIBYTE


def _machine(section: RunnerSection, config: RunnerConfig, result: ImportedClass) -> None:
    """Fill the class of a runner with Docker Machine."""
    result.take("executor", "docker-autoscaler", "runners.executor")
    options = {option.name: option.value for option in options_of(section)}
    _types(result, [option.value for option in options_of(section) if option.name == "amazonec2-instance-type"])
    _jobs(section, config, result, "max_instances", "docker-autoscaler")
    builds = section.number("machine.maxbuilds")
    if builds:
        result.take("uses", min(builds, MOST_USES), "runners.machine.MaxBuilds")
    else:
        result.assume(
            "uses", 1, "a new instance for each job; more saves the start, and lets jobs of several projects share one"
        )
    if options.get("amazonec2-request-spot-instance", "false").lower() in TRUE:
        result.take("spot", True, "machineoptions.amazonec2-request-spot-instance")
    size = options.get("amazonec2-root-size", "")
    if size.isdecimal():
        gib = min(max(int(size), SMALLEST_DISK_GIB), LARGEST_DISK_GIB)
        result.take("disk", f"{gib}Gi", "machineoptions.amazonec2-root-size")
    else:
        result.assume("disk", "50Gi", "images and jobs together")


def _types(result: ImportedClass, names: list[str]) -> None:
    """Set the instance types: those of the file that a job fits on, all for the processor of the first."""
    usable = [
        machine
        for machine in map(machine_types.machine_type, dict.fromkeys(names or [DEFAULT_TYPE]))
        if machine is not None and machine.memory_mib >= RESERVED_MIB + SMALLEST_SHARE_MIB
    ]
    types = [machine.name for machine in usable if machine.arch == usable[0].arch]
    if types and len(types) == len(set(names)):
        result.take("instances", {"types": types}, "machineoptions.amazonec2-instance-type")
    elif types:
        result.assume(
            "instances",
            {"types": types},
            f"without types that are too small, of another processor or not for runners: {_odd(names, types)}",
        )
    else:
        reason = (
            f"too small for a job, or not for runners: {_odd(names, [])}"
            if names
            else f"the file names none, and Docker Machine's own {DEFAULT_TYPE} is too small"
        )
        result.assume("instances", {"types": [WORKERS[0]]}, reason)


def _odd(names: list[str], types: list[str]) -> str:
    return ", ".join(str(shown(name)) for name in dict.fromkeys(names) if name not in types)


def _autoscaler(section: RunnerSection, config: RunnerConfig, result: ImportedClass) -> None:
    """Fill the class of a runner with fleeting."""
    result.take("executor", "docker-autoscaler", "runners.executor")
    if section.executor == "instance":
        result.sources["executor"] = IN_CONTAINERS
    capacity = min(max(1, section.number("autoscaler.capacity_per_instance")), MOST_CAPACITY)
    worker, _ = _machine_for(section, WORKERS, capacity)
    result.assume("instances", {"types": [worker]}, "the launch template of the old Auto Scaling group has the types")
    most, uses = section.number("autoscaler.max_instances"), section.number("autoscaler.max_use_count")
    if most:
        result.take("max_instances", min(most, MOST["docker-autoscaler"]), "runners.autoscaler.max_instances")
    else:
        jobs = section.number("limit") or config.concurrent
        result.assume(
            "max_instances",
            min(-(-jobs // capacity), MOST["docker-autoscaler"]),
            f"for {_jobs_text(jobs)} at once; max_instances 0 has no end",
        )
    if section.number("autoscaler.capacity_per_instance"):
        result.take("capacity", capacity, "runners.autoscaler.capacity_per_instance")
    if uses >= capacity:
        result.take("uses", min(uses, MOST_USES), "runners.autoscaler.max_use_count")
    else:
        result.assume(
            "uses",
            capacity,
            "as many as run at once; more saves the start, and lets jobs of several projects share an instance",
        )
    result.assume("disk", "50Gi", "the launch template of the old Auto Scaling group has the size")


def _fargate(section: RunnerSection, config: RunnerConfig, result: ImportedClass) -> None:
    """Fill the class of a runner with GitLab's Fargate driver."""
    result.take("executor", "fargate", "runners.executor")
    _jobs(section, config, result, "concurrent", "fargate")
    for setting, value in (("cpu", "1"), ("memory", "2Gi")):
        result.assume(
            setting, value, "`aws ecs describe-task-definition` shows those of TaskDefinition in fargate.toml"
        )


def _kubernetes(section: RunnerSection, config: RunnerConfig, result: ImportedClass) -> None:
    """Fill the class of a runner in a cluster."""
    result.take("executor", "kubernetes", "runners.executor")
    _size(section, result, "cpu", ("cpu_request", "cpu_limit"), "1")
    _size(section, result, "memory", ("memory_limit", "memory_request"), "2Gi")
    _size(section, result, "disk", ("ephemeral_storage_limit", "ephemeral_storage_request"), "10Gi")
    _jobs(section, config, result, "concurrent", "kubernetes")
    arch = section.text("kubernetes.node_selector.kubernetes.io/arch")
    if arch in ("amd64", "arm64"):
        result.take("arch", arch, "runners.kubernetes.node_selector.kubernetes.io/arch")
    for label, spot in SPOT_LABELS.items():
        if section.text(f"kubernetes.node_selector.{label}").casefold() == spot:
            result.take("spot", True, f"runners.kubernetes.node_selector.{label}")
    if section.value("kubernetes.pod_security_context.run_as_non_root") is True:
        result.take("pod_security", "restricted", "runners.kubernetes.pod_security_context.run_as_non_root")


def _size(section: RunnerSection, result: ImportedClass, setting: str, keys: tuple[str, ...], default: str) -> None:
    """Set a size of a pod from the first of several keys that holds one."""
    for key in keys:
        value = section.text(f"kubernetes.{key}")
        if value:
            try:
                size = (parse_cpu if setting == "cpu" else parse_memory)(value)
                refuse_odd_size(setting, size)
            except FieldError:
                continue
            result.take(setting, (cpu_text if setting == "cpu" else memory_text)(size), f"runners.kubernetes.{key}")
            return
    result.assume(setting, default, "the file sets no size that a class can have")


BUILDERS: Final[dict[str, Callable[[RunnerSection, RunnerConfig, ImportedClass], None]]] = {
    "docker": _docker,
    "shell": _docker,
    "docker+machine": _machine,
    "docker-autoscaler": _autoscaler,
    "instance": _autoscaler,
    "kubernetes": _kubernetes,
}
"""How the class of an executor is filled."""
