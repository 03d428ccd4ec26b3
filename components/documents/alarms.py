"""What the alarms watch, and what must run in the cluster so that there is something to watch.

Three per class, from the most to the least direct:

- manager down: `replicas_ready` of the manager's Deployment. Its dimensions are `PodName` (which holds the Deployment's name),
  `Namespace` and `ClusterName`.
- jobs pending longer than `poll_timeout`: no metric counts them by namespace. `pod_status_pending` has no such dimension, and the
  agent of a node never sees a pod that has none. What exists is the manager's own verdict when it gives a pod up, counted in its
  log; and, ahead of it but for the whole cluster, the scheduler's queue (`scheduler_pending_pods_UNSCHEDULABLE`).
- system failures: counted in the manager's log, too. Its Prometheus counter `gitlab_runner_failed_jobs_total` says the same, but
  AWS documents scraping with an agent of its own beside the add-on, which is a second thing to run for the same number.

Agent and log reader run on the managers' nodes only. All that the alarms need is there (the Deployments' state comes from the API
server), what jobs print is not sent to CloudWatch, and job nodes keep the room that `nodes` counted on.

Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/container-insights-eks-classic-metrics.html (with the dimensions
as the agent declares them: https://github.com/aws/amazon-cloudwatch-agent, translator/translate/otel/exporter/awsemf/kubernetes.go),
https://docs.aws.amazon.com/eks/latest/userguide/cloudwatch.html, https://docs.gitlab.com/runner/executors/kubernetes/troubleshooting/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from components.documents import network_policies, pods
from config.names import MANAGERS_POOL, helm_release, namespace_manager

ADDON = "amazon-cloudwatch-observability"
NAMESPACE, SERVICE_ACCOUNT = "amazon-cloudwatch", "cloudwatch-agent"
"""Where the add-on lives, and who its agents are; fixed by AWS."""
AGENT_POLICY = "CloudWatchAgentServerPolicy"
WEBHOOK_PORT = 9443
"""Where the API server reaches the add-on's operator."""
MINUTE = 60
DOWN_MINUTES = 5
SYSTEM_FAILURES, SYSTEM_FAILURES_MINUTES = 3, 15
"""One may be a spot node that was taken back; three in a quarter of an hour are not."""
NOT_STARTED = "timed out waiting for pod to start"
SYSTEM_FAILURE = "Job failed (system failure)"
"""What a manager logs about a job whose pod did not start within `poll_timeout`, and about any that failed by no fault of its own."""


