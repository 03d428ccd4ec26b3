"""Alarms: the optional setting, what each alarm watches, and what the program registers with and without a topic."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from fnmatch import fnmatch
from functools import cache
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest

from components import alarms as component
from components.documents import alarms as documents
from components.documents import config_toml
from components.documents.disruption import disruption
from config import load
from config.names import MANAGERS_POOL, helm_release, namespace_jobs, namespace_manager
from tests.support.program import STACKS, complaints, mock_run, mock_run_of, names_of, parsed, policy, raw

if TYPE_CHECKING:
    from runner_platform.check.mock_run import MockRun

pytestmark = pytest.mark.thorough

TOPIC = "arn:aws:sns:eu-central-1:222222222222:platform-alarms"
ALARM, FILTER = "aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/logMetricFilter:LogMetricFilter"
ADDON, GROUP = "aws:eks/addon:Addon", "aws:cloudwatch/logGroup:LogGroup"
PATIENCE = 14 * 60 + 1
"""`poll_timeout` in these tests: different from the platform's value, and not a whole number of minutes."""


@cache
def alarmed() -> MockRun:
    """Run dev with a topic and a changed `poll_timeout`."""
    patient = mock.patch.object(component, "disruption", lambda job: replace(disruption(job), poll_timeout=PATIENCE))
    with patient:
        return mock_run_of("dev", raw("dev", alarms={"topic": TOPIC}))


def inputs(token: str, name: str) -> dict[str, Any]:
    return dict(alarmed().get(token, name).inputs)


def configuration() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(inputs(ADDON, "alarms-addon")["configurationValues"])
    return values


# The setting.


@pytest.mark.parametrize("alarms", [None, {}])
def test_without_a_topic_there_are_no_alarms(alarms: dict[str, Any] | None) -> None:
    values = raw("dev") if alarms is None else raw("dev", alarms=alarms)
    assert parsed(values).alarms.topic is None


def test_a_topic_of_the_platform_s_account_and_region_is_taken() -> None:
    assert complaints(raw("dev", alarms={"topic": TOPIC})) == {}


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("arn:aws:sns:eu-central-1:333333333333:platform-alarms", f"belongs to account 333333333333.*make {TOPIC}"),
        ("arn:aws:sns:eu-west-1:222222222222:platform-alarms", f"in aws, region 'eu-west-1'.*make {TOPIC}"),
        ("arn:aws-cn:sns:eu-central-1:222222222222:platform-alarms", f"is in aws-cn.*make {TOPIC}"),
        (f"{TOPIC}.fifo", r"is not the ARN of a standard SNS topic; write arn:aws:sns:"),
        ("arn:aws:sqs:eu-central-1:222222222222:queue", r"is not the ARN of a standard SNS topic"),
        ("platform-alarms", r"'platform-alarms' is not the ARN"),
        ("", r"'' is not the ARN"),
        (7, r"7 does not fit: write text"),
    ],
)
def test_an_unusable_topic_is_refused_with_a_usable_one(topic: Any, words: str) -> None:
    problems = complaints(raw("dev", alarms={"topic": topic}))
    assert list(problems) == ["alarms.topic"]
    assert re.search(words, problems["alarms.topic"]), problems


def test_both_mistakes_of_a_topic_are_reported_at_once() -> None:
    problems = complaints(raw("dev", alarms={"topic": "arn:aws:sns:eu-west-1:333333333333:x"}))
    assert "eu-west-1" in problems["alarms.topic"]
    assert "account 333333333333" in problems["alarms.topic"]


def test_a_misspelt_key_is_refused_with_the_right_one() -> None:
    assert complaints(raw("dev", alarms={"topics": TOPIC})) == {
        "alarms.topics": "is not a setting; did you mean 'topic'?"
    }


@pytest.mark.parametrize("value", [TOPIC, [TOPIC], None])
def test_a_value_that_is_not_an_object_is_refused(value: Any) -> None:
    assert "is not an object" in complaints(raw("dev", alarms=value))["alarms"]


def test_a_wrong_platform_account_does_not_hide_behind_the_topic() -> None:
    values = raw("dev", alarms={"topic": TOPIC}, platform__account="nowhere")
    assert list(complaints(values)) == ["platform.account"], "the topic's account is not compared then"


# What is registered.


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_without_a_topic_registers_no_alarm(stack: str) -> None:
    run = mock_run(stack)
    assert [resource.name for resource in run.resources if resource.name.startswith("alarms")] == []
    for token in (ALARM, FILTER, ADDON):
        assert run.of_type(token) == []


def test_a_topic_adds_alarms_and_changes_no_other_resource() -> None:
    def all_of(run: MockRun) -> dict[str, Any]:
        # The guard waits for everything there is, and so for alarms too.
        return {resource.urn: resource for resource in run.resources if resource.name != "guard"}

    without, having = all_of(mock_run("dev")), all_of(alarmed())
    assert all(having[urn] == inputs_before for urn, inputs_before in without.items()), (
        "a topic must not touch what runs"
    )
    assert all(name.startswith("alarms") for name in names_of(tuple(having.keys() - without.keys())))


