"""The identity of a class on machines, read from the user data of its launch templates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from config.names import IDENTITY_FOLDER
from runner_platform.errors import FailedError
from runner_platform.prove import deployed_machines
from runner_platform.prove.attempts import Place
from runner_platform.prove.deployed import ClassProblemError
from runner_platform.prove.deployed_machines import MissingTemplateError
from tests.support.machine_stack import Ec2, small_stack

if TYPE_CHECKING:
    from runner_platform.prove.deployed_machines import DeployedMachines

SETTINGS = small_stack()


def read(name: str, ec2: Ec2 | None = None) -> DeployedMachines:
    return deployed_machines.read_class(ec2 or Ec2([SETTINGS]), SETTINGS, name)


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        ("small", {Place.HOST: "runner-small-small"}),
        ("medium", {Place.HOST: "runner-medium-workers-small", Place.MANAGER: "runner-medium-small"}),
    ],
)
def test_jobs_have_the_variables_and_the_one_mount_of_the_deployed_configuration(
    name: str, groups: dict[Place, str]
) -> None:
    deployed = read(name)
    assert deployed.variables == {"AWS_CONFIG_FILE": f"{IDENTITY_FOLDER}/config", "AWS_SDK_LOAD_CONFIG": "1"}
    assert deployed.mounts == {IDENTITY_FOLDER: "/run/runner-platform/aws"}
    assert {place: machine.group for place, machine in deployed.machines.items()} == groups
    assert deployed.on_machine(f"{IDENTITY_FOLDER}/config") == "/run/runner-platform/aws/config"
    assert deployed.on_machine("/home/config") == ""
    assert "aws-config" in " ".join(deployed.machines[Place.HOST].files)
    assert deployed.machines[Place.HOST].program("credentials").endswith("/host.py")


@pytest.mark.parametrize(
    ("options", "reached"),
    [
        ({}, False),
        ({"HttpPutResponseHopLimit": 2}, True),
        ({"HttpTokens": "optional"}, True),
        ({"HttpTokens": "optional", "HttpEndpoint": "disabled"}, False),
    ],
)
def test_the_template_decides_whether_jobs_reach_the_metadata_service(
    options: dict[str, object], reached: bool
) -> None:  # a table
    ec2 = Ec2([SETTINGS])
    ec2.templates["runner-small-small"]["MetadataOptions"] |= options
    assert read("small", ec2).metadata_in_jobs is reached


def test_a_template_without_options_answers_version_1() -> None:
    ec2 = Ec2([SETTINGS])
    del ec2.templates["runner-small-small"]["MetadataOptions"]
    assert read("small", ec2).metadata_in_jobs


def test_only_the_machine_of_the_jobs_counts_for_the_metadata_service() -> None:
    ec2 = Ec2([SETTINGS])
    ec2.templates["runner-medium-small"]["MetadataOptions"]["HttpPutResponseHopLimit"] = 2
    assert not read("medium", ec2).metadata_in_jobs


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("#cloud-config\n", "#!/bin/sh\n", "user data of launch template runner-small-small cannot be used"),
        ("[[runners]]", "[[runners", "configuration of class small .* cannot be used"),
        ("[[runners]]", "[runners]", "cannot be used"),
        ("/run/runner-platform/aws:", "/var/run/docker.sock:", "mount /var/run/docker.sock of their machine"),
        ("/run/runner-platform/aws:", "/run/docker.sock:", "mount /run/docker.sock of their machine"),
        ("/run/runner-platform/aws:", "/run/../root:", "mount /run/../root of their machine"),
        ("/run/runner-platform/aws:", "/:", "mount / of their machine"),
    ],
)
def test_what_a_job_must_not_have_is_a_problem_of_the_class(old: str, new: str, words: str) -> None:
    ec2 = Ec2([SETTINGS])
    ec2.edit("runner-small-small", old, new)
    with pytest.raises(ClassProblemError, match=words):
        read("small", ec2)


def test_a_folder_of_the_container_s_own_is_no_mount() -> None:
    ec2 = Ec2([SETTINGS])
    ec2.edit("runner-small-small", f"/run/runner-platform/aws:{IDENTITY_FOLDER}:ro", "/cache")
    assert read("small", ec2).mounts == {}, "and its jobs have no identity"


def test_a_machine_that_starts_no_unit_for_credentials_gives_jobs_no_identity() -> None:
    ec2 = Ec2([SETTINGS])
    ec2.edit("runner-small-small", "- runner-platform-credentials\n", "- runner-platform-other\n")
    with pytest.raises(ClassProblemError, match="starts no unit with the command 'credentials'"):
        read("small", ec2).machines[Place.HOST].program("credentials")


def test_a_missing_template_means_that_the_class_is_not_deployed() -> None:
    ec2 = Ec2([SETTINGS])
    del ec2.templates["runner-medium-workers-small"]
    with pytest.raises(MissingTemplateError, match="runner-medium-workers-small is missing; `pulumi up`"):
        read("medium", ec2)


def test_a_refusal_of_ec2_is_no_missing_template(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise ClientError({"Error": {"Code": "UnauthorizedOperation", "Message": "no"}}, "Describe")

    ec2 = Ec2([SETTINGS])
    monkeypatch.setattr(ec2, "describe_launch_template_versions", refuse)
    with pytest.raises(FailedError, match="AWS refuses to show launch template runner-small-small") as refusal:
        read("small", ec2)
    assert not isinstance(refusal.value, ClassProblemError)
