"""User data of an EC2 instance: cloud-config that installs Docker, writes files and units, and starts them.

There is no secret in it: the token comes from a parameter at each start, and credentials come from roles. It is compressed, since EC2 takes
16 KB; `decoded` reads it back, for rules and proofs. Source: https://docs.cloud-init.io/en/latest/reference/modules.html
"""

from __future__ import annotations

import base64
import binascii
import gzip
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from components.documents.disruption import HOUR, disruption
from components.documents.machines import tasks
from components.documents.machines.config import CA_FILE, WORKER_USER, config_toml
from components.documents.profiles import class_profiles
from config.runners import AutoscalerRunner, DockerRunner, FargateRunner
from config.versions import RUNNER_IMAGE_TAG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.settings import MachineClassSettings

HEADER = "#cloud-config\n"
LARGEST = 16 * 1024
"""Bytes of user data that EC2 takes, before base64.

Source: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
"""
ETC = "/etc/runner-platform"
HOST_PROGRAM = "/usr/local/lib/runner-platform/host.py"
UNITS = "/etc/systemd/system"
CONFIG_FOLDER = "/run/gitlab-runner"
HOOK = "drain"
HEARTBEAT = HOUR
"""Seconds that the group waits for a sign of life of an instance that drains; the instance gives one every ten minutes."""
PACKAGES = ("docker.io", "iptables", "python3-boto3")
MANAGER_PACKAGES = ("amazon-ecr-credential-helper",)

Files = dict[str, tuple[str, str]]
"""Mode and content by path."""


def manager_user_data(runner_class: MachineClassSettings) -> str:
    """Return the user data of a class's manager, in base64."""
    files: Files = {
        f"{ETC}/config.toml": ("0600", config_toml(runner_class)),
        "/root/.docker/config.json": ("0600", json.dumps({"credsStore": "ecr-login"})),
        f"{UNITS}/gitlab-runner.service": ("0644", _runner_unit(runner_class)),
        f"{UNITS}/runner-platform-drain.service": ("0644", _service("drain", "Finish jobs before the instance ends")),
    }
    if runner_class.gitlab.ca_bundle:
        files[CA_FILE] = ("0644", runner_class.gitlab.ca_bundle)
    # The drain comes first: the others may wait long.
    starts = ["runner-platform-drain", "gitlab-runner"]
    if isinstance(runner_class.runner, DockerRunner):
        files |= _files_of_jobs(runner_class)
        starts = ["runner-platform-drain", *_STARTS_OF_JOBS, "gitlab-runner"]
    if isinstance(runner_class.runner, FargateRunner):
        files |= _files_of_driver(runner_class)
    settings = host_settings(runner_class)
    if isinstance(runner_class.runner, AutoscalerRunner):
        settings["alone_in"] = runner_class.names.manager_group(runner_class.name)
    settings["token_parameter"] = runner_class.names.token_parameter(runner_class.name)
    settings["drain"] = {"group": runner_class.names.manager_group(runner_class.name), "hook": HOOK}
    return encoded(cloud_config(settings, files, starts, [*PACKAGES, *MANAGER_PACKAGES]))


def worker_user_data(runner_class: MachineClassSettings) -> str:
    """Return the user data of a class's autoscaled instances, in base64."""
    files = _files_of_jobs(runner_class)
    return encoded(cloud_config(host_settings(runner_class), files, _STARTS_OF_JOBS, PACKAGES, docker_user=WORKER_USER))


def host_settings(runner_class: MachineClassSettings) -> dict[str, Any]:
    """Return the settings of the host program that all machines of a class share."""
    names, name = runner_class.names, runner_class.name
    return {
        "region": names.organization.region,
        "endpoint_cidrs": list(runner_class.endpoint_cidrs),
        "identity": {
            "role_arn": names.role_arn(runner_class.platform_account_id, names.job_role(name)),
            "session_name": names.job_role(name),
        },
    }


