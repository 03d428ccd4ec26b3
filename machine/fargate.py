#!/usr/bin/python3 -I
"""The driver of GitLab Runner's custom executor that runs each job in a Fargate task of its own.

It is part of the manager's image. GitLab Runner starts it once for each stage of a job: `config`, `prepare`, `run`, `cleanup`; the manager's
unit starts `sweep` before the runner. Settings are in `/etc/runner-platform/fargate.json`, which
`components/documents/machines/tasks.py` writes; the parameter that it names holds what AWS decides: subnets, security group, task definition.

How the driver knows its task: the task makes its host key itself, and the driver takes the first one that it sees, between two answers of ECS
that the task runs at this address. A task never runs again after its end, and nothing else can have its address meanwhile, so the key is the
task's. Nothing secret is sent before the second answer. A key in the task's overrides would be readable by everybody who may describe tasks,
and a fingerprint in the task's log would cost seconds for each job.
Sources: https://docs.gitlab.com/runner/executors/custom/, https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_RunTask.html
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import typing
import uuid

VERSION = "1.0.0"
FOLDER = pathlib.Path(os.environ.get("RUNNER_PLATFORM_ETC", "/etc/runner-platform"))
STATE = pathlib.Path(os.environ.get("RUNNER_PLATFORM_STATE", "/run/runner-platform"))
"""A folder in memory: the keys of jobs are never on a disk."""
POLL_SECONDS = 2
PAUSE_SECONDS = 10
STOP_TRIES = 5
SSH_FAILED = 255
SSH_OPTIONS = (
    *("BatchMode=yes", "IdentitiesOnly=yes", "ClearAllForwardings=yes", "LogLevel=ERROR", "ConnectTimeout=10"),
    *("ServerAliveInterval=15", "ServerAliveCountMax=4", "GlobalKnownHostsFile=/dev/null", "UpdateHostKeys=no"),
)
STAGE = """cd {folder} || exit 255
if [ -e group ] && [ ! -e code ]; then kill -KILL -- "-$(cat group)" 2>/dev/null; fi
rm -f code; echo $$ >group; cd
bash; code=$?
echo $code >{folder}/code; exit $code"""
"""What the task's shell runs for a stage, whose script comes on standard input. A stage that was cut off, by a timeout for example, has left no
code; what it left running would write into the folders of the next stage."""
OUT_OF_MEMORY = "OutOfMemoryError"
TRY_AGAIN = re.compile(
    r"Capacity is unavailable|RESOURCE:|limit on the number of (tasks|vCPUs)|Throttl|Rate exceeded|ServerException|InternalError|Could not connect|(Read|Connect) timeout",
    re.IGNORECASE,
)
"""What ECS says about a request that may succeed later.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/api_failures_messages.html
"""

Values = dict[str, typing.Any]


class JobFaultError(Exception):
    """The job asks for what its class does not have; another try would not help."""


class PlatformFaultError(Exception):
    """AWS or the platform failed; GitLab may run the job again."""


@dataclasses.dataclass
class Job:
    """A job of GitLab, and what this program keeps about it between stages."""

    id: str
    folder: pathlib.Path

    @property
    def key(self) -> pathlib.Path:
        """Private key of the job."""
        return self.folder / "key"

    def note(self, **values: str) -> None:
        """Keep values for later stages."""
        (self.folder / "state.json").write_text(json.dumps({**self.noted(), **values}))

    def noted(self) -> dict[str, str]:
        """Return the values that earlier stages kept."""
        file = self.folder / "state.json"
        values: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
        return values


def main() -> None:
    """Run one stage, and end with the exit code that tells GitLab Runner whose fault it is."""
    stage, arguments = sys.argv[1], sys.argv[2:]
    try:
        code = STAGES[stage](*arguments)
    except JobFaultError as error:
        sys.stderr.write(f"{error}\n")
        code = build_failure()
    except Exception as error:  # noqa: BLE001  # whatever it is: it is not the job's fault, and the job may be tried again
        sys.stderr.write(f"{error}\n")
        code = system_failure()
    sys.exit(code)


def build_failure() -> int:
    """Return the exit code of a failure of the job."""
    return int(os.environ.get("BUILD_FAILURE_EXIT_CODE", "1"))


def system_failure() -> int:
    """Return the exit code of a failure of the platform, after which GitLab may try the job again."""
    return int(os.environ.get("SYSTEM_FAILURE_EXIT_CODE", "2"))


def settings() -> Values:
    """Read the settings of the class."""
    values: Values = json.loads((FOLDER / "fargate.json").read_text())
    return values


def client(service: typing.Any) -> typing.Any:
    """Make a client of an AWS service, with the machine's role."""
    import boto3  # noqa: PLC0415  # the stage `config` does without
    import botocore.config  # noqa: PLC0415

    retries = botocore.config.Config(
        retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=20
    )
    return boto3.client(service, region_name=settings()["region"], config=retries)


