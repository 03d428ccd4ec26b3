"""Runner classes of a stack file: one model per executor, on a common base.

A class can change its executor in one merge request: tags, level, accounts and the longest job mean the same for all. Rules between
objects are in `config/runner_checks.py`.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from config.capabilities import Level  # noqa: TC001  # pydantic reads the annotation at run time
from config.errors import FieldError, quoted
from config.machine_types import machine_type
from config.quantities import (
    GIBIBYTE,
    LARGEST,
    SMALLEST,
    Bytes,
    Cpu,
    Seconds,
    cpu_text,
    memory_text,
    refuse_large_limit,
    refuse_odd_size,
)
from config.sections import AccountName, GroupId, ProjectId, Section  # pydantic reads the annotations at run time
from config.values import Allowed, pattern, refuse_repeated

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.sections import Account

Arch = Literal["amd64", "arm64"]
Builder = Literal["plain"]
Executor = Literal["kubernetes", "docker", "docker-autoscaler", "fargate"]
MANAGER_MACHINE = "t3.small"
"""Instance type of a manager that runs no job itself."""

RunnerTag = Annotated[
    str,
    pattern(r"[a-z][a-z0-9-]{0,62}", "is not a tag of this platform; write small letters, digits and dashes"),
    Allowed("small letters, digits and dashes, beginning with a letter, at most 63"),
]
"""A tag of a runner in GitLab."""
MachineTypeName = Annotated[
    str,
    pattern(
        r"[a-z][a-z0-9-]*\.[a-z0-9-]+",
        "is not an instance type; write one such as m7i.large. Each class has instances of its own: on a shared one, "
        "jobs of a level could reach what the jobs of another level hold",
    ),
    Allowed("an EC2 instance type of the region, such as `m7i.large`"),
]
"""The name of an EC2 instance type."""
MachineDisk = Annotated[Bytes, Allowed("`20Gi` to `16Ti`", "size")]
"""Size of a machine's encrypted volume."""


class Limits(Section):
    """Ceiling of a class's nodes together, and so of its cost."""

    cpu: Cpu
    """Cores of all nodes of the class together."""
    memory: Bytes
    """Memory of all nodes of the class together."""

    @field_validator("cpu", "memory")
    @classmethod
    def _sizes_of_a_class(cls, value: int, info: ValidationInfo) -> int:
        refuse_large_limit(str(info.field_name), value)
        return value


class Runner(Section):
    """One runner class: a size within a trust level. The part that is the same for all executors."""

    REFUSALS: ClassVar[Mapping[str, str]] = {}
    """Why a key of another executor has no counterpart here, and the remedy, by key."""

    executor: Executor
    """Where jobs run: `kubernetes`, pods of the cluster; `docker`, one EC2 instance; `docker-autoscaler`, EC2 instances that start and end with the
    demand; `fargate`, Fargate tasks."""
    level: Annotated[Level, Field(strict=False)]
    """Trust level: decides the delegated role, the state prefix, the repositories and the jobs."""
    longest_job: Annotated[Seconds, Allowed("`10m` to `24h`", "duration")]
    """GitLab ends a job then, and all other times follow."""
    accounts: tuple[AccountName, ...] | None = Field(default=None, strict=False)
    """Narrows the accounts of the level. Without it the class enters all of them; `[]` reaches none."""
    project: ProjectId | None = None
    """Protected classes only: numeric id of the one project that may use the class (locked, ref-protected runner)."""
    group: GroupId | None = None
    """Protected classes only, instead of `project`: a group made for deploying projects. Every project in it may use the class."""
    tag: RunnerTag | None = None
    """Tag in GitLab, unique over all stacks. Without it, the name of the class, with `-<stack>` outside prod."""
    tags: tuple[RunnerTag, ...] | None = Field(default=None, strict=False, max_length=50)
    """Several tags instead of `tag`, such as `[docker, small]`. A job that names all of them runs on this class. Classes of one level may share
    tags, as long as no class has all tags of another."""
    token: int = Field(default=1, ge=1, le=9999)
    """Generation of the runner authentication token. Raise it by one to rotate."""
    token_created: (
        Annotated[
            str,
            pattern(r"\d{4}-\d{2}-\d{2}", 'is not a date; write it in quotes, as "2026-11-21"'),
            Allowed("a day of the calendar in quotes"),
        ]
        | None
    ) = None
    """Date of the generation in quotes, such as `"2026-11-21"`. `check` reminds you after 180 days."""

    @field_validator("token", mode="before")
    @classmethod
    def _generation_not_token(cls, value: Any) -> Any:
        # Whoever takes the key for the token itself writes a secret here, so the message does not repeat it.
        if not isinstance(value, int) or isinstance(value, bool):
            raise FieldError(
                "is not the number of a generation; write a whole number such as 2, and no runner token: those are encrypted below tokens"
            )
        return value

    @field_validator("token_created")
    @classmethod
    def _date_of_the_calendar(cls, value: str | None) -> str | None:
        try:
            return value and date.fromisoformat(value).isoformat()
        except ValueError:
            raise FieldError(f'{quoted(value)} is no day of the calendar; write one such as "2026-11-21"') from None

    @field_validator("accounts", mode="before")
    @classmethod
    def _none_is_not_all(cls, value: Any) -> Any:
        # `accounts:` without a value looks like an empty list, but would open every account of the level.
        if value is None:
            raise FieldError("is empty; write accounts: [] to reach none, or drop the key to reach all of the level")
        return value

    @model_validator(mode="after")
    def _tag_or_tags(self) -> Self:
        if self.tag is not None and self.tags is not None:
            raise FieldError("has tag and tags; write all tags into tags, and drop tag")
        if self.tags == ():
            raise FieldError("has tags: [], so that no job could run on it; list at least 1, or drop the key")
        refuse_repeated(self.tags or ())
        return self

    def tags_in_gitlab(self, default: str) -> tuple[str, ...]:
        """Return the tags of the class's runner; `default` is the tag of a class that names none."""
        return self.tags or (self.tag or default,)

    def may_enter(self, account_name: str, account: Account) -> bool:
        """Return whether jobs of the class may enter an account: its level has capabilities there, and `accounts` keeps it."""
        kept = self.accounts is None or account_name in self.accounts
        return kept and bool(account.capabilities(self.level))

    @property
    def jobs_at_once(self) -> int:
        """Jobs that the class runs at the same time at most."""
        raise NotImplementedError


