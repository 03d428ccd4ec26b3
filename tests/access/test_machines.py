"""Machines in the access graph: which roles jobs, managers and workers reach, and what opens a machine to its jobs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
import yaml

from access.chains import Node
from access.decision import Decision
from access.inventory import Inventory, InventoryClass
from access.matrix import derived
from access.profiles import profile_problems
from access.resource import UNKNOWN
from components.documents.machines.config import HOST_IDENTITY
from components.documents.machines.user_data import ETC, HEADER, encoded
from config import load
from config.capabilities import Level
from config.names import IDENTITY_FOLDER
from tests.support.access_cases import (
    CICD,
    ORGANIZATION,
    arn,
    document,
    reached,
    resource,
    role,
    statement,
    trusts,
    world,
)
from tests.support.program import mock_run

if TYPE_CHECKING:
    from access.graph import AccessGraph
    from access.resource import Resource

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED
HOST, WORKER, JOB, FOREIGN = "host", "worker", "job", "foreign"
JOBS = Node("class", "dev/small")
FACTS = Inventory(
    organization=ORGANIZATION,
    accounts={"cicd": CICD},
    classes=[
        InventoryClass(
            stack="dev",
            name="small",
            level=Level.OPEN,
            manager_namespace="runner-small",
            jobs_namespace="jobs-small",
            manager_machine="manager",
            worker_machine="workers",
        )
    ],
)
SESSIONS = f"{HOST_IDENTITY}:{IDENTITY_FOLDER}:ro"
METADATA = {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}
CONNECT = "ec2-instance-connect:SendSSHPublicKey"


def user_data(runner: dict[str, Any] | None = None, job_role: str = arn(JOB)) -> str:
    """Return user data with a runner's configuration and the role of jobs."""
    files = {
        f"{ETC}/host.json": json.dumps({"identity": {"role_arn": job_role}}),
        f"{ETC}/aws-config": "[default]\n",
    }
    if runner is not None:
        files[f"{ETC}/config.toml"] = tomli_w.dumps({"runners": [runner]})
    entries = [{"path": path, "content": content} for path, content in files.items()]
    return encoded(HEADER + yaml.safe_dump({"write_files": entries}))


def docker(**settings: Any) -> dict[str, Any]:
    """Return a runner that runs jobs on the manager's own machine."""
    return {"executor": "docker", "docker": {"volumes": [SESSIONS], **settings}}


def autoscaler(group: str = "workers") -> dict[str, Any]:
    """Return a runner that runs jobs on the instances of a group."""
    return {
        "executor": "docker-autoscaler",
        "docker": {"volumes": [SESSIONS]},
        "autoscaler": {"plugin_config": {"name": group}},
    }


def template(name: str, profile: str, data: Any, **inputs: Any) -> Resource:
    """Return a launch template."""
    values = {"iamInstanceProfile": {"name": profile}, "metadataOptions": METADATA, **inputs}
    return resource("aws:ec2/launchTemplate:LaunchTemplate", name, CICD, name=name, userData=data, **values)


def group(name: str) -> Resource:
    """Return an Auto Scaling group that starts machines from the template of its name."""
    return resource("aws:autoscaling/group:Group", name, CICD, name=name)


def profile(name: str, held: Any = None) -> Resource:
    """Return an instance profile, with the role of its name unless another is given."""
    return resource("aws:iam/instanceProfile:InstanceProfile", f"profile-{name}", CICD, name=name, role=held or name)


def machine_role(name: str, *policies: Any) -> Resource:
    """Return a role that EC2 gives to machines."""
    return role(name, trusts({"Service": "ec2.amazonaws.com"}), policies=[document(*policies)] if policies else ())


def machines(manager: Resource, *more: Resource, trusted: str = HOST, host_policy: tuple[Any, ...] = ()) -> AccessGraph:
    """Return a world with a manager, workers, the job role and a role that nobody here may reach."""
    assumes = statement(Action="sts:AssumeRole", Resource=arn(JOB))
    return world(
        manager,
        *more,
        *(group(name) for name in ("manager", "workers")),
        *(profile(name) for name in (HOST, WORKER)),
        machine_role(HOST, assumes, *host_policy),
        machine_role(WORKER, assumes),
        role(JOB, trusts({"AWS": f"arn:aws:iam::{CICD}:root"}, Condition={"ArnEquals": {"aws:PrincipalArn": arn(trusted)}})),
        machine_role(FOREIGN),
        facts=FACTS,
    )  # fmt: skip


