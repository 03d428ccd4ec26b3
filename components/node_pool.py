"""NodePool: the nodes of one runner class, or of the managers.

Owns a NodeClass and a NodePool of the same name. A deletion of the pool waits for its last node, and a deletion of the NodeClass waits
for the pool; the network and the nodes' access entry outlive both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from components.documents.disruption import managers_disruption
from components.documents.node_pool import managers_capacity, node_class_spec, node_pool_spec
from config.names import MANAGERS_POOL
from config.runner_checks import SPOT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.cluster import Cluster
    from components.documents.disruption import Disruption
    from components.documents.node_pool import NodeCapacity
    from components.network import Network

FOREGROUND = {"pulumi.com/deletionPropagationPolicy": "foreground"}


@dataclass(frozen=True, kw_only=True)
class NodePoolArgs:
    """Inputs of `NodePool`."""

    pool: str
    """The class, or `managers`: name of both objects, label and taint of the nodes."""
    capacity: NodeCapacity
    """Instance types, disk and ceiling."""
    times: Disruption
    """The disruption contract."""
    arch: str = "amd64"
    """Architecture of the nodes."""
    spot: bool = False
    """Whether spot capacity may be used."""
    node_role_name: pulumi.Input[str]
    """Role of the nodes."""
    subnet_ids: pulumi.Input[list[str]]
    """Private subnets."""
    security_group_id: pulumi.Input[str]
    """Security group of the nodes."""
    tags: Mapping[str, str]
    """Tags of instances and volumes."""
    needs: Sequence[pulumi.Resource] = ()
    """Access entry and routes: nodes need them to join and to end, so they outlive the last node."""

    def __post_init__(self) -> None:
        """Refuse spot nodes for long jobs: losing a node loses its jobs."""
        if self.spot and self.times.gitlab_timeout > SPOT_LIMIT:
            raise ValueError(
                f"spot for pool {self.pool!r} with jobs of {self.times.gitlab_timeout} s; spot nodes are for jobs of an hour or less: lower longest_job, or drop spot"
            )


class NodePool(pulumi.ComponentResource):
    """Nodes of one class."""

    pool: kubernetes.apiextensions.CustomResource
    """The NodePool object; it waits for its NodeClass."""

    def __init__(self, name: str, args: NodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:NodePool", name, None, opts)
        terms = pulumi.Output.from_input(args.subnet_ids).apply(lambda ids: [{"id": subnet_id} for subnet_id in ids])
        slow = pulumi.CustomTimeouts(delete=f"{args.times.delete_timeout}s")
        node_class = kubernetes.apiextensions.CustomResource(
            f"{name}-class",
            api_version="eks.amazonaws.com/v1",
            kind="NodeClass",
            metadata={"name": args.pool, "annotations": FOREGROUND},
            spec=node_class_spec(
                role=args.node_role_name,
                subnet_ids=terms,
                security_group_id=args.security_group_id,
                capacity=args.capacity,
                tags=args.tags,
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.needs), custom_timeouts=slow),
        )
        self.pool = kubernetes.apiextensions.CustomResource(
            f"{name}-pool",
            api_version="karpenter.sh/v1",
            kind="NodePool",
            metadata={"name": args.pool, "annotations": FOREGROUND},
            spec=node_pool_spec(
                name=args.pool, capacity=args.capacity, times=args.times, arch=args.arch, spot=args.spot
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[node_class], custom_timeouts=slow),
        )
        self.register_outputs({})


def manager_nodes(
    name: str, *, longest_jobs: Mapping[str, int], tags: Mapping[str, str], cluster: Cluster, network: Network
) -> NodePool:
    """Make the nodes of the managers: on demand, with a grace above the longest class.

    Args:
        name: logical name.
        longest_jobs: seconds of the longest job, by runner class.
        tags: tags of instances and volumes.
        cluster: the cluster that the nodes join.
        network: the network of the nodes.
    """
    return NodePool(
        name,
        NodePoolArgs(
            pool=MANAGERS_POOL,
            capacity=managers_capacity(len(longest_jobs)),
            times=managers_disruption(list(longest_jobs.values())),
            node_role_name=cluster.node_role_name,
            subnet_ids=network.private_subnet_ids,
            security_group_id=cluster.security_group_id,
            tags=tags,
            needs=[*cluster.ready, *network.routes],
        ),
        pulumi.ResourceOptions(provider=cluster.inside),
    )
