"""Section "Jobs are pending" of docs/operate/recovery.md: the page's commands, against a cluster with waiting jobs.

Tests of the other sections: locks (`test_driver_locks`), lost states (`test_driver_s3`), lost clusters, roles and edited runners
(`test_driver_platform`), rotations and upgrades (`test_changes`), a further account (`test_bootstrap`).
"""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING

import gitlab
import pytest

from config import load
from runner_platform import class_files
from tests.support.job_pods import configuration, job_pod
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox
STACK, CLASS, QUIET = "dev", "small", "review"
PAGE = (load.ROOT / "docs/operate/recovery.md").read_text()
TABLE = PAGE.partition("## Jobs are pending")[2].partition("\n## ")[0]
COMMANDS = [
    text for text in re.findall(r"`([^`]+)`", TABLE) if text.startswith("kubectl") and " logs " not in text
]  # kwok's pods have none


class Shell:
    """A person's shell after `sandbox env`, in the cluster of the stack dev."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def typed(self, line: str, runner_class: str = CLASS) -> Completed:
        """Run a line of the page with the class in place of `C`, in kubectl's context of dev."""
        own = re.sub(r"(?<=[ =-])C\b", runner_class, line).replace(
            "kubectl", "kubectl --context runner-platform-dev", 1
        )
        return self.sandbox.run(["sh", "-c", own], self.sandbox.variables)

    def says(self, line: str, runner_class: str = CLASS) -> str:
        """Run a line of the page that must succeed; return its output."""
        assert f"`{line}`" in TABLE, "the page has another command now"
        done = self.typed(line, runner_class)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def platform(self, *arguments: str) -> Completed:
        """`runner-platform <arguments> --stack dev`."""
        command = [sys.executable, "-m", "runner_platform", *arguments, "--stack", STACK]
        return self.sandbox.run(command, self.sandbox.variables)

    def job(self, runner_class: str, number: int) -> Completed:
        """A job's pod, as the manager makes it."""
        body = json.dumps(job_pod(configuration(class_files.values(STACK, runner_class)), f"runner-job-{number}"))
        return self.typed(f"printf %s '{body}' | kubectl create -f -")

    def states(self, runner_class: str = CLASS) -> list[str]:
        """`Running`, `Pending`, … of the class's job pods, as the page's command shows them."""
        rows = self.says("kubectl -n jobs-C get pods", runner_class).splitlines()[1:]
        return [row.split()[2] for row in rows]


@pytest.fixture
def shell(sandbox: Sandbox) -> Iterator[Shell]:
    shell_of_person = Shell(sandbox)
    yield shell_of_person
    for runner_class in (CLASS, QUIET):
        shell_of_person.typed("kubectl -n jobs-C delete pods --all", runner_class)
        shell_of_person.typed("kubectl delete nodeclaims -l karpenter.sh/nodepool=C", runner_class)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_table_can_be_typed_as_it_stands(shell: Shell, command: str) -> None:
    done = shell.typed(command)
    assert done.returncode == 0, done.stderr


def test_tags_are_listed_after_a_mistyped_one(shell: Shell) -> None:
    tags = json.loads(shell.platform("outputs", "--json").stdout)["runner_tags"]
    assert tags[CLASS] == "small-dev"


def test_a_paused_runner_is_named(shell: Shell) -> None:
    variables = shell.sandbox.variables
    api = gitlab.Gitlab(variables["GITLAB_BASE_URL"].removesuffix("/api/v4/"), private_token=variables["GITLAB_TOKEN"])
    number = int(json.loads(shell.platform("outputs", "--json").stdout)["runner_ids"][CLASS])
    api.runners.update(number, {"paused": True})
    try:
        red = shell.platform("runners")
        assert red.returncode == 1
        assert f"{CLASS}: paused is True and should be False" in red.stdout
    finally:
        api.runners.update(number, {"paused": False})
    assert shell.platform("runners").returncode == 0


def test_a_manager_scaled_to_zero_comes_back_by_the_pages_command(shell: Shell) -> None:
    looked = "kubectl -n runner-C get deploy,pods"
    shell.typed("kubectl -n runner-C scale deploy gitlab-runner-C --replicas 0")
    until(lambda: " 0/0 " in shell.says(looked), "no manager")
    shell.says("kubectl -n runner-C scale deploy gitlab-runner-C --replicas 1")
    until(lambda: " 1/1 " in shell.says(looked), "the manager")


def test_jobs_above_the_node_limit_wait_and_jobs_above_the_quota_are_refused(shell: Shell) -> None:
    pods = "kubectl -n jobs-C get resourcequota jobs"
    limits = "kubectl get nodepool C -o jsonpath='{.spec.limits} {.status.resources}'"
    settings = load.of_stack(STACK).runners[CLASS]
    most = int(re.search(r"pods: \d+/(\d+)", shell.says(pods))[1])  # type: ignore[index]  # it matches, or the test fails
    assert most > settings.concurrent, "a class that works as meant never reaches its quota"
    for number in range(most):
        assert shell.job(CLASS, number).returncode == 0
    until(lambda: shell.states().count("Running") > settings.concurrent, "nodes for more jobs than the class has", 60)

    def full() -> bool:
        ceiling, used = (json.loads(text) for text in re.findall(r"\{.*?\}", shell.says(limits)))
        return bool(ceiling["cpu"] == used["cpu"])

    until(full, "a pool as large as it may be", 60)
    assert "Pending" in shell.states()
    assert "Insufficient cpu" in shell.says("kubectl -n jobs-C describe pods")
    assert f"pods: {most}/{most}" in shell.says(pods)
    assert "exceeded quota: jobs" in shell.job(CLASS, most).stderr


def test_a_deleted_node_pool_is_noticed_and_made_again(shell: Shell) -> None:
    shell.typed("kubectl delete nodepool C", QUIET)
    assert "NotFound" in shell.typed("kubectl get nodepool C", QUIET).stderr
    assert shell.job(QUIET, 1).returncode == 0
    until(lambda: "untolerated taint" in shell.says("kubectl -n jobs-C describe pods", QUIET), "the scheduler's reason")
    assert shell.states(QUIET) == ["Pending"]
    for command in ("refresh", "up"):
        done = shell.platform(command)
        assert done.returncode == 0, done.stdout + done.stderr
    until(lambda: shell.states(QUIET) == ["Running"], "a node for the job", 60)
