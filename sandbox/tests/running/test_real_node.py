"""A node with a kubelet: job pods of class small really run, become the class's role, and obey the network policy."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.kubernetes.placement import waits_for_node
from runner_platform_sandbox.real_node.network import ADDRESS
from runner_platform_sandbox.real_node.node import end_nodes
from runner_platform_sandbox.runner_managers import running
from sandbox.tests.support.kubernetes_cases import stays
from sandbox.tests.support.real_node_cluster import (
    CLASS,
    NAMESPACE,
    ROLE,
    NodeCase,
    Traces,
    answering,
    claims,
    node_case,
)
from sandbox.tests.support.runner_cluster import token
from tests.support.aws_cases import CICD
from tests.support.program import raw
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.aws_cases import Cloud

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

TOKEN_SECONDS = 3600


@pytest.fixture(scope="module")
def case(aws: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeCase]:
    with node_case(tmp_path_factory.mktemp("node"), aws) as running:
        yield running


@pytest.fixture(scope="module")
def pod(case: NodeCase) -> str:
    """A job pod that runs."""
    case.run("job-1")
    return "job-1"


def test_a_job_pod_of_the_class_runs_on_the_real_node(case: NodeCase, pod: str) -> None:
    body = case.client.get("v1", "Pod", pod, NAMESPACE)
    assert body["spec"]["nodeName"] == case.node.node
    assert case.shell(pod, "grep --count NoNewPrivs:.1 /proc/self/status") == "1"
    assert case.shell(pod, "grep --count Seccomp:.2 /proc/self/status") == "1"


def test_a_script_reaches_the_shell_of_a_job_pod_and_its_log(case: NodeCase, pod: str) -> None:
    case.kubectl("attach", pod, "--container=build", "--stdin", text="echo the answer is $((6 * 7))\n")
    until(lambda: "the answer is 42" in case.kubectl("logs", pod, "--container=build"), "the script's output", 20)


def test_the_token_in_the_pod_is_for_sts_and_bound_to_pod_and_node(case: NodeCase, pod: str) -> None:
    content = claims(case.shell(pod, 'cat "$(dirname "$AWS_CONFIG_FILE")/token"'))
    assert content["aud"] == ["sts.amazonaws.com"]
    assert content["exp"] - content["iat"] == TOKEN_SECONDS
    assert content["kubernetes.io"]["pod"]["name"] == pod
    assert content["kubernetes.io"]["node"]["name"] == case.node.node


def test_the_aws_cli_in_the_pod_is_the_role_of_the_class(case: NodeCase, pod: str) -> None:
    identity = json.loads(case.shell(pod, "aws sts get-caller-identity --output json"))
    assert identity["Arn"].startswith(f"arn:aws:sts::{CICD}:assumed-role/{ROLE}/")


def test_a_job_of_the_real_runner_runs_in_its_pod_and_ends(case: NodeCase) -> None:
    script = ["aws sts get-caller-identity --output text", "echo of job $CI_JOB_ID on $(uname --nodename)"]
    step = {"name": "script", "script": script, "timeout": 600, "when": "on_success", "allow_failure": False}
    with running(case.surroundings, [CLASS]):
        image = {"name": case.job_image}
        job = case.jobs.add(token(CLASS), {"AWS_ENDPOINT_URL": case.surroundings.aws}, image=image, steps=[step])
        job.wait(180)
    assert job.state == "success", job.text
    assert f"arn:aws:sts::{CICD}:assumed-role/{ROLE}/" in job.text
    assert re.search(r"of job \d+ on runner-.*-project-7-concurrent-0", job.text)
    selector = f"job.runner.gitlab.com/id={job.number}"
    until(lambda: not case.client.list("v1", "Pod", NAMESPACE, label_selector=selector), "the job's pod to go", 60)


def test_the_network_policy_closes_metadata_and_vpc_to_jobs_only(case: NodeCase, pod: str) -> None:
    vpc = str(ipaddress.ip_network(raw("dev")["network"]["cidr"])[77])
    opened = ["203.0.113.10", ADDRESS]
    addresses = ["169.254.169.254", vpc, *opened]
    case.run_elsewhere("without-policy")
    with answering(case.node, addresses[:3]) as port:
        script = f'for host in {" ".join(addresses)}; do timeout 2 bash -c "echo > /dev/tcp/$host/{port}" && echo $host; done; true'
        until(lambda: case.shell(pod, script).split() == opened, "the policy to be enforced", 60)
        assert case.shell("without-policy", script, "default").split() == addresses


def test_auto_mode_launches_nothing_when_the_real_node_is_full(case: NodeCase) -> None:
    case.client.create(case.simple_pod("too-much", case.job_image, cpu="7", namespace="default"))
    until(lambda: waits_for_node(case.client.get("v1", "Pod", "too-much", "default")), "the pod to wait", 30)
    stays(
        lambda: not case.client.list("karpenter.sh/v1", "NodeClaim", label_selector=f"karpenter.sh/nodepool={CLASS}"),
        "no claims",
    )
    case.kubectl("delete", "pod", "too-much", "--namespace=default", "--now")


def test_an_image_that_no_registry_has_is_named_by_the_pod(case: NodeCase) -> None:
    image = "registry.example/nobody/has:this"
    case.client.create(case.simple_pod("no-image", image))
    until(lambda: image in _waiting(case, "no-image"), "the kubelet to give the image up", 30)
    case.kubectl("delete", "pod", "no-image", "--now")


def test_a_killed_node_and_a_stopped_one_leave_nothing_behind(case: NodeCase) -> None:
    killed = Traces.of(case.node)
    assert case.node.pid is not None
    os.kill(case.node.pid, signal.SIGKILL)
    end_nodes(case.clusters)
    until(lambda: not killed.found(), "everything of the killed node to go", 20)
    case.node.start()
    case.run("job-2")
    stopped = Traces.of(case.node)
    assert stopped.found()
    case.node.stop()
    until(lambda: not stopped.found(), "everything of the stopped node to go", 20)


def _waiting(case: NodeCase, name: str) -> str:
    statuses = case.client.get("v1", "Pod", name, NAMESPACE)["status"].get("containerStatuses") or []
    return " ".join(str(status["state"].get("waiting", {})) for status in statuses)
