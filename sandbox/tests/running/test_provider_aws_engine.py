"""The aws stand-in under the real engine: a program that is deployed, repeated, refreshed, changed and destroyed."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.aws_cases import CICD, DEV, REGION, Cloud
from tests.support.engine_home import engine_home
from tests.support.waiting import until

if TYPE_CHECKING:
    from sandbox.tests.support.provider_aws_account import ControlPlanes

pytestmark = pytest.mark.sandbox
pytest_plugins = ["sandbox.tests.support.aws_fixture", "sandbox.tests.support.provider_aws_fixture"]
PROGRAM = Path(__file__).parents[1] / "programs" / "aws"
SECRET = "a description that nobody may see"


@dataclass
class Engine:
    """The command line of the engine, in a home of its own."""

    environment: dict[str, str]
    program: Path
    cloud: Cloud
    planes: ControlPlanes

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = ["pulumi", *arguments, "--non-interactive", "--color=never"]
        if "init" not in arguments:
            command += ["--stack", "test"]
        return subprocess.Popen(
            command,
            cwd=self.program,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, fails: bool = False) -> str:
        process = self.start(*arguments)
        output, _ = process.communicate(timeout=300)
        assert (process.returncode != 0) is fails, output
        return output

    def elsewhere(self, **environment: str) -> Engine:
        return replace(self, environment=self.environment | environment)


@pytest.fixture(scope="module")
def pulumi(aws: Cloud, planes: ControlPlanes, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = tmp_path_factory.mktemp("engine")
    _, environment = engine_home(folder)
    config = folder / "config"
    config.write_text("".join(f"[profile {name}]\nregion = {REGION}\n" for name in ("cicd", "dev", "wrong")))
    credentials = folder / "credentials"
    accounts = {"cicd": CICD, "dev": DEV, "wrong": DEV}
    keys = "".join(
        f"[{name}]\naws_access_key_id = {account}\naws_secret_access_key = any\n" for name, account in accounts.items()
    )
    credentials.write_text(keys)
    environment |= {
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials),
        "AWS_ENDPOINT_URL": aws.deployer,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    program = shutil.copytree(PROGRAM, folder / "program")  # the engine writes the stack's file beside it
    driven = Engine(environment, program, aws, planes)
    driven.run("stack", "init", "test")
    driven.run("config", "set", "--secret", "description", SECRET)
    return driven


def test_a_program_is_deployed_repeated_refreshed_changed_and_destroyed(pulumi: Engine) -> None:
    before = inventory(pulumi.cloud)
    assert "21 to create" in pulumi.run("preview"), "a first preview needs nothing to exist"
    pulumi.run("up", "--yes", "--skip-preview")
    outputs = json.loads(pulumi.run("stack", "output", "--json"))
    assert outputs["issuer"].startswith(f"https://oidc.eks.{REGION}.amazonaws.com/id/")
    assert outputs["zones"][0] == f"{REGION}a"
    pulumi.run("up", "--yes", "--expect-no-changes")
    pulumi.run("refresh", "--yes", "--expect-no-changes")
    pulumi.run("up", "--yes", "--expect-no-changes", "--refresh")
    state = pulumi.run("stack", "export")
    assert SECRET not in state, "a secret input is a secret output"
    changed = pulumi.run("up", "--yes", "--skip-preview", "-c", "owner=somebody-else")
    assert "update" in changed
    assert "replace" not in changed
    pulumi.run("up", "--yes", "--expect-no-changes", "-c", "owner=somebody-else")
    pulumi.run("destroy", "--yes", "--skip-preview")
    assert inventory(pulumi.cloud) == before, "nothing may be left"


def inventory(cloud: Cloud) -> dict[str, set[str]]:
    """What there is in the account, by kind: names and ids."""
    root = cloud.root(CICD)
    ec2 = root.client("ec2")
    return {
        "roles": {role["RoleName"] for role in root.client("iam").list_roles()["Roles"]},
        "clusters": set(root.client("eks").list_clusters()["clusters"]),
        "networks": {vpc["VpcId"] for vpc in ec2.describe_vpcs()["Vpcs"]},
        "addresses": {address["AllocationId"] for address in ec2.describe_addresses()["Addresses"]},
        "buckets": {bucket["Name"] for bucket in root.client("s3").list_buckets()["Buckets"]},
    }


def test_ctrl_c_while_the_cluster_comes_up_loses_and_doubles_nothing(pulumi: Engine) -> None:
    before = inventory(pulumi.cloud)
    pulumi.planes.paused.set()
    running = pulumi.start("up", "--yes", "--skip-preview")
    until(lambda: inventory(pulumi.cloud)["clusters"] > before["clusters"], "the cluster", 120)
    time.sleep(1)  # the engine is waiting for the cluster now
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=120)
    assert running.returncode != 0
    assert "interrupted" in output
    created = inventory(pulumi.cloud)
    pulumi.planes.paused.clear()
    pulumi.run("up", "--yes", "--skip-preview")
    assert inventory(pulumi.cloud)["clusters"] == created["clusters"]
    pulumi.run("up", "--yes", "--expect-no-changes")
    pulumi.run("destroy", "--yes", "--skip-preview")
    assert inventory(pulumi.cloud) == before


def test_replacement_adoption_and_a_provider_that_a_preview_cannot_configure(pulumi: Engine, tmp_path: Path) -> None:
    program = shutil.copytree(PROGRAM.with_name("aws_changes"), tmp_path / "program")
    changing = replace(pulumi, program=program)
    changing.run("stack", "init", "test")
    s3 = pulumi.cloud.root(CICD).client("s3")
    s3.create_bucket(Bucket="engine-adopted", CreateBucketConfiguration={"LocationConstraint": REGION})
    tagging = {"TagSet": [{"Key": "team", "Value": "platform"}]}
    s3.put_bucket_tagging(Bucket="engine-adopted", Tagging=tagging)
    output = changing.run("preview")
    assert "Bucket adopted import" in output
    assert "do not match" not in output, "an import of what the program says shows no difference"
    assert "Bucket later create" in output
    changing.run("up", "--yes", "--skip-preview")
    changing.run("up", "--yes", "--expect-no-changes")
    moved = changing.run("up", "--yes", "--skip-preview", "-c", "path=/b/")
    assert moved.index("Role fixed deleting original") < moved.index("Role fixed creating replacement"), (
        "the name is taken"
    )
    changing.run("up", "--yes", "--expect-no-changes", "-c", "path=/b/")
    changing.run("destroy", "--yes", "--skip-preview")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    assert not {"engine-adopted", "engine-later"} & set(buckets)


def test_machines_are_deployed_and_changed_and_leave_nothing(pulumi: Engine, tmp_path: Path) -> None:
    program = shutil.copytree(PROGRAM.with_name("aws_machines"), tmp_path / "program")
    engine, before = replace(pulumi, program=program), machines(pulumi.cloud)
    engine.run("stack", "init", "test")
    engine.run("config", "set", "--secret", "token", SECRET)
    engine.run("preview")
    engine.run("up", "--yes", "--skip-preview")
    engine.run("up", "--yes", "--expect-no-changes")
    engine.run("refresh", "--yes", "--expect-no-changes")
    assert SECRET not in engine.run("stack", "export"), "a parameter's value is a secret"
    parameter = (
        pulumi.cloud.root(CICD).client("ssm").get_parameter(Name="/cicd/runner-small/token", WithDecryption=True)
    )
    assert parameter["Parameter"]["Value"] == SECRET
    first = json.loads(engine.run("stack", "output", "--json"))
    assert (first["version"], first["default"], first["revision"]) == (1, 1, 1)

    scaling = pulumi.cloud.root(CICD).client("autoscaling")
    scaling.set_desired_capacity(AutoScalingGroupName="runner-worker-small", DesiredCapacity=2)
    engine.run("up", "--yes", "--expect-no-changes")
    changes = ("-c", "comment=second", "-c", "workers=4")
    planned = engine.run("preview", "--diff", *changes)
    assert "autoscaling/group:Group: (update)" in planned, "a new version of the template changes the group"
    output = engine.run("up", "--yes", "--skip-preview", *changes)
    assert re.findall(r"(\w+) +tasks.* replaced", output) == ["TaskDefinition"], "only task definitions are replaced"
    second = json.loads(engine.run("stack", "output", "--json"))
    assert (second["version"], second["default"], second["revision"]) == (2, 2, 2)
    assert second["group"] == first["group"], "the group is kept"
    refreshes = scaling.describe_instance_refreshes(AutoScalingGroupName="runner-manager-small")["InstanceRefreshes"]
    assert [refresh["Status"] for refresh in refreshes] == ["Successful"]
    (worker,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=["runner-worker-small"])["AutoScalingGroups"]
    assert (worker["MaxSize"], worker["DesiredCapacity"]) == (4, 2), "the runner's capacity stays"
    engine.run("up", "--yes", "--expect-no-changes", *changes)
    engine.run("refresh", "--yes", "--expect-no-changes", *changes)
    engine.run("destroy", "--yes", "--skip-preview", *changes)
    assert machines(pulumi.cloud) == before, "nothing may be left"


def machines(cloud: Cloud) -> dict[str, set[str]]:
    """What there is of machines in the account, by kind."""
    root = cloud.root(CICD)
    ec2, iam, ecs = root.client("ec2"), root.client("iam"), root.client("ecs")
    groups = root.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return {
        **inventory(cloud),
        "groups": {group["AutoScalingGroupName"] for group in groups},
        "templates": {item["LaunchTemplateId"] for item in ec2.describe_launch_templates()["LaunchTemplates"]},
        "profiles": {item["Arn"] for item in iam.list_instance_profiles()["InstanceProfiles"]},
        "parameters": {item["Name"] for item in root.client("ssm").describe_parameters()["Parameters"]},
        "ecs clusters": set(ecs.list_clusters()["clusterArns"]),
        "task definitions": set(ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]),
    }


def test_the_wrong_account_is_named_before_anything_is_made(pulumi: Engine) -> None:
    output = pulumi.run("preview", "-c", "account=444444444444", fails=True)
    assert "profile cicd leads to account 222222222222" in output
    assert "allowed: 444444444444" in output


def test_a_missing_profile_is_named(pulumi: Engine) -> None:
    nowhere = pulumi.elsewhere(AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null")
    output = nowhere.run("preview", fails=True)
    assert re.search(r"the AWS profile (cicd|dev) does not exist in /dev/null", output)
    assert "sandbox env" in output


def test_an_aws_server_that_is_not_there_is_named(pulumi: Engine) -> None:
    nowhere = pulumi.elsewhere(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    output = nowhere.run("preview", fails=True)
    assert "the AWS server at http://127.0.0.1:9" in output
    assert "sandbox status" in output
