"""Changes of a deployed stack: what changes in place, what is replaced, a rotation, and what a destroy leaves.

In a sandbox of the module's own. The program is a copy with another stack file, so that no committed file is touched.
"""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import boto3
import gitlab
import pytest
import yaml

from config import load
from sandbox.organization import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.sandbox.live import Sandbox

pytestmark = pytest.mark.sandbox

Stack = dict[str, Any]
PROGRAM = ("__main__.py", "Pulumi.yaml", "Pulumi.dev.yaml", "config", "components", "automation")
RUNNERS = "runner-platform:runners"


@pytest.fixture(scope="module")
def deployed(own: Sandbox) -> Sandbox:
    done = own.up("foundation", "dev")
    assert done.returncode == 0, done.stdout
    return own


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of the platform's program, with the same environment."""
    for name in PROGRAM:
        source = PROJECT / name
        copy: Callable[[Path, Path], object] = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    (tmp_path / ".venv").symlink_to(PROJECT / ".venv")
    return tmp_path


def change(program: Path, edit: Callable[[Stack], None]) -> None:
    file = program / "Pulumi.dev.yaml"
    document = yaml.safe_load(file.read_text())
    edit(document["config"])
    file.write_text(yaml.safe_dump(document))


def planned(sandbox: Sandbox, program: Path) -> dict[str, str]:
    """What a preview would do, by logical name; what stays the same is left out."""
    done = sandbox.pulumi("preview", "--stack", "dev", "--json", folder=program)
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads(done.stdout)["steps"]
    return {step["urn"].rpartition("::")[2]: step["op"] for step in steps if step["op"] != "same"}


def test_a_change_of_memory_changes_that_class_in_place_and_nothing_else(deployed: Sandbox, program: Path) -> None:
    change(program, lambda config: config[RUNNERS]["small"].update(memory="3Gi"))
    plan = planned(deployed, program)
    assert plan, "more memory is a change"
    assert {name for name in plan if not name.startswith("small-")} == set()
    assert set(plan.values()) == {"update"}


def test_a_class_that_goes_takes_only_its_own_with_it(deployed: Sandbox, program: Path) -> None:
    change(program, lambda config: config[RUNNERS].pop("review"))
    plan = planned(deployed, program)
    gone = {name for name, operation in plan.items() if operation == "delete"}
    assert gone
    assert {name for name in gone if not name.startswith("review")} == set()
    assert "replace" not in plan.values()


def test_another_version_of_the_cluster_is_an_upgrade_and_not_another_cluster(deployed: Sandbox, program: Path) -> None:
    change(program, lambda config: config["runner-platform:cluster"].update(version="1.36"))
    assert planned(deployed, program)["cluster-cluster"] == "update"


def test_a_rotation_gives_the_manager_a_new_token_and_pauses_the_runner_before(
    deployed: Sandbox, program: Path
) -> None:
    before = {runner.id for runner in runners_of(deployed)}
    change(program, lambda config: config[RUNNERS]["small"].update(token=2))
    done = deployed.pulumi("up", "--yes", "--skip-preview", "--stack", "dev", folder=program)
    assert done.returncode == 0, done.stdout
    small = [each for each in runners_of(deployed) if each.attributes["description"].startswith("small-dev ")]
    paused = {each.id in before: each.attributes["paused"] for each in small}
    assert paused == {True: True, False: False}, "the generation before finishes its jobs and takes no new ones"
    back = deployed.pulumi("up", "--yes", "--skip-preview", "--stack", "dev")
    assert back.returncode == 0, back.stdout


def test_a_destroy_leaves_what_is_stated_and_nothing_else(deployed: Sandbox) -> None:
    done = deployed.pulumi("destroy", "--yes", "--skip-preview", "--stack", "dev")
    assert done.returncode == 0, done.stdout
    assert runners_of(deployed) == [], "a runner without its manager would take jobs and never run them"
    assert deployed.state().clusters == [], "its control plane is stopped"
    accounts = load.of_foundation().accounts
    for name, account in accounts.items():
        client = client_of(deployed, account.id)
        roles = [role["Arn"] for role in client("iam").list_roles()["Roles"] if "/cicd-dev/" in role["Arn"]]
        buckets = [each["Name"] for each in client("s3").list_buckets()["Buckets"] if each["Name"].endswith("-dev")]
        assert (roles, buckets) == ([], []), name
        assert all(key["KeyState"] == "PendingDeletion" for key in keys_of(client("kms"), "-dev")), (
            "keys wait, as stated"
        )
        assert client("s3").list_buckets()["Buckets"], f"the state of {name} is the foundation's and stays"


def runners_of(sandbox: Sandbox) -> list[Any]:
    variables = sandbox.variables
    base = variables["GITLAB_BASE_URL"].rstrip("/").removesuffix("/api/v4")
    api = gitlab.Gitlab(base, private_token=variables["GITLAB_TOKEN"])
    found = [
        *api.groups.get(1234, lazy=True).runners.list(get_all=True),
        *api.projects.get(5678, lazy=True).runners.list(get_all=True),
    ]
    return [api.runners.get(each.id) for each in found]


def client_of(sandbox: Sandbox, account: str) -> Callable[[str], Any]:
    session = boto3.Session(aws_access_key_id=account, aws_secret_access_key="root", region_name="eu-central-1")
    return lambda service: session.client(service, endpoint_url=f"http://127.0.0.1:{sandbox.state().ports.aws}")


def keys_of(client: Any, suffix: str) -> list[dict[str, Any]]:
    """Keys of a stack: their descriptions name what they are for."""
    found = [client.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in client.list_keys()["Keys"]]
    return [key for key in found if key.get("Description", "").endswith(suffix)]
