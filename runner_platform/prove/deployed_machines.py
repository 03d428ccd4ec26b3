"""A class on EC2 machines as it is deployed: read from the user data of its launch templates, as the machines themselves do.

The runner's part comes from the configuration that the manager registers with, the machine's part from the files and units of its user
data, EC2's part from the template's options of the metadata service. The program's own documents are never read: the proof is about them.
Sources: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeLaunchTemplateVersions.html,
https://docs.gitlab.com/runner/configuration/advanced-configuration/#the-runnersdocker-section
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions
import yaml

from components.documents.machines import user_data
from config.runners import AutoscalerRunner, DockerRunner
from runner_platform.errors import FailedError
from runner_platform.prove.attempts import Place
from runner_platform.prove.deployed import ClassProblemError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from config.settings import Settings

RUN = PurePosixPath("/run")
"""Folder in a machine's memory. Jobs see a folder below it, and no other folder of the machine."""
UNITS = "/etc/systemd/system/"
CREDENTIALS = "credentials"
"""Last word of the command that keeps a session for jobs."""
TASKS = "not tried: this program does not start tasks. Run `doctor` in a job of the class: it tries the same profiles with the same files"
"""Why the jobs of a class on Fargate are not tried."""
MISSING = frozenset({"InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound"})


class MissingTemplateError(ClassProblemError):
    """A class has no launch template: it is not deployed."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a launch template makes of an instance."""

    group: str
    """Name of its Auto Scaling group, and of the template."""
    files: Mapping[str, str]
    """Files of the user data by path."""
    commands: Sequence[Sequence[str]]
    """Commands of the user data, in order."""
    reached_by_containers: bool
    """Whether the metadata service answers containers: version 1 does, and version 2 does with a hop limit of more than one."""

    def program(self, command: str) -> str:
        """Return the path of the program whose unit the machine starts with this command.

        Raises:
            ClassProblemError: the machine starts no such unit.
        """
        for unit in self._started_units():
            for line in self.files.get(f"{UNITS}{unit}.service", "").splitlines():
                words = line.removeprefix("ExecStart=").split()
                if line.startswith("ExecStart=") and words[-1:] == [command]:
                    return words[-2]
        raise ClassProblemError(
            f"the user data of launch template {self.group} starts no unit with the command {command!r}, so its jobs have no identity"
        )

    def _started_units(self) -> list[str]:
        started = [command[-1] for command in self.commands if list(command[:2]) == ["systemctl", "enable"]]
        return [unit.removesuffix(".service") for unit in started]


@dataclass(frozen=True, kw_only=True)
class DeployedMachines:
    """A class on machines as it is deployed."""

    account: str
    """Account of the machines."""
    region: str
    image: str
    """Image of a job that names none."""
    variables: Mapping[str, str]
    """Environment of a job's containers, as far as the platform sets it."""
    mounts: Mapping[str, str]
    """Folders of the machine that a job's containers see: path in the machine by path in the container."""
    machines: Mapping[Place, Machine]
    """The machine that runs the jobs, and the manager's if that is another one."""

    def on_machine(self, path: str) -> str:
        """Return the path in the machine of a file that jobs see; empty if no folder of the machine has it."""
        for target, source in self.mounts.items():
            if PurePosixPath(target) in PurePosixPath(path).parents:
                return str(PurePosixPath(source) / PurePosixPath(path).relative_to(target))
        return ""

    @property
    def metadata_in_jobs(self) -> bool:
        """Whether a job's containers reach the metadata service of their machine."""
        machine = self.machines.get(Place.HOST)
        return machine is not None and machine.reached_by_containers


def session_of(settings: Settings) -> boto3.Session:
    """Return a session in the platform's account.

    Raises:
        FailedError: there is no such profile.
    """
    profile = f"platform-{settings.platform.account}"
    try:
        return boto3.Session(profile_name=profile, region_name=settings.organization.region)
    except botocore.exceptions.BotoCoreError as error:
        raise FailedError(
            f"{error}; add the profiles that `runner-platform profiles --platform deployer` prints to your AWS config"
        ) from None


