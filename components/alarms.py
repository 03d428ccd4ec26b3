"""Alarms: what wakes somebody up, where the settings name a topic.

Owns the CloudWatch add-on with its role, namespace and log groups, the metrics that are made from the managers' log, and the alarms.
Leaves out the topic and whoever listens to it: an alarm is for people whom the platform does not know. What each alarm watches, and
why, is in `components/documents/alarms.py`; what to do about it in docs/operate/alarms.md.
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
    from collections.abc import Sequence

    from components.cluster import Cluster
    from config.settings import Settings

LOG_DAYS = {"application": 30, "performance": 7}
"""Days that the add-on's log groups are kept: what managers said, and the raw form of the metrics."""


@dataclass(frozen=True, kw_only=True)
class AlarmsArgs:
    """Inputs of `Alarms`."""

    settings: Settings
    """Settings of the stack."""
    cluster: Cluster
    """The cluster that is watched."""
    nodes: Sequence[pulumi.Resource]
    """Where the add-on runs: the managers' nodes; they outlive it."""

    def __post_init__(self) -> None:
        """Refuse alarms that nobody would hear."""
        if self.settings.alarms.topic is None:
            raise ValueError("alarms.topic is not set, so alarms would go nowhere; set it, or leave this component out")

    @property
    def topic(self) -> str:
        """ARN of the topic."""
        return cast("str", self.settings.alarms.topic)


class Alarms(pulumi.ComponentResource):
    """The platform's alarms."""

    def __init__(self, name: str, args: AlarmsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Alarms", name, None, opts)
        self._name, self._args = name, args
        self._cluster = args.settings.names.cluster
        groups = {kind: self._log_group(kind, days) for kind, days in LOG_DAYS.items()}
        self._addon([*self._place(), *groups.values()])
        patience = {each: disruption(it.longest_job).poll_timeout for each, it in args.settings.runners.items()}
        self._alarm(
            "unschedulable", documents.unschedulable(cluster=self._cluster, poll_timeout=max(patience.values())), {}
        )
        for runner_class, poll_timeout in patience.items():
            for kind, counted in documents.log_filters(runner_class).items():
                self._metric(f"{runner_class}-{kind}", counted, groups["application"])
            watched = documents.class_alarms(runner_class, cluster=self._cluster, poll_timeout=poll_timeout)
            for kind, alarm in watched.items():
                self._alarm(f"{runner_class}-{kind}", alarm, class_tags(runner_class))
        self.register_outputs({})

    def _log_group(self, kind: str, days: int) -> aws.cloudwatch.LogGroup:
        # Made first, else the agent makes it, without retention, and nobody removes it.
        return aws.cloudwatch.LogGroup(
            f"{self._name}-{kind}",
            name=documents.log_group(self._cluster, kind),  # fixed: the add-on writes to this name
            retention_in_days=days,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _place(self) -> list[pulumi.Resource]:
        # Before the add-on: the nodes deny by default, and its operator would come up without a network.
        space = kubernetes.core.v1.Namespace(
            f"{self._name}-namespace",
            metadata={
                "name": documents.NAMESPACE,
                # The agent reads its node: host network and host paths.
                "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(self._args.nodes)),
        )
        policy = kubernetes.networking.v1.NetworkPolicy(
            f"{self._name}-network",
            metadata={"name": "addon", "namespace": space.metadata.name},
            spec=cast("Any", documents.network_policy(self._args.settings.cluster.service_cidr)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        return [space, policy]

    def _addon(self, needs: Sequence[pulumi.Resource]) -> None:
        args, names = self._args, self._args.settings.names
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
            name=names.alarms_role(),  # fixed: the access reasoner knows it
            path=names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(document),
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
            # The namespace is there before it, and what the settings say is what holds.
            resolve_conflicts_on_create="OVERWRITE",
            resolve_conflicts_on_update="OVERWRITE",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy, *needs]),
        )

    def _metric(self, what: str, counted: documents.LogFilter, group: aws.cloudwatch.LogGroup) -> None:
        aws.cloudwatch.LogMetricFilter(
            f"{self._name}-{what}-metric",
            log_group_name=group.name,
            pattern=counted.pattern,
            metric_transformation={
                "name": counted.metric,
                "namespace": self._cluster,
                "value": "1",
                "default_value": "0",
            },
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _alarm(self, what: str, alarm: documents.Alarm, tags: dict[str, str]) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{self._name}-{what}",
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


def optional_alarms(
    name: str,
    *,
    settings: Settings,
    cluster: Cluster,
    nodes: Sequence[pulumi.Resource],
    providers: Sequence[pulumi.ProviderResource],
) -> Alarms | None:
    """The alarms, where the settings name a topic; else nothing at all."""
    if settings.alarms.topic is None:
        return None
    return Alarms(
        name,
        AlarmsArgs(settings=settings, cluster=cluster, nodes=nodes),
        pulumi.ResourceOptions(providers=list(providers)),
    )
