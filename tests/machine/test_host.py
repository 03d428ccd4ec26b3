"""The program of an EC2 instance: metadata, token, credentials, closed networks, drain and clean-up."""

from __future__ import annotations

import datetime as dt
import json
import re
import socket
import subprocess
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.stub import Stubber

from machine import host
from tests.support.instance_metadata import metadata_service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOKEN = "glrt-t1_abc.01.Fabricated-1"  # fabricated
GROUP, INSTANCE = "medium-manager", "i-0123456789abcdef0"
SETTINGS = {
    "region": "eu-central-1",
    "endpoint_cidrs": ["10.0.9.0/28"],
    "identity": {"role_arn": "arn:aws:iam::222222222222:role/job", "session_name": "runner-medium"},
    "token_parameter": "/cicd/runner-medium/token",
    "drain": {"group": GROUP, "hook": "drain"},
}
MAC = "0a:ff:00:00:00:01"
ENTRIES = {
    "instance-id": INSTANCE,
    "autoscaling/target-lifecycle-state": "Terminated",
    "network/interfaces/macs/": f"{MAC}/",
    f"network/interfaces/macs/{MAC}/vpc-ipv4-cidr-blocks": "10.0.0.0/16\n10.9.0.0/16",
}


class StopError(Exception):
    """Ends an endless loop of the program."""


class Clock:
    """Time that passes only when the program sleeps or waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rounds = 1000

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.rounds -= 1
        if self.rounds <= 0:
            raise StopError


@pytest.fixture
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "host.json").write_text(json.dumps(SETTINGS))
    (folder / "config.toml").write_text('concurrent = 1\n\n[[runners]]\nname = "medium"\n')
    (folder / "aws-config").write_text("[default]\n")
    monkeypatch.setattr(host, "FOLDER", folder)
    monkeypatch.setattr(host, "RUN", tmp_path / "run")
    return folder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(host, "time", clock)
    return clock


@pytest.fixture
def metadata(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    entries = dict(ENTRIES)
    with metadata_service(entries) as address:
        monkeypatch.setattr(host, "METADATA", address)
        yield entries


@cache
def client_of(service: Any) -> Any:
    """Make the client of a service once; loading AWS's models takes most of the time of these tests."""
    return boto3.client(
        service, region_name="eu-central-1", aws_access_key_id="x", aws_secret_access_key="x"
    )  # fabricated


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Stubber]:
    """Return a function that replaces the client of a service; the stub holds calls and answers against AWS's model."""

    def replace(service: Any) -> Stubber:
        client = client_of(service)
        stubber = Stubber(client)
        stubber.activate()
        monkeypatch.setattr(host, "client", lambda _: client)
        return stubber

    return replace


def credentials(key: str) -> dict[str, Any]:
    keys = {"AccessKeyId": f"ASIA{key:0>16}", "SecretAccessKey": "s", "SessionToken": f"session-{key}"}
    ends = dt.datetime(2026, 11, 30, 17, 0, tzinfo=dt.timezone(dt.timedelta(hours=1)))
    return {"Credentials": {**keys, "Expiration": ends}}


def parameter(value: str) -> dict[str, Any]:
    return {"Parameter": {"Name": SETTINGS["token_parameter"], "Value": value}}


def test_metadata_asks_with_a_token(metadata: dict[str, str]) -> None:
    assert host.metadata("instance-id") == INSTANCE
    assert host.metadata("spot/instance-action") == "", "an entry that is not there is an empty text"
    assert metadata


def test_an_error_of_the_metadata_service_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with metadata_service(ENTRIES, refusals=[503]) as address:
        monkeypatch.setattr(host, "METADATA", address)
        with pytest.raises(OSError, match="answers 503 for instance-id"):
            host.metadata("instance-id")


@pytest.mark.usefixtures("metadata")
def test_the_configuration_gets_the_token_and_is_for_root_alone(etc: Path, stub: Callable[[str], Stubber]) -> None:
    with stub("ssm") as ssm:
        ssm.add_response(
            "get_parameter", parameter(TOKEN), {"Name": SETTINGS["token_parameter"], "WithDecryption": True}
        )
        host.configure()
    file = host.RUN / "gitlab-runner/config.toml"
    assert file.read_text() == f'concurrent = 1\n\n[[runners]]\ntoken = "{TOKEN}"\nname = "medium"\n'
    assert file.stat().st_mode & 0o777 == 0o600
    assert etc.is_dir()
    name = (host.RUN / "gitlab-runner/.runner_system_id").read_text()
    assert re.fullmatch(r"r_[0-9a-zA-Z]{12}", name), "the runner takes no other name (its system_id_state.go)"
    assert name == host.system_id(INSTANCE) != host.system_id("i-1"), "a restart of the instance keeps the name"


