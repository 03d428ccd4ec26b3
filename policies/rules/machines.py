"""Rules of EC2 machines: what starts on them, who reaches them, and what their groups may take away.

A launch template and its group have one name, by which the settings say whose machines they are. Ids of other resources are not known
before those exist, so rules ask instead which resource an input comes from. Trusts and permissions of machines: `trust`, `permissions`.
Sources: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/launch-templates.html, https://docs.gitlab.com/runner/executors/docker_autoscaler/
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access import runner_toml
from components.documents.machines import tasks
from components.documents.machines.user_data import ETC, decoded, files_of
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner
from policies.expected_machines import machine_kinds
from policies.expected_trust import classes_of_tasks
from policies.fields import Field, decode_json
from policies.machine_table import config_table, runner_table
from policies.release_table import deviations
from policies.rule import resource_rule, stack_rule
from policies.type_tokens import (
    EGRESS_RULE,
    INGRESS_RULE,
    INSTANCE_PROFILE,
    LAUNCH_TEMPLATE,
    MACHINE_GROUP,
    PARAMETER,
    SECURITY_GROUP,
    SECURITY_GROUP_RULE,
    TASK_CLUSTER,
    TASK_DEFINITION,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from policies.expected_machines import MachineKind
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

EC2_GUIDE = "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide"
AUTOSCALER = "https://docs.gitlab.com/runner/executors/docker_autoscaler/"
RUNNER_TOKEN = "glrt-"  # noqa: S105  # beginning of a runner authentication token
CONFIG = "userData config.toml"
OF_CLASS = ("runners.{runner}",)
VOLUME_KEYS = frozenset({"volumeSize", "volumeType", "encrypted", "deleteOnTermination", "iops", "throughput"})
INTERFACE_KEYS = frozenset({"deviceIndex", "securityGroups", "associatePublicIpAddress", "deleteOnTermination"})


def _kind(resource: CheckedResource) -> MachineKind | None:
    return machine_kinds(resource.run.platform_settings).get(resource["name"].text() or "")


@resource_rule(
    "M01",
    "ec2-launch-template-starts-the-reviewed-machine",
    [LAUNCH_TEMPLATE],
    demands="a machine is the manager or the workers of a class, and its user data is what the program renders for it, without a token",
    stops="A02, A05, A22: a command at the start opens the machine to jobs, or the token is there for everybody who reads templates",
    remedy="Leave user data to components/documents/machines/user_data.py; the token is in a parameter.",
    settings=OF_CLASS,
    source=f"{EC2_GUIDE}/instancedata-add-user-data.html",
    severity=Severity.CRITICAL,
)
def user_data_is_reviewed(template: CheckedResource) -> Iterator[str]:
    """The name is that of a class's machines, and each file and command is the program's."""
    kind, text = _kind(template), template["userData"].text()
    if kind is None:
        yield f"name is {template['name'].text()!r}: neither a manager nor the workers of a class"
        return
    if text is None or text == kind.user_data:
        return
    try:
        actual, expected = files_of(text), files_of(kind.user_data)
        if RUNNER_TOKEN in decoded(text):
            yield "userData holds a runner token, which everybody who reads the template can take"
    except (ValueError, TypeError, AttributeError) as error:
        yield f"userData is not that of the program: {error}"
        return
    changed = [path for path in {**expected, **actual} if actual.get(path) != expected.get(path)]
    yield f"userData differs from what the program renders: {', '.join(changed) or 'its commands, packages or modes of files'}"


@resource_rule(
    "M02",
    "ec2-launch-template-keeps-metadata-from-jobs",
    [LAUNCH_TEMPLATE],
    demands="the metadata service asks for a token, and its answers end at the machine (hop limit 1)",
    stops="A01: a job reads the machine's role from the metadata service",
    remedy="Keep METADATA_OPTIONS of components/documents/machines/launch.py.",
    settings=OF_CLASS,
    source="EC2.8, EC2.170, CKV_AWS_79, CKV_AWS_341, CT.EC2.PR.1",
    severity=Severity.CRITICAL,
)
def metadata_is_kept(template: CheckedResource) -> Iterator[str]:
    """Version 2 only, one hop, no tags."""
    options = template["metadataOptions"]
    expected = {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": "1"}
    for key, value in expected.items():
        if (text := options[key].text("missing")) not in {value, None}:
            yield f"{options[key].path} is {text}, not {value}"
    for key, value in {"instanceMetadataTags": "disabled", "httpProtocolIpv6": "disabled"}.items():
        if (text := options[key].text(value)) not in {value, None}:
            yield f"{options[key].path} is {text}, not {value}"


@resource_rule(
    "M03",
    "ec2-launch-template-encrypts-its-disks",
    [LAUNCH_TEMPLATE],
    demands="every disk of a machine is encrypted, new, and deleted with the machine",
    stops="A22: a snapshot or a disk that stays shows tokens, sources and private images",
    remedy="Keep block_device_mappings of components/documents/machines/launch.py.",
    settings=OF_CLASS,
    source="EC2.3, CKV_AWS_8, CT.EC2.PR.5",
)
def disks_are_encrypted(template: CheckedResource) -> Iterator[str]:
    """One mapping at least, each with an encrypted volume of its own."""
    mappings = list(template["blockDeviceMappings"].items())
    if not mappings and not template["blockDeviceMappings"].unknown:
        yield "blockDeviceMappings is empty: the image decides whether the disk is encrypted"
    for mapping in mappings:
        volume = mapping["ebs"]
        for key in ("encrypted", "deleteOnTermination"):
            if volume[key].flag(default=False) is False:
                yield f"{volume[key].path} is not true"
        yield from (f"{field.path} is set" for key, field in volume.entries() if key not in VOLUME_KEYS)


@resource_rule(
    "M04",
    "ec2-launch-template-starts-the-pinned-image",
    [LAUNCH_TEMPLATE],
    demands="a machine starts the image of the pinned parameter, on the instance types of the settings",
    stops="A16: a machine starts an image of somebody else, which then has the runner's token and the class's role",
    remedy="Set machines.image in the stack file; without it, MACHINE_IMAGE of config/versions.py counts.",
    settings=("machines.image", *OF_CLASS),
    source="https://docs.aws.amazon.com/autoscaling/ec2/userguide/using-systems-manager-parameters.html",
    severity=Severity.CRITICAL,
)
def image_is_pinned(template: CheckedResource) -> Iterator[str]:
    """Exactly the parameter, and a listed type."""
    if (kind := _kind(template)) is None:
        return
    if (image := template["imageId"].text()) not in {kind.image, None}:
        yield f"imageId is {image or 'missing'}, not {kind.image}"
    if (name := template["instanceType"].text()) not in {*kind.instance_types, None}:
        yield f"instanceType is {name or 'missing'}, not one of {', '.join(kind.instance_types)}"


@resource_rule(
    "M05",
    "ec2-launch-template-admits-nobody",
    [LAUNCH_TEMPLATE],
    demands="a machine has no key pair, one network interface, and a public address only where network.nat is none",
    stops="A05: somebody with an old key, or from the internet, logs in to a machine with the runner's token",
    remedy="Remove it: people come in by Session Manager, and a manager by EC2 Instance Connect.",
    settings=("network.nat", *OF_CLASS),
    source="EC2.9, EC2.25, CKV_AWS_88, CT.EC2.PR.7, CT.AUTOSCALING.PR.5",
)
def nobody_is_admitted(template: CheckedResource) -> Iterator[str]:
    """No key pair; one interface, whose address follows from the settings."""
    if not template["keyName"].absent:
        yield "keyName is set: whoever has the key can log in"
    kind, interfaces = _kind(template), list(template["networkInterfaces"].items())
    if kind is None or template["networkInterfaces"].unknown:
        return
    if len(interfaces) != 1:
        yield f"networkInterfaces has {len(interfaces)} entries, not 1: the subnet decides about public addresses"
    for interface in interfaces:
        public = interface["associatePublicIpAddress"].flag(default=True)
        if public and not kind.runner_class.public:
            yield f"{interface['associatePublicIpAddress'].path} is on, and machines go out by the network's NAT"
        yield from (f"{field.path} is set" for key, field in interface.entries() if key not in INTERFACE_KEYS)


@stack_rule(
    "M06",
    "autoscaling-group-takes-no-job-away",
    demands="each manager and the workers of each class have a group of their own, which ends no instance with jobs by itself",
    stops="A03: two classes share instances, or a group ends instances with jobs, and shields no worker from that",
    remedy="Keep manager_group and worker_group of components/documents/machines/launch.py.",
    settings=OF_CLASS,
    source=f"{AUTOSCALER}; https://docs.gitlab.com/runner/fleet_scaling/fleeting/; AutoScaling.3",
)
def groups_keep_jobs(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """One group for each kind of machines, from the template of its name, with the program's way of ending instances."""
    kinds, served = machine_kinds(stack.run.platform_settings), set()
    templates = {template.urn: template["name"].text() or "" for template in stack.of(LAUNCH_TEMPLATE)}
    for group in stack.of(MACHINE_GROUP):
        name = group["name"].text() or ""
        if name not in kinds or name in served:
            yield group.urn, f"name is {name!r}: {'a second group' if name in served else 'no machines of a class'}"
            continue
        served.add(name)
        sources = {
            templates[urn] for urn in _sources(group, "launchTemplate", "mixedInstancesPolicy") if urn in templates
        }
        if sources != {name}:
            yield (
                group.urn,
                f"it starts machines from {', '.join(sorted(sources)) or 'no launch template of this stack'}, not from {name}",
            )
        yield from ((group.urn, text) for text in _group(group, kinds[name]))
    yield from (("", f"there is no group {name}") for name in kinds if name not in served)


