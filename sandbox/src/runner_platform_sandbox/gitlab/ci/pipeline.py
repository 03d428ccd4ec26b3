"""A pipeline as GitLab makes it from a pipeline file: jobs with all that a runner's job response needs.

Texts may hold `$NAME`. The reader expands what GitLab expands while it makes a pipeline: `tags`, `resource_group`, the environment's name, the
pipeline's name. The runner expands the rest (image, services, artifacts, cache), and the server expands `id_tokens` and the environment's URL
with the variables of the running job.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - pydantic reads the types when jobs are stored
from dataclasses import dataclass, field

from runner_platform_sandbox.gitlab.ci.variables import Variable  # noqa: TC001 - see above


@dataclass(frozen=True, kw_only=True)
class Image:
    """A container image of a job."""

    name: str
    entrypoint: tuple[str, ...] | None = None
    """Replaces the image's entrypoint; None keeps it."""
    pull_policy: tuple[str, ...] = ()
    """always, if-not-present, never; empty leaves it to the runner."""
    executor_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """`docker` and `kubernetes` as written: platform and user."""


@dataclass(frozen=True, kw_only=True)
class Service(Image):
    """A container beside the job's."""

    alias: str | None = None
    """Names in the network, separated by spaces or commas."""
    command: tuple[str, ...] | None = None
    variables: tuple[Variable, ...] = ()
    """Variables of this service alone."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Files that later jobs get."""

    key: str
    """With GitLab's ending `-protected` or `-non_protected`."""
    paths: tuple[str, ...] = ()
    untracked: bool = False
    policy: str = "pull-push"
    when: str = "on_success"
    fallback_keys: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Artifacts:
    """Files that a job gives back."""

    name: str | None = None
    paths: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    untracked: bool = False
    when: str = "on_success"
    expire_in: str | None = None
    """Duration as written, such as `4 weeks`; None is the instance's default."""
    reports: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Paths by type of report (junit, dotenv, terraform, ...)."""
    access: str = "all"
    """all, developer, maintainer or none."""
    expose_as: str | None = None
    """Title of the link on the merge request page."""


@dataclass(frozen=True, kw_only=True)
class Need:
    """A job that must end before another begins."""

    job: str
    """Name of a job in this pipeline."""
    artifacts: bool = True


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The environment that a job deploys to."""

    name: str
    url: str | None = None
    """May hold variables that the job itself sets."""
    action: str = "start"
    """start, prepare, stop, verify or access; only `start` is a deployment."""
    deployment_tier: str
    """production, staging, testing, development or other."""
    on_stop: str | None = None
    auto_stop_in: str | None = None


@dataclass(frozen=True, kw_only=True)
class IdToken:
    """An ID token that GitLab makes for the job."""

    name: str
    """Variable that gets the token."""
    audiences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Retry:
    """How often, and after which failures, a job is started again."""

    max: int = 0
    when: tuple[str, ...] = ("always",)
    exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a pipeline."""

    name: str
    """Unique in the pipeline: with ` 1/3` or `: [value, value]` for `parallel`."""
    group: str
    """Name in the file."""
    stage: str
    script: tuple[str, ...]
    before_script: tuple[str, ...] = ()
    after_script: tuple[str, ...] = ()
    pre_get_sources_script: tuple[str, ...] = ()
    image: Image | None = None
    services: tuple[Service, ...] = ()
    variables: tuple[Variable, ...] = ()
    """All variables that are known before the job has an id, one a name, the lowest precedence first.

    They are not expanded: add the job's own (CI_JOB_ID, CI_JOB_TOKEN, ...), then call `variables.expanded`.
    """
    tags: tuple[str, ...] = ()
    needs: tuple[Need, ...] | None = None
    """None means all jobs of earlier stages; empty means none."""
    dependencies: tuple[str, ...] | None = None
    """Jobs whose artifacts this one gets; None means all that it waits for, except needs with `artifacts` false."""
    when: str = "on_success"
    """on_success, on_failure, always, manual or delayed."""
    start_in: int | None = None
    """Seconds that a delayed job waits."""
    manual_confirmation: str | None = None
    allow_failure: bool = False
    allow_failure_exit_codes: tuple[int, ...] = ()
    """Exit codes that count as allowed failures although `allow_failure` is false."""
    environment: Environment | None = None
    resource_group: str | None = None
    cache: tuple[Cache, ...] = ()
    artifacts: Artifacts | None = None
    id_tokens: tuple[IdToken, ...] = ()
    timeout: int | None = None
    """Seconds; None is the project's."""
    retry: Retry = Retry()
    interruptible: bool = False
    coverage: str | None = None
    parallel: tuple[int, int] | None = None
    """Number of this copy, from 1, and of all copies."""
    matrix: Mapping[str, str] = field(default_factory=dict)
    """Variables of this copy in `parallel: matrix`; they are in `variables` too."""


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The jobs of one pipeline."""

    stages: tuple[str, ...]
    """Stages that have jobs, in order."""
    jobs: tuple[Job, ...]
    """In the order of stages, then of the file."""
    variables: tuple[Variable, ...] = ()
    """Variables of the file's top level and of the matching workflow rule."""
    name: str | None = None
    """`workflow: name`."""
