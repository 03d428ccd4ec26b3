"""An instance of a `docker` class: a machine with the class's user data and roles, real Docker, and the real runner.

The AWS server plays the class's Auto Scaling group, as the program would make it; the GitLab is the sandbox's. Four addresses differ from the
product's texts: GitLab, STS, SSM and the cache's bucket.
"""

from __future__ import annotations

import json
import platform
import re
import signal
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import tomli_w
from typing_extensions import override

from components.documents import trust
from components.documents.config_toml import GITLAB_HELPER_IMAGE, JOB_USER, runner_image
from components.documents.machines import launch, roles, user_data
from components.documents.storage import cache_access
from runner_platform_sandbox.deployed_stack import job_addresses
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.machines import machine, networks
from runner_platform_sandbox.machines.docker_host import SOCKET, DockerHost, Programs
from runner_platform_sandbox.machines.metadata import MetadataService
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.real_node.images import with_variables
from runner_platform_sandbox.real_node.job_images import helper_image, job_image
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.gitlab_project import Served, served
from tests.support.aws_cases import CICD, ORGANIZATION, REGION
from tests.support.class_settings import delegated_trust
from tests.support.program import parsed, raw
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from runner_platform_sandbox.machines.machine import Machine
    from tests.support.aws_cases import Cloud

CLASS = "small"
STACK = "dev"
INTERFACE = "0a:00:00:00:00:01"
"""MAC address of the instance's interface, by which the metadata service names its network."""
JOB_SECONDS = 120
LISTEN = "python3 -c 'import socket, time; s = socket.create_server((\"\", {port})); time.sleep(600)'"
"""Answers connections at a port."""
ENDED = {"success", "failed", "canceled", "skipped"}


class InVpc(machine.Source):
    """The metadata of an instance, with those of its network."""

    def __init__(self, played: Machine) -> None:
        self._played = played

    @property
    @override
    def token_required(self) -> bool:
        return self._played.token_required

    @property
    @override
    def enabled(self) -> bool:
        return self._played.enabled

    @property
    @override
    def user_data(self) -> bytes:
        return self._played.user_data

    @override
    def texts(self) -> Mapping[str, str]:
        interfaces = "meta-data/network/interfaces/macs"
        return {
            **self._played.texts(),
            interfaces: f"{INTERFACE}/",
            f"{interfaces}/{INTERFACE}/vpc-ipv4-cidr-blocks": networks.VPC_CIDR,
        }

    @override
    def credentials(self) -> tuple[str, dict[str, Any]]:
        return self._played.credentials()


