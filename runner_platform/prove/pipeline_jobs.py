"""Attempts of a proof as jobs of GitLab pipelines: what each job runs, what it must answer, and which jobs must never start.

A pipeline belongs to one branch of one project. Its jobs run `probe.py`, the CLI's probe of `image/probes`, which is pushed beside the
pipeline file. Nothing here touches GitLab.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from config import load
from config.capabilities import Level
from config.names import IDENTITY_FOLDER, MANAGER_SERVICE_ACCOUNT, namespace_jobs, namespace_manager
from runner_platform.prove.attempts import (
    DEFAULT_PROFILE,
    REFUSED,
    Attempt,
    Identity,
    Scope,
    Sdk,
    Way,
    job_account,
    of_classes,
)
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
    tag: str
    attempt: Attempt
    variables: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[str] = ()
    """Commands before the probe."""
    starts: bool = True
    """False if GitLab must give the job to no runner."""

    def definition(self) -> dict[str, Any]:
        """Return the job for a pipeline file. The probe's exit code is not the job's: the answer is in the trace."""
        profile = self.attempt.profile if self.attempt.way is Way.NAMED else ""
        return {
            "tags": [self.tag],
            "variables": {"GIT_DEPTH": "1", **self.variables},
            "script": [*self.before, f"python3 {PROBE_FILE} '{profile}' || true"],
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
    for name in settings.runners:
        home = _home(settings, name, project)
        jobs += _jobs_with_variables(settings, name, home)
        if settings.runners[name].level is Level.PROTECTED:
            jobs.append(_never(settings, name, replace(home, protected=False), "on a branch that is not protected"))
        jobs += [
            _never(settings, name, Branch(project=stranger, protected=True), f"in project {stranger}")
            for stranger in strangers
        ]
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
        tag=settings.runner_tag(name),
        attempt=attempt,
    )


def _jobs_with_variables(settings: Settings, runner_class: str, home: Branch) -> Iterator[PipelineJob]:
    """Plan two jobs that set each variable of runner and SDK: the pod stays the class's, and STS refuses a role of others."""
    neighbour = next((name for name in settings.runners if name != runner_class), runner_class)
    variables = {
        "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": MANAGER_SERVICE_ACCOUNT,
        "KUBERNETES_NAMESPACE_OVERWRITE": namespace_manager(runner_class),
        **{f"KUBERNETES_{name}": f"{namespace_jobs(neighbour)}=x" for name in OVERWRITES},
        **dict.fromkeys(("FF_USE_ADVANCED_POD_SPEC_CONFIGURATION", "FF_USE_POD_ACTIVE_DEADLINE_SECONDS"), "false"),
        **dict.fromkeys(("FF_CONCRETE", "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"), "true"),
    }
    own = next(
        attempt
        for attempt in of_classes(settings, {}, SCOPE)
        if attempt.runner_class == runner_class and attempt.profile == DEFAULT_PROFILE
    )
    group = "jobs that set the runner's and the SDK's variables"
    caller = f"{job_account(runner_class)} with variables of its own"
    yield PipelineJob(
        name=f"{runner_class}:variables",
        branch=home,
        tag=settings.runner_tag(runner_class),
        attempt=replace(own, runner_class=None, caller=caller, group=group),
        variables=variables,
    )
    level = Level.OPEN if settings.runners[runner_class].level is Level.PROTECTED else Level.PROTECTED
    role = _role_of_the_other_level(settings, level)
    if role:
        aws = {
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_REGION": settings.organization.region,
            "AWS_ROLE_ARN": role,
            "AWS_WEB_IDENTITY_TOKEN_FILE": f"{IDENTITY_FOLDER}/token",
        }
        yield PipelineJob(
            name=f"{runner_class}:role of others",
            branch=home,
            tag=settings.runner_tag(runner_class),
            attempt=_refused(settings, runner_class, f"{caller}, for a role of others", group, _STS_REFUSALS),
            variables=aws,
        )


_STS_REFUSALS = frozenset({"AccessDenied", "InvalidIdentityToken"})


def _role_of_the_other_level(settings: Settings, level: Level) -> str:
    for name, role_level in settings.roles_needed():
        if role_level is level:
            return settings.names.role_arn(settings.accounts[name].id, settings.names.delegated_role(level))
    return ""


def _never(settings: Settings, runner_class: str, branch: Branch, where: str) -> PipelineJob:
    """Plan a job with the class's tag that no runner may take."""
    caller = f"job with the tag of {runner_class} {where}"
    group = "jobs that no runner may take"
    return PipelineJob(
        name=f"{runner_class}:never",
        branch=branch,
        tag=settings.runner_tag(runner_class),
        attempt=_refused(settings, runner_class, caller, group, frozenset({NEVER_STARTED})),
        starts=False,
    )


def _refused(settings: Settings, runner_class: str, caller: str, group: str, kinds: frozenset[str]) -> Attempt:
    return Attempt(
        runner_class=None,
        caller=caller,
        identity=Identity(stack=settings.stack, runner_class=runner_class),
        profile=DEFAULT_PROFILE,
        sdk=Sdk.CLI,
        way=Way.DEFAULT,
        expected=REFUSED,
        refusal_kinds=kinds,
        control=(job_account(runner_class), DEFAULT_PROFILE, Sdk.CLI, Way.DEFAULT),
        group=group,
    )


def read_trace(trace: str) -> Answer:
    """Return the probe's answer in a job's trace, or the end of the trace as an error."""
    for line in reversed(trace.splitlines()):
        start = line.find('{"')
        if start >= 0:
            try:
                answer: dict[str, Any] = json.loads(line[start : line.rindex("}") + 1])
            except ValueError:
                continue
            return Answer(arn=answer.get("arn", ""), error=answer.get("error", ""), kind=answer.get("kind", ""))
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