@pytest.mark.parametrize("value", ['x"\nexecutor = "shell', "", "pending", "a b" * 5, "t" * 300, "glrt-ü123456789"])
@pytest.mark.usefixtures("etc")
def test_what_is_no_token_never_gets_into_the_configuration(value: str, stub: Callable[[str], Stubber]) -> None:
    with stub("ssm") as ssm:
        ssm.add_response("get_parameter", parameter(value))
        with pytest.raises(SystemExit, match="holds no runner token; run `pulumi up`") as caught:
            host.configure()
    assert not value or value not in str(caught.value), "the message does not repeat a secret"
    assert not (host.RUN / "gitlab-runner").exists()


def test_files_are_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "folder/file"
    host.write(file, "first", 0o444)
    with file.open() as reader:
        host.write(file, "second", 0o444)
        assert reader.read() == "first", "a reader keeps the file that it opened"
    assert file.read_text() == "second"
    assert file.stat().st_mode & 0o777 == 0o444
    assert [entry.name for entry in file.parent.iterdir()] == ["file"]


def test_the_session_is_what_a_credential_process_prints(etc: Path, stub: Callable[[str], Stubber]) -> None:
    expected = {"RoleArn": "arn:aws:iam::222222222222:role/job", "RoleSessionName": "runner-medium"}
    with stub("sts") as sts:
        sts.add_response("assume_role", credentials("1"), {**expected, "DurationSeconds": 3600})
        document = json.loads(host.session())
    assert document == {
        "Version": 1,
        "AccessKeyId": "ASIA0000000000000001",
        "SecretAccessKey": "s",
        "SessionToken": "session-1",
        "Expiration": "2026-11-30T16:00:00Z",
    }
    assert etc.is_dir()


@pytest.mark.usefixtures("etc")
def test_a_session_that_cannot_be_renewed_stays(
    clock: Clock, stub: Callable[[str], Stubber], capsys: pytest.CaptureFixture[str]
) -> None:
    clock.rounds = 3
    with stub("sts") as sts:
        sts.add_response("assume_role", credentials("1"))
        sts.add_client_error("assume_role", "AccessDenied")
        sts.add_response("assume_role", credentials("2"))
        seen = []

        def sleep(seconds: float, passed: Callable[[float], None] = clock.sleep) -> None:
            file = host.RUN / "runner-platform/aws/credentials.json"
            seen.append((seconds, json.loads(file.read_text())["SessionToken"]))
            passed(seconds)

        clock.sleep = sleep  # type: ignore[method-assign]
        with pytest.raises(StopError):
            host.credentials()
    assert seen == [(900, "session-1"), (10, "session-1"), (900, "session-2")]
    assert "AccessDenied" in capsys.readouterr().err
    folder = host.RUN / "runner-platform/aws"
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {
        "config": 0o444,
        "credentials.json": 0o444,
    }
    assert folder.stat().st_mode & 0o005 == 0o005, "any user of a container may read"


