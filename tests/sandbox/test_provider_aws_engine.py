"""The aws stand-in under the real engine: a program that is deployed, repeated, refreshed, changed and destroyed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox import engine
from sandbox.paths import Paths
from sandbox.tools.result import Tools
from tests.sandbox.aws_cases import CICD, DEV, REGION, Cloud
from tests.sandbox.provider_aws_world import ControlPlanes

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sandbox
pytest_plugins = ["tests.sandbox.aws_fixture"]
PROGRAM = Path(__file__).parent / "programs" / "aws"
SECRET = "a description that nobody may see"


@dataclass
class Engine:
    """The command line of the engine, in a home of its own."""

    environment: dict[str, str]
    cloud: Cloud

    def run(self, *arguments: str, fails: bool = False) -> str:
        command = ["pulumi", *arguments, "--non-interactive", "--color=never"]
        if "config" not in arguments and "stack" not in arguments:
            command += ["--stack", "test"]
        done = subprocess.run(
            command, cwd=PROGRAM, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, output
        return output


@pytest.fixture(scope="module")
def pulumi(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("engine")
    paths = Paths(cache=Paths.from_environment().cache, root=folder)
    tools = Tools.find(paths)
    venv = Path(sys.prefix)
    folders = engine.prepare(paths, tools, venv)
    config = folder / "config"
    config.write_text("".join(f"[profile {name}]\nregion = {REGION}\n" for name in ("cicd", "dev", "wrong")))
    credentials = folder / "credentials"
    accounts = {"cicd": CICD, "dev": DEV, "wrong": DEV}
    keys = "".join(
        f"[{name}]\naws_access_key_id = {account}\naws_secret_access_key = any\n" for name, account in accounts.items()
    )
    credentials.write_text(keys)
    kept = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
    environment = kept | {
        "PATH": os.pathsep.join([str(venv / "bin"), *map(str, folders), os.environ["PATH"]]),
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_ENDPOINT_URL": aws.deployer,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PULUMI_HOME": str(paths.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{paths.backend}",
        "PULUMI_CONFIG_PASSPHRASE": "public",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    planes = ControlPlanes(aws)
    planes.start()
    driven = Engine(environment, aws)
    driven.run("stack", "init", "test")
    driven.run("config", "set", "--secret", "description", SECRET, "--stack", "test")
    yield driven
    planes.stop()
    (PROGRAM / "Pulumi.test.yaml").unlink(missing_ok=True)


def test_a_program_is_deployed_repeated_refreshed_changed_and_destroyed(pulumi: Engine) -> None:
    assert "21 to create" in pulumi.run("preview"), "a first preview needs nothing to exist"
    pulumi.run("up", "--yes", "--skip-preview")
    outputs = json.loads(pulumi.run("stack", "output", "--json", "--stack", "test"))
    assert outputs["issuer"].startswith(f"https://oidc.eks.{REGION}.amazonaws.com/id/")
    assert outputs["zones"][0] == f"{REGION}a"
    pulumi.run("up", "--yes", "--expect-no-changes")
    pulumi.run("refresh", "--yes", "--expect-no-changes")
    pulumi.run("up", "--yes", "--expect-no-changes", "--refresh")
    state = pulumi.run("stack", "export", "--stack", "test")
    assert SECRET not in state, "a secret input is a secret output"
    changed = pulumi.run("up", "--yes", "--skip-preview", "-c", "owner=somebody-else")
    assert "update" in changed
    assert "replace" not in changed
    pulumi.run("up", "--yes", "--expect-no-changes", "-c", "owner=somebody-else")
    pulumi.run("destroy", "--yes", "--skip-preview")
    assert_empty(pulumi.cloud)


def assert_empty(cloud: Cloud) -> None:
    root = cloud.root(CICD)
    names = [role["RoleName"] for role in root.client("iam").list_roles()["Roles"]]
    assert not [name for name in names if name.startswith("runner-")]
    assert not root.client("eks").list_clusters()["clusters"]
    assert not [vpc for vpc in root.client("ec2").describe_vpcs()["Vpcs"] if not vpc.get("IsDefault")]
    assert not [
        name["Name"] for name in root.client("s3").list_buckets()["Buckets"] if name["Name"].startswith("state-")
    ]


def test_the_wrong_account_is_named_before_anything_is_made(pulumi: Engine) -> None:
    shown = pulumi.run("preview", "-c", "account=444444444444", fails=True)
    assert "profile cicd leads to account 222222222222" in shown
    assert "allowed: 444444444444" in shown


def test_a_missing_profile_is_named(pulumi: Engine) -> None:
    nowhere = Engine(
        pulumi.environment | {"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}, pulumi.cloud
    )
    shown = nowhere.run("preview", fails=True)
    assert re.search(r"the AWS profile (cicd|dev) does not exist in /dev/null", shown)
    assert "sandbox env" in shown


def test_an_aws_server_that_is_not_there_is_named(pulumi: Engine) -> None:
    nowhere = Engine(pulumi.environment | {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, pulumi.cloud)
    shown = nowhere.run("preview", fails=True)
    assert "the AWS server at http://127.0.0.1:9" in shown
    assert "sandbox status" in shown
