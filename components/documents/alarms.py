"""The alarms of a class and of the cluster, and the configuration of the add-on that collects their metrics.

Each class has three alarms, from the most to the least direct:

- manager down: `replicas_ready` of the manager's Deployment. Its dimensions are `PodName` (which holds the Deployment's name),
  `Namespace` and `ClusterName`.
- jobs pending longer than `poll_timeout`: no metric counts them by namespace. `pod_status_pending` has no such dimension, and the
  agent of a node never sees a pod without a node. So the alarm counts the line that a manager logs when it gives a pod up. An
  earlier sign, but for the whole cluster, is the scheduler's queue (`scheduler_pending_pods_UNSCHEDULABLE`).
- system failures: counted in the manager's log, too. The Prometheus counter `gitlab_runner_failed_jobs_total` has the same
  number, but needs a second agent beside the add-on.

Agent and log reader run on the managers' nodes only. The alarms need no more (the Deployments' state comes from the API server),
the output of jobs stays out of CloudWatch, and job nodes keep the room that `node_pool` counts on.

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
"""Namespace of the add-on, and service account of its agents; fixed by AWS."""
AGENT_POLICY = "CloudWatchAgentServerPolicy"
WEBHOOK_PORT = 9443
"""Port at which the API server reaches the add-on's operator."""
MINUTE = 60
DOWN_MINUTES = 5
SYSTEM_FAILURES, SYSTEM_FAILURES_MINUTES = 3, 15
"""One failure may be a reclaimed spot node; three in a quarter of an hour are not."""
NOT_STARTED = "timed out waiting for pod to start"
SYSTEM_FAILURE = "Job failed (system failure)"
"""Texts that a manager logs: a pod did not start within `poll_timeout`; a job failed by no fault of its own."""


@dataclass(frozen=True, kw_only=True)
class LogFilter:
    """A metric that counts lines of the managers' log."""

    metric: str
    """The metric's name; its namespace is the cluster's name."""
    pattern: str
    """Pattern of the lines, in CloudWatch's syntax."""


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """Condition and text of an alarm."""

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
    """Treatment of missing data: `breaching` or `notBreaching`."""
    description: str
    """Text of the message to a person; it names the section of docs/operate/alarms.md."""


def log_group(cluster: str, kind: str) -> str:
    """Return the name of a log group of the add-on; `kind` is `application` (the managers' log) or `performance` (metrics)."""
    return f"/aws/containerinsights/{cluster}/{kind}"


def log_filters(runner_class: str) -> dict[str, LogFilter]:
    """Return the log filters of a class by kind.

    Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntaxForMetricFilters.html
    """
    in_namespace = f'($.kubernetes.namespace_name = "{namespace_manager(runner_class)}")'
    return {
        kind: LogFilter(metric=f"{runner_class}-{kind}", pattern=f'{{ {in_namespace} && ($.log = "*{text}*") }}')
        for kind, text in (("jobs-pending", NOT_STARTED), ("system-failures", SYSTEM_FAILURE))
    }


def class_alarms(runner_class: str, *, cluster: str, poll_timeout: int) -> dict[str, Alarm]:
    """Return the alarms of a class by kind.

    Args:
        runner_class: the class.
        cluster: name of the cluster, and namespace of the metrics from the log.
        poll_timeout: seconds that the manager waits for a job's pod.
    """
    filters = log_filters(runner_class)
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
        "jobs-pending": _log_alarm(
            cluster,
            filters["jobs-pending"],
            threshold=1,
            period=_whole_minutes(poll_timeout),
            description=f"{cluster}: a job of class {runner_class} was given up because its pod did not start within {poll_timeout} s. "
            "docs/operate/alarms.md, jobs pending",
        ),
        "system-failures": _log_alarm(
            cluster,
            filters["system-failures"],
            threshold=SYSTEM_FAILURES,
            period=SYSTEM_FAILURES_MINUTES * MINUTE,
            description=f"{cluster}: {SYSTEM_FAILURES} or more jobs of class {runner_class} failed within {SYSTEM_FAILURES_MINUTES} minutes by no fault "
            "of their own. docs/operate/alarms.md, system failures",
        ),
    }


def unschedulable(*, cluster: str, poll_timeout: int) -> Alarm:
    """Return the cluster's alarm: for as long as managers wait for a pod, there was always a pod without a node.

    The scheduler's queue has only the dimension `ClusterName`, and counts pods without their age: on a busy day, ten pods that wait
    a minute in turn look like one pod that waits for ten.

    Args:
        cluster: name of the cluster.
        poll_timeout: longest time, in seconds, that a manager waits for a job's pod.
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


def _log_alarm(cluster: str, log_filter: LogFilter, *, threshold: int, period: int, description: str) -> Alarm:
    return Alarm(
        namespace=cluster,
        metric=log_filter.metric,
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
    """Return the configuration values of the add-on.

    Classic Container Insights with enhanced observability, because alarms can name its metrics. No OpenTelemetry pipeline, and no
    Application Signals: its operator would put libraries into pods that jobs deploy in this cluster.

    Sources: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/install-CloudWatch-Observability-EKS-addon.html and the
    chart behind the add-on, https://github.com/aws-observability/helm-charts
    """
    on_manager_nodes = {
        "nodeSelector": {pods.CLASS_LABEL: MANAGERS_POOL},
        "tolerations": [{"key": pods.CLASS_LABEL, "operator": "Equal", "value": MANAGERS_POOL, "effect": "NoSchedule"}],
    }
    insights = {"logs": {"metrics_collected": {"kubernetes": {"enhanced_container_insights": True}}}}
    not_collected = "# not collected\n"
    return {
        "agent": {**on_manager_nodes, "config": insights},
        "manager": {**on_manager_nodes, "applicationSignals": {"autoMonitor": {"monitorAllServices": False}}},
        "otelContainerInsights": {"enabled": False},
        "containerLogs": {
            "enabled": True,
            "fluentBit": {
                **on_manager_nodes,
                "config": {
                    "extraFiles": {
                        "application-log.conf": _managers_log(),
                        "dataplane-log.conf": not_collected,
                        "host-log.conf": not_collected,
                    }
                },
            },
        },
    }


def _managers_log() -> str:
    # Names of namespace and pod come from the file's name, so that collecting works while the API server does not answer.
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
    """Return the network policy of the add-on's namespace: to DNS, the API server and AWS; from the API server.

    It binds the operator. Agent and log reader share their node's network, and policies do not bind them.
    """
    egress = network_policies.manager_policy(service_cidr=service_cidr, gitlab_port=network_policies.HTTPS_PORT)[
        "egress"
    ]
    return {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"ports": [{"protocol": "TCP", "port": WEBHOOK_PORT}]}],
        "egress": egress,
    }
