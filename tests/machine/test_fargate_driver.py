"""The driver of Fargate tasks: what it asks of ECS, whom it blames, and what it leaves behind. SSH is replaced by its exit codes."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from machine import fargate
from tests.support.fake_ecs import CLUSTER, DEFINITION, ApiError, FakeEcs

if TYPE_CHECKING:
    from pathlib import Path

BUILD, SYSTEM = 1, 2
IMAGE = "222222222222.dkr.ecr.eu-central-1.amazonaws.com/protected/runner:1.0.0-fargate"
SETTINGS = {
    "class": "big",
    "region": "eu-central-1",
    "cluster": "runner-big",
    "container": "job",
    "parameter": "/cicd/runner-big/tasks",
    "images": [IMAGE, IMAGE.removesuffix("-fargate")],
    "port": 2222,
    "user": "runner",
    "public": False,
    "builds_dir": "/builds",
    "cache_dir": "/builds/.cache",
    "identity_folder": "/etc/runner-platform/aws",
    "state_folder": "/var/lib/runner-platform",
    "start_seconds": 600,
}


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    now: float = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def monotonic(self) -> float:
        return self.now


@dataclass
class Ssh:
    """What ssh answers, in order; the last answer stays."""

    codes: list[int] = field(default_factory=lambda: [0])
    output: str = ""
    commands: list[list[str]] = field(default_factory=list)
    texts: list[Any] = field(default_factory=list)

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        if command[0] != "ssh":
            return subprocess.run(command, check=options.pop("check"), **options)
        self.commands.append(command)
        self.texts.append(options.get("input"))
        code = self.codes.pop(0) if len(self.codes) > 1 else self.codes[0]
        return subprocess.CompletedProcess(command, code, self.output, "refused")


@dataclass
class Manager:
    """The manager's container, and one job."""

    folder: Path
    ecs: FakeEcs
    ssh: Ssh
    clock: Clock
    monkeypatch: pytest.MonkeyPatch
    captured: pytest.CaptureFixture[str]
    texts: str = ""

    def stage(self, *arguments: str) -> int:
        """Run a stage of the driver as GitLab Runner does, and return its exit code."""
        self.monkeypatch.setattr("sys.argv", ["fargate.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            fargate.main()
        output = self.captured.readouterr()
        self.texts = output.out + output.err
        return int(ended.value.code or 0)

    def job(self, number: int = 7, **fields: Any) -> None:
        """Take a job: its answer from GitLab, and the variables that the runner makes of it."""
        file = self.folder / "response.json"
        file.write_text(json.dumps({"id": number, "image": None, **fields}))
        self.monkeypatch.setenv("JOB_RESPONSE_FILE", str(file))

    def run(self) -> int:
        """Run a script in the task."""
        script = self.folder / "script"
        script.write_text("true\n")
        return self.stage("run", str(script), "build_script")

    @property
    def stopped(self) -> list[str]:
        return [parameters["task"] for parameters in self.ecs.parameters("StopTask")]


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Manager:
    (tmp_path / "fargate.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "aws-config").write_text("[default]\n")
    ecs, ssh, clock = FakeEcs(), Ssh(), Clock()
    monkeypatch.setattr(fargate, "FOLDER", tmp_path)
    monkeypatch.setattr(fargate, "STATE", tmp_path / "state")
    monkeypatch.setattr(fargate, "client", ecs.client)
    monkeypatch.setattr(fargate, "time", clock)
    monkeypatch.setattr(fargate, "socket", SimpleNamespace(gethostname=lambda: "ip-10-42-1-9.eu-central-1"))
    monkeypatch.setattr(fargate, "subprocess", SimpleNamespace(run=ssh.run, DEVNULL=subprocess.DEVNULL))
    for name in ("CUSTOM_ENV_CI_JOB_IMAGE", "CUSTOM_ENV_CI_JOB_SERVICES", "BUILD_EXIT_CODE_FILE"):
        monkeypatch.delenv(name, raising=False)
    result = Manager(tmp_path, ecs, ssh, clock, monkeypatch, capsys)
    result.job()
    return result


def test_the_stage_config_names_the_driver_and_the_folders_of_jobs(manager: Manager) -> None:
    assert manager.stage("config") == 0
    assert json.loads(manager.texts) == {
        "driver": {"name": "runner-platform fargate", "version": fargate.VERSION},
        "builds_dir": "/builds",
        "cache_dir": "/builds/.cache",
        "builds_dir_is_shared": False,
        "shell": "bash",
    }


def test_a_job_gets_one_task_which_its_cleanup_stops(manager: Manager) -> None:
    assert manager.stage("prepare") == 0
    assert manager.run() == 0
    assert manager.stage("cleanup") == 0
    (task,) = manager.ecs.tasks
    assert manager.stopped == [task]
    assert not (manager.folder / "state/jobs/7").exists(), "keys do not outlive the job"


def test_a_task_is_asked_for_as_the_class_says(manager: Manager) -> None:
    manager.stage("prepare")
    (request,) = manager.ecs.parameters("RunTask")
    (override,) = request["overrides"]["containerOverrides"]
    (variable,) = override["environment"]
    assert set(request["overrides"]) == {"containerOverrides"}, (
        "roles, image and size come from the task definition alone"
    )
    assert set(override) == {"name", "environment"}
    assert variable["name"] == "SSH_PUBLIC_KEY"
    assert variable["value"].startswith("ssh-ed25519 "), "a public key is all that others may read"
    assert request["startedBy"] == "ip-10-42-1-9-eu-central-1/7"
    assert {key: request[key] for key in ("cluster", "taskDefinition", "launchType", "count")} == {
        "cluster": "runner-big",
        "taskDefinition": DEFINITION,
        "launchType": "FARGATE",
        "count": 1,
    }
    assert request["enableExecuteCommand"] is False, "nobody else gets a shell in the task"
    assert request["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-0a", "subnet-0b"],
        "securityGroups": ["sg-0tasks"],
        "assignPublicIp": "DISABLED",
    }


def test_private_keys_differ_between_jobs_and_are_readable_by_the_manager_alone(manager: Manager) -> None:
    keys = []
    for number in (7, 8):
        manager.job(number)
        manager.stage("prepare")
        key = manager.folder / f"state/jobs/{number}/key"
        keys.append(key.read_text())
        assert key.stat().st_mode & 0o077 == 0
        assert key.parent.stat().st_mode & 0o077 == 0
    assert keys[0] != keys[1]
    assert not any(key in json.dumps(manager.ecs.requests) for key in keys)


def test_a_job_s_variable_cannot_name_the_task_of_another_job(manager: Manager) -> None:
    manager.stage("prepare")
    manager.job(8)
    manager.monkeypatch.setenv("CUSTOM_ENV_CI_JOB_ID", "7")
    assert manager.run() == SYSTEM
    assert "job 8 has no Fargate task" in manager.texts
    manager.stage("cleanup")
    assert manager.stopped == [], "job 7 goes on"


@pytest.mark.parametrize(
    ("variables", "fields", "words"),
    [
        ({"CI_JOB_IMAGE": "python:3.13"}, {}, "image python:3.13, and jobs of class big are Fargate tasks"),
        ({"CI_JOB_IMAGE": IMAGE + "x"}, {}, "drop image:, or use a class of executor docker or kubernetes"),
        ({}, {"image": {"name": "", "entrypoint": ["/run.sh"]}}, "image:entrypoint /run.sh"),
        (
            {
                "CI_JOB_SERVICES": '[{"name":"redis:7","alias":"r","entrypoint":null,"command":null},{"name":"postgres"}]'
            },
            {},
            "services redis:7, postgres, and a Fargate task of class big has one container; drop services:",
        ),
    ],
    ids=["image", "similar image", "entry point", "services"],
)
def test_what_a_task_cannot_honour_is_refused_before_it_starts(
    manager: Manager, variables: dict[str, str], fields: dict[str, Any], words: str
) -> None:
    manager.job(**fields)
    for name, value in variables.items():
        manager.monkeypatch.setenv(f"CUSTOM_ENV_{name}", value)
    assert manager.stage("prepare") == BUILD, "another try would not help"
    assert words in manager.texts
    assert manager.ecs.operations() == []


@pytest.mark.parametrize(
    ("variables", "image"),
    [
        ({}, None),
        ({"CI_JOB_IMAGE": IMAGE}, {"name": IMAGE, "entrypoint": [""]}),
        ({"CI_JOB_IMAGE": SETTINGS["images"][1]}, {"name": "x"}),
        ({"CI_JOB_SERVICES": "", "CI_JOB_IMAGE": ""}, {}),
    ],
    ids=["none", "image of the class", "runner image", "empty"],
)
def test_a_job_that_names_the_class_s_own_image_is_taken(
    manager: Manager, variables: dict[str, str], image: Any
) -> None:
    manager.job(image=image)
    for name, value in variables.items():
        manager.monkeypatch.setenv(f"CUSTOM_ENV_{name}", value)
    assert manager.stage("prepare") == 0


CAPACITY = "Capacity is unavailable at this time. Please try again later or in a different availability zone"


@pytest.mark.parametrize(
    "refusal",
    [
        ApiError("ClientException", CAPACITY),
        ApiError("ServerException", "Service Unavailable. Please try again later."),
        ApiError("ClientException", "You've reached the limit on the number of tasks you can run concurrently"),
        "RESOURCE:FARGATE",
        CAPACITY,
    ],
    ids=str,
)
def test_a_shortage_is_waited_for_and_one_task_starts(manager: Manager, refusal: Exception | str) -> None:
    manager.ecs.refusals = [refusal] * 3
    assert manager.stage("prepare") == 0
    assert len(manager.ecs.tasks) == 1
    assert len(manager.ecs.parameters("RunTask")) == 4
    assert manager.clock.now >= 3 * fargate.PAUSE_SECONDS


def test_a_lasting_shortage_is_a_failure_of_the_platform_that_names_its_reason(manager: Manager) -> None:
    manager.ecs.refusals = [CAPACITY] * 1000
    assert manager.stage("prepare") == SYSTEM
    assert f"ECS started no task in 600 s: {CAPACITY}" in manager.texts
    assert manager.clock.now <= 600


@pytest.mark.parametrize(
    "refusal",
    [
        ApiError("AccessDeniedException", "User is not authorized to perform: iam:PassRole"),
        ApiError("ClusterNotFoundException", "Cluster not found."),
        ApiError("InvalidParameterException", "The specified platform does not satisfy the task definition"),
        "MISSING",
    ],
    ids=str,
)
def test_an_error_that_time_does_not_mend_ends_the_stage_at_once(manager: Manager, refusal: Exception | str) -> None:
    manager.ecs.refusals = [refusal]
    assert manager.stage("prepare") == SYSTEM
    assert "ECS starts no task: " in manager.texts
    assert manager.clock.now == 0


def test_a_request_that_is_sent_twice_starts_one_task(manager: Manager) -> None:
    answer, lost = manager.ecs.answer, []

    def lose_the_first_answer(name: str, parameters: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, body = answer(name, parameters)
        if name == "RunTask" and not lost:
            lost.append(name)
            return 500, {"__type": "ServerException", "message": "ServerException"}
        return status, body

    manager.monkeypatch.setattr(manager.ecs, "answer", lose_the_first_answer)
    manager.monkeypatch.setattr("botocore.endpoint.time", manager.clock)
    assert manager.stage("prepare") == 0
    first, second = manager.ecs.parameters("RunTask")
    assert first["clientToken"] == second["clientToken"]
    assert len(manager.ecs.tasks) == 1


def test_tries_of_a_job_have_tokens_of_their_own(manager: Manager) -> None:
    for _ in range(2):
        manager.stage("prepare")
        manager.stage("cleanup")
    first, second = manager.ecs.parameters("RunTask")
    assert first["clientToken"] != second["clientToken"], "with the old one, ECS would answer with the stopped task"
    assert len(manager.ecs.tasks) == 2


def test_a_task_that_never_runs_is_given_up_and_stopped(manager: Manager) -> None:
    manager.ecs.life = ("PROVISIONING", "PENDING")
    assert manager.stage("prepare") == SYSTEM
    assert "does not run after 600 s" in manager.texts
    manager.stage("cleanup")
    assert manager.stopped == list(manager.ecs.tasks)


@pytest.mark.parametrize(
    ("ending", "words", "code"),
    [
        (
            {
                "stoppedReason": "CannotPullContainerError: pull image manifest has been retried 1 time(s)",
                "stopCode": "TaskFailedToStart",
            },
            "has ended: CannotPullContainerError",
            SYSTEM,
        ),
        (
            {"stoppedReason": "Essential container in task exited", "containers": [{"name": "job", "exitCode": 1}]},
            "Essential container in task exited; exit code 1",
            SYSTEM,
        ),
        (
            {
                "containers": [
                    {"name": "job", "reason": "OutOfMemoryError: Container killed due to memory usage", "exitCode": 137}
                ]
            },
            "use a class with more memory",
            BUILD,
        ),
        ({}, "ECS gives no reason", SYSTEM),
    ],
    ids=["no image", "no identity", "no memory", "no reason"],
)
def test_a_task_that_ends_too_early_says_why(manager: Manager, ending: dict[str, Any], words: str, code: int) -> None:
    manager.ecs.life, manager.ecs.ending = ("PENDING", "STOPPED"), ending
    assert manager.stage("prepare") == code
    assert words in manager.texts


def test_the_task_s_server_is_waited_for_and_gets_the_class_s_profiles(manager: Manager) -> None:
    manager.ssh.codes = [255, 255, 0]
    assert manager.stage("prepare") == 0
    assert len(manager.ssh.commands) == 3
    assert manager.ssh.texts[-1] == "[default]\n"
    assert manager.ssh.commands[-1][-1].endswith("cat >/etc/runner-platform/aws/config")


def test_a_task_without_a_server_is_a_failure_of_the_platform(manager: Manager) -> None:
    manager.ssh.codes = [255]
    assert manager.stage("prepare") == SYSTEM
    assert "takes no connection: refused" in manager.texts


def test_the_host_key_is_taken_once_and_only_while_ecs_says_that_the_task_is_there(manager: Manager) -> None:
    manager.stage("prepare")
    manager.run()
    first, second = manager.ssh.commands
    assert "StrictHostKeyChecking=accept-new" in first
    assert "StrictHostKeyChecking=yes" in second
    assert manager.ecs.operations()[-1] == "DescribeTasks", "asked again after the key was seen, before anything secret"


@pytest.mark.parametrize(
    ("life", "address", "words"),
    [
        (("RUNNING", "STOPPED"), "10.42.0.7", "the Fargate task has ended"),
        (("RUNNING",), "10.42.0.8", "no longer runs at 10.42.0.7; its host key is not trusted"),
    ],
    ids=["task ended", "other address"],
)
def test_a_host_key_of_an_address_that_may_be_another_s_is_not_trusted(
    manager: Manager, life: tuple[str, ...], address: str, words: str
) -> None:
    manager.ecs.life = life

    def move(operation: str) -> None:
        if operation == "DescribeTasks":
            manager.ecs.address = address

    manager.ecs.after = move
    assert manager.stage("prepare") == SYSTEM
    assert words in manager.texts


@pytest.mark.parametrize("code", [1, 2, 137, 254])
def test_a_job_s_exit_code_is_passed_on_as_a_failure_of_the_job(manager: Manager, code: int) -> None:
    manager.stage("prepare")
    file = manager.folder / "code"
    manager.monkeypatch.setenv("BUILD_EXIT_CODE_FILE", str(file))
    manager.ssh.codes = [code]
    assert manager.run() == BUILD
    assert file.read_text() == str(code)


def test_a_job_that_ends_with_ssh_s_own_code_is_told_from_a_lost_connection(manager: Manager) -> None:
    manager.stage("prepare")
    manager.ssh.codes, manager.ssh.output = [255, 0], "255\n"
    assert manager.run() == BUILD


@pytest.mark.parametrize(
    ("life", "ending", "code", "words"),
    [
        (("RUNNING",), {}, SYSTEM, "the connection to the Fargate task is lost"),
        (
            ("RUNNING", "RUNNING", "STOPPED"),
            {"stoppedReason": "Host maintenance"},
            SYSTEM,
            "has ended: Host maintenance",
        ),
        (("RUNNING", "RUNNING", "STOPPED"), {"stoppedReason": "OutOfMemoryError: killed"}, BUILD, "too little memory"),
    ],
    ids=["network", "task ended", "memory"],
)
def test_a_task_that_dies_in_the_middle_is_told_from_a_failing_job(
    manager: Manager, life: tuple[str, ...], ending: dict[str, Any], code: int, words: str
) -> None:
    manager.ecs.life, manager.ecs.ending = life, ending
    manager.stage("prepare")
    manager.ssh.codes = [255]
    assert manager.run() == code
    assert words in manager.texts


def test_exit_codes_are_those_that_the_runner_asks_for(manager: Manager) -> None:
    manager.monkeypatch.setenv("BUILD_FAILURE_EXIT_CODE", "41")
    manager.monkeypatch.setenv("SYSTEM_FAILURE_EXIT_CODE", "42")
    assert manager.run() == 42
    manager.monkeypatch.setenv("CUSTOM_ENV_CI_JOB_IMAGE", "python")
    assert manager.stage("prepare") == 41


def test_cleanup_stops_a_task_that_prepare_could_not_note(manager: Manager) -> None:
    manager.ecs.after = _raise_after("RunTask", KeyboardInterrupt)
    manager.monkeypatch.setattr("sys.argv", ["fargate.py", "prepare"])
    with pytest.raises(KeyboardInterrupt):
        fargate.main()
    manager.ecs.after = None
    assert manager.stage("cleanup") == 0
    assert manager.stopped == list(manager.ecs.tasks)
    assert len(manager.stopped) == 1


def test_cleanup_of_a_job_without_a_task_does_nothing(manager: Manager) -> None:
    assert manager.stage("cleanup") == 0
    assert manager.stopped == []


def test_cleanup_of_a_task_that_ecs_has_forgotten_succeeds(manager: Manager) -> None:
    manager.stage("prepare")
    manager.ecs.tasks.clear()
    assert manager.stage("cleanup") == 0


def test_a_task_that_cannot_be_stopped_is_reported_after_several_tries(manager: Manager) -> None:
    manager.stage("prepare")

    def refuse(task: str, **_: Any) -> dict[str, Any]:
        raise ApiError("ClientException", f"no {task}")

    manager.monkeypatch.setattr(manager.ecs, "_StopTask", refuse)
    assert manager.stage("cleanup") == SYSTEM
    assert "is not stopped" in manager.texts
    assert "it ends by itself" in manager.texts
    assert len(manager.stopped) == fargate.STOP_TRIES


def test_a_manager_that_starts_again_stops_its_own_tasks_and_no_others(manager: Manager) -> None:
    manager.stage("prepare")
    manager.job(8)
    manager.stage("prepare")
    own = list(manager.ecs.tasks)
    manager.ecs.tasks["arn:aws:ecs:eu-central-1:222222222222:task/runner-big/f0"] = {
        "taskArn": "arn:aws:ecs:eu-central-1:222222222222:task/runner-big/f0",
        "startedBy": "ip-10-42-1-90-eu-central-1/9",
        "desiredStatus": "RUNNING",
        "age": 0,
    }
    assert manager.stage("sweep") == 0
    assert manager.stopped == own, "the predecessor finishes its jobs"
    assert list((manager.folder / "state").iterdir()) == []


def test_every_call_stays_within_the_class_s_cluster(manager: Manager) -> None:
    manager.stage("prepare")
    manager.stage("cleanup")
    manager.stage("sweep")
    calls = [(name, parameters) for name, parameters in manager.ecs.requests if name != "GetParameter"]
    assert {parameters["cluster"] for _, parameters in calls} == {"runner-big"}
    assert CLUSTER.endswith("/runner-big")
    assert {name for name, _ in manager.ecs.requests} == {
        "GetParameter",
        "RunTask",
        "DescribeTasks",
        "ListTasks",
        "StopTask",
    }


def _raise_after(operation: str, error: type[BaseException]) -> Any:
    def raise_error(name: str) -> None:
        if name == operation:
            raise error

    return raise_error
