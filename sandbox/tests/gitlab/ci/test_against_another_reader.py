"""The reader held against gitlab-ci-local 4.75.1, an independent reader of the same language, by its recorded answers.

Where the two differ, GitLab's own documentation or tests decide: the table says which.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.tests.support.pipeline_files import MemoryFiles, jobs
from sandbox.tests.support.pipeline_recording import OTHER_FILES, PIPELINES, RECORD

RECORDED: dict[str, dict[str, dict[str, Any]]] = json.loads(RECORD.read_text())
ANSWERED_OTHERWISE = {
    ("when", "one", "allow_failure"): "docs.gitlab.com/ci/yaml/#allow_failure: true is the default of a manual job",
    ("expressions", "job-10", "when"): "statement_spec.rb of GitLab: an empty text does not stop &&",
    ("expressions", "job-11", "when"): "statement_spec.rb of GitLab: an empty text is what || gives back",
    ("exists", "four", "when"): "docs.ruby-lang.org, File.fnmatch: `**` recurses only before a slash",
    ("default", "one", "tags"): "docs.gitlab.com/ci/yaml/#default: tags are a default value",
    (
        "inputs",
        "job-one",
        "script",
    ): "docs.gitlab.com/ci/inputs/#array-type: the text of an array; only its spaces differ",
}
"""Differences by pipeline, job and keyword, with the source that decides for this reader."""


def ours(title: str) -> dict[str, dict[str, Any]]:
    """Return this reader's jobs in the form of the record."""
    read = jobs(PIPELINES[title], MemoryFiles(texts=OTHER_FILES), changed_files=[])
    return {
        # gitlab-ci-local writes `one: [1/3]` and `two: [x,1]`, where GitLab writes `one 1/3` and `two: [x, 1]`.
        (
            f"{job.group}: [{job.name.split()[-1]}]" if job.parallel and not job.matrix else job.name.replace(", ", ",")
        ): {
            "stage": job.stage,
            "when": job.when,
            "allow_failure": {"exit_codes": list(job.allow_failure_exit_codes)}
            if job.allow_failure_exit_codes
            else job.allow_failure,
            "needs": None
            if job.needs is None
            else sorted({(need.job.split(":")[0], need.artifacts) for need in job.needs}),
            "image": job.image and job.image.name,
            "tags": list(job.tags),
            "before_script": list(job.before_script),
            "script": list(job.script),
        }
        for job in read.values()
    }


def theirs(title: str) -> dict[str, dict[str, Any]]:
    """Return the recorded jobs that run, with the defaults that the record leaves out."""
    running = {name: job for name, job in RECORDED[title].items() if job["when"] != "never"}
    return {
        name: {
            **{key: job[key] for key in ("stage", "when", "allow_failure")},
            "needs": sorted((need["job"], need["artifacts"]) for need in job["needs"] if not need["optional"])
            if "needs" in job
            else None,
            "image": job["image"] and job["image"]["name"],
            "tags": job["tags"] or [],
            "before_script": job["before_script"] or [],
            "script": job["script"],
        }
        for name, job in running.items()
    }


@pytest.mark.parametrize("title", PIPELINES)
def test_both_readers_make_the_same_jobs_or_the_difference_is_listed(title: str) -> None:
    own, other = ours(title), theirs(title)
    differences = {
        (title, name, key)
        for name in own.keys() | other.keys()
        for key in ({"when"} if name not in own or name not in other else own[name])
        if own.get(name, {}).get(key, "never") != other.get(name, {}).get(key, "never")
    }
    assert differences == {place for place in ANSWERED_OTHERWISE if place[0] == title}
