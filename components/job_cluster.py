"""JobCluster: the cluster of the classes on Kubernetes, with the nodes of their managers and the alarms. A stack without such a class has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.alarms import Alarms, AlarmsArgs
from components.cluster import Cluster, ClusterArgs
from components.node_pool import NodePool, manager_nodes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.network import Network
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class JobCluster:
    """The cluster and what all its classes share."""

    cluster: Cluster
    managers: NodePool
    """Nodes of the managers."""
    leaves: list[pulumi.Resource]
    """What depends on nothing else and nothing else depends on."""


def job_cluster(
    settings: Settings, *, network: Network, tags: Mapping[str, str], opts: pulumi.ResourceOptions
) -> JobCluster | None:
    """Make the cluster of a stack; None if no class of the stack is on Kubernetes."""
    if settings.cluster is None:
        return None
    names, account, protect = settings.names, settings.platform.account, settings.platform.protect
    cluster_args = ClusterArgs(
        names=names,
        account_id=settings.platform_account.id,
        settings=settings.cluster,
        network=network,
        profile=f"platform-{account}",
        protect=protect,
    )
    cluster = Cluster("cluster", cluster_args, opts)
    longest_jobs = {name: settings.longest_jobs[name] for name in settings.kubernetes_classes}
    managers = manager_nodes("managers", longest_jobs=longest_jobs, tags=tags, cluster=cluster, network=network)
    leaves: list[pulumi.Resource] = [cluster]
    if topic := settings.alarms.topic:
        args = AlarmsArgs(names=names, topic=topic, longest_jobs=longest_jobs, cluster=cluster, nodes=[managers])
        both = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(providers=[cluster.inside]))
        leaves.append(Alarms("alarms", args, both))
    return JobCluster(cluster=cluster, managers=managers, leaves=leaves)
