"""The Docker class on a machine: the real runner takes jobs of the sandbox's GitLab and runs them in real containers."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from components.documents.config_toml import JOB_USER
from components.documents.machines.config import HOST_IDENTITY
from config.names import IDENTITY_FOLDER
from runner_platform_sandbox.machines import networks
from runner_platform_sandbox.machines.docker_host import SOCKET
from sandbox.tests.support.docker_machine import LISTEN, MachineCase, machine_case, port_of, trace
from tests.support.aws_cases import CICD, DEV
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws_cases import Cloud

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

ARN = "aws sts get-caller-identity --output text --query Arn"
METADATA_TOKEN = (
    "exec 3<>/dev/tcp/169.254.169.254/80; printf 'PUT /latest/api/token HTTP/1.0\\r\\n"
    "X-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n' >&3; head -1 <&3"
)
"""Asks the metadata service for a token, and prints the first line of the answer."""


PORT = 8080
END = "/tmp/end"  # noqa: S108  # a file of the job's container
ADDRESS = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
"""Template for the address of a container."""
NET_RAW, SYS_ADMIN = 1 << 13, 1 << 21
"""Bits of capabilities (linux/capability.h)."""


@pytest.fixture(scope="module")
def case(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MachineCase]:
    with machine_case(tmp_path_factory.mktemp("machine"), aws) as running:
        yield running


def reaches(*targets: str) -> str:
    """Return a line of a script that prints those addresses and ports that answer."""
    return f'for to in {" ".join(targets)}; do timeout 2 bash -c "echo > /dev/tcp/$to" 2>&- && echo REACHED $to; done; true'


def reached(text: str) -> list[str]:
    """Return the addresses and ports that such a script printed."""
    return re.findall(r"^REACHED (\S+)", text, re.MULTILINE)


def capabilities(text: str) -> int:
    """Return the largest set of capabilities that a status of a process shows."""
    shown = re.search(r"CapBnd:\t(\w+)", text)
    assert shown, text
    return int(shown[1], 16)


def test_a_job_is_the_role_of_its_class_and_enters_the_accounts_of_its_profiles(case: MachineCase) -> None:
    text = case.output(ARN, f"{ARN} --profile dev", f"{ARN} --profile prod 2>&1 || echo refused")
    assert f"arn:aws:sts::{CICD}:assumed-role/runner-small-dev/" in text
    assert f"arn:aws:sts::{DEV}:assumed-role/delegated-role-open-dev/" in text
    assert "The config profile (prod) could not be found" in text


def test_a_job_s_own_variables_choose_a_profile_as_on_kubernetes(case: MachineCase) -> None:
    text = case.output(ARN, variables={"AWS_PROFILE": "dev"})
    assert f"arn:aws:sts::{DEV}:assumed-role/delegated-role-open-dev/" in text


def test_a_job_runs_as_the_user_of_its_image_and_its_variables_turn_nothing_off(case: MachineCase) -> None:
    variables = {"FF_NETWORK_PER_BUILD": "false", "FF_CONCRETE": "true", "FF_SUSPENDABLE_ENVIRONMENTS": "true"}
    text = case.output(
        "id --user; touch here", "grep --count '^nameserver 127.0.0.11' /etc/resolv.conf", variables=variables
    )
    assert re.search(rf"^{JOB_USER}$", text, re.MULTILINE), text
    assert re.search("^1$", text, re.MULTILINE), "Docker's own name server, which only networks of a job have"


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"name": "IMAGE", "pull_policy": "if-not-present"}, "runner_configuration_error"),
        ({"name": "REGISTRY/dev/protected/../open/apps/x:1"}, "image_pull_failure"),
        ({"name": "REGISTRY/dev/open/apps/absent:1"}, "runner_configuration_error"),
    ],
)
def test_images_that_the_runner_or_docker_refuse(case: MachineCase, image: dict[str, str], reason: str) -> None:
    registry = case.image.partition("/")[0]
    keys = {key: value.replace("IMAGE", case.image).replace("REGISTRY", registry) for key, value in image.items()}
    job = case.pipeline({"job": {"script": ["id"], "image": keys}})["job"]
    assert (job.status, job.failure_reason) == ("failed", reason), trace(job)


def test_cache_and_artifacts_pass_from_job_to_job(case: MachineCase) -> None:
    cache = {"key": "packages", "paths": ["packages"]}
    first = ["mkdir packages", "echo cached > packages/one", "echo built > result"]
    jobs = case.pipeline(
        {
            "stages": ["build", "test"],  # type: ignore[dict-item]
            "build": {"stage": "build", "script": first, "cache": cache, "artifacts": {"paths": ["result"]}},
            "test": {"stage": "test", "script": ["cat packages/one result"], "cache": cache},
        }
    )
    text = "".join(map(trace, jobs.values()))
    assert {job.status for job in jobs.values()} == {"success"}, text
    assert "Uploading cache" in trace(jobs["build"]), text
    assert re.search(r"^cached\nbuilt$", trace(jobs["test"]), re.MULTILINE), text


def test_a_job_has_no_more_of_the_machine_than_its_identity(case: MachineCase) -> None:
    text = case.output(
        "grep -E '^(NoNewPrivs|Seccomp|CapBnd):' /proc/self/status",
        "cat /proc/self/uid_map",
        "test ! -e /var/run/docker.sock && test ! -e /run/docker.sock && echo no socket",
        f"touch {IDENTITY_FOLDER}/x 2>&1 || true",
        "while read -r _ _ _ root place _; do [ $root = / ] || echo MOUNT $place; done < /proc/self/mountinfo",
    )
    assert "NoNewPrivs:\t1" in text
    assert "Seccomp:\t2" in text
    assert not capabilities(text) & (NET_RAW | SYS_ADMIN)
    assert re.search(r"^ +0 +[1-9]\d+ +65536$", text, re.MULTILINE), "root in a job is nobody on the machine"
    assert "no socket" in text
    assert "Read-only file system" in text
    mounts = set(re.findall(r"^MOUNT (?!/(?:proc|sys|dev)/)(\S+)", text, re.MULTILINE))
    assert mounts == {"/builds", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", IDENTITY_FOLDER}


def test_a_job_reaches_neither_metadata_nor_vpc_nor_the_machine(case: MachineCase) -> None:
    opened = f"{networks.OUTSIDE}/{port_of(case.gitlab.url)}"
    closed = [f"{networks.METADATA}/80", f"{networks.VPC_NEIGHBOUR}/80", f"{networks.MACHINE}/{PORT}"]
    script = reaches(*closed, opened)
    with case.answering(PORT):
        until(
            lambda: len(reached(case.host.run("bash", "-c", script).stdout)) == 4,
            "all of them to answer the machine",
            10,
        )
        assert reached(case.output(script)) == [opened]


@contextmanager
def background(case: MachineCase, script: str) -> Iterator[str]:
    """Run a job until the end of the block, and yield its container."""
    commands = [f"{script} &", f"until test -e {END}; do sleep 0.1; done"]
    pipeline = case.gitlab.pipeline(json.dumps({"job": {"tags": list(case.runner_class.tags), "script": commands}}))
    names = ("ps", "--quiet", "--filter", "label=com.gitlab.gitlab-runner.type=build")
    until(lambda: case.host.docker(*names), "the container of the job", 30)
    container = case.host.docker(*names)
    yield container
    case.host.docker("exec", container, "touch", END)
    until(lambda: list(case.gitlab.statuses(pipeline).values()) == ["success"], "the job to end", 30)


def test_jobs_at_the_same_time_do_not_reach_each_other(case: MachineCase) -> None:
    with background(case, LISTEN.format(port=PORT)) as other:
        script = reaches(f"{case.host.docker('inspect', '--format', ADDRESS, other)}/{PORT}")
        until(lambda: reached(case.host.docker("exec", other, "bash", "-c", script)), "the other job's server", 10)
        assert reached(case.output(script)) == []


def test_a_renewed_session_reaches_a_job_that_runs(case: MachineCase) -> None:
    read = ("cat", f"{IDENTITY_FOLDER}/credentials.json")
    with background(case, "true") as container:
        before = json.loads(case.host.docker("exec", container, *read))
        case.host_program("credentials", "--once")
        after = json.loads(case.host.docker("exec", container, *read))
    assert before["Version"] == after["Version"] == 1
    assert before["SessionToken"] != after["SessionToken"]


def test_the_hop_limit_alone_keeps_metadata_from_containers(case: MachineCase) -> None:
    case.host.docker("pull", "--quiet", case.image)
    ask = ("run", "--rm", "--entrypoint=timeout")
    script = (case.image, "4", "bash", "-c", METADATA_TOKEN)
    rule = ("DOCKER-USER", "--in-interface", "docker0", "--jump", "RUNNER-PLATFORM")
    case.host.run("iptables", "--wait", "--delete", *rule)
    try:
        assert case.host.docker(*ask, "--network=host", "--userns=host", *script).split()[1] == "200"
        done = case.host.run("docker", *ask, *script, variables={"DOCKER_HOST": f"unix://{SOCKET}"})
    finally:
        case.host.run("iptables", "--wait", "--insert", *rule)
    assert (done.returncode, done.stdout) == (124, ""), done.stderr


def test_other_containers_of_the_machine_have_no_identity(case: MachineCase) -> None:
    case.host.docker("pull", "--quiet", case.image)
    assert case.host.docker("run", "--rm", case.image, "bash", "-c", f"ls {IDENTITY_FOLDER} 2>&1 || true").endswith(
        "No such file or directory"
    )


def test_services_see_the_identity_and_keep_capabilities_that_jobs_lose(case: MachineCase) -> None:
    """GitLab Runner mounts `volumes` into services, too, and applies `cap_drop` to the job's container alone."""
    show = f"ls {IDENTITY_FOLDER}; grep -E '^(NoNewPrivs|CapBnd):' /proc/self/status; sleep 30"
    service = {"name": case.image, "alias": "beside", "entrypoint": ["bash", "-c"], "command": [show]}
    text = case.output("sleep 2", services=[service], variables={"CI_DEBUG_SERVICES": "true"})
    lines = "\n".join(line for line in text.splitlines() if "[service:" in line)
    assert "credentials.json" in lines, text
    assert "NoNewPrivs:\t1" in lines, "the daemon's own default"
    assert capabilities(lines) & NET_RAW


def test_the_runner_reads_its_configuration_without_a_warning(case: MachineCase) -> None:
    until(lambda: "Initializing executor providers" in case.log.read_text(), "the runner to start", 20)
    entries = [json.loads(line) for line in case.log.read_text().splitlines() if line.startswith("{")]
    end = next(index for index, entry in enumerate(entries) if "Initializing executor" in entry["msg"])
    assert {entry["level"] for entry in entries[: end + 1]} == {"info"}
    config = (case.host.root / "run/gitlab-runner/config.toml").read_text()
    assert f"{HOST_IDENTITY}:{IDENTITY_FOLDER}:ro" in config


def test_a_runner_that_is_told_to_quit_finishes_its_job(case: MachineCase) -> None:
    """The last test of the module: the runner is gone afterwards."""
    pipeline = case.gitlab.pipeline(json.dumps({"job": {"tags": list(case.runner_class.tags), "script": ["sleep 5"]}}))
    until(lambda: "running" in case.gitlab.statuses(pipeline).values(), "the job to run", 30)
    case.stop_runner()
    assert case.gitlab.statuses(pipeline) == {"job": "success"}
    assert case.host.docker("ps", "--all", "--quiet") == ""
