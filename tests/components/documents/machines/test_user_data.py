"""User data of machines: it fits EC2, holds no secret, and its units wait for what they need."""

from __future__ import annotations

import json
import tomllib
from configparser import RawConfigParser
from typing import Any

import pytest
import yaml

from components.documents.machines import user_data
from components.documents.machines.config import CA_FILE
from tests.support.machine_classes import (
    AUTOSCALER,
    BY_EXECUTOR,
    DOCKER,
    FARGATE,
    certificates,
    machine_class,
    stack_of_machines,
)
from tests.support.program import complaints, parsed

MANAGERS = pytest.mark.parametrize("values", BY_EXECUTOR.values(), ids=BY_EXECUTOR)
ETC, UNITS = "/etc/runner-platform", "/etc/systemd/system"


def manager(values: dict[str, Any], **changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(
        user_data.decoded(user_data.manager_user_data(machine_class(values, **changes)))
    )
    return document


def worker() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(user_data.decoded(user_data.worker_user_data(machine_class(AUTOSCALER))))
    return document


def files(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["path"]: entry for entry in document["write_files"]}


def unit(document: dict[str, Any], name: str) -> dict[str, list[tuple[str, str]]]:
    """Return the sections of a unit; a key may be there several times."""
    sections: dict[str, list[tuple[str, str]]] = {}
    for line in files(document)[f"{UNITS}/{name}"]["content"].splitlines():
        if line.startswith("["):
            current = sections.setdefault(line.strip("[]"), [])
        elif line:
            key, _, value = line.partition("=")
            current.append((key, value))
    return sections


def value(document: dict[str, Any], name: str, key: str) -> str:
    (text,) = [text for lines in unit(document, name).values() for line, text in lines if line == key]
    return text


@MANAGERS
def test_user_data_of_a_manager_fits_ec2(values: dict[str, Any]) -> None:
    size = user_data.size_of(user_data.manager_user_data(machine_class(values)))
    assert size < user_data.LARGEST * 3 // 4, "there is room for a private certificate authority"


def test_user_data_of_a_worker_fits_ec2() -> None:
    assert user_data.size_of(user_data.worker_user_data(machine_class(AUTOSCALER))) < user_data.LARGEST * 3 // 4


def test_user_data_is_the_same_in_every_run() -> None:
    settings = machine_class(DOCKER)
    assert user_data.manager_user_data(settings) == user_data.manager_user_data(settings), "else machines roll"


@pytest.mark.parametrize(("size", "fits"), [(5_000, True), (64 * 1024, False)])
def test_check_refuses_certificates_that_make_user_data_too_long(size: int, fits: bool) -> None:
    stack = stack_of_machines(medium=DOCKER)
    stack["gitlab"]["ca_bundle"] = certificates(size)
    problems = complaints(stack)
    if fits:
        assert problems == {}
    else:
        assert set(problems) == {"gitlab.ca_bundle"}
        assert "makes the user data of class medium" in problems["gitlab.ca_bundle"]
        assert "EC2 takes 16384; keep only the certificate that signed GitLab's own" in problems["gitlab.ca_bundle"]


def test_check_refuses_more_accounts_than_user_data_holds() -> None:
    stack = stack_of_machines(medium=DOCKER)
    stack["accounts"] |= {
        f"application-{number * 7919 % 100_003}": {
            "id": str(10**11 + number * 7_654_321_987 % 10**11),
            "open": ["state"],
        }
        for number in range(900)
    }
    problems = complaints(stack)
    assert "write_files" not in problems
    assert "EC2 takes 16384; narrow the class with accounts" in problems["runners.medium.accounts"]


@MANAGERS
def test_no_secret_is_in_user_data(values: dict[str, Any]) -> None:
    document = manager(values)
    assert "glrt-" not in json.dumps(document)
    (runner,) = tomllib.loads(files(document)[f"{ETC}/config.toml"]["content"])["runners"]
    assert "token" not in runner, "the machine fetches it at each start"


@MANAGERS
def test_the_drain_starts_before_what_may_wait_long(values: dict[str, Any]) -> None:
    commands = manager(values)["runcmd"]
    starts = [command[-1] for command in commands if command[:2] == ["systemctl", "enable"]]
    assert starts[0] == "runner-platform-drain"
    assert starts[-1] == "gitlab-runner"
    assert commands.index(["systemctl", "daemon-reload"]) < commands.index(["systemctl", "restart", "docker"])


@MANAGERS
def test_every_started_unit_is_written(values: dict[str, Any]) -> None:
    document = manager(values)
    for command in document["runcmd"]:
        if command[:2] == ["systemctl", "enable"]:
            name = command[-1] if "." in command[-1] else f"{command[-1]}.service"
            assert f"{UNITS}/{name}" in files(document)
            assert "Install" in unit(document, name), "else it does not start after a reboot"


def test_the_worker_user_joins_docker_after_the_package_made_the_group() -> None:
    document = worker()
    assert document["runcmd"][0] == ["usermod", "--append", "--groups", "docker", "ubuntu"]
    assert "system_info" not in document, "cloud-init would make the group before the package, which then fails"
    assert {command[-1] for command in document["runcmd"][3:]} == {
        "runner-platform-network",
        "runner-platform-credentials",
        "runner-platform-clean.timer",
    }, "a worker has no runner"


def test_a_worker_holds_neither_the_runner_nor_its_token() -> None:
    paths = set(files(worker()))
    assert not {f"{ETC}/config.toml", f"{UNITS}/gitlab-runner.service", "/root/.docker/config.json"} & paths
    assert "token_parameter" not in json.loads(files(worker())[f"{ETC}/host.json"]["content"])


@pytest.mark.parametrize(("values", "jobs"), [(DOCKER, True), (AUTOSCALER, False), (FARGATE, False)], ids=BY_EXECUTOR)
def test_the_runner_starts_after_network_and_credentials_of_its_jobs(values: dict[str, Any], jobs: bool) -> None:
    document = manager(values)
    for key in ("After", "Requires"):
        needs = value(document, "gitlab-runner.service", key).split()
        assert "docker.service" in needs
        for name in ("network", "credentials"):
            assert (f"runner-platform-{name}.service" in needs) is jobs
    assert (f"{UNITS}/runner-platform-network.service" in files(document)) is jobs


def test_credentials_count_as_started_with_the_first_session() -> None:
    document = manager(DOCKER)
    assert value(document, "runner-platform-credentials.service", "Type") == "notify"
    assert value(document, "runner-platform-credentials.service", "TimeoutStartSec") == "infinity", (
        "a unit that fails to start takes the runner with it, for ever"
    )


@pytest.mark.parametrize("longest_job", ["10m", "1h", "24h"])
@MANAGERS
def test_the_runner_gets_the_time_of_its_longest_job(values: dict[str, Any], longest_job: str) -> None:
    seconds = {"10m": 600, "1h": 3600, "24h": 24 * 3600}[longest_job]
    document = manager(values, longest_job=longest_job)
    assert value(document, "gitlab-runner.service", "ExecStop").split()[1:4] == ["stop", "-t", str(seconds + 600)]
    assert int(value(document, "gitlab-runner.service", "TimeoutStopSec")) > seconds + 600
    assert "--stop-signal SIGQUIT" in value(document, "gitlab-runner.service", "ExecStart")
    assert value(document, "gitlab-runner.service", "TimeoutStartSec") == "infinity", "it waits for its predecessor"


def test_jobs_of_a_runner_that_died_are_removed_where_they_ran() -> None:
    removal = "docker ps --all --quiet --filter label=com.gitlab.gitlab-runner.managed=true"
    assert removal in files(manager(DOCKER))[f"{UNITS}/gitlab-runner.service"]["content"]
    assert removal not in files(manager(AUTOSCALER))[f"{UNITS}/gitlab-runner.service"]["content"]


def test_only_a_manager_of_jobs_gets_the_socket_of_docker() -> None:
    for values in BY_EXECUTOR.values():
        start = value(manager(values), "gitlab-runner.service", "ExecStart")
        assert ("/var/run/docker.sock" in start) is (values is DOCKER)
        assert "--privileged" not in start


def test_a_manager_of_workers_is_alone() -> None:
    for values in BY_EXECUTOR.values():
        settings = machine_class(values)
        document = json.loads(files(manager(values))[f"{ETC}/host.json"]["content"])
        expected = settings.names.manager_group("medium") if values is AUTOSCALER else None
        assert document.get("alone_in") == expected


def test_a_private_certificate_authority_reaches_the_runner() -> None:
    stack = stack_of_machines(medium=DOCKER)
    stack["gitlab"]["ca_bundle"] = bundle = certificates(3000)
    settings = parsed(stack).machine_classes["medium"]
    document = yaml.safe_load(user_data.decoded(user_data.manager_user_data(settings)))
    assert files(document)[CA_FILE]["content"].strip() == bundle.strip()
    assert f"--volume {CA_FILE}:{CA_FILE}:ro" in value(document, "gitlab-runner.service", "ExecStart")
    assert f'tls-ca-file = "{CA_FILE}"' in files(document)[f"{ETC}/config.toml"]["content"]


@MANAGERS
def test_secret_files_are_for_root_alone(values: dict[str, Any]) -> None:
    modes = {path: entry["permissions"] for path, entry in files(manager(values)).items()}
    assert modes[f"{ETC}/config.toml"] == modes["/root/.docker/config.json"] == "0600"
    assert modes[user_data.HOST_PROGRAM] == "0755"
    assert {mode for path, mode in modes.items() if path.startswith(UNITS)} == {"0644"}


def test_the_daemon_has_a_network_for_every_job() -> None:
    daemon = json.loads(files(manager(DOCKER))["/etc/docker/daemon.json"]["content"])
    (pool,) = daemon["default-address-pools"]
    prefix = int(pool["base"].partition("/")[2])
    assert 2 ** (pool["size"] - prefix) > 100, "as many as `concurrent` may be"
    assert daemon["userns-remap"] == "default", "root in a container is nobody on the machine"


@pytest.mark.parametrize("text", ["", "bm90aGluZw==", "%%%", "I2Nsb3VkLWNvbmZpZwpbMSwgMl0K"])
def test_foreign_user_data_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="user data"):
        user_data.files_of(text)


def test_an_aws_config_of_a_machine_is_what_its_files_say() -> None:
    parser = RawConfigParser()
    parser.read_string(files(worker())[f"{ETC}/aws-config"]["content"])
    assert parser["default"]["credential_process"] == "cat /etc/runner-platform/aws/credentials.json"
    assert "profile base" in parser
