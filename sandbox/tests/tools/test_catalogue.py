"""The catalogue of tools: versions that must agree with the rest of the project."""

from __future__ import annotations

import pytest

from config import load
from runner_platform_sandbox.providers.kubernetes.charts import app_version
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER, GoProgram
from runner_platform_sandbox.tools.versions import parse
from tests.support.program import STACKS


@pytest.mark.parametrize("stack", STACKS)
def test_the_runner_is_the_release_that_the_chart_installs(stack: str) -> None:
    chart = parse(load.of_stack(stack).chart.version)
    assert chart is not None
    assert str(GITLAB_RUNNER.version) == app_version(chart.minor, chart.patch)


def test_the_runner_and_its_helper_get_the_release_as_their_version() -> None:
    variable = f"-X gitlab.com/gitlab-org/gitlab-runner/common.VERSION={GITLAB_RUNNER.version}"
    names = {program.name: program.linker_flags for program in GITLAB_RUNNER.programs}
    assert set(names) == {"gitlab-runner", "gitlab-runner-helper"}
    assert set(names.values()) == {f"{GoProgram.linker_flags} {variable}"}