class KubernetesRunner(Runner):
    """A class whose jobs are pods of the cluster."""

    executor: Literal["kubernetes"] = "kubernetes"
    """Jobs are pods of the cluster."""
    cpu: Annotated[Cpu, Allowed(f"`{cpu_text(SMALLEST['cpu'])}` or more, such as `4`, `7.5` or `500m`", "CPU")]
    """Cores of the build container, which the scheduler reserves for it."""
    memory: Annotated[Bytes, Allowed(f"`{memory_text(SMALLEST['memory'])}` or more", "size")]
    """Memory of the build container: request and limit."""
    disk: Annotated[Bytes, Allowed(f"`{memory_text(SMALLEST['disk'])}` to `{memory_text(LARGEST['disk'])}`", "size")]
    """Ephemeral storage of the build container: request and limit. The nodes' disks follow."""
    concurrent: int = Field(ge=1, le=1000)
    """Jobs at once. Sets the namespace's quota, the nodes' ceiling and the number of addresses."""
    spot: bool = False
    """Spot nodes first, on demand where there are none. Refused above `longest_job: 1h`."""
    builder: Literal["plain"] | None = None
    """`plain`: jobs build images as root in their container. Refused with `pod_security: restricted`."""
    arch: Literal["amd64", "arm64"] = "amd64"
    """Processor of the nodes. The image of a job must be built for it."""
    pod_security: Literal["baseline", "restricted"] = "baseline"
    """Pod security of the jobs' namespace. `restricted` also runs jobs as user 1000 without capabilities, and needs chart 0.88.0."""
    limits: Limits | None = None
    """The most that the class's nodes add up to. Without it, twice the need of `concurrent` jobs. Refused below full load."""

    @field_validator("cpu", "memory", "disk")
    @classmethod
    def _sizes_of_a_pod(cls, value: int, info: ValidationInfo) -> int:
        refuse_odd_size(str(info.field_name), value)
        return value

    @property
    def jobs_at_once(self) -> int:
        """Jobs that the class runs at the same time at most."""
        return self.concurrent


class DockerRunner(Runner):
    """A class whose jobs are containers on one EC2 instance, which is replaced when it ends."""

    REFUSALS: ClassVar[Mapping[str, str]] = {
        "spot": "would end all jobs of the class at once; drop it, or use executor: docker-autoscaler",
        "cpu": "is not set by hand: the jobs share the cores of the instance; drop it, and choose instance and concurrent",
        "memory": "is not set by hand: the jobs share the memory of the instance; drop it, and choose instance and concurrent",
    }

    executor: Literal["docker"]
    """Jobs are containers on one EC2 instance."""
    instance: MachineTypeName
    """Instance type. Its memory, without a reserve for the machine, is shared equally by `concurrent` jobs."""
    concurrent: int = Field(ge=1, le=100)
    """Jobs at once on the instance."""
    disk: MachineDisk = 50 * GIBIBYTE
    """Encrypted disk of the instance, for images and jobs together."""
    builder: Builder | None = None
    """`plain`: jobs build images as root in their container."""

    @field_validator("disk")
    @classmethod
    def _size_of_a_volume(cls, value: int) -> int:
        return refuse_odd_volume(value)

    @property
    def jobs_at_once(self) -> int:
        """Jobs that the class runs at the same time at most."""
        return self.concurrent


