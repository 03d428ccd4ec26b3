"""Attempts of a proof as jobs of GitLab pipelines: what each job runs, what it must answer, and which jobs must never start.

A pipeline belongs to one branch of one project. Its jobs run `probe.py`, the CLI's probe of `image/probes`, which is pushed beside the
pipeline file. Nothing here touches GitLab.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from config import load
from config.capabilities import Level
from config.names import IDENTITY_FOLDER, MANAGER_SERVICE_ACCOUNT, namespace_jobs, namespace_manager
from runner_platform.prove.attempts import (
    DEFAULT_PROFILE,
    Attempt,
    Scope,
    Sdk,
    Way,
    of_classes,
)
from runner_platform.prove.refusals import stranger
from runner_platform.prove.results import Answer, Roles, result_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from components.documents.profiles import Account
    from config.settings import Settings
    from runner_platform.prove.results import Result

PIPELINE_FILE = ".gitlab-ci.yml"
PROBE_FILE = "probe.py"
PROBE = load.ROOT / "image" / "probes" / "cli" / PROBE_FILE
SCOPE = Scope(sdks=(Sdk.CLI,), ways=(Way.NAMED, Way.DEFAULT))
NEVER_STARTED = "NeverStarted"
"""Kind of failure: GitLab gave the job to no runner."""
OVERWRITES = (
    "SERVICE_ACCOUNT",
    "NAMESPACE",
    "BEARER_TOKEN",
    "NODE_SELECTOR_1",
    "NODE_TOLERATIONS_1",
    "POD_LABELS_1",
    "POD_ANNOTATIONS_1",
)
"""Things of a job's pod that a variable `KUBERNETES_<name>` (some with `_OVERWRITE`) asks the runner to change.
Source: https://docs.gitlab.com/runner/executors/kubernetes/#overwrite-container-resources and the sections beside it."""


@dataclass(frozen=True, kw_only=True)
class Branch:
    """A branch of a project that pipelines of the proof run on."""

    project: str
    """Numeric id or full path."""
    protected: bool


@dataclass(frozen=True, kw_only=True)
class PipelineJob:
    """One attempt as a job."""

    name: str
    branch: Branch
    tags: tuple[str, ...]
    attempt: Attempt
    variables: Mapping[str, str] = field(default_factory=dict)
    starts: bool = True
    """False if GitLab must give the job to no runner."""

    def definition(self) -> dict[str, Any]:
        """Return the job for a pipeline file. The probe's exit code is not the job's: the answer is in the trace."""
        profile = self.attempt.profile if self.attempt.way is Way.NAMED else ""
        return {
            "tags": list(self.tags),
            "variables": {"GIT_DEPTH": "1", **self.variables},
            "script": [f"python3 {PROBE_FILE} '{profile}' || true"],
            "timeout": "10 minutes",
        }


def pipeline_text(jobs: Iterable[PipelineJob]) -> str:
    """Return the pipeline file of the jobs of one branch."""
    return yaml.safe_dump(
        {"workflow": {"rules": [{"when": "always"}]}, **{job.name: job.definition() for job in jobs}}, sort_keys=False
    )


def plan(
    settings: Settings, accounts: Mapping[str, Account], project: str, strangers: Sequence[str]
) -> list[PipelineJob]:
    """Plan a job for each cell of the matrix, and the jobs of strangers.

    Args:
        settings: settings of the stack.
        accounts: all accounts of the organisation.
        project: project of the platform's group that runs the jobs of group runners.
        strangers: projects outside of the group, such as forks.
    """
    jobs = [_cell(settings, attempt, project) for attempt in of_classes(settings, accounts, SCOPE)]
    for regular in [job for job in jobs if job.attempt.profile == DEFAULT_PROFILE]:
        jobs += _jobs_with_variables(settings, regular)
        if regular.branch.protected:
            branch = replace(regular.branch, protected=False)
            jobs.append(_never(regular, branch, "on a branch that is not protected"))
        jobs += [_never(regular, Branch(project=path, protected=True), f"in project {path}") for path in strangers]
    return jobs


def _home(settings: Settings, runner_class: str, project: str) -> Branch:
    """Return the branch whose jobs the class's runner takes."""
    runner = settings.runners[runner_class]
    return Branch(project=runner.project or project, protected=runner.level is Level.PROTECTED)