def response() -> Values:
    """Read the job as GitLab sent it. Variables of the environment come from the job, which could name another job's id."""
    values: Values = json.loads(pathlib.Path(os.environ["JOB_RESPONSE_FILE"]).read_text())
    return values


def current_job() -> Job:
    """Return the job of this stage."""
    number = str(int(response()["id"]))
    return Job(number, STATE / "jobs" / number)


def started_by(job_id: str) -> str:
    """Return the mark of a job's task: the machine and the job."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:64]
    return f"{host}/{job_id}"


def config() -> int:
    """Stage `config`: say which driver this is, and where jobs are."""
    names = settings()
    answer = {
        "driver": {"name": "runner-platform fargate", "version": VERSION},
        "builds_dir": names["builds_dir"],
        "cache_dir": names["cache_dir"],
        "builds_dir_is_shared": False,
        "shell": "bash",
    }
    sys.stdout.write(json.dumps(answer))
    return 0


def refuse() -> None:
    """Refuse a job that asks for an image, an entry point or services that a task does not have.

    Raises:
        JobFaultError: with what the job asks for, and what to do.
    """
    names = settings()
    remedy = "or use a class of executor docker or kubernetes"
    image = os.environ.get("CUSTOM_ENV_CI_JOB_IMAGE", "")
    if image and image not in names["images"]:
        raise JobFaultError(
            f"this job has image {image}, and jobs of class {names['class']} are Fargate tasks, which all run {names['images'][0]}; "
            f"drop image:, {remedy}"
        )
    entry_point = [word for word in ((response().get("image") or {}).get("entrypoint") or []) if word]
    if entry_point:
        raise JobFaultError(
            f"this job has image:entrypoint {' '.join(entry_point)}, which a Fargate task of class {names['class']} does not start; "
            f"drop image:entrypoint, {remedy}"
        )
    services = json.loads(os.environ.get("CUSTOM_ENV_CI_JOB_SERVICES") or "[]")
    if services:
        listed = ", ".join(str(service.get("name")) for service in services)
        raise JobFaultError(
            f"this job has services {listed}, and a Fargate task of class {names['class']} has one container; drop services:, {remedy}"
        )


def prepare() -> int:
    """Stage `prepare`: start a task, wait until it runs, and give it the class's AWS profiles."""
    refuse()
    job, deadline = current_job(), time.monotonic() + settings()["start_seconds"]
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True, mode=0o700)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"job-{job.id}", "-f", str(job.key)],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    ecs = client("ecs")
    arn = start(ecs, job, deadline)
    job.note(task=arn)
    sys.stdout.write(f"Fargate task {arn.rpartition('/')[2]} starts\n")
    address = wait(ecs, arn, deadline)
    job.note(address=address)
    greet(ecs, job, arn, address, deadline)
    return 0


def start(ecs: typing.Any, job: Job, deadline: float) -> str:
    """Start the job's task and return its ARN. The token makes repeated requests one task."""
    request = run_request(job, str(uuid.uuid4()))
    while True:
        try:
            answer = ecs.run_task(**request)
            reasons = [str(failure.get("reason")) for failure in answer.get("failures", [])]
            if answer.get("tasks"):
                return str(answer["tasks"][0]["taskArn"])
            request["clientToken"] = str(uuid.uuid4())  # ECS has answered; the next request is a new one
        except Exception as error:
            if not TRY_AGAIN.search(str(error)):
                raise PlatformFaultError(f"ECS starts no task: {error}") from error
            reasons = [str(error)]
        text = "; ".join(reasons) or "no reason"
        if reasons and not TRY_AGAIN.search(text):
            raise PlatformFaultError(f"ECS starts no task: {text}")
        if time.monotonic() + PAUSE_SECONDS > deadline:
            raise PlatformFaultError(f"ECS started no task in {settings()['start_seconds']} s: {text}")
        sys.stdout.write(f"no task yet: {text}; trying again\n")
        time.sleep(PAUSE_SECONDS)


