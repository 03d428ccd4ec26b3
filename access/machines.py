"""Machines: EC2 instances that start from launch templates, the roles that they hold, and what jobs on them can take.

A launch template says which instance profile a machine has, how far its metadata service reaches, and by its user data how the runner is
configured and which role's sessions jobs find in their files. A job that gets out of its container, or reaches the metadata service, has the
machine's own role. Whatever cannot be read is undecided. What else user data runs on a machine is not read here: rule M01 compares all of it.
Steps between machines and roles: `graph`.
Sources: https://docs.gitlab.com/runner/executors/docker/, https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/configuring-IMDS-existing-instances.html
"""

from __future__ import annotations

import json
import posixpath
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from access import runner_toml
from access.clusters import RunnerConfig, RunnerEntry, cache_of, images_of
from access.decision import Truth, Undecided
from access.resource import UNKNOWN, at
from components.documents.machines.config import HOST_IDENTITY
from components.documents.machines.user_data import ETC, files_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from access.resource import Resource

TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
GROUP = "aws:autoscaling/group:Group"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"
TASK_DEFINITION = "aws:ecs/taskDefinition:TaskDefinition"
DOCKER, AUTOSCALER = "docker", "docker-autoscaler"
RUNS_ON = (
    *("ec2-instance-connect:SendSSHPublicKey", "ec2-instance-connect:SendSerialConsoleSSHPublicKey"),
    *("ssm:SendCommand", "ssm:StartSession", "ssm:CreateAssociation", "ssm:StartAutomationExecution"),
)
"""Actions that run a caller's code on an instance, which then has the instance's role."""
OPEN_FOLDERS = ("/etc", "/root", "/home", "/usr", "/bin", "/boot", "/dev", "/proc", "/run", "/sys", "/var")
"""Folders of a machine by which a container gets out, with all below them."""


@dataclass(frozen=True, kw_only=True)
class MachineRunner:
    """One `[[runners]]` of a configuration on a machine."""

    executor: str
    group: str
    """Name of the Auto Scaling group on whose instances jobs run; empty on the machine itself."""
    shares_identity: bool
    """Whether jobs see the folder with the sessions of the job role."""
    escapes: Truth
    """Whether a job gets out of its container, and so has the role of the machine that it runs on."""
    entry: RunnerEntry


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The machines that start from one launch template."""

    stack: str
    account: str
    name: str
    """Name of the template."""
    group: str
    """Name of the Auto Scaling group that starts them; that of the template without such a group."""
    roles: tuple[str, ...] | Undecided
    """Names of the roles that the instance profile may hold."""
    job_role: str = ""
    """ARN of the role whose sessions the machine keeps for jobs; empty if it keeps none."""
    aws_config: str | None = None
    """Text of the AWS config of jobs; None if there is none."""
    metadata: Truth = False
    """Whether a container reaches the metadata service."""
    runners: tuple[MachineRunner, ...] = ()
    undecided: Undecided | None = None
    """Why the user data cannot be read, as a whole or in part."""

    @property
    def config(self) -> RunnerConfig:
        """The runner's configuration, as far as images and caches go."""
        return RunnerConfig(runners=tuple(runner.entry for runner in self.runners), undecided=self.undecided)


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    """A task definition: what a manager starts for each job of a class on Fargate."""

    stack: str
    account: str
    family: str
    role: str | Undecided
    """ARN of the role of the task's containers."""


@dataclass(kw_only=True)
class Machines:
    """All machines and task definitions of some resources."""

    by_stack: dict[str, list[Machine]] = field(default_factory=dict)
    task_definitions: list[TaskDefinition] = field(default_factory=list)

    def named(self, stack: str, name: str) -> list[Machine]:
        """Return the machines of a stack from the templates with a name."""
        return [machine for machine in self.by_stack.get(stack, ()) if machine.name == name]

    def hosts_of(self, machine: Machine, runner: MachineRunner) -> list[Machine]:
        """Return the machines on which the jobs of a runner run."""
        if not runner.group:
            return [machine]
        return [host for host in self.by_stack[machine.stack] if host.group == runner.group]

    @property
    def all(self) -> list[Machine]:
        """The machines of all stacks."""
        return [machine for machines in self.by_stack.values() for machine in machines]


