"""The driver and the task's entry point as processes, with a real ssh and sshd between them: a job from its task's start to its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.machine.test_fargate_driver import SETTINGS
from tests.support.fargate_manager import FargateManager
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.processes]


@pytest.fixture(scope="module")
def packages() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to the task's user
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def manager(packages: Path) -> Iterator[FargateManager]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with FargateManager(Path(folder), SETTINGS, packages) as manager:
            yield manager


def prepared(manager: FargateManager) -> subprocess.Popen[str]:
    code, output = manager.stage("prepare")
    assert code == 0, output + (manager.folder / "task.log").read_text()
    (process,) = manager.processes.values()
    return process


def test_a_job_runs_in_its_task_from_start_to_end(manager: FargateManager) -> None:
    process = prepared(manager)
    assert manager.run("echo hello; id -u; pwd")[1].split() == ["hello", "1000", str(manager.folder / "task")]
    assert manager.run("read -r line <&0; echo $line\nof the script\nexit 0")[1].split() == ["of", "the", "script"]
    assert manager.stage("cleanup") == (0, "")
    assert process.wait(10) == 0
    assert manager.run("true")[0] == 2, "its keys are gone"


@pytest.mark.parametrize("code", [3, 255])
def test_the_job_s_exit_code_reaches_the_runner(manager: FargateManager, code: int) -> None:
    prepared(manager)
    assert manager.run(f"exit {code}")[0] == 1
    assert (manager.folder / "build_exit_code").read_text() == str(code)


def test_a_job_has_its_class_s_profiles_and_nothing_of_ecs(manager: FargateManager) -> None:
    prepared(manager)
    script = "import boto3; print(boto3.Session().get_credentials().access_key); boto3.Session(profile_name='prod')"
    environment = {"PATH": os.environ["PATH"], "AWS_CONFIG_FILE": str(manager.identity / "config")}
    answer = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.stdout == "ASIAJOB\n"
    assert "ProfileNotFound: The config profile (prod) could not be found" in answer.stderr
    assert "AWS_CONTAINER" not in manager.run("env")[1]


def test_a_manager_that_is_stopped_while_it_prepares_leaves_no_task(manager: FargateManager) -> None:
    manager.ecs.life = ("PROVISIONING",)
    driver = manager.begin("prepare")
    until(lambda: manager.ecs.parameters("DescribeTasks"), "the driver to wait for its task")
    driver.send_signal(signal.SIGTERM)
    driver.communicate(timeout=10)
    assert manager.stage("cleanup")[0] == 0
    (process,) = manager.processes.values()
    assert process.wait(20) == 0


def test_a_task_that_dies_in_the_middle_is_not_the_job_s_fault(manager: FargateManager) -> None:
    prepared(manager)
    driver = manager.begin("run", manager.script("echo begun; sleep 60"), "build_script")
    assert driver.stdout is not None
    assert driver.stdout.readline() == "begun\n"
    manager.ecs.life, manager.ecs.ending = ("STOPPED",), {"stoppedReason": "the host was lost"}
    manager.end(next(iter(manager.processes)), signal.SIGKILL)
    output, _ = driver.communicate(timeout=30)
    assert driver.returncode == 2
    assert "the Fargate task has ended: the host was lost" in output


def test_what_a_stage_leaves_running_after_a_timeout_ends_before_the_next_one(manager: FargateManager) -> None:
    prepared(manager)
    driver = manager.begin("run", manager.script("echo begun; sleep 7654321"), "build_script")
    assert driver.stdout is not None
    assert driver.stdout.readline() == "begun\n"
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    assert "sleep 7654321" in manager.in_task("ps -eo args")
    assert manager.run("echo after")[1] == "after\n"
    assert "sleep 7654321" not in manager.in_task("ps -eo args")


def test_a_server_with_another_host_key_gets_no_script(manager: FargateManager) -> None:
    prepared(manager)
    known = manager.folder / "state/jobs/7/known_hosts"
    key = manager.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    known.write_text("job-7 " + key.with_suffix(".pub").read_text())
    code, output = manager.run("echo secret >$HOME/seen")
    assert code == 2
    assert not (manager.folder / "task/seen").exists()
    assert "is lost" in output


def test_nobody_enters_without_the_job_s_key(manager: FargateManager) -> None:
    prepared(manager)
    key = manager.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    command = ["ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-i", key]
    command += ["-o", "UserKnownHostsFile=/dev/null", "-p", str(manager.port), "runner@127.0.0.1", "true"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 255
    assert "Permission denied (publickey)" in refused.stderr