def cloud_config(
    settings: Mapping[str, Any],
    files: Files,
    starts: list[str],
    packages: list[str] | tuple[str, ...],
    docker_user: str | None = None,
) -> str:
    """Return cloud-config that writes files, installs packages, and then starts units in order.

    `docker_user` may use Docker. The package makes the group, so the user becomes its member afterwards.
    """
    shared: Files = {
        f"{ETC}/host.json": ("0644", json.dumps(settings)),
        HOST_PROGRAM: ("0755", host_program()),
        "/etc/docker/daemon.json": ("0644", json.dumps(DAEMON)),
        # Docker's own update would end jobs; the machine gets new packages with a new image.
        "/etc/apt/apt.conf.d/99runner-platform": ("0644", 'Unattended-Upgrade::Package-Blacklist { "docker.io"; "containerd"; "runc"; };\n'),
        "/etc/needrestart/conf.d/runner-platform.conf": ("0644", "$nrconf{restart} = 'l';\n"),
    }  # fmt: skip
    members = [["usermod", "--append", "--groups", "docker", docker_user]] if docker_user else []
    document = {
        "package_update": True,
        "packages": list(packages),
        "write_files": [
            {"path": path, "permissions": mode, "content": content}
            for path, (mode, content) in {**shared, **files}.items()
        ],
        "runcmd": [
            *members,
            ["systemctl", "daemon-reload"],
            ["systemctl", "restart", "docker"],
            *(["systemctl", "enable", "--now", unit] for unit in starts),
        ],
    }
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=1000)


DOCKER_NETWORK = "172.17.0.0/16"
"""Networks of containers. Docker's own pools end after 31 of them, and may be the VPC's; AWS itself advises against this one in a VPC.

Source: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html
"""
DAEMON = {
    "live-restore": True,
    "log-driver": "local",
    "log-opts": {"max-size": "10m", "max-file": "3"},
    "userns-remap": "default",
    # Each job has a network of its own.
    "default-address-pools": [{"base": DOCKER_NETWORK, "size": 24}],
    "no-new-privileges": True,
}
"""Settings of the Docker daemon: containers go on while it restarts, logs end, and root in a container is nobody on the machine.

Source: https://docs.docker.com/reference/cli/dockerd/#daemon-configuration-file
"""
_STARTS_OF_JOBS = ["runner-platform-network", "runner-platform-credentials", "runner-platform-clean.timer"]


def _files_of_driver(runner_class: MachineClassSettings) -> Files:
    """Files of a manager that starts a task for each job: settings of the driver, and the AWS profiles that it gives to tasks."""
    return {
        f"{ETC}/fargate.json": ("0644", json.dumps(tasks.driver_settings(runner_class))),
        f"{ETC}/aws-config": ("0644", class_profiles(runner_class)),
    }


def _files_of_jobs(runner_class: MachineClassSettings) -> Files:
    """Files of a machine that runs jobs: AWS profiles, and the units of credentials, network and clean-up."""
    network = _oneshot("network", "Close networks to jobs", "RemainAfterExit=yes")
    # Units after it wait for the first session, however long it takes.
    waits = ("Type=notify", "TimeoutStartSec=infinity")
    credentials = _service("credentials", "Keep a session of the job role for jobs", *waits)
    return {
        f"{ETC}/aws-config": ("0644", class_profiles(runner_class)),
        f"{UNITS}/runner-platform-network.service": ("0644", f"{network}\n[Install]\nWantedBy=multi-user.target\n"),
        f"{UNITS}/runner-platform-credentials.service": ("0644", credentials),
        f"{UNITS}/runner-platform-clean.service": ("0644", _oneshot("clean", "Remove images that nothing uses")),
        f"{UNITS}/runner-platform-clean.timer": ("0644", CLEAN_TIMER),
    }


CLEAN_TIMER = """[Unit]
Description=Remove images that nothing uses, every ten minutes

[Timer]
OnBootSec=10min
OnUnitActiveSec=10min

[Install]
WantedBy=timers.target
"""


REMOVE_LEFT_JOBS = "docker ps --all --quiet --filter label=com.gitlab.gitlab-runner.managed=true | xargs --no-run-if-empty docker rm --force"
"""A runner that died does not go on with its jobs, and their containers would run for ever."""


def _service(command: str, description: str, *more: str) -> str:
    lines = "".join(f"{line}\n" for line in more)
    return f"""[Unit]
Description={description}
After=network-online.target
Wants=network-online.target

[Service]
{lines}ExecStart=/usr/bin/python3 {HOST_PROGRAM} {command}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"""


def _oneshot(command: str, description: str, *more: str) -> str:
    lines = "".join(f"{line}\n" for line in more)
    return f"""[Unit]
Description={description}
After=docker.service network-online.target
Requires=docker.service

[Service]
Type=oneshot
ExecStart=/usr/bin/python3 {HOST_PROGRAM} {command}
{lines}"""


