"""The entry point of a Fargate task: credentials in a file, an SSH server for one key, and an end in every case."""

from __future__ import annotations

import io
import json
import subprocess
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from machine import task

if TYPE_CHECKING:
    from pathlib import Path

SESSION = {
    "RoleArn": "arn:aws:iam::222222222222:role/cicd/runner-big",
    "AccessKeyId": "ASIAEXAMPLE",
    "SecretAccessKey": "secret",
    "Token": "token",
    "Expiration": "2026-12-01T12:00:00Z",
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKeyOfOneJob job-7"


@dataclass
class Endpoint:
    """ECS's address for credentials."""

    failures: int = 0
    asked: list[str] = field(default_factory=list)

    def urlopen(self, url: str, timeout: int) -> io.BytesIO:
        self.asked.append(url)
        assert timeout < task.RENEW_SECONDS
        if self.failures:
            self.failures -= 1
            raise OSError("connection refused")
        return io.BytesIO(json.dumps(SESSION).encode())


@dataclass
class Server:
    """An SSH server that runs for some seconds; time passes while somebody waits for it."""

    seconds: float = float("inf")
    now: float = 0.0
    pid: int = 1

    def wait(self, timeout: float) -> int:
        self.now += timeout
        if self.now < self.seconds:
            raise subprocess.TimeoutExpired("sshd", timeout)
        return 0

    def watched(self, seconds: int) -> int:
        return task.watch(cast("Any", self), "/v2/credentials/id", seconds)


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Endpoint:
    endpoint = Endpoint()
    monkeypatch.setattr(task, "IDENTITY", tmp_path / "aws")
    monkeypatch.setattr(task, "STATE", tmp_path / "state")
    monkeypatch.setattr(task.urllib.request, "urlopen", endpoint.urlopen)
    return endpoint


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    sleep = SimpleNamespace(monotonic=lambda: server.now, sleep=lambda _: None)
    monkeypatch.setattr(task, "time", sleep)
    monkeypatch.setattr(task, "connections", lambda _: 0)
    return server


def test_a_session_is_written_as_credential_process_reads_it(endpoint: Endpoint) -> None:
    task.renew("/v2/credentials/id")
    file = task.IDENTITY / "credentials.json"
    assert json.loads(file.read_text()) == {
        "Version": 1,
        "AccessKeyId": "ASIAEXAMPLE",
        "SecretAccessKey": "secret",
        "SessionToken": "token",
        "Expiration": "2026-12-01T12:00:00Z",
    }
    assert file.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in task.IDENTITY.iterdir()] == ["credentials.json"], "replaced in one step"
    assert endpoint.asked == ["http://169.254.170.2/v2/credentials/id"]


def test_the_first_session_is_waited_for(endpoint: Endpoint, server: Server) -> None:
    endpoint.failures = task.FIRST_TRIES - 1
    task.first_credentials("/v2/credentials/id")
    assert (task.IDENTITY / "credentials.json").exists()
    assert server.now == 0


@pytest.mark.usefixtures("server")
def test_a_task_without_an_identity_ends_and_says_so(endpoint: Endpoint) -> None:
    endpoint.failures = 1000
    with pytest.raises(SystemExit, match="no AWS identity; see the trust of its job role"):
        task.first_credentials("/v2/credentials/id")


@pytest.mark.parametrize(
    "key",
    ["", "ssh-rsa AAAA job-7", f"{KEY}\nssh-ed25519 AAAA job-8", f'command="id" {KEY}', f"{KEY} x"],
    ids=["none", "other kind", "two keys", "options", "comment"],
)
@pytest.mark.usefixtures("endpoint")
def test_only_the_public_key_of_a_job_is_taken(key: str) -> None:
    with pytest.raises(SystemExit, match="is not the public key of a job"):
        task.serve(key, 2222)


@pytest.mark.usefixtures("endpoint")
def test_jobs_get_the_image_s_variables_and_none_of_ecs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/etc/runner-platform/aws/config")
    for name in ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "ECS_CONTAINER_METADATA_URI_V4", "AWS_EXECUTION_ENV"):
        monkeypatch.setenv(name, "of-ecs")
    text = task.server_config(2222)
    assert '"AWS_CONFIG_FILE=/etc/runner-platform/aws/config"' in text
    assert "of-ecs" not in text


@pytest.mark.usefixtures("endpoint")
def test_the_server_takes_keys_alone_and_forwards_nothing() -> None:
    lines = set(task.server_config(2222).splitlines())
    assert {
        "Port 2222",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "DisableForwarding yes",
        "PermitUserEnvironment no",
    } <= lines


@pytest.mark.usefixtures("endpoint")
def test_a_task_that_nobody_needs_ends_after_some_minutes(server: Server) -> None:
    assert server.watched(7200) == 0
    assert task.IDLE_SECONDS < server.now <= task.IDLE_SECONDS + 2 * task.WATCH_SECONDS


@pytest.mark.usefixtures("endpoint")
def test_a_task_ends_when_the_longest_job_is_over_though_somebody_is_connected(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "connections", lambda _: 1)
    assert server.watched(7200) == 0
    assert 7200 < server.now <= 7200 + 2 * task.WATCH_SECONDS


@pytest.mark.usefixtures("endpoint")
def test_a_task_whose_server_ends_is_a_failure(server: Server) -> None:
    server.seconds = 60
    assert server.watched(7200) == 1


def test_the_session_is_renewed_while_a_job_runs_and_a_failure_is_tried_again_soon(
    endpoint: Endpoint, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(task, "connections", lambda _: 1)
    endpoint.failures = 2
    server.watched(3600)
    in_time = 3600 // task.RENEW_SECONDS
    assert in_time + 1 <= len(endpoint.asked) <= in_time + 2
    assert (task.IDENTITY / "credentials.json").exists()


def test_processes_of_a_server_are_counted() -> None:
    with subprocess.Popen(["sleep", "60"]) as child:
        own = task.connections(child.pid)
        children = task.connections(int(subprocess.check_output(["sh", "-c", "echo $PPID"])))
        child.kill()
    assert own == 0
    assert children >= 1
