"""Changes of a deployed stack: updates in place, replacements, a rotation, and the leftovers of a destroy.

In a sandbox of the module's own. The program is a copy with another stack file, so that no committed file is touched.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from config import load
from tests.support.copied_program import change, copied
from tests.support.existing_resources import client_of, keys_of, leftovers, runners_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

RUNNERS = "runner-platform:runners"


@pytest.fixture(scope="module")
def deployed(own: Sandbox) -> Sandbox:
    done = own.up("foundation", "dev")
    assert done.returncode == 0, done.stdout
    return own


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return copied(tmp_path)


def previewed(sandbox: Sandbox, program: Path) -> dict[str, str]:
    """Return the operations of a preview by logical name, without unchanged resources."""
    done = sandbox.pulumi("preview", "--stack", "dev", "--json", folder=program)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads(done.stdout)["steps"]
    return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] != "same"}


def test_more_memory_updates_only_this_class_in_place(deployed: Sandbox, program: Path) -> None:
    change(program, lambda config: config[RUNNERS]["small"].update(memory="3Gi"))
    operations = previewed(deployed, program)
    assert operations, "more memory is a change"
    assert {name for name in operations if not name.startswith("small-")} == set()
    assert set(operations.values()) == {"update"}


def test_removing_a_class_deletes_only_its_own_resources(deployed: Sandbox, program: Path) -> None:
    change(program, lambda config: config[RUNNERS].pop("review"))
    operations = previewed(deployed, program)
    gone = {name for name, operation in operations.items() if operation == "delete"}
    assert gone
    assert {name for name in gone if not name.startswith("review")} == set()
    assert "replace" not in operations.values()


def test_another_kubernetes_version_upgrades_the_cluster_in_place(deployed: Sandbox, program: Path) -> None:
    change(program, lambda config: config["runner-platform:cluster"].update(version="1.36"))
    assert previewed(deployed, program)["cluster-cluster"] == "update"


def test_a_rotation_gives_the_manager_a_new_token_and_pauses_the_old_runner(deployed: Sandbox, program: Path) -> None:
    before = {runner.id for runner in runners_of(deployed)}
    change(program, lambda config: config[RUNNERS]["small"].update(token=2))
    done = deployed.pulumi("up", "--yes", "--skip-preview", "--stack", "dev", folder=program)
    assert done.returncode == 0, done.stdout
    small = [runner for runner in runners_of(deployed) if runner.attributes["description"].startswith("small-dev ")]
    paused = {runner.id in before: runner.attributes["paused"] for runner in small}
    assert paused == {True: True, False: False}, "the generation before finishes its jobs and takes no new ones"
    back = deployed.pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    assert back.returncode == 0, back.stdout


def test_a_destroy_leaves_only_waiting_keys_and_the_state_stores(deployed: Sandbox) -> None:
    done = deployed.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert done.returncode == 0, done.stdout
    assert leftovers(deployed, "dev") == [], "a runner without its manager, for one, would take jobs and never run them"
    for name, account in load.of_foundation().accounts.items():
        keys = keys_of(deployed, account.id, "-dev")
        assert all(key["KeyState"] == "PendingDeletion" for key in keys), "keys wait, as stated"
        buckets = client_of(deployed, account.id)("s3").list_buckets()["Buckets"]
        assert buckets, f"the state of {name} is the foundation's and stays"