def _sources(resource: CheckedResource, *keys: str) -> set[str]:
    """Return the URNs of the resources that inputs come from."""
    return {urn for key in keys for urn in resource.resource.property_dependencies.get(key, ())}


def _group(group: CheckedResource, kind: MachineKind) -> Iterator[str]:
    runner = kind.runner_class.runner
    if isinstance(runner, AutoscalerRunner) and kind.worker:
        yield from _workers(group, runner)
        return
    overlaps = isinstance(runner, DockerRunner)
    sizes = {"minSize": 1, "desiredCapacity": 1, "maxSize": 2 if overlaps else 1}
    yield from _numbers(group, sizes)
    hooks = [
        (hook["lifecycleTransition"].text(), hook["defaultResult"].text())
        for hook in group["initialLifecycleHooks"].items()
    ]
    if not group["initialLifecycleHooks"].unknown and hooks != [("autoscaling:EC2_INSTANCE_TERMINATING", "CONTINUE")]:
        yield "initialLifecycleHooks is not the one hook that lets jobs finish before the instance ends"
    preferences = group["instanceRefresh"]["preferences"]
    healthy = preferences["minHealthyPercentage"].number(default=-1)
    if healthy not in {100 if overlaps else 0, None}:
        yield f"{preferences['minHealthyPercentage'].path} is not {100 if overlaps else 0}, so that jobs wait or two managers share workers"


