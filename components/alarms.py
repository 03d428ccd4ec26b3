"""Alarms: messages to a topic when managers or jobs fail; made only if the settings name a topic.

Owns the CloudWatch add-on with its role, namespace and log groups, the metrics from the managers' log, and the alarms. Leaves out
the topic and its subscribers. The conditions, with reasons, are in `components/documents/alarms.py`; remedies are in docs/operate/alarms.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.documents import alarms as documents
from components.documents import trust
from components.documents.disruption import disruption
from config.tags import class_tags
from config.versions import CLOUDWATCH_ADDON

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.cluster import Cluster
    from config.names import Names

LOG_DAYS = {"application": 30, "performance": 7}
"""Days that the add-on's log groups are kept: the managers' log, and the raw form of the metrics."""


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """Inputs of `Alarms`."""

    names: Names
    """Names of the stack."""
    topic: str
    """ARN of the topic that alarms go to."""
    longest_jobs: Mapping[str, int]
    """Seconds of the longest job, by runner class."""
    cluster: Cluster
    """The observed cluster."""
    nodes: Sequence[pulumi.Resource]
    """The managers' nodes: the add-on runs there, and they outlive it."""

    def __post_init__(self) -> None:
        """Refuse alarms without a topic."""
        if not self.topic:
            raise ValueError(
                "topic is empty, so alarms would go nowhere; set alarms.topic, or leave this component out"
            )


class Alarms(pulumi.ComponentResource):
    """The platform's alarms."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Alarms", name, None, opts)
        self._name, self._args = name, args
        self._cluster = args.names.cluster
        groups = {kind: self._log_group(kind, days) for kind, days in LOG_DAYS.items()}
        self._addon([*self._namespace(), *groups.values()])
        poll_timeouts = {name: disruption(seconds).poll_timeout for name, seconds in args.longest_jobs.items()}
        longest = max(poll_timeouts.values())
        self._alarm("unschedulable", documents.unschedulable(cluster=self._cluster, poll_timeout=longest), {})
        for runner_class, poll_timeout in poll_timeouts.items():
            for kind, log_filter in documents.log_filters(runner_class).items():
                self._metric(f"{runner_class}-{kind}", log_filter, groups["application"])
            alarms = documents.class_alarms(runner_class, cluster=self._cluster, poll_timeout=poll_timeout)
            for kind, alarm in alarms.items():
                self._alarm(f"{runner_class}-{kind}", alarm, class_tags(runner_class))
        self.register_outputs({})

    def _log_group(self, kind: str, days: int) -> aws.cloudwatch.LogGroup:
        # Made before the add-on: its agent would make the group without retention, and a destroy would leave it.
        return aws.cloudwatch.LogGroup(
            f"{self._name}-{kind}",
            name=documents.log_group(self._cluster, kind),  # fixed: the add-on writes to this name
            retention_in_days=days,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _namespace(self) -> list[pulumi.Resource]:
        # Made before the add-on: the nodes deny by default, and its operator would start without a network.
        namespace = kubernetes.core.v1.Namespace(
            f"{self._name}-namespace",
            metadata={
                "name": documents.NAMESPACE,
                # The agent uses its node's network and files.
                "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(self._args.nodes)),
        )
        policy = kubernetes.networking.v1.NetworkPolicy(
            f"{self._name}-network",
            metadata={"name": "addon", "namespace": namespace.metadata.name},
            spec=cast("Any", documents.network_policy(self._args.cluster.service_cidr)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return [namespace, policy]

    def _addon(self, needs: Sequence[pulumi.Resource]) -> None:
        args, names = self._args, self._args.names
        document = pulumi.Output.all(args.cluster.oidc_provider_arn, args.cluster.issuer).apply(
            lambda values: trust.service_account(
                provider_arn=values[0],
                issuer=values[1],
                namespace=documents.NAMESPACE,
                account=documents.SERVICE_ACCOUNT,
            )
        )
        role = aws.iam.Role(
            f"{self._name}-role",
            name=names.alarms_role(),  # fixed: `access` names it
            path=names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(document),
            permissions_boundary=names.organization_boundary(
                args.topic.split(":")[4]
            ),  # the platform's account, as the topic's
            opts=pulumi.ResourceOptions(parent=self),
        )
        policy = aws.iam.RolePolicyAttachment(
            f"{self._name}-role-agent",
            role=role.name,
            policy_arn=f"arn:{names.organization.partition}:iam::aws:policy/{documents.AGENT_POLICY}",
            opts=pulumi.ResourceOptions(parent=self),
        )
        aws.eks.Addon(
            f"{self._name}-addon",
            cluster_name=args.cluster.name,
            addon_name=documents.ADDON,
            addon_version=CLOUDWATCH_ADDON,
            service_account_role_arn=role.arn,
            configuration_values=pulumi.Output.json_dumps(documents.addon_configuration()),
            # The namespace exists already; on every conflict these values win.
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy, *needs]),
        )

    def _metric(self, kind: str, log_filter: documents.LogFilter, group: aws.cloudwatch.LogGroup) -> None:
        aws.cloudwatch.LogMetricFilter(
            f"{self._name}-{kind}-metric",
            log_group_name=group.name,
            pattern=log_filter.pattern,
            metric_transformation={
                "name": log_filter.metric,
                "namespace": self._cluster,
                "value": "1",
                "default_value": "0",
            },
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _alarm(self, kind: str, alarm: documents.Alarm, tags: dict[str, str]) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{kind}",
            alarm_description=alarm.description,
            namespace=alarm.namespace,
            metric_name=alarm.metric,
            statistic=alarm.statistic,
            dimensions=alarm.dimensions or None,
            comparison_operator=alarm.comparison,
            threshold=alarm.threshold,
            period=alarm.period,
            evaluation_periods=alarm.periods,
            treat_missing_data=alarm.missing,
            alarm_actions=[self._args.topic],
            ok_actions=[self._args.topic],
            tags=tags or None,
            opts=pulumi.ResourceOptions(parent=self),
        )