@pytest.mark.usefixtures("etc")
def test_units_wait_for_the_first_session(
    clock: Clock, stub: Callable[[str], Stubber], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock.rounds = 2
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, stub("sts") as sts:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        sts.add_client_error("assume_role", "AccessDenied")
        sts.add_response("assume_role", credentials("1"))
        heard = []

        def sleep(seconds: float, passed: Callable[[float], None] = clock.sleep) -> None:
            try:
                heard.append(systemd.recv(100))
            except BlockingIOError:
                heard.append(b"")
            passed(seconds)

        clock.sleep = sleep  # type: ignore[method-assign]
        with pytest.raises(StopError):
            host.credentials()
    assert heard == [b"", b"READY=1"], "a unit without a session has not started"


def members(*states: tuple[str, str]) -> dict[str, Any]:
    group = {
        "AutoScalingGroupName": GROUP,
        "MinSize": 1,
        "MaxSize": 1,
        "DesiredCapacity": 1,
        "DefaultCooldown": 300,
        "AvailabilityZones": ["eu-central-1a"],
        "HealthCheckType": "EC2",
        "CreatedTime": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "Instances": [
            {
                "InstanceId": instance,
                "AvailabilityZone": "eu-central-1a",
                "LifecycleState": state,
                "HealthStatus": "Healthy",
                "ProtectedFromScaleIn": False,
            }
            for instance, state in states
        ],
    }
    return {"AutoScalingGroups": [group]}


@pytest.mark.usefixtures("metadata")
def test_a_manager_of_workers_waits_for_its_predecessor(
    etc: Path, clock: Clock, stub: Callable[[str], Stubber], capsys: pytest.CaptureFixture[str]
) -> None:
    (etc / "host.json").write_text(json.dumps({**SETTINGS, "alone_in": GROUP}))
    old, new = "i-00000000000000001", (INSTANCE, "InService")
    with stub("autoscaling") as autoscaling:
        for state in ("InService", "Terminating:Wait", "Terminating:Proceed"):
            autoscaling.add_response("describe_auto_scaling_groups", members((old, state), new))
        autoscaling.add_response("describe_auto_scaling_groups", members((old, "Terminated"), new))
        host.wait_for_predecessor()
    assert clock.now == 30
    assert f"waiting for {old}" in capsys.readouterr().err


@pytest.mark.usefixtures("etc")
def test_a_manager_that_runs_jobs_itself_waits_for_nobody(clock: Clock) -> None:
    host.wait_for_predecessor()
    assert clock.now == 0


def test_rules_close_networks_in_order() -> None:
    assert host.rules(["10.0.0.0/16", "10.9.0.0/16"], ["10.0.9.0/28"]) == [
        "-A RUNNER-PLATFORM -m conntrack --ctstate ESTABLISHED,RELATED -j RETURN",
        "-A RUNNER-PLATFORM -p udp -d 10.0.0.2 --dport 53 -j RETURN",
        "-A RUNNER-PLATFORM -p tcp -d 10.0.0.2 --dport 53 -j RETURN",
        "-A RUNNER-PLATFORM -p tcp -d 10.0.9.0/28 --dport 443 -j RETURN",
        "-A RUNNER-PLATFORM -d 169.254.0.0/16 -j REJECT",
        "-A RUNNER-PLATFORM -d 10.0.0.0/16 -j REJECT",
        "-A RUNNER-PLATFORM -d 10.9.0.0/16 -j REJECT",
    ]


def test_the_network_unit_waits_for_metadata(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with metadata_service(ENTRIES, refusals=[500, 503]) as address:
        monkeypatch.setattr(host, "METADATA", address)
        assert host.networks_of_vpc() == ["10.0.0.0/16", "10.9.0.0/16"]
    assert clock.now == 20
    assert "answers 503" in capsys.readouterr().err


@pytest.mark.parametrize("present", [False, True])
@pytest.mark.usefixtures("etc", "metadata")
def test_the_network_unit_can_run_again(present: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        commands.append(command)
        return SimpleNamespace(returncode=0 if present or "--check" not in command else 1)

    monkeypatch.setattr(subprocess, "run", run)
    host.network()
    assert commands[0] == ["iptables-restore", "--wait", "--noflush"], "the chain changes in one step"
    inserted = [command[3:] for command in commands if "--insert" in command]
    expected = [
        [chain, "--in-interface", bridge, "--jump", target]
        for chain, target in (("DOCKER-USER", "RUNNER-PLATFORM"), ("INPUT", "REJECT"))
        for bridge in ("docker0", "br-+")
    ]
    assert inserted == ([] if present else expected), "a jump is there once"


class Stopping:
    """`systemctl stop`, which takes its time."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._end = clock, clock.now + seconds

    def wait(self, timeout: float) -> int:
        if self._clock.now + timeout < self._end:
            self._clock.now += timeout
            raise subprocess.TimeoutExpired("systemctl", timeout)
        self._clock.now = self._end
        return 0


HOOK = {"AutoScalingGroupName": GROUP, "LifecycleHookName": "drain", "InstanceId": INSTANCE}


@pytest.mark.parametrize(("seconds", "heartbeats"), [(1, 0), (601, 1), (4200, 6), (24 * 3600, 143)])
@pytest.mark.usefixtures("etc", "metadata")
def test_the_group_hears_from_a_drain_until_the_runner_has_stopped(
    seconds: int, heartbeats: int, clock: Clock, stub: Callable[[str], Stubber], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def popen(command: list[str]) -> Stopping:
        started.append(command)
        return Stopping(clock, seconds)

    monkeypatch.setattr(subprocess, "Popen", popen)
    with stub("autoscaling") as autoscaling:
        for _ in range(heartbeats):
            autoscaling.add_response("record_lifecycle_action_heartbeat", {}, HOOK)
        autoscaling.add_response("complete_lifecycle_action", {}, {**HOOK, "LifecycleActionResult": "CONTINUE"})
        host.drain()
        autoscaling.assert_no_pending_responses()
    assert started == [["systemctl", "stop", "gitlab-runner.service"]]
    assert clock.now == seconds


@pytest.mark.usefixtures("etc")
def test_an_instance_in_service_only_looks(clock: Clock, metadata: dict[str, str]) -> None:
    metadata["autoscaling/target-lifecycle-state"] = "InService"
    clock.rounds = 20
    with pytest.raises(StopError):
        host.drain()
    assert clock.now == 20 * host.POLL_SECONDS


@pytest.mark.parametrize(("used", "age"), [(79, ["--filter", "until=72h"]), (81, [])])
def test_a_full_disk_loses_every_unused_image(used: int, age: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(host.shutil, "disk_usage", lambda _: SimpleNamespace(used=used, total=100))
    monkeypatch.setattr(subprocess, "run", lambda command, **_: commands.append(command))
    host.clean()
    assert commands == [
        ["docker", "image", "prune", "--all", "--force", *age],
        ["docker", "volume", "prune", "--force"],
        ["docker", "network", "prune", "--force", "--filter", "until=1h"],
    ]