def test_three_alarms_of_each_class_and_one_of_the_cluster_send_to_the_topic() -> None:
    alarms = {resource.name: resource for resource in alarmed().of_type(ALARM)}
    kinds = ("manager-down", "jobs-pending", "system-failures")
    classes = raw("dev")["runners"]
    assert len(classes) > 1
    assert set(alarms) == {"alarms-unschedulable", *(f"alarms-{name}-{kind}" for name in classes for kind in kinds)}
    for alarm in alarms.values():
        assert alarm.inputs["alarmActions"] == alarm.inputs["okActions"] == [TOPIC], "who was woken also hears the end"
        assert alarm.provider.rpartition("::")[2] == "cicd"
    assert alarms["alarms-small-manager-down"].inputs["tags"] == {"platform:class": "small"}


def test_a_manager_is_down_when_nothing_says_that_it_is_ready() -> None:
    alarm = inputs(ALARM, "alarms-small-manager-down")
    assert (alarm["namespace"], alarm["metricName"]) == ("ContainerInsights", "replicas_ready")
    assert alarm["dimensions"] == {
        "ClusterName": "runner-platform-dev",
        "Namespace": "runner-small",
        "PodName": "gitlab-runner-small",
    }, "the agent puts a Deployment's name into PodName"
    deployment = alarmed().get("kubernetes:helm.sh/v3:Release", "small-runner-release").inputs["values"]
    assert alarm["dimensions"]["PodName"] == deployment["fullnameOverride"]
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("LessThanThreshold", 1)
    assert alarm["period"] * alarm["evaluationPeriods"] == 5 * 60
    assert alarm["treatMissingData"] == "breaching", "an agent that died says nothing"


def test_pending_jobs_are_counted_over_the_time_that_a_manager_waits() -> None:
    alarm = inputs(ALARM, "alarms-small-jobs-pending")
    assert (alarm["period"], alarm["evaluationPeriods"], alarm["threshold"]) == (15 * 60, 1, 1), (
        "poll_timeout, in whole minutes as CloudWatch wants them"
    )
    assert f"{PATIENCE} s" in alarm["alarmDescription"]
    queue = inputs(ALARM, "alarms-unschedulable")
    assert (queue["namespace"], queue["metricName"]) == ("AWS/EKS", "scheduler_pending_pods_UNSCHEDULABLE")
    assert queue["dimensions"] == {"ClusterName": "runner-platform-dev"}, "it has no other"
    assert queue["statistic"] == "Sum", "the only one that is valid"
    assert (queue["period"], queue["evaluationPeriods"]) == (60, 15)


@pytest.mark.parametrize("name", raw("prod")["runners"])
def test_alarms_and_managers_have_the_same_poll_timeout(name: str) -> None:
    settings = parsed(raw("prod"), "prod")
    poll_timeout = disruption(settings.runners[name].longest_job).poll_timeout
    assert f"poll_timeout = {poll_timeout}\n" in config_toml.config_toml(settings.runner_class(name))


def test_one_system_failure_is_no_alarm_and_three_are() -> None:
    alarm = inputs(ALARM, "alarms-small-system-failures")
    assert (alarm["comparisonOperator"], alarm["threshold"]) == ("GreaterThanOrEqualToThreshold", 3)
    assert (alarm["period"], alarm["treatMissingData"]) == (15 * 60, "notBreaching")


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("jobs-pending", "prepare environment: waiting for pod running: timed out waiting for pod to start. Check …"),
        ("system-failures", "Job failed (system failure): prepare environment: etcdserver: request timed out."),
    ],
)
def test_alarms_of_the_log_watch_the_metric_that_the_class_s_own_lines_make(kind: str, line: str) -> None:
    log_filter, alarm = inputs(FILTER, f"alarms-small-{kind}-metric"), inputs(ALARM, f"alarms-small-{kind}")
    metric = log_filter["metricTransformation"]
    assert (alarm["namespace"], alarm["metricName"]) == (metric["namespace"], metric["name"])
    assert metric["namespace"] == "runner-platform-dev", "two stacks in one account do not count for each other"
    match = re.fullmatch(
        r'\{ \(\$\.kubernetes\.namespace_name = "(.+)"\) && \(\$\.log = "(.+)"\) \}', log_filter["pattern"]
    )
    assert match, log_filter["pattern"]
    assert match[1] == "runner-small"
    assert fnmatch(line, match[2].replace("[", "[[]")), "GitLab's own words"
    assert log_filter["logGroupName"] == inputs(GROUP, "alarms-application")["name"]


def test_the_log_groups_are_the_add_on_s_and_do_not_keep_for_ever() -> None:
    for kind in ("application", "performance"):
        group = inputs(GROUP, f"alarms-{kind}")
        assert group["name"] == f"/aws/containerinsights/runner-platform-dev/{kind}"
        assert group["retentionInDays"] > 0


