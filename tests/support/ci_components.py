"""The project's GitLab CI/CD components as the sandbox's GitLab reads them, and the scripts of their jobs in a shell."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import yaml

from config import load
from runner_platform_sandbox.gitlab.ci import document
from runner_platform_sandbox.gitlab.ci.context import Context
from runner_platform_sandbox.gitlab.ci.errors import EmptyPipelineError
from runner_platform_sandbox.gitlab.ci.reader import read_pipeline
from runner_platform_sandbox.gitlab.ci.variables import Variable, expanded, merged, values_of
from sandbox.tests.support.pipeline_files import MemoryFiles

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner_platform_sandbox.gitlab.ci.pipeline import Job

FOLDER = load.ROOT / "templates"
NAMES = ("platform", "deploy", "ecs", "opentofu", "image")
ALL = sorted(FOLDER.glob("*.yml"))

PREDEFINED = {"CI_PROJECT_ID": "1", "CI_SERVER_FQDN": "gitlab.com", "CI_SERVER_URL": "https://gitlab.com"}
MAIN = Context(ref="main", protected=True, changed_files=[], predefined=PREDEFINED)
SCHEDULE = replace(MAIN, source="schedule")
BRANCH = replace(MAIN, ref="feature", protected=False)
REQUEST = replace(BRANCH, source="merge_request_event", predefined={**PREDEFINED, "CI_MERGE_REQUEST_PROJECT_ID": "1"})
FORK = replace(REQUEST, predefined={**REQUEST.predefined, "CI_PROJECT_ID": "2"})


@cache
def files() -> MemoryFiles:
    """Return the templates, in this project and as another project's."""
    texts = {f"templates/{path.name}": path.read_text() for path in ALL}
    shared = MemoryFiles(texts=texts)
    return MemoryFiles(texts=texts, projects={("senncloud/runner-platform", ref): shared for ref in ("main", "1.0.0")})


_jobs: dict[tuple[str, str], dict[str, Job]] = {}
"""Jobs by pipeline file and situation: reading one takes 20 ms, and many tests look at the same."""


def jobs_in(text: str, situation: Context) -> dict[str, Job]:
    """Return the jobs of a pipeline file by name; none where its rules allow no pipeline."""
    key = (text, repr(situation))
    if key not in _jobs:
        try:
            pipeline = read_pipeline(text, context=situation, files=files())
            _jobs[key] = {job.name: job for job in pipeline.jobs}
        except EmptyPipelineError:
            _jobs[key] = {}
    return dict(_jobs[key])


@dataclass(frozen=True)
class Component:
    """One file of templates/."""

    path: Path

    @cached_property
    def parts(self) -> tuple[str, str]:
        """Header and configuration."""
        header, configuration = document.parts(self.path.read_text())
        assert header is not None, f"{self.path} has no header"
        return header, configuration

    @cached_property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Declared inputs."""
        inputs: dict[str, dict[str, Any]] = yaml.safe_load(self.parts[0])["spec"]["inputs"]
        return inputs

    @cached_property
    def example(self) -> str:
        """The pipeline file in the comment at the file's head."""
        return "\n".join(line[4:] for line in self.parts[0].splitlines() if line.startswith("#   "))

    @cached_property
    def example_inputs(self) -> dict[str, Any]:
        """Inputs of the example's first include."""
        inputs: dict[str, Any] = yaml.safe_load(self.example)["include"][0]["inputs"]
        return inputs

    def including(self, **inputs: Any) -> str:
        """Return a pipeline file that includes this one, with the example's inputs and others over them."""
        entry = {"local": f"templates/{self.path.name}", "inputs": {**self.example_inputs, **inputs}}
        return json.dumps({"include": [entry]})

    def running(self, situation: Context, **inputs: Any) -> dict[str, Job]:
        """Return the jobs of one situation by name."""
        return jobs_in(self.including(**inputs), situation)

    def copies(self, **inputs: Any) -> dict[str, list[Job]]:
        """Return the copies of all jobs by the name in the file, each in the first situation in which it runs."""
        copies: dict[str, list[Job]] = {}
        for situation in (MAIN, REQUEST, SCHEDULE):
            running = self.running(situation, **inputs).values()
            for group in {job.group for job in running} - copies.keys():
                copies[group] = [job for job in running if job.group == group]
        return copies

    def jobs(self, **inputs: Any) -> dict[str, Job]:
        """Return all jobs by the name in the file, of parallel jobs the first copy."""
        return {name: copies[0] for name, copies in self.copies(**inputs).items()}


def component(name: str) -> Component:
    """A component by name."""
    return Component(FOLDER / f"{name}.yml")


def commands(job: Job) -> str:
    """What the runner gives to one shell: before_script and script."""
    return "\n".join([*job.before_script, *job.script])


def after(job: Job) -> str:
    """What the runner gives to a second shell: after_script."""
    return "\n".join(job.after_script or [":"])


def variables_of(job: Job, environment: Mapping[str, str]) -> dict[str, str]:
    """The job's variables, expanded, with those of the environment over them."""
    over = (Variable(name=name, value=value, raw=True) for name, value in environment.items())
    return values_of(expanded(merged(job.variables, over)))


def run(
    script: str, folder: Path, environment: Mapping[str, str], shell: str = "sh", seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """A script in a shell that ends at the first failure, as the runner starts it."""
    return subprocess.run(
        [*([shell, "sh"] if shell == "busybox" else [shell]), "-e", "-c", script],
        cwd=folder,
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