class Instances(Section):
    """Instance types that the jobs of a class may run on."""

    types: tuple[MachineTypeName, ...] = Field(strict=False, min_length=1, max_length=20)
    """Instance types of one processor, the preferred one first. AWS takes the next one where one is short."""

    @field_validator("types")
    @classmethod
    def _each_type_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        refuse_repeated(value)
        return value


class AutoscalerRunner(Runner):
    """A class whose jobs are containers on EC2 instances that start and end with the demand."""

    REFUSALS: ClassVar[Mapping[str, str]] = {
        "concurrent": "follows from max_instances and capacity; drop it",
        "cpu": "is not set by hand: an instance is shared by `capacity` jobs; drop it, and choose instances.types",
        "memory": "is not set by hand: an instance is shared by `capacity` jobs; drop it, and choose instances.types",
        "instance": "is one instance of executor docker; write instances: {types: [m7i.large]}",
    }

    executor: Literal["docker-autoscaler"]
    """Jobs are containers on autoscaled EC2 instances; one more instance, the manager, starts them."""
    instances: Instances
    """Instance types of the jobs."""
    max_instances: int = Field(ge=1, le=500)
    """The most instances at once; the ceiling of the class's cost."""
    capacity: int = Field(default=1, ge=1, le=50)
    """Jobs at once on an instance. More than one needs `uses` of at least as many: jobs of different projects share an instance then."""
    uses: int = Field(default=1, ge=1, le=1000)
    """Jobs that an instance runs before it ends. With 1, each job has a new instance."""
    spot: bool = False
    """Spot instances. Refused above `longest_job: 1h`."""
    disk: MachineDisk = 50 * GIBIBYTE
    """Encrypted disk of an instance, for images and jobs together."""
    manager: MachineTypeName = MANAGER_MACHINE
    """Instance type of the manager."""
    builder: Builder | None = None
    """`plain`: jobs build images as root in their container."""

    @field_validator("disk")
    @classmethod
    def _size_of_a_volume(cls, value: int) -> int:
        return refuse_odd_volume(value)

    @model_validator(mode="after")
    def _uses_say_that_jobs_share(self) -> Self:
        if self.capacity > self.uses:
            raise FieldError(
                f"has capacity {self.capacity} and uses {self.uses}, so that jobs of different projects would share an instance that is said to "
                f"serve {self.uses}; write uses: {self.capacity} or more, or capacity: 1"
            )
        return self

    @property
    def jobs_at_once(self) -> int:
        """Jobs that the class runs at the same time at most."""
        return self.max_instances * self.capacity


class FargateRunner(Runner):
    """A class whose jobs are Fargate tasks; one EC2 instance, the manager, starts them."""

    REFUSALS: ClassVar[Mapping[str, str]] = {
        "builder": "needs root with capabilities that Fargate gives no container; drop it, or use executor: kubernetes or docker",
        "spot": "would end a task within two minutes, and the job with it; drop it, or use executor: docker-autoscaler",
        "instance": "is of executor docker; a task has cpu and memory",
        "instances": "is of executor docker-autoscaler; a task has cpu and memory",
    }

    executor: Literal["fargate"]
    """Jobs are Fargate tasks, in the runner image; `image:` of a job must be that image, and `services:` are refused."""
    cpu: Annotated[Cpu, Allowed("`250m`, `500m`, `1`, `2`, `4`, `8` or `16`", "CPU")]
    """Cores of a task. Fargate takes certain pairs of cores and memory."""
    memory: Annotated[Bytes, Allowed("what Fargate takes for the cores, such as `8Gi` to `30Gi` for `4`", "size")]
    """Memory of a task."""
    concurrent: int = Field(ge=1, le=200)
    """Tasks at once."""
    disk: Annotated[Bytes, Allowed("`21Gi` to `200Gi`", "size")] = 21 * GIBIBYTE
    """Ephemeral storage of a task."""
    manager: MachineTypeName = MANAGER_MACHINE
    """Instance type of the manager."""

    @model_validator(mode="after")
    def _pair_that_fargate_takes(self) -> Self:
        refuse_odd_task(self.cpu, self.memory)
        return self

    @field_validator("disk")
    @classmethod
    def _storage_of_a_task(cls, value: int) -> int:
        if value % GIBIBYTE or not SMALLEST_TASK_DISK <= value <= LARGEST_TASK_DISK:
            raise FieldError(f"{memory_text(value)} is no storage of a Fargate task; write whole Gi from 21Gi to 200Gi")
        return value

    @property
    def jobs_at_once(self) -> int:
        """Jobs that the class runs at the same time at most."""
        return self.concurrent


