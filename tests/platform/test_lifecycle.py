"""The life of a sandbox: start, use, stop, start again, reset."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from runner_platform.driver import repair
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.processes import ProcessId
from tests.support.running_sandbox import changes_in_the_repository
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox


def test_status_shows_every_process_with_its_memory(sandbox: Sandbox) -> None:
    done = sandbox.command("status", "--json")
    assert done.returncode == 0, done.stderr
    status = json.loads(done.stdout)
    names = [process["name"] for process in status["processes"]]
    assert names[:3] == ["supervisor", "aws", "gitlab"]
    for cluster in ("runner-platform-dev", "runner-platform"):
        for part in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"):
            assert f"{cluster} {part}" in names
    assert all(process["memory"] > 0 for process in status["processes"])
    assert {cluster["name"]: cluster["status"] for cluster in status["clusters"]} == {
        "runner-platform-dev": "ACTIVE",
        "runner-platform": "ACTIVE",
    }
    assert status["memory"] < 3 * 1024**3


def test_nothing_listens_beyond_loopback(sandbox: Sandbox) -> None:
    for process in sandbox.state().processes:
        for connection in psutil.Process(process.pid).net_connections("inet"):
            if connection.status == psutil.CONN_LISTEN:
                assert connection.laddr[0] in {"127.0.0.1", "::1"}, f"{process.name} listens on {connection.laddr}"


def test_no_process_of_the_sandbox_has_the_persons_home(sandbox: Sandbox) -> None:
    for process in sandbox.state().processes:
        variables = (Path("/proc") / str(process.pid) / "environ").read_bytes().split(b"\0")
        home = next(variable for variable in variables if variable.startswith(b"HOME=")).decode()
        assert home.startswith(f"HOME={sandbox.root}"), process.name


def test_a_second_make_up_changes_nothing(sandbox: Sandbox) -> None:
    before = [process.pid for process in sandbox.state().processes]
    done = sandbox.up()
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("no changes") >= 3, done.stdout
    assert "peak memory" in done.stdout
    assert [process.pid for process in sandbox.state().processes] == before, "no process is restarted"


def test_the_repository_is_clean_after_make_up(sandbox: Sandbox) -> None:
    before = changes_in_the_repository()
    assert sandbox.up("foundation").returncode == 0
    assert changes_in_the_repository() == before, "make up changed a committed file"


@pytest.mark.parametrize(
    "command", [("preview", "--expect-no-changes"), ("stack", "output"), ("refresh", "--yes", "--expect-no-changes")]
)
def test_pulumi_works_without_the_driver(sandbox: Sandbox, command: tuple[str, ...]) -> None:
    done = sandbox.pulumi(*command, "--stack", "dev")
    assert done.returncode == 0, done.stdout + done.stderr


def test_kubectl_works_in_every_cluster(sandbox: Sandbox) -> None:
    for context in ("runner-platform-dev", "runner-platform"):
        done = sandbox.run(["kubectl", "--context", context, "get", "namespaces"], sandbox.variables)
        assert done.returncode == 0, done.stderr
        assert "runner-small" in done.stdout


def test_the_aws_cli_has_the_deployers_role(sandbox: Sandbox) -> None:
    done = sandbox.run(["aws", "sts", "get-caller-identity", "--profile", "platform-cicd"], sandbox.variables)
    assert done.returncode == 0, done.stderr
    assert ":assumed-role/platform-deployer/" in json.loads(done.stdout)["Arn"]


def test_nothing_is_written_into_the_persons_home(sandbox: Sandbox) -> None:
    assert [str(entry) for entry in sandbox.home.rglob("*")] == []


def test_a_stopped_sandbox_prints_no_export_lines(own: Sandbox) -> None:
    done = own.command("env")
    assert done.returncode == 1
    assert done.stdout == "", "eval must get no line"
    assert "sandbox start" in done.stderr


def test_repeated_starts_and_stops_keep_ports_and_identity(own: Sandbox) -> None:
    assert own.command("start").returncode == 0
    first = own.state()
    assert own.command("start").returncode == 0
    assert own.state().supervisor == first.supervisor, "a running sandbox is not restarted"
    assert own.command("stop").returncode == 0
    assert own.survivors() == []
    again = own.command("stop")
    assert again.returncode == 0
    assert "nothing ran" in again.stderr
    assert own.command("status").returncode == 1
    assert own.command("start").returncode == 0
    assert (own.state().ports, own.state().run_id) == (first.ports, first.run_id)


def test_a_killed_supervisors_children_are_ended_before_new_ones_start(own: Sandbox) -> None:
    assert own.command("start").returncode == 0
    before = own.state()
    children = [process.identity for process in before.processes]
    assert before.supervisor is not None
    os.kill(before.supervisor.pid, signal.SIGKILL)
    until(lambda: not before.running, "the supervisor's end", 60)
    assert all(child.alive for child in children), "they still run"
    done = own.command("start")
    assert done.returncode == 0, done.stderr
    assert "left by an earlier run" in done.stderr
    assert not any(child.alive for child in children)


def test_stop_ends_no_process_of_others(own: Sandbox) -> None:
    own_process = ProcessId.mine()
    assert own.command("start").returncode == 0
    assert own.command("stop").returncode == 0
    assert own_process.alive
    assert PROJECT.is_dir()


def test_reset_asks_and_then_removes_everything(own: Sandbox) -> None:
    assert own.command("start").returncode == 0
    refused = own.command("reset")
    assert refused.returncode != 0, "without --yes and without an answer nothing is removed"
    assert own.state().running
    done = own.command("reset", "--yes")
    assert done.returncode == 0, done.stderr
    assert "states of the stacks" in done.stderr
    assert [entry.name for entry in own.root.iterdir()] == ["lock"]
    assert own.survivors() == []


def test_every_resource_of_a_killed_run_is_found_by_its_inputs(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Search every resource as after a killed run: as if the state did not hold it."""
    for name, value in sandbox.variables.items():
        monkeypatch.setenv(name, value)
    searchable = {*repair.BY_NAME, *repair.BY_TAGS, *repair.SEARCHES, repair.RUNNER}
    missed = []
    for stack in ("foundation", "dev", "prod"):
        resources = sandbox.exported(stack)["resources"]
        candidates = [resource for resource in resources if resource["type"] in searchable]
        assert candidates
        remaining = [resource for resource in resources if resource not in candidates]
        ids = repair.find_all([repair.search_for(resource, remaining) for resource in candidates])
        # Elastic addresses with the same inputs are interchangeable, so only the sets are compared.
        missed += sorted({str(resource["id"]) for resource in candidates} ^ {str(identifier) for identifier in ids})
    assert missed == []