def _runner_unit(runner_class: MachineClassSettings) -> str:
    """Return the unit of the manager: GitLab's runner in a container, which finishes its jobs when it is stopped."""
    grace = disruption(runner_class.runner.longest_job).manager_grace
    jobs = isinstance(runner_class.runner, DockerRunner)
    needs = "docker.service" + (" runner-platform-network.service runner-platform-credentials.service" if jobs else "")
    options = " ".join(_container_options(runner_class, grace, jobs=jobs))
    forget = f"ExecStartPre=-/bin/sh -c '{REMOVE_LEFT_JOBS}'\n" if jobs else ""
    if isinstance(runner_class.runner, FargateRunner):
        sweep = f"--entrypoint {tasks.DRIVER} {manager_image(runner_class)} sweep"
        forget = f"ExecStartPre=-/usr/bin/docker run --name gitlab-runner-sweep --rm {options} {sweep}\n"
    return f"""[Unit]
Description=GitLab Runner
After={needs} network-online.target
Requires={needs}
StartLimitIntervalSec=0

[Service]
Environment=HOME=/root
ExecStartPre=/usr/bin/python3 {HOST_PROGRAM} configure
ExecStartPre=-/usr/bin/docker rm --force gitlab-runner
{forget}ExecStart=/usr/bin/docker run --name gitlab-runner --rm {options} {manager_image(runner_class)}
ExecStop=/usr/bin/docker stop -t {grace} gitlab-runner
TimeoutStartSec=infinity
TimeoutStopSec={grace + 60}
Restart=always
RestartSec=10

[Install]
WantedBy=multi-user.target
"""


def _container_options(runner_class: MachineClassSettings, grace: int, *, jobs: bool) -> Iterator[str]:
    names = runner_class.names
    yield from ("--network host", "--userns host", "--stop-signal SIGQUIT", f"--stop-timeout {grace}")
    yield f"--volume {CONFIG_FOLDER}:/etc/gitlab-runner"
    # The runner reads the home of the user that its image names, although it runs as root.
    for home in ("/root", "/home/gitlab-runner"):
        yield f"--volume /root/.docker/config.json:{home}/.docker/config.json:ro"
    yield f"--env AWS_REGION={names.organization.region}"
    if jobs:
        yield "--volume /var/run/docker.sock:/var/run/docker.sock"
    if isinstance(runner_class.runner, FargateRunner):
        yield f"--volume {ETC}:{ETC}:ro"
        # The keys of jobs are in memory.
        yield "--tmpfs /run/runner-platform:mode=0700,size=64m"
    if runner_class.gitlab.ca_bundle:
        yield f"--volume {CA_FILE}:{CA_FILE}:ro"
    yield "--log-driver awslogs"
    # Without it the runner stands still while CloudWatch does not answer.
    yield "--log-opt mode=non-blocking"
    yield f"--log-opt awslogs-region={names.organization.region}"
    yield f"--log-opt awslogs-group={names.machine_logs(runner_class.name)}"
    yield "--log-opt tag={{.ID}}"


def manager_image(runner_class: MachineClassSettings) -> str:
    """Return the manager's image in the platform's registry: GitLab's runner with the plugins that the classes use."""
    names = runner_class.names
    return f"{names.registry_host(runner_class.platform_account_id)}/{names.runner_image()}:{RUNNER_IMAGE_TAG}-manager"


@cache
def host_program() -> str:
    """Return the text of the host program."""
    return resources.files("machine").joinpath("host.py").read_text(encoding="utf-8")


def encoded(text: str) -> str:
    """Compress cloud-config, and encode it as launch templates take it. The same text always gives the same result."""
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()


def decoded(user_data: str) -> str:
    """Return the text of user data, compressed or not.

    Raises:
        ValueError: it is not in base64, or not text.
    """
    try:
        data = base64.b64decode(user_data, validate=True)
        return (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode()
    except (binascii.Error, OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"the user data cannot be read: {error}") from error


def files_of(user_data: str) -> dict[str, str]:
    """Return the files that cloud-config writes, by path.

    Raises:
        ValueError: it is no cloud-config in base64.
    """
    text = decoded(user_data)
    try:
        document = yaml.safe_load(text) if text.startswith(HEADER) else None
    except yaml.YAMLError as error:
        raise ValueError(f"the user data is no YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError("the user data is no cloud-config")  # noqa: TRY004  # a wrong value, not a wrong type
    return {str(entry.get("path")): str(entry.get("content", "")) for entry in document.get("write_files") or ()}


def size_of(user_data: str) -> int:
    """Return the bytes that EC2 counts."""
    return len(base64.b64decode(user_data))
