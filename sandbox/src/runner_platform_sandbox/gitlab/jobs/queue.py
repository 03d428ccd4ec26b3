"""The queue of runners: which pending jobs a runner may take, and why no runner takes a job. Pure functions.

A runner is its record in `store.Store`. https://docs.gitlab.com/ci/runners/configure_runners/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform_sandbox.gitlab.jobs.records import Job, Pipeline

Runner = dict[str, Any]


def serves(runner: Mapping[str, Any], project: Mapping[str, Any]) -> bool:
    """Whether a project may use a runner: its own, its group's or the instance's."""
    if runner["runner_type"] == "instance_type":
        return True
    if runner["group_id"] is not None:
        return str(runner["group_id"]) == str(project["group"])
    return project["id"] in runner["project_ids"]


def takes(runner: Mapping[str, Any], pipeline: Pipeline, job: Job) -> bool:
    """Whether a runner that serves the project may take a job of it, whatever else it is doing."""
    return not refusal(runner, pipeline, job)


def refusal(runner: Mapping[str, Any], pipeline: Pipeline, job: Job) -> str:
    """Return why a runner that serves the project does not take a job; empty if it does."""
    missing = [tag for tag in job.definition.tags if tag not in runner["tag_list"]]
    if missing:
        return f"has no tag {', '.join(f'`{tag}`' for tag in missing)}"
    if not job.definition.tags and not runner["run_untagged"]:
        return "takes no job without tags"
    if runner["access_level"] == "ref_protected" and not pipeline.protected:
        return f"takes jobs of protected branches and tags only, and `{pipeline.ref}` is not protected"
    return "is paused" if runner["paused"] else ""


def stuck(job: Job, pipeline: Pipeline, project: Mapping[str, Any], runners: Iterable[Runner]) -> str:
    """Return a sentence if no runner may take a job: why, and what there is; empty if one may."""
    usable = [runner for runner in runners if serves(runner, project)]
    if any(takes(runner, pipeline, job) for runner in usable):
        return ""
    if not usable:
        return f"job `{job.name}` is stuck: project {project['path']} has no runners"
    reasons = {label(runner): refusal(runner, pipeline, job) for runner in usable}
    matching = {name: reason for name, reason in reasons.items() if not reason.startswith("has no tag")}
    if matching:
        listed = "; ".join(f"{name} {reason}" for name, reason in matching.items())
        return f"job `{job.name}` is stuck: {listed}"
    tags = ", ".join(f"`{tag}`" for tag in job.definition.tags)
    return f"job `{job.name}` is stuck: no runner has the tag {tags}; runners that the project may use: {', '.join(reasons)}"


def label(runner: Mapping[str, Any]) -> str:
    """Return the name of a runner for a person: its description and tags."""
    tags = " ".join(runner["tag_list"])
    name = runner["description"] or f"#{runner['id']}"
    return f"{name} [{tags}]" if tags else str(name)