def machines_of(resources: Iterable[Resource]) -> Machines:
    """Return the machines of some resources."""
    by_type: defaultdict[str, list[Resource]] = defaultdict(list)
    for resource in resources:
        if resource.type in (TEMPLATE, GROUP, PROFILE, TASK_DEFINITION):
            by_type[resource.type].append(resource)
    profiles = {(p.account, _name(p)): at(p.inputs, "role") for p in by_type[PROFILE]}
    machines = Machines(task_definitions=[_task_definition(entry) for entry in by_type[TASK_DEFINITION]])
    for template in by_type[TEMPLATE]:
        groups = [_name(group) for group in by_type[GROUP] if _starts(group, template)]
        for group in groups or [_name(template)]:
            machine = _machine(template, group, _roles_of(template, profiles))
            machines.by_stack.setdefault(template.stack, []).append(machine)
    return machines


def _task_definition(resource: Resource) -> TaskDefinition:
    family, role = at(resource.inputs, "family"), at(resource.inputs, "taskRoleArn")
    return TaskDefinition(
        stack=resource.stack,
        account=resource.account,
        family=family if isinstance(family, str) else resource.name,
        role=Undecided(f"the role of the task definition {resource.name} is not known yet")
        if role is UNKNOWN
        else str(role or ""),
    )


def _name(resource: Resource) -> str:
    name = at(resource.inputs, "name")
    return name if isinstance(name, str) else resource.name


def _starts(group: Resource, template: Resource) -> bool:
    """Whether a group starts machines from a template: by name, by what its inputs depend on, else if both have one name."""
    specification = at(group.inputs, "mixedInstancesPolicy", "launchTemplate", "launchTemplateSpecification")
    names = [at(group.inputs, "launchTemplate", "name"), at(specification, "launchTemplateName")]
    if group.stack != template.stack:
        return False
    if named := [name for name in names if isinstance(name, str)]:
        return _name(template) in named
    sources = [
        urn for key in ("launchTemplate", "mixedInstancesPolicy") for urn in group.property_dependencies.get(key, ())
    ]
    return template.urn in sources if sources else _name(group) == _name(template)


def _roles_of(template: Resource, profiles: Mapping[tuple[str, str], Any]) -> tuple[str, ...] | Undecided:
    profile = at(template.inputs, "iamInstanceProfile")
    if profile is None:
        return ()
    name, arn = at(profile, "name"), at(profile, "arn")
    text = name if isinstance(name, str) else arn.rpartition("/")[2] if isinstance(arn, str) else None
    if text is None:
        return Undecided(f"the instance profile of the launch template {_name(template)} is not known yet")
    role = profiles.get((template.account, text), UNKNOWN)
    if not isinstance(role, str):
        return Undecided(f"the role of the instance profile {text} is not known")
    return (role.rpartition("/")[2],)


def _machine(template: Resource, group: str, roles: tuple[str, ...] | Undecided) -> Machine:
    machine = Machine(
        stack=template.stack,
        account=template.account,
        name=_name(template),
        group=group,
        roles=roles,
        metadata=_metadata(template),
    )
    data = at(template.inputs, "userData")
    if not isinstance(data, str):
        return replace(machine, undecided=_unreadable(template, "is missing" if data is None else "is not known yet"))
    try:
        return _with_files(machine, files_of(data), template)
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        # Faults of TOML and JSON are wrong values, too.
        return replace(machine, undecided=_unreadable(template, f"cannot be read ({type(error).__name__})"))