@dataclass(frozen=True, kw_only=True)
class LogFilter:
    """Lines of the managers' log that make a metric: one for each."""

    metric: str
    """The metric's name; its namespace is the cluster's name."""
    pattern: str
    """What the lines have in common, in CloudWatch's syntax."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """When an alarm goes off."""

    namespace: str
    metric: str
    statistic: str
    dimensions: dict[str, str]
    comparison: str
    threshold: int
    period: int
    """Seconds; a multiple of a minute."""
    periods: int
    """Periods in a row that must be bad."""
    missing: str
    """What no data means: `breaching` or `notBreaching`."""
    description: str
    """What a person reads in the message; names the section of docs/operate/alarms.md."""


def log_group(cluster: str, kind: str) -> str:
    """Name of one of the add-on's log groups; `kind` is `application` (the managers' log) or `performance` (metrics)."""
    return f"/aws/containerinsights/{cluster}/{kind}"


def log_filters(runner_class: str) -> dict[str, LogFilter]:
    """Filters of a class by what they count.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
    """
    where = f'($.kubernetes.namespace_name = "{namespace_manager(runner_class)}")'
    return {
        kind: LogFilter(metric=f"{runner_class}-{kind}", pattern=f'{{ {where} && ($.log = "*{text}*") }}')
        for kind, text in (("jobs-pending", NOT_STARTED), ("system-failures", SYSTEM_FAILURE))
    }


def class_alarms(runner_class: str, *, cluster: str, poll_timeout: int) -> dict[str, Alarm]:
    """Alarms of a class by what they say.

    Args:
        runner_class: the class.
        cluster: name of the cluster, and namespace of the metrics that are made from the log.
        poll_timeout: seconds that the manager waits for a job's pod.
    """
    counted = log_filters(runner_class)
    return {
        "manager-down": Alarm(
            namespace="ContainerInsights",
            metric="replicas_ready",
            statistic="Maximum",
            dimensions={
                "ClusterName": cluster,
                "Namespace": namespace_manager(runner_class),
                "PodName": helm_release(runner_class),
            },
            comparison="LessThanThreshold",
            threshold=1,
            period=MINUTE,
            periods=DOWN_MINUTES,
            missing="breaching",
            description=f"{cluster}: no manager of class {runner_class} was ready for {DOWN_MINUTES} minutes, or nothing says that one was. "
            "Its jobs stay queued in GitLab. docs/operate/alarms.md, manager down",
        ),
        "jobs-pending": _in_the_log(
            cluster,
            counted["jobs-pending"],
            threshold=1,
            period=_whole_minutes(poll_timeout),
            description=f"{cluster}: a job of class {runner_class} was given up because its pod did not start within {poll_timeout} s. "
            "docs/operate/alarms.md, jobs pending",
        ),
        "system-failures": _in_the_log(
            cluster,
            counted["system-failures"],
            threshold=SYSTEM_FAILURES,
            period=SYSTEM_FAILURES_MINUTES * MINUTE,
            description=f"{cluster}: {SYSTEM_FAILURES} or more jobs of class {runner_class} failed within {SYSTEM_FAILURES_MINUTES} minutes by no fault "
            "of their own. docs/operate/alarms.md, system failures",
        ),
    }


def unschedulable(*, cluster: str, poll_timeout: int) -> Alarm:
    """The cluster's alarm: some pod or other found no node for as long as managers wait for theirs.

    The scheduler's queue has the dimension `ClusterName` alone, and a number, not an age: on a busy day several pods that each wait
    for a minute look like one that waits for ten.

    Args:
        cluster: name of the cluster.
        poll_timeout: seconds that the most patient manager waits for a job's pod.
    """
    return Alarm(
        namespace="AWS/EKS",
        metric="scheduler_pending_pods_UNSCHEDULABLE",
        statistic="Sum",
        dimensions={"ClusterName": cluster},
        comparison="GreaterThanThreshold",
        threshold=0,
        period=MINUTE,
        periods=_whole_minutes(poll_timeout) // MINUTE,
        missing="notBreaching",
        description=f"{cluster}: for {poll_timeout} s there was always a pod without a node. docs/operate/alarms.md, unschedulable",
    )


def _in_the_log(cluster: str, counted: LogFilter, *, threshold: int, period: int, description: str) -> Alarm:
    return Alarm(
        namespace=cluster,
        metric=counted.metric,
        statistic="Sum",
        dimensions={},
        comparison="GreaterThanOrEqualToThreshold",
        threshold=threshold,
        period=period,
        periods=1,
        missing="notBreaching",
        description=description,
    )


def _whole_minutes(seconds: int) -> int:
    return math.ceil(seconds / MINUTE) * MINUTE


def addon_configuration() -> dict[str, Any]:
    """Configuration values of the add-on.

    Classic Container Insights with enhanced observability, because its metrics are the ones that can be named in an alarm; no
    OpenTelemetry pipeline beside it, and no Application Signals, whose operator would put its libraries into what jobs deploy here.

    Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/install-CloudWatch-Observability-EKS-addon.html and the
    chart behind the add-on, https://github.com/aws-observability/helm-charts
    """
    there = {
        "nodeSelector": {pods.CLASS_LABEL: MANAGERS_POOL},
        "tolerations": [{"key": pods.CLASS_LABEL, "operator": "Equal", "value": MANAGERS_POOL, "effect": "NoSchedule"}],
    }
    insights = {"logs": {"metrics_collected": {"kubernetes": {"enhanced_container_insights": True}}}}
    nothing = "# not collected\n"
    return {
        "agent": {**there, "config": insights},
        "manager": {**there, "applicationSignals": {"autoMonitor": {"monitorAllServices": False}}},
        "otelContainerInsights": {"enabled": False},
        "containerLogs": {
            "enabled": True,
            "fluentBit": {
                **there,
                "config": {
                    "extraFiles": {
                        "application-log.conf": _managers_log(),
                        "dataplane-log.conf": nothing,
                        "host-log.conf": nothing,
                    }
                },
            },
        },
    }


def _managers_log() -> str:
    # The names of namespace and pod come from the file's name, so this works while the API server does not answer.
    sections = {
        "INPUT": {
            "Name": "tail",
            "Tag": "application.*",
            "Path": f"/var/log/containers/{helm_release('*')}_{namespace_manager('*')}_*.log",
            "multiline.parser": "cri",
            "DB": "/var/fluent-bit/state/managers.db",
            "Skip_Long_Lines": "On",
            "Read_from_Head": "Off",
        },
        "FILTER": {
            "Name": "kubernetes",
            "Match": "application.*",
            "Kube_Tag_Prefix": "application.var.log.containers.",
            "Labels": "Off",
            "Annotations": "Off",
        },
        "OUTPUT": {
            "Name": "cloudwatch_logs",
            "Match": "application.*",
            "region": "${AWS_REGION}",
            "log_group_name": log_group("${CLUSTER_NAME}", "application"),
            "log_stream_prefix": "${HOST_NAME}-",
            "auto_create_group": "false",
        },
    }
    return "\n".join(
        "\n".join([f"[{name}]", *(f"  {key} {value}" for key, value in keys.items()), ""])
        for name, keys in sections.items()
    )


def network_policy(service_cidr: str) -> dict[str, Any]:
    """Specification of the policy in the add-on's namespace: out go DNS, the API server and AWS, in comes the API server.

    It binds the operator. Agent and log reader share their node's network, which policies do not bind.
    """
    out = network_policies.manager_policy(service_cidr=service_cidr, gitlab_port=network_policies.HTTPS_PORT)["egress"]
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": WEBHOOK_PORT}]}],
        "egress": out,
    }