def _cell(settings: Settings, attempt: Attempt, project: str) -> PipelineJob:
    name = str(attempt.runner_class)
    return PipelineJob(
        name=f"{name}:{attempt.profile}",
        branch=_home(settings, name, project),
        tags=settings.runner_tags(name),
        attempt=attempt,
    )


def _jobs_with_variables(settings: Settings, regular: PipelineJob) -> Iterator[PipelineJob]:
    """Plan two jobs that set each variable of runner and SDK: the pod stays the class's, and STS refuses a role of others."""
    runner_class = regular.attempt.identity.runner_class
    neighbour = next((name for name in settings.runners if name != runner_class), runner_class)
    variables = {
        "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": MANAGER_SERVICE_ACCOUNT,
        "KUBERNETES_NAMESPACE_OVERWRITE": namespace_manager(runner_class),
        **{f"KUBERNETES_{name}": f"{namespace_jobs(neighbour)}=x" for name in OVERWRITES},
        **dict.fromkeys(("FF_USE_ADVANCED_POD_SPEC_CONFIGURATION", "FF_USE_POD_ACTIVE_DEADLINE_SECONDS"), "false"),
        **dict.fromkeys(("FF_CONCRETE", "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"), "true"),
    }
    group = "jobs that set the runner's and the SDK's variables"
    caller = f"{regular.attempt.caller} with variables of its own"
    own_role = replace(regular.attempt, runner_class=None, caller=caller, group=group)
    yield replace(regular, name=f"{runner_class}:variables", attempt=own_role, variables=variables)
    role = _role_of_the_other_level(settings, runner_class)
    if role and runner_class in settings.kubernetes_classes:
        aws = {
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_REGION": settings.organization.region,
            "AWS_ROLE_ARN": role,
            "AWS_WEB_IDENTITY_TOKEN_FILE": f"{IDENTITY_FOLDER}/token",
        }
        refused = _refused(regular.attempt, f"{caller}, for a role of others", group, _STS_REFUSALS)
        yield replace(regular, name=f"{runner_class}:role of others", attempt=refused, variables=aws)


_STS_REFUSALS = frozenset({"AccessDenied", "InvalidIdentityToken"})


def _role_of_the_other_level(settings: Settings, runner_class: str) -> str:
    """Return the first delegated role of the level that a class does not have; empty if there is none."""
    for name, level in settings.roles_needed():
        if level is not settings.runners[runner_class].level:
            return settings.names.role_arn(settings.accounts[name].id, settings.names.delegated_role(level))
    return ""


def _never(regular: PipelineJob, branch: Branch, where: str) -> PipelineJob:
    """Plan a job with the tag of a regular one that no runner may take."""
    runner_class = regular.attempt.identity.runner_class
    caller = f"job with the tag of {runner_class} {where}"
    attempt = _refused(regular.attempt, caller, "jobs that no runner may take", frozenset({NEVER_STARTED}))
    return replace(regular, name=f"{runner_class}:never", branch=branch, attempt=attempt, starts=False)


def _refused(regular: Attempt, caller: str, group: str, kinds: frozenset[str]) -> Attempt:
    """Return an attempt that must be refused, beside a regular one that must succeed."""
    attempt = stranger(regular.identity, caller, DEFAULT_PROFILE, kinds, regular.key, sdk=Sdk.CLI)
    return replace(attempt, group=group)


def read_trace(trace: str) -> Answer:
    """Return the probe's answer in a job's trace, or the end of the trace as an error."""
    for line in reversed(trace.splitlines()):
        start = line.find('{"')
        if start >= 0:
            with contextlib.suppress(ValueError):
                return Answer.of(json.loads(line[start : line.rindex("}") + 1]))
    end = " ".join(trace.split())[-300:] or "nothing"
    return Answer(error=f"the job's trace has no answer of {PROBE_FILE}: {end}", kind="Crashed")


def result(job: PipelineJob, status: str, trace: str, roles: Roles) -> Result:
    """Turn a job's end into a result.

    Args:
        job: the planned job.
        status: GitLab's status of the job; `pending` if no runner took it.
        trace: the job's log.
        roles: role ARNs by account id and name.
    """
    if status in {"created", "pending", "waiting_for_resource"}:
        return result_of(job.attempt, Answer(error="GitLab gave the job to no runner", kind=NEVER_STARTED), roles)
    if not job.starts:
        return result_of(job.attempt, Answer(error=f"a runner took the job: it is {status}", kind="Taken"), roles)
    return result_of(job.attempt, read_trace(trace), roles)