@dataclass
class MachineCase:
    """An instance of class small that takes jobs."""

    host: DockerHost
    played: Machine
    gitlab: Served
    aws: Cloud
    settings: Any
    folder: Path
    program: Path
    """The real gitlab-runner."""
    _runner: subprocess.Popen[bytes] | None = field(default=None)

    @cached_property
    def runner_class(self) -> Any:
        """Settings of the class."""
        return self.settings.runner_class(CLASS)

    @property
    def image(self) -> str:
        """The class's job image."""
        return runner_image(self.settings.names, CICD)

    @property
    def aws_address(self) -> str:
        """URL of AWS, as the machine and its containers reach it."""
        return f"http://{networks.OUTSIDE}:{self.aws.ports[1]}"

    def host_program(self, command: str, *options: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the host program, as its unit does."""
        variables = {**job_addresses(self.aws_address), "AWS_ENDPOINT_URL_SSM": self.aws_address}
        done = self.host.run(sys.executable, user_data.HOST_PROGRAM, command, *options, variables=variables)
        assert done.returncode == 0, done.stderr
        return done

    def start_runner(self) -> None:
        """Start the real runner with the configuration that the host program made."""
        command = self.host.command(
            str(self.program),
            "run",
            f"--config={user_data.CONFIG_FOLDER}/config.toml",
            variables={"DOCKER_HOST": f"unix://{SOCKET}"},
        )
        with self.log.open("ab") as output:
            self._runner = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def stop_runner(self) -> None:
        """Ask the runner to finish its jobs and end, as `docker stop` does on an instance, and wait for its end."""
        assert self._runner is not None
        for process in psutil.Process(self._runner.pid).children():
            process.send_signal(signal.SIGQUIT)
        self.forget_runner()

    def forget_runner(self) -> None:
        """Wait for the runner's end."""
        if self._runner is not None:
            self._runner.wait(60)
            self._runner = None

    @property
    def log(self) -> Path:
        """The runner's output."""
        return self.folder / "runner.log"

    @contextmanager
    def answering(self, port: int) -> Iterator[None]:
        """Let the machine itself answer at a port of all its addresses."""
        with subprocess.Popen(self.host.command("bash", "-c", f"exec {LISTEN.format(port=port)}")) as server:
            try:
                yield
            finally:
                for process in psutil.Process(server.pid).children():
                    process.kill()

    def pipeline(self, jobs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Run jobs with the class's tags; return them by name when all have ended, whatever their states."""
        tags = {"default": {"tags": list(self.runner_class.tags)}}
        pipeline = self.gitlab.pipeline(json.dumps({**tags, **jobs}))
        until(lambda: self._ended(pipeline), "the jobs to end", JOB_SECONDS)
        jobs_of_project = self.gitlab.project.jobs
        return {job.name: jobs_of_project.get(job.id) for job in pipeline.jobs.list(get_all=True)}

    def _ended(self, pipeline: Any) -> bool:
        return all(status in ENDED for status in self.gitlab.statuses(pipeline).values())

    def output(self, *script: str, **keys: Any) -> str:
        """Run a job that succeeds and return its trace."""
        job = self.pipeline({"job": {"script": list(script), **keys}})["job"]
        text = trace(job)
        assert job.status == "success", text
        return text


def trace(job: Any) -> str:
    """Return the trace of a job without colours and times."""
    return re.sub(r"\x1b\[[0-9;]*[mK]|^\S+Z \d\d[OE][ +]", "", job.trace().decode(), flags=re.MULTILINE)


def class_settings() -> Any:
    """Return settings of stack dev whose class small runs on one instance."""
    small = {"executor": "docker", "level": "open", "instance": "t3.large", "concurrent": 4, "longest_job": "1h"}
    return parsed(raw(STACK, runners__small=small, organization__id=ORGANIZATION["id"]), STACK)


@contextmanager
def machine_case(folder: Path, aws: Cloud, *, hop_limit: int | None = None) -> Iterator[MachineCase]:
    """Run an instance of class small up to its host programs and its runner; skip the test where this machine cannot."""
    paths = Paths(cache=Paths.from_environment().cache, root=folder)
    try:
        programs = Programs.find(paths)
    except SandboxError as error:
        pytest.skip(str(error))
    settings = class_settings()
    with served(folder) as gitlab:
        group = make_class(aws, settings, gitlab.runner(*settings.runner_class(CLASS).tags).token)
        with machine.start(aws.admin, CICD, REGION, group) as (_, played):
            service = MetadataService(InVpc(played))
            host = DockerHost(
                paths,
                programs,
                name=CLASS,
                daemon=json.loads(user_file(played, "/etc/docker/daemon.json")),
                registries=[settings.names.registry_host(CICD), GITLAB_HELPER_IMAGE.partition("/")[0]],
                loopback=[aws.ports[1], port_of(gitlab.url)],
                metadata=port_of(service.address),
                hop_limit=hop_limit or played.hop_limit,
            )
            case = MachineCase(host, played, gitlab, aws, settings, folder, Tools.find(paths).gitlab_runner)
            add_images(paths, case)
            with host:
                try:
                    boot(case)
                    yield case
                finally:
                    service.close()
            case.forget_runner()


def port_of(url: str) -> int:
    """Return the port of a URL."""
    return int(url.rpartition(":")[2])


def user_file(played: Machine, path: str) -> str:
    """Return the text of a file that the instance's user data writes."""
    return next(str(entry["content"]) for entry in played.cloud_config["write_files"] if entry["path"] == path)


def add_images(paths: Paths, case: MachineCase) -> None:
    """Let the machine's registry serve the class's job image and GitLab's helper under the names of the configuration."""
    version = (case.program.parents[1] / "share" / "VERSION").read_text().strip()
    helper = f"{GITLAB_HELPER_IMAGE}:{platform.machine()}-v{version}"
    images, addresses = case.host.images, job_addresses(case.aws_address)
    images.mkdir(parents=True, exist_ok=True)
    with_variables(job_image(paths, case.image), images / "job", addresses, User=f"{JOB_USER}:{JOB_USER}")
    with_variables(
        helper_image(paths, case.program.with_name("gitlab-runner-helper"), helper), images / "helper", addresses
    )


def boot(case: MachineCase) -> None:
    """Do what the user data says: write files, fetch token and credentials, close networks, start the runner."""
    for entry in case.played.cloud_config["write_files"]:
        text = entry["content"]
        if entry["path"] == f"{user_data.ETC}/config.toml":
            text = reachable(case, text)
        case.host.write(entry["path"], text, int(entry["permissions"], 8))
    case.host_program("configure")
    case.host_program("credentials", "--once")
    case.host_program("network")
    case.start_runner()


def reachable(case: MachineCase, text: str) -> str:
    """Return a runner's configuration with the addresses of the sandbox."""
    document = tomllib.loads(text)
    (runner,) = document["runners"]
    runner["url"] = f"http://{networks.OUTSIDE}:{port_of(case.gitlab.url)}"
    server = {"ServerAddress": case.aws_address.partition("://")[2], "Insecure": True, "PathStyle": True}
    runner["cache"]["s3"] |= server
    return tomli_w.dumps(document)


def make_class(aws: Cloud, settings: Any, token: str) -> str:
    """Make what the program makes for the class: roles, parameter, bucket, launch template and group; return the group's name."""
    runner_class, names = settings.runner_class(CLASS), settings.names
    root = aws.root(CICD)
    iam, manager, job = root.client("iam"), names.manager_role(CLASS), names.job_role(CLASS)
    cache = cache_access(
        names.organization,
        account_id=CICD,
        bucket=names.cache_bucket(CICD),
        prefix=CLASS,
        key_alias=names.key_alias("cache"),
    )
    targets = {
        name: names.role_arn(account.id, names.delegated_role(runner_class.runner.level))
        for name, account in runner_class.accounts.items()
    }
    make_role(
        iam, names, manager, trust.service(roles.EC2), {"cache": cache, **roles.manager_permissions(runner_class)}
    )
    make_role(iam, names, job, roles.job_trust(runner_class), {"jobs": trust.assume_roles(list(targets.values()))})
    for name, account in runner_class.accounts.items():
        document = delegated_trust(settings, name, runner_class.runner.level)
        make_role(
            aws.root(account.id).client("iam"), names, names.delegated_role(runner_class.runner.level), document, {}
        )
    iam.create_instance_profile(InstanceProfileName=manager)
    iam.add_role_to_instance_profile(InstanceProfileName=manager, RoleName=manager)
    root.client("ssm").put_parameter(Name=names.token_parameter(CLASS), Value=token, Type="SecureString")
    root.client("s3").create_bucket(
        Bucket=names.cache_bucket(CICD), CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    return make_group(root, runner_class)


def make_role(iam: Any, names: Any, name: str, trust_document: Any, policies: Mapping[str, Any]) -> None:
    """Make a role of the stack with inline policies."""
    iam.create_role(RoleName=name, Path=names.role_path, AssumeRolePolicyDocument=json.dumps(trust_document))
    for policy_name, document in policies.items():
        iam.put_role_policy(RoleName=name, PolicyName=policy_name, PolicyDocument=json.dumps(document))


def make_group(root: Any, runner_class: Any) -> str:
    """Make the manager's launch template and group; return its name."""
    group = str(runner_class.names.manager_group(CLASS))
    options = launch.METADATA_OPTIONS
    root.client("ec2").create_launch_template(
        LaunchTemplateName=group,
        LaunchTemplateData={
            "ImageId": "ami-1",
            "InstanceType": runner_class.runner.instance,
            "IamInstanceProfile": {"Name": runner_class.names.manager_role(CLASS)},
            "MetadataOptions": {
                "HttpTokens": options["http_tokens"],
                "HttpPutResponseHopLimit": options["http_put_response_hop_limit"],
            },
            "UserData": user_data.manager_user_data(runner_class),
        },
    )
    root.client("autoscaling").create_auto_scaling_group(
        AutoScalingGroupName=group,
        MinSize=1,
        MaxSize=2,
        LaunchTemplate={"LaunchTemplateName": group, "Version": "$Latest"},
        AvailabilityZones=[f"{REGION}a"],
    )
    return group