def _workers(group: CheckedResource, runner: AutoscalerRunner) -> Iterator[str]:
    yield from _numbers(group, {"minSize": 0})
    if (most := group["maxSize"].number(default=0)) is not None and most < runner.max_instances:
        yield f"maxSize is {most:g}, less than max_instances {runner.max_instances}: jobs would wait for instances that never come"
    if group["protectFromScaleIn"].flag(default=False) is False:
        yield "protectFromScaleIn is off: the group ends instances with jobs"
    if not group["suspendedProcesses"].unknown and group["suspendedProcesses"].texts() != ["AZRebalance"]:
        yield "suspendedProcesses is not AZRebalance alone: rebalancing ends instances with jobs, and other processes have to run"
    if group["capacityRebalance"].flag(default=False):
        yield "capacityRebalance is on: the group ends spot instances with jobs before they are lost"
    if not group["instanceRefresh"].absent:
        yield "instanceRefresh is set: a new template ends instances with jobs"
    if "desiredCapacity" not in group.resource.ignore_changes:
        yield "ignore_changes does not list desiredCapacity: each update takes running instances away"
    template = group["mixedInstancesPolicy"]["launchTemplate"]
    for override in template["overrides"].items():
        yield from (f"{field.path} is set" for key, field in override.entries() if key != "instanceType")
        if (name := override["instanceType"].text()) not in {*runner.instances.types, None}:
            yield f"{override['instanceType'].path} is {name}, which is not in instances.types"


