"""Faults of real machines: killed processes, Ctrl-C, taken ports, two commands at once. The next run mends them."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import ports
from runner_platform_sandbox.up.deployments import Events, Follower
from tests.support.existing_resources import differing_counts
from tests.support.waiting import until

if TYPE_CHECKING:
    import subprocess

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox


def wait_for_progress(own: Sandbox, stack: str, done: int, running: subprocess.Popen[str]) -> None:
    """Wait until the engine has finished that many operations of this run."""
    file = own.paths.logs / f"pulumi-{stack}.events"
    began = time.time()

    def far_enough() -> bool:
        assert running.poll() is None, f"make up ended before it could be disturbed: {running.communicate()[0]}"
        if not file.exists() or file.stat().st_mtime < began:
            return False
        events = Events()
        Follower(file).read(events)
        return events.changed >= done and not events.result

    until(far_enough, f"{done} operations on {stack}", 180)


def kill_engine_and_all(own: Sandbox, stack: str, running: subprocess.Popen[str]) -> None:
    """SIGKILL `make up`, its driver and the engine, like a lost session; providers notice the end of their engine."""
    driver = int(json.loads((own.root / "engines" / f"{stack}.json").read_text())["pid"])
    for pid in (running.pid, driver, engine_pid(own, stack)):
        os.kill(pid, signal.SIGKILL)
    running.communicate(timeout=10)


def engine_pid(own: Sandbox, stack: str) -> int:
    """Process id of the engine that holds the stack's lock."""
    (lock,) = (own.paths.backend / ".pulumi" / "locks" / "organization").glob(f"*/{stack}/*.json")
    return int(json.loads(lock.read_text())["pid"])


def test_a_taken_port_is_named_with_its_holder(own: Sandbox) -> None:
    assert own.command("start").returncode == 0
    port = own.state().ports.aws
    assert own.command("stop").returncode == 0
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((ports.HOST, port))
        listener.listen()
        done = own.command("start")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert f"process {os.getpid()}" in done.stderr
    assert "Traceback" not in done.stderr
    assert own.command("start").returncode == 0


@pytest.mark.parametrize("operations", [3, 60])
def test_after_sigkill_the_next_run_goes_on_and_nothing_is_doubled(own: Sandbox, operations: int) -> None:
    assert own.command("reset", "--yes").returncode == 0
    running = own.begin_up("foundation")
    wait_for_progress(own, "foundation", operations, running)
    kill_engine_and_all(own, "foundation", running)
    done = own.up("foundation")
    assert done.returncode == 0, done.stdout
    assert "a lock of" in done.stdout
    assert differing_counts(own, "foundation") == []
    assert "no changes" in own.up("foundation").stdout


def test_ctrl_c_is_passed_on_once_and_finished_resources_are_kept(own: Sandbox) -> None:
    assert own.command("reset", "--yes").returncode == 0
    running = own.begin_up("foundation")
    wait_for_progress(own, "foundation", 10, running)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 3, output
    assert "Traceback" not in output
    assert own.exported("foundation")["resources"], "the state holds what was made"
    assert not own.exported("foundation").get("pending_operations"), "the engine finished what it had begun"
    assert own.up("foundation").returncode == 0
    assert differing_counts(own, "foundation") == []


def test_the_second_of_two_commands_names_the_holder_of_the_sandbox(own: Sandbox) -> None:
    running = own.begin_up("foundation")
    until(own.paths.lock_file.read_text, "the lock")
    second = own.up("foundation")
    assert second.returncode == 4
    assert f"process {running.pid} (make up)" in second.stdout
    stop = own.command("stop")
    assert stop.returncode == 4, "nor can the sandbox be stopped under it"
    output, _ = running.communicate(timeout=180)
    assert running.returncode == 0, output


def test_an_aws_server_killed_during_up_is_named_and_the_next_up_heals(own: Sandbox) -> None:
    assert own.command("reset", "--yes").returncode == 0
    running = own.begin_up("foundation")
    wait_for_progress(own, "foundation", 10, running)
    os.kill(own.pid("aws"), signal.SIGKILL)
    output, _ = running.communicate(timeout=180)
    assert "Traceback" not in output
    if running.returncode:  # retries may have bridged the second until it ran again
        assert "the AWS server" in output
    done = own.up("foundation")
    assert done.returncode == 0, done.stdout
    assert differing_counts(own, "foundation") == []


def test_resources_made_in_the_last_moment_are_found_again(own: Sandbox) -> None:
    """The worst moment: AWS has the requests, makes the resources, and nobody is left to write down their ids."""
    assert own.up("foundation").returncode == 0
    running = own.begin_up("dev")
    wait_for_progress(own, "dev", 3, running)
    aws = own.pid("aws")
    os.kill(aws, signal.SIGSTOP)
    try:
        time.sleep(3)  # whatever can be begun has been begun
        kill_engine_and_all(own, "dev", running)
        time.sleep(2)  # providers notice that their engine is gone
    finally:
        os.kill(aws, signal.SIGCONT)
    pending = [operation["resource"]["type"] for operation in own.exported("dev").get("pending_operations", [])]
    assert pending, "the engine was killed in the middle of creations"
    done = own.up("dev")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("was being made when the last run was killed") == len(pending), done.stdout
    assert "it exists" in done.stdout, f"none of {pending} was found again"
    assert differing_counts(own, "dev") == []
    assert "no changes" in own.up("dev").stdout


def test_etcd_and_api_server_killed_during_up_are_named_and_the_next_up_heals(own: Sandbox) -> None:
    assert own.command("reset", "--yes").returncode == 0
    assert own.up("foundation").returncode == 0
    running = own.begin_up("dev")
    wait_for_progress(own, "dev", 20, running)  # network and roles: ids that AWS chose
    kill_engine_and_all(own, "dev", running)
    running = own.begin_up("dev")
    until(lambda: any(process.name.endswith("kwok") for process in own.state().processes), "a control plane", 180)
    wait_for_progress(own, "dev", 5, running)
    os.kill(own.pid("etcd"), signal.SIGKILL)
    time.sleep(5)
    os.kill(own.pid("kube-apiserver"), signal.SIGKILL)
    output, _ = running.communicate(timeout=300)
    assert "Traceback" not in output
    if running.returncode:
        assert "etcd" in output or "kube-apiserver" in output, output
    done = own.up("dev")
    assert done.returncode == 0, done.stdout
    assert differing_counts(own, "dev") == []
    texts = [event.text for event in own.state().events]
    assert any("etcd" in text and "started again" in text for text in texts)


def test_down_leaves_no_process(own: Sandbox) -> None:
    assert own.command("stop").returncode == 0
    assert own.survivors() == []