def run_request(job: Job, token: str) -> Values:
    """Return the parameters of RunTask. The overrides hold a public key and nothing secret: whoever may describe tasks reads them."""
    names = settings()
    placement = json.loads(client("ssm").get_parameter(Name=names["parameter"])["Parameter"]["Value"])
    public_key = job.key.with_suffix(".pub").read_text().strip()
    return {
        "cluster": names["cluster"],
        "taskDefinition": placement["task_definition"],
        "launchType": "FARGATE",
        "count": 1,
        "clientToken": token,
        "startedBy": started_by(job.id),
        "enableExecuteCommand": False,
        "propagateTags": "TASK_DEFINITION",
        "tags": [{"key": "platform:job", "value": job.id}],
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": placement["subnets"],
                "securityGroups": [placement["security_group"]],
                "assignPublicIp": "ENABLED" if names["public"] else "DISABLED",
            }
        },
        "overrides": {
            "containerOverrides": [
                {"name": names["container"], "environment": [{"name": "SSH_PUBLIC_KEY", "value": public_key}]}
            ]
        },
    }


def described(ecs: typing.Any, arn: str) -> Values | None:
    """Return what ECS knows about a task; None shortly after its start, and an hour after its end."""
    answer = ecs.describe_tasks(cluster=settings()["cluster"], tasks=[arn])
    return next(iter(answer.get("tasks") or ()), None)


def address_of(task: Values | None) -> str | None:
    """Return the private address of a task that runs; None of any other."""
    if task is None or task.get("lastStatus") != "RUNNING":
        return None
    details = [entry for part in task.get("attachments") or () for entry in part.get("details") or ()]
    return next((str(entry["value"]) for entry in details if entry.get("name") == "privateIPv4Address"), None)


def refuse_stopped(task: Values | None) -> None:
    """Stop waiting for a task that has ended.

    Raises:
        JobFaultError: the job used more memory than its class has.
        PlatformFaultError: it ended for any other reason.
    """
    if task is None or task.get("lastStatus") not in {"DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"}:
        return
    containers = task.get("containers") or ()
    reasons = [task.get("stoppedReason"), *(container.get("reason") for container in containers)]
    reasons += [f"exit code {container['exitCode']}" for container in containers if container.get("exitCode")]
    text = "; ".join(str(reason) for reason in reasons if reason) or "ECS gives no reason"
    if OUT_OF_MEMORY in text:
        raise JobFaultError(f"the Fargate task had too little memory: {text}; use a class with more memory")
    raise PlatformFaultError(f"the Fargate task has ended: {text}")


def wait(ecs: typing.Any, arn: str, deadline: float) -> str:
    """Wait until a task runs, and return its address."""
    while time.monotonic() < deadline:
        task = described(ecs, arn)
        refuse_stopped(task)
        address = address_of(task)
        if address:
            return address
        time.sleep(POLL_SECONDS)
    raise PlatformFaultError(f"the Fargate task does not run after {settings()['start_seconds']} s; it is stopped")


def greet(ecs: typing.Any, job: Job, arn: str, address: str, deadline: float) -> None:
    """Wait for the task's SSH server, keep its host key, and write the class's AWS profiles into the task."""
    profiles = (FOLDER / "aws-config").read_text()
    while True:
        answer = subprocess.run(
            ssh(job, address, "accept-new", f"umask 022; cat >{settings()['identity_folder']}/config"),
            input=profiles,
            text=True,
            capture_output=True,
            check=False,
        )
        task = described(ecs, arn)
        refuse_stopped(task)
        if answer.returncode == 0:
            break
        if time.monotonic() + POLL_SECONDS > deadline:
            raise PlatformFaultError(f"the Fargate task runs and takes no connection: {answer.stderr.strip()}")
        time.sleep(POLL_SECONDS)
    if address_of(task) != address:
        raise PlatformFaultError(f"the Fargate task no longer runs at {address}; its host key is not trusted")


