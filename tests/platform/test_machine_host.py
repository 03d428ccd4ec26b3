"""The host's program on a machine of the sandbox: from the user data of its launch template, with the instance role's credentials.

No container runs. A job is a process that has the files that Docker shows to jobs, and no address of the metadata service.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from components.documents.machines import roles, user_data
from runner_platform_sandbox.machines import machine
from tests.support.aws_cases import CICD, REGION, Cloud
from tests.support.program import parsed, raw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.machines.machine import Machine

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)
DOCKER = {"executor": "docker", "level": "open", "instance": "t3.large", "concurrent": 4, "longest_job": "1h"}
TOKEN = "glrt-of-the-host"  # fabricated
EC2_TRUST = {"Effect": "Allow", "Principal": {"Service": roles.EC2}, "Action": "sts:AssumeRole"}
ETC, SHOWN = "/etc/runner-platform/", "/etc/runner-platform/aws"
PROGRAM = "/usr/local/lib/runner-platform/host.py"
WHO = "import boto3; print(boto3.client('sts').get_caller_identity()['Arn'])"
SYSTEMCTL = '#!/bin/sh\necho "$@" >> "$RUNNER_PLATFORM_RUN/systemctl"\n'


class Host:
    """A machine with the files of its user data in a folder of the test."""

    def __init__(self, folder: Path, played: Machine, address: str, endpoint: str) -> None:
        self.played, self.run_folder, self._folder = played, folder / "run", folder
        for name in ("bin", "etc", "run"):
            (folder / name).mkdir()
        for file in played.cloud_config["write_files"]:
            path = Path(file["path"])
            if file["path"] == PROGRAM or file["path"].startswith(ETC):
                (folder / "etc" / path.name).write_text(file["content"])
        stopped = folder / "bin/systemctl"
        stopped.write_text(SYSTEMCTL)
        stopped.chmod(0o755)
        self._environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "HOME": "/nonexistent",
            "RUNNER_PLATFORM_ETC": str(folder / "etc"),
            "RUNNER_PLATFORM_RUN": str(self.run_folder),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": address,
            "AWS_ENDPOINT_URL": endpoint,
        }

    def run(self, *command: str) -> None:
        program = [sys.executable, str(self._folder / "etc/host.py"), *command]
        done = subprocess.run(program, env=self._environment, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr

    def job(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """Return what a job says that it is."""
        shown = self.run_folder / "runner-platform/aws"
        config = self._folder / "aws-config"
        config.write_text((shown / "config").read_text().replace(SHOWN, str(shown)))
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "AWS_CONFIG_FILE": str(config),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self._environment["AWS_ENDPOINT_URL"],
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        }
        return subprocess.run([sys.executable, "-c", WHO], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def settings() -> Any:
    """Dev, whose class `small` has the Docker executor."""
    values = raw("dev")
    values["runners"]["small"] = DOCKER
    return parsed(values).runner_class("small")


@pytest.fixture
def host(aws: Cloud, settings: Any, tmp_path: Path) -> Iterator[Host]:
    """The class's manager, with the roles and the group that the platform makes."""
    root, names = aws.root(CICD), settings.names
    iam, scaling, role = root.client("iam"), root.client("autoscaling"), names.manager_role("small")
    trust = json.dumps({"Version": "2012-10-17", "Statement": [EC2_TRUST]})
    iam.create_role(RoleName=role, Path=names.role_path, AssumeRolePolicyDocument=trust)
    for policy, document in roles.manager_permissions(settings).items():
        iam.put_role_policy(RoleName=role, PolicyName=policy, PolicyDocument=json.dumps(document))
    iam.create_instance_profile(InstanceProfileName=role)
    iam.add_role_to_instance_profile(InstanceProfileName=role, RoleName=role)
    job_trust = json.dumps(roles.job_trust(settings))
    iam.create_role(RoleName=names.job_role("small"), Path=names.role_path, AssumeRolePolicyDocument=job_trust)
    parameter = {"Name": names.token_parameter("small"), "Type": "SecureString", "Value": TOKEN}
    root.client("ssm").put_parameter(**parameter, Overwrite=True)  # other tests of the server have it, too
    data = {"IamInstanceProfile": {"Name": role}, "UserData": user_data.manager_user_data(settings)}
    data |= {"MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1}}
    root.client("ec2").create_launch_template(LaunchTemplateName=role, LaunchTemplateData=data)
    group = {"AutoScalingGroupName": names.manager_group("small")}
    template = {"LaunchTemplate": {"LaunchTemplateName": role}, "AvailabilityZones": [f"{REGION}a"]}
    scaling.create_auto_scaling_group(**group, **template, MinSize=1, MaxSize=2)
    transition = "autoscaling:EC2_INSTANCE_TERMINATING"
    scaling.put_lifecycle_hook(**group, LifecycleHookName=user_data.HOOK, LifecycleTransition=transition)
    with machine.start(aws.admin, CICD, REGION, group["AutoScalingGroupName"]) as (address, played):
        yield Host(tmp_path, played, address, aws.jobs)


def test_a_host_serves_its_jobs_and_ends_when_its_group_asks(aws: Cloud, settings: Any, host: Host) -> None:
    host.run("configure")
    assert f'token = "{TOKEN}"' in (host.run_folder / "gitlab-runner/config.toml").read_text()
    host.run("credentials", "--once")
    role = settings.names.job_role("small")
    assert f":assumed-role/{role}/" in host.job().stdout, "a job is its class's job role"
    assert "The config profile (absent) could not be found" in host.job(AWS_PROFILE="absent").stderr
    host.run("drain", "--once")
    assert host.played.state == "InService", "nobody asked for its end"
    sizes = {"MinSize": 0, "DesiredCapacity": 0}
    scaling = aws.root(CICD).client("autoscaling")
    scaling.update_auto_scaling_group(AutoScalingGroupName=settings.names.manager_group("small"), **sizes)
    assert host.played.state == "Terminating:Wait"
    host.run("drain")
    assert (host.run_folder / "systemctl").read_text() == "stop gitlab-runner.service\n"
    assert host.played.state == "Terminated"