def _with_files(machine: Machine, files: Mapping[str, str], template: Resource) -> Machine:
    """Add what the files of user data say."""
    job_role = at(json.loads(files.get(f"{ETC}/host.json", "{}")), "identity", "role_arn")
    config = runner_toml.read(files.get(f"{ETC}/config.toml", ""))
    return replace(
        machine,
        job_role=job_role if isinstance(job_role, str) else "",
        aws_config=files.get(f"{ETC}/aws-config"),
        runners=tuple(_runner(section) for section in config.runners or ()),
        undecided=_unreadable(template, f"has {config.twice[0]} in two spellings") if config.twice else None,
    )


def _unreadable(template: Resource, reason: str) -> Undecided:
    return Undecided(f"the user data of the launch template {_name(template)} {reason}")


def _metadata(template: Resource) -> Truth:
    """Whether a container reaches the metadata service: without tokens, or with an answer that lives for more than one hop."""
    options, name = at(template.inputs, "metadataOptions"), _name(template)
    if at(options, "httpEndpoint") == "disabled":
        return False
    tokens, hops = at(options, "httpTokens"), at(options, "httpPutResponseHopLimit")
    if tokens not in ("required", UNKNOWN) or (hops not in (None, UNKNOWN) and str(hops) != "1"):
        return True
    if UNKNOWN in (tokens, hops):
        return Undecided(f"the metadata options of the launch template {name} are not known yet")
    if hops is None:
        return Undecided(f"the launch template {name} does not say how far answers of the metadata service go")
    return False


# The runner's configuration ---------------------------------------------------------------------------------------------


def _runner(section: Mapping[str, Any]) -> MachineRunner:
    docker, autoscaler = section.get("docker", {}), section.get("autoscaler", {})
    executor = str(section.get("executor", ""))
    group = autoscaler.get("plugin_config", {}).get("name", "") if executor == AUTOSCALER else ""
    sources = [source for volume in docker.get("volumes", ()) if (source := _host_folder(str(volume)))]
    return MachineRunner(
        executor=executor,
        group=str(group),
        shares_identity=any(_within(HOST_IDENTITY, source) for source in sources),
        escapes=_escapes(docker, sources),
        entry=RunnerEntry(
            namespace="",
            accounts=(),
            audiences=(),
            images=images_of(docker),
            default_images=tuple(image for image in (docker.get("image"), docker.get("helper_image")) if image),
            cache=cache_of(section.get("cache", {})),
        ),
    )


def _host_folder(volume: str) -> str:
    """Return the machine's folder of a volume `<folder>:<place>[:<mode>]`; empty for a volume of Docker's own."""
    source, separator, _ = volume.partition(":")
    return posixpath.normpath(source) if separator and source.startswith(("/", ".", "~", "$")) else ""


def _within(path: str, folder: str) -> bool:
    return folder in ("/", path) or path.startswith(f"{folder}/")


def _escapes(docker: Mapping[str, Any], sources: Iterable[str]) -> Truth:
    """Whether a job gets out of its container: certain ways first, then those that nobody has judged."""
    for key in ("privileged", "services_privileged"):
        if docker.get(key) not in (None, False):
            return True
    if docker.get("network_mode") == "host" or docker.get("userns_mode") == "host":
        return True
    doubts = [f"docker.{key} is set" for key in _UNJUDGED if docker.get(key)]
    for source in sources:
        if source == HOST_IDENTITY:
            continue
        if _within(HOST_IDENTITY, source) or any(_within(source, folder) for folder in OPEN_FOLDERS):
            return True
        doubts.append(f"jobs have the folder {source} of the machine")
    return Undecided(doubts[0]) if doubts else False


_UNJUDGED = (
    *("cap_add", "devices", "device_cgroup_rules", "gpus", "host", "ipcmode", "isolation", "network_mode", "pid_mode"),
    *("runtime", "services_devices", "sysctls", "userns_mode", "volume_driver", "volumes_from", "container_labels"),
)
"""Keys of `[runners.docker]` that can open the machine, or lead to another one."""
