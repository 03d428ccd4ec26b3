"""Destroying a stack: while it is protected, while a manager drains, interrupted again and again, and from a half-made state.

In a sandbox of the module's own, with plain `pulumi`, as a person types it. After SIGKILL the driver's `refresh` gives the state back:
it takes the dead engine's lock away and looks for what was being made.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from config import load
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.tools.discovery import Tools
from tests.support.copied_program import change, copied
from tests.support.existing_resources import client_of, leftovers, runners_of
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

UP = ("up", "--yes", "--skip-preview", "--stack", "dev")
DESTROY = ("destroy", "--yes", "--skip-preview", "--stack", "dev")
HOLD = "runner-platform.test/hold"
"""Finalizer that keeps a pod ending, as a manager with a job in hand does."""
BATCH = 15
"""Resources between one interruption and the next."""


@pytest.fixture(scope="module")
def deployed(own: Sandbox) -> Sandbox:
    done = own.up("foundation", "dev")
    assert done.returncode == 0, done.stdout
    return own


@dataclass(frozen=True)
class Running:
    """The engine at work, with its output in a file, since a pipe could fill up."""

    process: subprocess.Popen[bytes]
    text: Path

    def interrupt(self, number: signal.Signals) -> str:
        """Send a signal to the engine, or SIGKILL to its whole group; return its output."""
        if number is signal.SIGKILL:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.wait(120)
        return self.text.read_text()

    def assert_alive(self) -> None:
        assert self.process.poll() is None, self.text.read_text()


def begin(sandbox: Sandbox, *arguments: str) -> Running:
    """Plain `pulumi` in a session of its own, as a terminal gives it."""
    text = sandbox.root.parent / "engine.txt"
    with text.open("wb") as output:
        process = subprocess.Popen(
            [
                str(Tools.find(sandbox.paths).pulumi),
                *arguments,
                "--non-interactive",
                "--color",
                "never",
            ],
            cwd=PROJECT,
            env=sandbox.variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return Running(process, text)


def known(sandbox: Sandbox) -> set[str]:
    """Logical names of what the stack's state holds, as the engine last wrote it; empty while it writes."""
    try:
        checkpoint = json.loads((sandbox.paths.backend / ".pulumi/stacks/runner-platform/dev.json").read_text())
    except (OSError, ValueError):
        return set()
    resources = (checkpoint["checkpoint"].get("latest") or {}).get("resources") or []
    return {entry["urn"].rpartition("::")[2] for entry in resources}


def gone(sandbox: Sandbox, name: str) -> bool:
    """Whether the state has been read and does not hold a resource any more."""
    names = known(sandbox)
    return bool(names) and name not in names


def recover(sandbox: Sandbox) -> None:
    """Run `refresh` after a killed run: it removes the dead lock and searches for unfinished creations."""
    done = sandbox.run([sys.executable, "-m", "runner_platform", "refresh", "--stack", "dev"], sandbox.variables)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_protected_stack_says_how_to_unprotect_it_and_nothing_is_touched(deployed: Sandbox, tmp_path: Path) -> None:
    program = copied(tmp_path)
    change(program, lambda config: config["runner-platform:platform"].update(protect=True))
    assert deployed.pulumi(*UP, folder=program).returncode == 0
    before = known(deployed)
    done = deployed.pulumi(*DESTROY, folder=program)
    assert done.returncode != 0, "a protected cluster does not go by one command"
    assert "pulumi state unprotect" in done.stdout + done.stderr, done.stdout
    assert known(deployed) == before, "all or nothing: no class is taken down around a protected cluster"
    back = deployed.pulumi(*UP)
    assert back.returncode == 0, back.stdout


def test_a_destroy_waits_for_a_draining_manager_and_keeps_its_jobs_resources(deployed: Sandbox) -> None:
    client = KubeClient.from_kubeconfig(Path(deployed.state().clusters[0].kubeconfig))
    (pod,) = client.list("v1", "Pod", "runner-small")
    client.patch("v1", "Pod", pod["metadata"]["name"], "runner-small", {"metadata": {"finalizers": [HOLD]}})
    running = begin(deployed, *DESTROY)
    try:
        until(lambda: gone(deployed, "small-runner-release"), "the release's end", 300)
        until(lambda: _is_ending(client, "Namespace", "runner-small"), "the namespace's end", 120)
        until(lambda: gone(deployed, "review-runner-manager"), "the end of a manager without jobs", 300)
        running.assert_alive()
        assert _is_ending(client, "Pod", pod["metadata"]["name"], "runner-small"), "the manager finishes its job"
        assert client.get("v1", "ServiceAccount", "manager", "runner-small")["metadata"]["uid"], "who the manager is"
        assert client.get("networking.k8s.io/v1", "NetworkPolicy", "manager", "runner-small"), "its way out"
        for kind, api, name in (
            ("RoleBinding", "rbac.authorization.k8s.io/v1", "executor"),
            ("NetworkPolicy", "networking.k8s.io/v1", "jobs"),
            ("ServiceAccount", "v1", "job"),
            ("ConfigMap", "v1", "aws-config"),
        ):
            assert client.get(api, kind, name, "jobs-small"), f"{kind} {name} is what a running job needs"
        assert any(runner.description.startswith("small-dev ") for runner in runners_of(deployed)), (
            "7.4: it reports to it"
        )
        settings = load.of_stack("dev")
        for account, role in (("cicd", "runner-small-dev"), ("dev", "delegated-role-open-dev")):
            assert client_of(deployed, settings.accounts[account].id)("iam").get_role(RoleName=role), "who the job is"
    finally:
        output = running.interrupt(signal.SIGINT)
        client.patch("v1", "Pod", pod["metadata"]["name"], "runner-small", {"metadata": {"finalizers": None}})
        client.close()
    assert "small-nodes-pool" in known(deployed), f"nodes outlive what runs on them: {output}"


def _is_ending(client: KubeClient, kind: str, name: str, namespace: str | None = None) -> bool:
    return bool(client.get("v1", kind, name, namespace)["metadata"].get("deletionTimestamp"))


def test_a_destroy_with_several_interruptions_is_finished_by_the_next(deployed: Sandbox) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        before = len(known(deployed))
        assert before > BATCH, "there is something left to interrupt"
        running = begin(deployed, *DESTROY)
        until(lambda before=before: 0 < len(known(deployed)) <= before - BATCH, f"{BATCH} deletions", 300)  # type: ignore[misc]
        running.assert_alive()
        output = running.interrupt(number)
        # The exit code says nothing: ended by SIGTERM, this engine prints that all was deleted, and returns 0.
        assert known(deployed), f"the state holds what is left: {output}"
        if number is signal.SIGKILL:
            recover(deployed)
    done = deployed.pulumi(*DESTROY)
    assert done.returncode == 0, done.stdout
    assert leftovers(deployed, "dev") == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_half_made_stack_is_destroyed_whole(deployed: Sandbox, number: signal.Signals) -> None:
    running = begin(deployed, *UP)
    until(lambda: "small-runner-manager" in known(deployed) or running.process.poll() is not None, "half a class", 300)
    running.assert_alive()
    running.interrupt(number)
    recover(deployed)
    done = deployed.pulumi(*DESTROY)
    assert done.returncode == 0, done.stdout
    assert leftovers(deployed, "dev") == []