def _numbers(group: CheckedResource, expected: Mapping[str, int]) -> Iterator[str]:
    for key, number in expected.items():
        if (value := group[key].number(default=-1)) not in {number, None}:
            yield f"{key} is {'missing' if value == -1 else f'{value:g}'}, not {number}"


@resource_rule(
    "M07",
    "iam-instance-profile-holds-the-role-of-its-name",
    [INSTANCE_PROFILE, LAUNCH_TEMPLATE],
    demands="each kind of machines has an instance profile of its own, with the role that is made for it",
    stops="A12: a machine, and with it the jobs on it, gets another class's role or the deployer's",
    remedy="Leave profiles to components/machine_group.py.",
    settings=OF_CLASS,
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_switch-role-ec2_instance-profiles.html",
    severity=Severity.CRITICAL,
)
def profiles_hold_their_role(resource: CheckedResource) -> Iterator[str]:
    """A profile and its role have one name, that of a kind of machines; a template names the profile of its kind."""
    if resource.type == INSTANCE_PROFILE:
        roles = {kind.role for kind in machine_kinds(resource.run.platform_settings).values()}
        name, role = resource["name"].text(), resource["role"].text()
        if name is not None and name not in roles:
            yield f"name is {name!r}: no machines of a class have this profile"
        if role is not None and role != name:
            yield f"role is {role!r}, not {name}"
        settings, path = resource.run.platform_settings, resource["path"].text("/")
        if settings is not None and path not in {settings.names.role_path, None}:
            yield f"path is {path}, not {settings.names.role_path}: the deployer may make profiles below the platform's paths alone"
        return
    kind, profile = _kind(resource), resource["iamInstanceProfile"]
    if kind is None or profile.unknown:
        return
    if (name := profile["name"].text()) not in {kind.role, None} or not profile["arn"].absent:
        yield f"iamInstanceProfile is {name or profile['arn'].text() or 'missing'}, not {kind.role}"


@resource_rule(
    "M08",
    "ssm-parameter-encrypts-the-runner-token",
    [PARAMETER],
    demands="the only parameters are runner tokens, each encrypted and under the name of its class, and where a class's tasks start",
    stops="A22: everybody who lists parameters reads a runner token, or a machine starts with the token of another class",
    remedy="Leave parameters to components/machine_runner.py.",
    settings=OF_CLASS,
    source="CKV_AWS_337, CKV2_AWS_34",
)
def tokens_are_encrypted(parameter: CheckedResource) -> Iterator[str]:
    """SecureString, with a name that a manager reads; where a class's tasks start is no secret."""
    settings, name = parameter.run.platform_settings, parameter["name"].text()
    if settings is not None and name in [settings.names.tasks_parameter(entry) for entry in classes_of_tasks(settings)]:
        return
    if (kind := parameter["type"].text()) not in {"SecureString", None}:
        yield f"type is {kind or 'missing'}, not SecureString"
    names = [settings.names.token_parameter(entry) for entry in settings.machine_classes] if settings else []
    if name is not None and name not in names:
        yield f"name is {name!r}: no class has its token there"