def reaches(of: AccessGraph) -> dict[str, Decision]:
    """Return what a job of the class becomes, by role; roles that it cannot become are left out."""
    decisions = {name: reached(of, JOBS, arn(name)) for name in (HOST, WORKER, JOB, FOREIGN)}
    return {name: decision for name, decision in decisions.items() if decision is not DENIED}


def test_a_job_on_a_machine_is_the_job_role_and_not_the_machine() -> None:
    assert reaches(machines(template("manager", HOST, user_data(docker())))) == {JOB: ALLOWED}


def test_a_job_has_no_session_where_its_machine_shares_no_folder() -> None:
    assert reaches(machines(template("manager", HOST, user_data(docker(volumes=[]))))) == {}


def test_a_job_has_no_session_of_a_role_that_its_machine_may_not_assume() -> None:
    assert reaches(machines(template("manager", HOST, user_data(docker())), trusted=WORKER)) == {}


@pytest.mark.parametrize(
    ("settings", "decision"),
    [
        ({"privileged": True}, ALLOWED),
        ({"services_privileged": True}, ALLOWED),
        ({"network_mode": "host"}, ALLOWED),
        ({"userns_mode": "host"}, ALLOWED),
        ({"volumes": ["/var/run/docker.sock:/var/run/docker.sock"]}, ALLOWED),
        ({"volumes": ["/:/host:ro"]}, ALLOWED),
        ({"volumes": ["/run:/run"]}, ALLOWED),
        ({"volumes": ["/run/../etc:/host"]}, ALLOWED),
        ({"volumes": ["/srv/cache:/cache"]}, UNDECIDED),
        ({"volumes": ["$HOME:/home"]}, UNDECIDED),
        ({"devices": ["/dev/kvm"]}, UNDECIDED),
        ({"cap_add": ["SYS_ADMIN"]}, UNDECIDED),
        ({"host": "tcp://10.0.0.1:2375"}, UNDECIDED),
        ({"privileged": False, "volumes": [SESSIONS, "/cache", "named:/data"]}, DENIED),
    ],
    ids=str,
)
def test_what_opens_a_machine_gives_jobs_its_role(settings: dict[str, Any], decision: Decision) -> None:
    graph = machines(template("manager", HOST, user_data(docker(**settings))))
    assert reached(graph, JOBS, arn(HOST)) is decision


@pytest.mark.parametrize(
    ("options", "decision"),
    [
        (METADATA, DENIED),
        ({"httpEndpoint": "disabled"}, DENIED),
        ({**METADATA, "httpPutResponseHopLimit": 2}, ALLOWED),
        ({**METADATA, "httpTokens": "optional"}, ALLOWED),
        ({"httpPutResponseHopLimit": 1}, ALLOWED),
        (None, ALLOWED),
        ({"httpTokens": "required"}, UNDECIDED),
        ({**METADATA, "httpPutResponseHopLimit": UNKNOWN}, UNDECIDED),
        (UNKNOWN, UNDECIDED),
    ],
    ids=str,
)
def test_metadata_that_reaches_containers_gives_jobs_the_role_of_their_machine(
    options: Any, decision: Decision
) -> None:
    graph = machines(template("manager", HOST, user_data(docker()), metadataOptions=options))
    assert reached(graph, JOBS, arn(HOST)) is decision


def test_jobs_of_an_autoscaled_class_run_on_its_workers() -> None:
    manager = template("manager", HOST, user_data(autoscaler()))
    graph = machines(manager, template("workers", WORKER, user_data()), trusted=WORKER)
    assert reaches(graph) == {JOB: ALLOWED}


def test_jobs_on_a_group_that_nobody_makes_may_be_anywhere() -> None:
    manager = template("manager", HOST, user_data(autoscaler("elsewhere")))
    graph = machines(manager, template("workers", WORKER, user_data()), trusted=WORKER)
    assert reaches(graph) == {HOST: UNDECIDED, WORKER: UNDECIDED, JOB: UNDECIDED}


@pytest.mark.parametrize(
    "data", [None, UNKNOWN, "not base64", encoded("#!/bin/sh\n"), encoded(HEADER + "write_files: 7")]
)
def test_user_data_that_cannot_be_read_is_undecided(data: Any) -> None:
    assert reaches(machines(template("manager", HOST, data))) == {HOST: UNDECIDED, JOB: UNDECIDED}