MACHINE_RUNNERS = (DockerRunner, AutoscalerRunner, FargateRunner)
"""Models of classes whose manager is an EC2 instance."""
MODELS: dict[Executor, type[Runner]] = {
    "kubernetes": KubernetesRunner,
    "docker": DockerRunner,
    "docker-autoscaler": AutoscalerRunner,
    "fargate": FargateRunner,
}
"""Model of a class, by its executor."""
SMALLEST_VOLUME, LARGEST_VOLUME = 20 * GIBIBYTE, 16 * 1024 * GIBIBYTE
"""Bytes: the machine's image needs the smallest; EBS ends at the largest (gp3)."""
SMALLEST_TASK_DISK, LARGEST_TASK_DISK = 21 * GIBIBYTE, 200 * GIBIBYTE
"""Bytes. Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-task-storage.html"""
TASK_MEMORY: dict[int, tuple[int, ...]] = {
    250: (512, 1024, 2048),
    500: tuple(range(1024, 4097, 1024)),
    1000: tuple(range(2048, 8193, 1024)),
    2000: tuple(range(4096, 16385, 1024)),
    4000: tuple(range(8192, 30721, 1024)),
    8000: tuple(range(16384, 61441, 4096)),
    16000: tuple(range(32768, 122881, 8192)),
}
"""MiB of memory that Fargate takes, by millicores.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/fargate-tasks-services.html
"""


def executor_of(value: Any) -> Executor | None:
    """Return the executor of a class as a stack file writes it, or None if there is no such executor."""
    executor = value.get("executor", "kubernetes") if isinstance(value, dict) else None
    return next((name for name in MODELS if name == executor), None)


def model_of(value: Any) -> type[Runner]:
    """Return the model of a class as a stack file writes it; of a value that is no object, that of `kubernetes`, which says so.

    Raises:
        FieldError: there is no such executor.
    """
    executor = executor_of(value if isinstance(value, dict) else {})
    if executor is None:
        raise FieldError(f"has executor {quoted(value['executor'])}; write one of {', '.join(MODELS)}")
    return MODELS[executor]


def of_kubernetes(runners: Mapping[str, Runner]) -> dict[str, KubernetesRunner]:
    """Return the classes whose jobs are pods, by name."""
    return {name: runner for name, runner in runners.items() if isinstance(runner, KubernetesRunner)}


def refusals_of(model: type[Runner]) -> dict[str, str]:
    """Return why keys of other executors are refused, by key."""
    own = set(model.model_fields)
    owners: dict[str, list[str]] = {}
    for executor, candidate in MODELS.items():
        for key in set(candidate.model_fields) - own:
            owners.setdefault(key, []).append(executor)
    texts = {
        key: f"belongs to executor {' and '.join(names)}; drop it, or change the executor"
        for key, names in owners.items()
    }
    return texts | {key: text for key, text in model.REFUSALS.items() if key not in own}


def arch_of(name: str) -> Arch:
    """Return the processor of an instance type; of an unknown one, which the checks report, `amd64`."""
    machine = machine_type(name)
    return machine.arch if machine is not None else "amd64"


def refuse_odd_volume(value: int) -> int:
    """Return the size of a machine's volume.

    Raises:
        FieldError: EBS takes no such volume, or the machine's image does not fit.
    """
    if value % GIBIBYTE or not SMALLEST_VOLUME <= value <= LARGEST_VOLUME:
        raise FieldError(f"{memory_text(value)} is no size of a machine's disk; write whole Gi from 20Gi to 16Ti")
    return value


def refuse_odd_task(cpu: int, memory: int) -> None:
    """Refuse a pair of cores and memory that Fargate does not take.

    Raises:
        FieldError: with the pairs that it takes.
    """
    sizes = TASK_MEMORY.get(cpu)
    if sizes is None:
        takes = ", ".join(map(cpu_text, TASK_MEMORY))
        raise FieldError(f"has cpu {cpu_text(cpu)!r}, and a Fargate task has {takes}; choose one of them")
    if memory not in {size * GIBIBYTE // 1024 for size in sizes}:
        nearest = min(sizes, key=lambda size: abs(size - memory * 1024 // GIBIBYTE))
        raise FieldError(
            f"has cpu {cpu_text(cpu)!r} with memory {memory_text(memory)}, which Fargate does not take; it takes "
            f"{memory_text(sizes[0] * GIBIBYTE // 1024)} to {memory_text(sizes[-1] * GIBIBYTE // 1024)} there: "
            f"write memory: {memory_text(nearest * GIBIBYTE // 1024)}"
        )