# What runs in the cluster.


def test_every_part_of_the_add_on_runs_on_the_managers_nodes_and_on_no_job_s() -> None:
    values = configuration()
    pool = alarmed().get("kubernetes:karpenter.sh/v1:NodePool", "managers-pool").inputs["spec"]["template"]
    for part in (values["agent"], values["manager"], values["containerLogs"]["fluentBit"]):
        assert part["nodeSelector"] == pool["metadata"]["labels"]
        (toleration,), (taint,) = part["tolerations"], pool["spec"]["taints"]
        assert {key: toleration[key] for key in taint} == taint
        assert toleration["value"] == MANAGERS_POOL


def test_only_the_managers_log_is_read() -> None:
    files = configuration()["containerLogs"]["fluentBit"]["config"]["extraFiles"]
    (path,) = re.findall(r"^ +Path +(\S+)$", files["application-log.conf"], re.MULTILINE)
    manager = (
        f"/var/log/containers/{helm_release('big')}-5d9c_{namespace_manager('big')}_{helm_release('big')}-0a1b.log"
    )
    job = f"/var/log/containers/runner-abc-project-1-concurrent-0_{namespace_jobs('big')}_build-0a1b.log"
    assert fnmatch(manager, path)
    assert not fnmatch(job, path), "what jobs print is not masked there"
    for name in ("dataplane-log.conf", "host-log.conf"):
        assert "[INPUT]" not in files[name]
    assert "/aws/containerinsights/${CLUSTER_NAME}/application" in files["application-log.conf"]


def test_the_add_on_collects_metrics_that_can_be_named_and_touches_no_workload() -> None:
    values = configuration()
    assert values["agent"]["config"]["logs"]["metrics_collected"] == {
        "kubernetes": {"enhanced_container_insights": True}
    }, "replicas_ready comes with enhanced observability, and nothing else is asked for"
    assert values["otelContainerInsights"] == {"enabled": False}
    assert values["manager"]["applicationSignals"]["autoMonitor"]["monitorAllServices"] is False


def test_the_agent_s_role_is_for_its_service_account_alone() -> None:
    role = alarmed().get("aws:iam/role:Role", "alarms-role")
    (statement,) = policy(role, "assumeRolePolicy")["Statement"]
    subjects = [v for k, v in statement["Condition"]["StringEquals"].items() if k.endswith(":sub")]
    assert subjects == ["system:serviceaccount:amazon-cloudwatch:cloudwatch-agent"]
    assert (role.inputs["name"], role.inputs["path"]) == ("runner-platform-alarms-dev", "/cicd-dev/")
    attached = inputs("aws:iam/rolePolicyAttachment:RolePolicyAttachment", "alarms-role-agent")
    assert attached["policyArn"] == "arn:aws:iam::aws:policy/CloudWatchAgentServerPolicy"


def test_the_add_on_is_deleted_before_its_network_permissions_and_nodes() -> None:
    addon = alarmed().get(ADDON, "alarms-addon")
    needed = names_of(addon.depends_on)
    assert {"alarms-role-agent", "alarms-namespace", "alarms-network", "alarms-application"} <= needed
    namespace = alarmed().get("kubernetes:core/v1:Namespace", "alarms-namespace")
    assert "managers-pool" in names_of(namespace.depends_on)
    assert addon.inputs["addonVersion"].startswith("v"), "pinned"


def test_the_namespace_lets_the_api_server_in_and_only_https_and_dns_out() -> None:
    spec = inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", "alarms-network")["spec"]
    assert inputs("kubernetes:networking.k8s.io/v1:NetworkPolicy", "alarms-network")["metadata"]["namespace"] == (
        documents.NAMESPACE
    )
    assert (spec["podSelector"], spec["policyTypes"]) == ({}, ["Ingress", "Egress"])
    assert [port["port"] for rule in spec["ingress"] for port in rule["ports"]] == [documents.WEBHOOK_PORT]
    assert {port["port"] for rule in spec["egress"] for port in rule["ports"]} == {53, 443}


def test_the_component_requires_a_topic() -> None:
    names = parsed(raw("dev")).names
    with pytest.raises(ValueError, match=r"topic is empty, so alarms would go nowhere; set alarms\.topic"):
        component.AlarmsArgs(names=names, topic="", longest_jobs={"small": 3600}, cluster=mock.Mock(), nodes=[])


def test_every_alarm_names_a_section_of_the_page_that_says_what_to_do() -> None:
    sections = re.findall(r"^## (.+)$", (load.ROOT / "docs" / "operate" / "alarms.md").read_text(), re.MULTILINE)
    for resource in alarmed().of_type(ALARM):
        page, section = resource.inputs["alarmDescription"].rpartition(". ")[2].split(", ")
        assert page == "docs/operate/alarms.md"
        assert section.capitalize() in sections, resource.name
        assert len(resource.inputs["alarmDescription"]) <= 1024, "CloudWatch takes no more"