def test_an_executor_that_nobody_reads_is_undecided() -> None:
    manager = template("manager", HOST, user_data({"executor": "shell"}))
    assert reached(machines(manager), JOBS, arn(HOST)) is UNDECIDED


@pytest.mark.parametrize(
    ("task_role", "trust", "expected"),
    [
        (arn(FOREIGN), {}, {}),
        (arn("task"), {"Condition": {"StringEquals": {"aws:SourceAccount": CICD}}}, {"task": ALLOWED}),
        (arn("task"), {"Condition": {"ArnLike": {"aws:SourceArn": f"arn:aws:ecs:eu-central-1:{CICD}:*"}}}, {"task": ALLOWED}),
        (arn("task"), {"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}, {}),
        (UNKNOWN, {}, {"task": UNDECIDED}),
    ],
)  # fmt: skip
def test_a_job_in_a_task_has_the_role_of_the_task(task_role: Any, trust: Any, expected: dict[str, Decision]) -> None:
    definition = resource(
        "aws:ecs/taskDefinition:TaskDefinition", "tasks", CICD, family="manager", taskRoleArn=task_role
    )
    task = role("task", trusts({"Service": "ecs-tasks.amazonaws.com"}, **trust))
    graph = machines(template("manager", HOST, user_data({"executor": "custom"})), definition, task)
    decisions = {name: reached(graph, JOBS, arn(name)) for name in ("task", HOST, JOB, FOREIGN)}
    assert {name: decision for name, decision in decisions.items() if decision is not DENIED} == expected


def test_tasks_that_nobody_defines_are_undecided() -> None:
    assert reached(machines(template("manager", HOST, user_data({"executor": "custom"}))), JOBS, arn(HOST)) is UNDECIDED


def test_a_profile_with_another_role_gives_that_role_to_the_machine() -> None:
    manager = template("manager", "odd", user_data(docker(privileged=True)))
    assert reaches(machines(manager, profile("odd", FOREIGN))) == {FOREIGN: ALLOWED}


def test_a_profile_that_is_not_known_may_hold_any_role() -> None:
    manager = template("manager", HOST, user_data(docker(privileged=True)), iamInstanceProfile={"name": UNKNOWN})
    assert set(reaches(machines(manager)).values()) == {UNDECIDED}
    assert FOREIGN in reaches(machines(manager))


@pytest.mark.parametrize(
    ("permission", "decision"),
    [
        (statement(Action=CONNECT, Resource="*"), ALLOWED),
        (statement(Action="ssm:SendCommand", Resource=f"arn:aws:ec2:*:{CICD}:instance/*"), ALLOWED),
        (statement(Action="ssm:StartSession", Resource="*"), ALLOWED),
        (statement(Action=CONNECT, Resource="*", Condition={"StringEquals": {"ec2:ResourceTag/aws:autoscaling:groupName": "workers"}}), ALLOWED),
        (statement(Action=CONNECT, Resource="*", Condition={"StringEquals": {"ec2:ResourceTag/aws:autoscaling:groupName": "manager"}}), DENIED),
        (statement(Action="ssm:UpdateInstanceInformation", Resource="*"), DENIED),
        (statement(Action=CONNECT, Resource="arn:aws:ec2:eu-central-1:999999999999:instance/*"), DENIED),
    ],
)  # fmt: skip
def test_code_on_a_machine_has_the_role_of_the_machine(permission: Any, decision: Decision) -> None:
    manager = template("manager", HOST, user_data(autoscaler()))
    workers = template("workers", WORKER, user_data())
    graph = machines(manager, workers, trusted=FOREIGN, host_policy=(permission,))
    assert reached(graph, Node("role", arn(HOST)), arn(WORKER)) is decision


def test_managers_workers_and_other_machines_are_principals() -> None:
    names = {cell.principal for cell in derived(machines(
        template("manager", HOST, user_data(autoscaler())),
        template("workers", WORKER, user_data()),
        template("other", WORKER, user_data()),
    ))}  # fmt: skip
    assert {"job:dev/small", "manager:dev/small", "worker:dev/small", "machine:dev/other"} <= names


def test_the_profiles_of_a_stack_without_a_cluster_are_compared() -> None:
    settings, resources = load.of_stack("small"), mock_run("small").resources
    assert profile_problems(resources, settings) == []
    without = [entry for entry in resources if entry.name != "medium-machines-workers-template"]
    assert profile_problems(without, settings) == ["class medium: the AWS config of its jobs is not known yet"]
