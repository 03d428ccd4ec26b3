"""The reader of pipeline files: text, situation and files in, the jobs of one pipeline out. No network, no process.

Why this is own code: of the libraries on PyPI, gitlab-emulator (16.3, MIT) knows neither inputs nor components and gives `&&` no precedence;
gitlabci-local (13.2, Apache-2.0) expands inputs inside a program that runs containers, and evaluates no rules; gcip writes pipelines and reads none. gitlab-ci-local is written for
Node.js: tests compare its recorded answers with these (sandbox/docs/pipelines.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab.ci import document, needs, rules, schema, values
from runner_platform_sandbox.gitlab.ci.errors import EmptyPipelineError, PipelineError
from runner_platform_sandbox.gitlab.ci.includes import Includes
from runner_platform_sandbox.gitlab.ci.jobs import JobReader, Shared, variables_around, with_defaults
from runner_platform_sandbox.gitlab.ci.pipeline import Job, Pipeline
from runner_platform_sandbox.gitlab.ci.variables import Variable, expand, expanded, merged, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.gitlab.ci.context import Context, Files

_STAGES: Final = ("build", "test", "deploy")
_FIRST, _LAST = ".pre", ".post"
_OLD_DEFAULTS: Final = ("image", "services", "cache", "before_script", "after_script")


def read_pipeline(text: str, *, context: Context, files: Files) -> Pipeline:
    """Return the pipeline that GitLab would make.

    Args:
        text: Text of the pipeline file.
        context: What GitLab knows before it has jobs.
        files: Files of the project at the pipeline's commit.

    Raises:
        EmptyPipelineError: No job runs in this situation.
        PipelineError: GitLab would refuse the file, or the sandbox does not know one of its keywords.
    """
    config = configuration(text, context=context, files=files)
    configs = {name: job for name, job in config.items() if name not in schema.GLOBAL and not name.startswith(".")}
    root, has_workflow_rules, name = _workflow(config, context, files)
    shared = Shared(
        context=context,
        files=files,
        defaults={**{key: config[key] for key in _OLD_DEFAULTS if key in config}, **(config.get("default") or {})},
        root_variables=root,
        has_workflow_rules=has_workflow_rules,
    )
    stages = _stages(config, configs)
    complete = {key: with_defaults(key, job, shared.defaults) for key, job in configs.items()}
    jobs = _jobs(complete, stages, shared)
    if not any(job.stage not in {_FIRST, _LAST} for job in jobs):
        raise EmptyPipelineError("the pipeline would have no job; the rules of every job exclude it in this situation")
    used = {job.stage for job in jobs}
    return Pipeline(stages=tuple(stage for stage in stages if stage in used), jobs=jobs, variables=root, name=name)


def configuration(text: str, *, context: Context, files: Files) -> document.Config:
    """Return the file with all includes, `extends` and `!reference` resolved and the top level checked: GitLab's full configuration."""
    config = Includes(context, variables_around(context, ())).configuration(text, files)
    config = document.resolved(document.extended(config))
    schema.check_top_level(config)
    return config


def _workflow(
    config: Mapping[str, Any], context: Context, files: Files
) -> tuple[tuple[Variable, ...], bool, str | None]:
    """Return the variables of the top level, whether the workflow has rules, and the pipeline's name."""
    workflow = config.get("workflow") or {}
    root = values.variables(config.get("variables"))
    around = variables_around(context, root)
    if "rules" in workflow:
        situation = rules.Situation(
            context=context, files=files, raw=values_of(around), values=values_of(expanded(around))
        )
        rule = rules.matching(document.flat(workflow["rules"]), situation, "workflow: rules")
        if rule is None or rule.get("when") == "never":
            raise EmptyPipelineError("`workflow: rules` allow no pipeline in this situation")
        root = merged(root, values.variables(rule.get("variables")))
        around = variables_around(context, root)
    name = expand(workflow["name"], values_of(expanded(around)), unknown="") if "name" in workflow else None
    return root, "rules" in workflow, name


def _stages(config: Mapping[str, Any], configs: Mapping[str, Any]) -> list[str]:
    middle = [stage for stage in document.flat(config.get("stages") or list(_STAGES)) if stage not in {_FIRST, _LAST}]
    stages = [_FIRST, *middle, _LAST]
    for name, job in configs.items():
        stage = job.get("stage", "test")
        if stage not in stages:
            raise PipelineError(
                f"job {name}: stage {stage} does not exist{document.likely(str(stage), stages)}; use one of {', '.join(stages)}, or add it to `stages`"
            )
    return stages


def _jobs(configs: Mapping[str, Mapping[str, Any]], stages: list[str], shared: Shared) -> tuple[Job, ...]:
    pairs = [pair for name, config in configs.items() for pair in JobReader(name, config, shared).jobs()]
    graph = needs.Graph(configs, stages, [job for job, _ in pairs])
    jobs = []
    for job, written in pairs:
        job_needs = graph.needs(job, written)
        jobs.append(replace(job, needs=job_needs, dependencies=graph.dependencies(job, job_needs)))
        stop = job.environment.on_stop if job.environment else None
        if stop is not None and stop not in configs:
            raise PipelineError(
                f"job {job.group}: `on_stop` names {stop}, and no file has such a job{document.likely(stop, configs)}; correct the name"
            )
    needs.check_order(jobs)
    return tuple(sorted(jobs, key=lambda job: stages.index(job.stage)))