@stack_rule(
    "M09",
    "ec2-security-group-of-machines-lets-only-the-manager-in",
    demands="nothing connects to a machine, but a manager by SSH to the workers of its own class; each kind of machines has its own group",
    stops="A05, A23: somebody in the network, or another class's machine, logs in to a machine",
    remedy="Leave security groups to components/machine_group.py; people come in by Session Manager.",
    settings=OF_CLASS,
    source="EC2.13, EC2.19, EC2.53, CKV_AWS_24",
    severity=Severity.CRITICAL,
)
def machines_are_closed(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Groups by the launch template that they belong to, and every rule of the stack."""
    kinds = machine_kinds(stack.run.platform_settings)
    if not kinds:
        return
    groups = {group.urn: group for group in stack.of(SECURITY_GROUP)}
    owners: dict[str, MachineKind] = {}
    for template in stack.of(LAUNCH_TEMPLATE):
        kind = kinds.get(template["name"].text() or "")
        used = sorted(_sources(template, "networkInterfaces") & set(groups))
        if kind is not None and (len(used) != 1 or owners.setdefault(used[0], kind) is not kind):
            yield template.urn, "networkInterfaces does not have exactly one security group of its own from this stack"
    for urn in owners:
        if list(groups[urn]["ingress"].items()):
            yield urn, "ingress is not empty"
        if list(groups[urn]["egress"].items()):
            yield urn, "egress is not left to the one rule of the program"
    yield from _tasks(stack, kinds)
    for rule in stack.of(INGRESS_RULE, EGRESS_RULE, SECURITY_GROUP_RULE):
        targets = _sources(rule, "securityGroupId")
        if targets and not targets & set(owners):
            continue  # the group of something else in the network, which H03 judges
        yield from ((rule.urn, text) for text in _rule(rule, owners, targets))


def _rule(rule: CheckedResource, owners: Mapping[str, MachineKind], targets: set[str]) -> Iterator[str]:
    fields = {key: field.text() for key, field in rule.root.entries() if key in RULE_KEYS}
    place = ", ".join(owners[urn].name for urn in sorted(targets)) or "a security group that is not of this stack"
    if rule.type == EGRESS_RULE:
        if fields != {"ipProtocol": "-1", "cidrIpv4": "0.0.0.0/0"}:
            yield f"it is not the one rule by which {place} goes out"
        return
    sources = [owners.get(urn) for urn in _sources(rule, "referencedSecurityGroupId")]
    target = owners[next(iter(targets))] if len(targets) == 1 else None
    fields.pop("referencedSecurityGroupId", None)
    by_ssh = rule.type == INGRESS_RULE and fields == {"ipProtocol": "tcp", "fromPort": "22", "toPort": "22"}
    own = target is not None and target.worker and sources == [target._replace(worker=False)]
    if not (by_ssh and own):
        yield f"it lets connections into {place} that are not the SSH of its own manager"


def _tasks(stack: CheckedStack, kinds: Mapping[str, MachineKind]) -> Iterator[tuple[str, str]]:
    """Yield what reaches tasks beside their manager: their group is the one that the parameter for the driver names."""
    settings = stack.run.platform_settings
    managers = {
        kind.runner_class.names.tasks_parameter(kind.runner_class.name): name
        for name, kind in kinds.items()
        if isinstance(kind.runner_class.runner, FargateRunner)
    }
    templates = {template["name"].text(): template for template in stack.of(LAUNCH_TEMPLATE)}
    groups = {group.urn: group for group in stack.of(SECURITY_GROUP)}
    for parameter in stack.of(PARAMETER) if settings is not None else ():
        manager = templates.get(managers.get(parameter["name"].text() or ""))
        if manager is None:
            continue
        used = [groups[urn] for urn in sorted(_sources(parameter, "value") & set(groups))]
        if len(used) != 1:
            yield parameter.urn, "value does not have exactly one security group of this stack"
        for group in used:
            ports = [
                (
                    rule["protocol"].text(),
                    rule["fromPort"].text(),
                    rule["toPort"].text(),
                    len(rule["securityGroups"].value),
                )
                for rule in group["ingress"].items()
            ]
            keys = {key for rule in group["ingress"].items() for key, field in rule.entries() if not field.absent}
            own = _sources(group, "ingress") == _sources(manager, "networkInterfaces") & set(groups)
            if ports != [("tcp", TASK_PORT, TASK_PORT, 1)] or not keys <= TASK_KEYS or not own:
                yield group.urn, "ingress lets more into tasks than the SSH of their own manager"


TASK_PORT = "2222"
TASK_KEYS = frozenset({"description", "protocol", "fromPort", "toPort", "securityGroups"})
RULE_KEYS = frozenset(
    {
        *("ipProtocol", "fromPort", "toPort", "cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId"),
        *("type", "protocol", "cidrBlocks", "ipv6CidrBlocks", "prefixListIds", "self", "sourceSecurityGroupId"),
    }
)
"""Keys of a security group's rule that say who connects to what."""


@resource_rule(
    "M10",
    "ec2-launch-template-configures-the-runner-as-listed",
    [LAUNCH_TEMPLATE],
    demands="a manager's config.toml holds the keys of policies/machine_table.py, each with a value that it may have",
    stops="A02, A05, A17, A22, A28: a key gives jobs the machine, another image or cache, or runs a plugin of somebody else",
    remedy="Take it back, or add the key and its values to policies/machine_table.py after review.",
    settings=OF_CLASS,
    source=f"{AUTOSCALER}; https://docs.gitlab.com/runner/security/",
    severity=Severity.CRITICAL,
)
def config_is_as_listed(template: CheckedResource) -> Iterator[str]:
    """Every key of the TOML text, against the table."""
    kind, text = _kind(template), template["userData"].text()
    if kind is None or kind.worker or text is None:
        return
    try:
        toml = runner_toml.read(files_of(text).get(f"{ETC}/config.toml", ""))
    except (ValueError, TypeError, AttributeError, tomllib.TOMLDecodeError) as error:
        yield f"{CONFIG} cannot be read: {type(error).__name__}"
        return
    yield from (f"{CONFIG} {key} is in another spelling than the runner's" for key in (*toml.respelled, *toml.twice))
    runners = toml.runners
    if not isinstance(runners, list) or len(runners) != 1:
        yield f"{CONFIG} does not have exactly one [[runners]]"
        return
    document = {key: value for key, value in toml.document.items() if key != "runners"}
    yield from deviations(Field(document, CONFIG, template.undecide), config_table(kind.runner_class))
    yield from deviations(
        Field(runners[0], f"{CONFIG} [[runners]]", template.undecide), runner_table(kind.runner_class)
    )


@resource_rule(
    "M11",
    "ecs-task-definition-is-the-reviewed-task",
    [TASK_CLUSTER, TASK_DEFINITION],
    demands="the tasks of a class run the one reviewed container, in the class's own cluster, with the class's roles",
    stops="A05, A12, A16: a task has another class's role, another image, or a container with more rights",
    remedy="Leave tasks to components/documents/machines/tasks.py.",
    settings=OF_CLASS,
    source="ECS.4, ECS.5, ECS.8, CKV_AWS_249, CKV_AWS_336",
    severity=Severity.CRITICAL,
)
def tasks_are_reviewed(resource: CheckedResource) -> Iterator[str]:
    """Clusters and families have the names of classes; the container is, key for key, the program's."""
    settings = resource.run.platform_settings
    classes = {settings.names.task_cluster(name): name for name in classes_of_tasks(settings)} if settings else {}
    key = "name" if resource.type == TASK_CLUSTER else "family"
    if (text := resource[key].text()) is None:
        return
    if settings is None or text not in classes:
        yield f"{key} is {text!r}: no class has its tasks there"
        return
    if resource.type == TASK_CLUSTER:
        return
    runner_class, names = settings.machine_classes[classes[text]], settings.names
    roles = {"taskRoleArn": names.job_role(runner_class.name), "executionRoleArn": names.task_role(runner_class.name)}
    for key, role in roles.items():
        arn = names.role_arn(settings.platform_account.id, role)
        if (actual := resource[key].text()) not in {arn, None}:
            yield f"{key} is {actual or 'missing'}, not {arn}"
    containers = decode_json(resource["containerDefinitions"].get())
    if containers is not None and containers != [tasks.container(runner_class)]:
        yield "containerDefinitions is not the container of components/documents/machines/tasks.py"