def ssh(job: Job, address: str, host_key: str, command: str) -> list[str]:
    """Return a command that runs a command in the job's task; `host_key` is `accept-new` once, then `yes`."""
    names = settings()
    files = [f"StrictHostKeyChecking={host_key}", f"UserKnownHostsFile={job.folder / 'known_hosts'}"]
    options = [word for option in (*SSH_OPTIONS, *files, f"HostKeyAlias=job-{job.id}") for word in ("-o", option)]
    place = ["-i", str(job.key), "-p", str(names["port"]), "-l", names["user"], address]
    return ["ssh", "-F", "/dev/null", "-T", *options, *place, command]


def run(script: str, _stage: str) -> int:
    """Stage `run`: run a script in the task. Its exit code is the job's."""
    job = current_job()
    noted = job.noted()
    if "address" not in noted:
        raise PlatformFaultError(f"job {job.id} has no Fargate task: the manager was started again; run the job again")
    command = ssh(job, noted["address"], "yes", STAGE.format(folder=settings()["state_folder"]))
    with pathlib.Path(script).open("rb") as lines:
        code = subprocess.run(command, stdin=lines, check=False).returncode
    if code == 0:
        return 0
    if code == SSH_FAILED and not ended_with(job, noted["address"], SSH_FAILED):
        refuse_stopped(described(client("ecs"), noted["task"]))
        raise PlatformFaultError("the connection to the Fargate task is lost, and ECS says that the task still runs")
    if file := os.environ.get("BUILD_EXIT_CODE_FILE"):
        pathlib.Path(file).write_text(str(code))
    return build_failure()


def ended_with(job: Job, address: str, code: int) -> bool:
    """Return whether the last stage itself ended with a code that ssh also uses for its own failures."""
    question = ssh(job, address, "yes", f"cat {settings()['state_folder']}/code")
    answer = subprocess.run(question, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    return answer.returncode == 0 and answer.stdout.strip() == str(code)


def cleanup() -> int:
    """Stage `cleanup`: stop the job's task, whatever happened before, and forget its keys."""
    job = current_job()
    ecs = client("ecs")
    arns = running(ecs, started_by(job.id))
    if (task := job.noted().get("task")) and task not in arns:
        arns.append(task)
    shutil.rmtree(job.folder, ignore_errors=True)
    for arn in arns:
        stop(ecs, arn, f"job {job.id} is over")
    return 0


def running(ecs: typing.Any, mark: str | None = None) -> list[str]:
    """Return the ARNs of the class's tasks that start or run, of one job or of all."""
    pages = ecs.get_paginator("list_tasks").paginate(
        cluster=settings()["cluster"], desiredStatus="RUNNING", **({"startedBy": mark} if mark else {})
    )
    return [arn for page in pages for arn in page["taskArns"]]


def stop(ecs: typing.Any, arn: str, reason: str) -> None:
    """Stop a task; one that is gone is stopped."""
    for remaining in reversed(range(STOP_TRIES)):
        try:
            ecs.stop_task(cluster=settings()["cluster"], task=arn, reason=reason)
        except Exception as error:
            if "was not found" in str(error):
                return
            if not remaining:
                raise PlatformFaultError(f"Fargate task {arn} is not stopped: {error}; it ends by itself") from error
            time.sleep(POLL_SECONDS)
        else:
            return


def sweep() -> int:
    """Stop tasks that an earlier run of this manager has left. The runner has not started, so none of them has a job."""
    ecs = client("ecs")
    shutil.rmtree(STATE / "jobs", ignore_errors=True)
    arns = running(ecs)
    for start_index in range(0, len(arns), 100):
        part = arns[start_index : start_index + 100]
        for task in ecs.describe_tasks(cluster=settings()["cluster"], tasks=part)["tasks"]:
            if str(task.get("startedBy", "")).startswith(started_by("")):
                stop(ecs, task["taskArn"], "its manager was started again")
    return 0


STAGES: dict[str, typing.Callable[..., int]] = {
    "config": config,
    "prepare": prepare,
    "run": run,
    "cleanup": cleanup,
    "sweep": sweep,
}

if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    main()