def groups(settings: Settings, runner_class: str) -> dict[Place, str]:
    """Return the names of a class's Auto Scaling groups; their launch templates have the same names."""
    names, runner = settings.names, settings.runners[runner_class]
    manager = names.manager_group(runner_class)
    if isinstance(runner, DockerRunner):
        return {Place.HOST: manager}
    workers = {Place.HOST: names.worker_group(runner_class)} if isinstance(runner, AutoscalerRunner) else {}
    return {**workers, Place.MANAGER: manager}


def read_class(ec2: Any, settings: Settings, runner_class: str) -> DeployedMachines:
    """Read one class from its launch templates.

    Args:
        ec2: client of EC2 in the platform's account.
        settings: settings of the stack.
        runner_class: name of a class on machines.

    Raises:
        ClassProblemError: a template is missing, or this program does not understand it.
        FailedError: EC2 does not answer or refuses.
    """
    machines = {place: read_machine(ec2, group) for place, group in groups(settings, runner_class).items()}
    manager = machines.get(Place.MANAGER) or machines[Place.HOST]
    path = f"{user_data.ETC}/config.toml"
    try:
        (runner,) = tomllib.loads(manager.files[path])["runners"]
        return DeployedMachines(
            account=settings.platform_account.id,
            region=settings.organization.region,
            image=str(runner.get("docker", {}).get("image", "")),
            variables=dict(str(entry).partition("=")[::2] for entry in runner.get("environment", [])),
            mounts=_mounts(runner_class, runner.get("docker", {}).get("volumes", [])),
            machines=machines,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ClassProblemError(
            f"the configuration of class {runner_class} ({path} of launch template {manager.group}) cannot be used: {error!r}"
        ) from None


def _mounts(runner_class: str, volumes: Sequence[str]) -> dict[str, str]:
    """Return the folders of the machine that jobs see.

    Raises:
        ClassProblemError: jobs see a folder of the machine that is not their identity's, such as Docker's socket.
    """
    mounts = {}
    for volume in volumes:
        source, _, target_and_options = volume.partition(":")
        target = target_and_options.partition(":")[0]
        if not target:  # a folder of the container's own
            continue
        if RUN not in PurePosixPath(source).parents or ".." in PurePosixPath(source).parts or source.endswith(".sock"):
            raise ClassProblemError(
                f"jobs of class {runner_class} mount {source} of their machine, and may mount their identity below {RUN} alone; "
                "with more, a job can become the machine"
            )
        mounts[target] = source
    return mounts


def read_machine(ec2: Any, template: str) -> Machine:
    """Read the latest version of a launch template.

    Raises:
        ClassProblemError: the template is missing, or its user data is no cloud-config.
        FailedError: EC2 does not answer or refuses.
    """
    try:
        answer = ec2.describe_launch_template_versions(LaunchTemplateName=template, Versions=["$Latest"])
        data = answer["LaunchTemplateVersions"][0]["LaunchTemplateData"]
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in MISSING:
            raise MissingTemplateError(f"launch template {template} is missing; `pulumi up` creates it again") from None
        raise FailedError(f"AWS refuses to show launch template {template}: {error}") from None
    except botocore.exceptions.BotoCoreError as error:
        raise FailedError(f"EC2 cannot be asked for launch template {template}: {error}") from None
    try:
        files = user_data.files_of(data.get("UserData", ""))
        document = yaml.safe_load(user_data.decoded(data["UserData"]))
        commands = [list(map(str, command)) for command in document.get("runcmd") or () if isinstance(command, list)]
    except (KeyError, ValueError) as error:
        raise ClassProblemError(f"the user data of launch template {template} cannot be used: {error}") from None
    options: dict[str, Any] = {"HttpEndpoint": "enabled", "HttpTokens": "optional", "HttpPutResponseHopLimit": 1}
    options |= data.get("MetadataOptions") or {}
    answers_containers = options["HttpTokens"] != "required" or int(options["HttpPutResponseHopLimit"]) > 1
    return Machine(
        group=template,
        files=files,
        commands=commands,
        reached_by_containers=options["HttpEndpoint"] == "enabled" and answers_containers,
    )
