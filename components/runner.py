"""Runner: one runner class from end to end.

Composes the parts of a class: nodes (`node_pool`), AWS roles (`runner_identity`), the runner in GitLab (`runner_object`), and
namespaces with the Helm release (`runner_class`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.documents.disruption import disruption
from components.documents.node_pool import class_capacity
from components.node_pool import NodePool, NodePoolArgs
from components.runner_class import RunnerClass, RunnerClassArgs
from components.runner_identity import RunnerIdentity, RunnerIdentityArgs
from components.runner_object import RunnerObject, RunnerObjectArgs
from config.secrets import runner_token
from config.tags import class_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.cluster import Cluster
    from components.job_cache import JobCache
    from components.network import Network
    from config.settings import KubernetesClassSettings


@dataclass(frozen=True, kw_only=True)
class RunnerArgs:
    """Inputs of `Runner`."""

    runner_class: KubernetesClassSettings
    """Settings of the class."""
    tags: Mapping[str, str]
    """Tags of everything in the stack, for the nodes."""
    cluster: Cluster
    """Where the class runs."""
    network: Network
    """Where its nodes are; closed to its jobs."""
    cache: JobCache
    """The job cache; it outlives running jobs."""
    managers: NodePool
    """Nodes of the managers."""
    access: Sequence[pulumi.Resource] = ()
    """Delegated roles; they outlive running jobs."""
    after: Sequence[Runner] = ()
    """Classes whose managers roll before this one's, so that a faulty change breaks only one class."""


class Runner(pulumi.ComponentResource):
    """A runner class."""

    job_role_arn: pulumi.Output[str]
    """Role of its job pods."""
    helm_release: pulumi.Resource
    """Release of its manager."""
    retired: Sequence[pulumi.Resource]
    """The previous generation of its runner in GitLab; it waits for the release."""
    runner_id: pulumi.Output[str] | None
    """Id of its runner in GitLab; None with `runners: external`."""

    def __init__(self, name: str, args: RunnerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Runner", name, None, opts)
        self._name, self._args = name, args
        settings = args.runner_class
        child = pulumi.ResourceOptions(parent=self)
        pool = self._nodes()
        identity = RunnerIdentity(
            f"{name}-identity",
            RunnerIdentityArgs(
                runner_class=settings,
                issuer=args.cluster.issuer,
                oidc_provider_arn=args.cluster.oidc_provider_arn,
            ),
            child,
        )
        managed = settings.gitlab.runners == "managed"
        runner_object = self._generation(settings.runner.token) if managed else None
        self.runner_id = runner_object.id if runner_object is not None else None
        runner_class = RunnerClass(
            f"{name}-runner",
            RunnerClassArgs(
                runner_class=settings,
                service_cidr=args.cluster.service_cidr,
                vpc_cidrs=args.network.vpc_cidrs,
                token=runner_object.token if runner_object is not None else runner_token(name, settings.names.stack),
                # Composed, so that a first preview shows it; `needs` makes the service account wait for the role.
                manager_role_arn=settings.names.role_arn(
                    settings.platform_account_id, settings.names.manager_role(name)
                ),
                nodes=[pool.pool, args.managers.pool],
                needs=[identity, args.cache, *args.access, *([runner_object] if runner_object is not None else [])],
                after=[runner.helm_release for runner in args.after],
            ),
            child,
        )
        self.helm_release = runner_class.helm_release
        # The previous generation pauses when the manager has moved on: its running jobs finish, and no job is refused.
        previous = settings.runner.token - 1
        self.retired = [self._generation(previous, [self.helm_release])] if managed and previous else []
        self.job_role_arn = identity.job_role_arn
        self.register_outputs({"job_role_arn": self.job_role_arn})

    def _nodes(self) -> NodePool:
        name, args, runner = self._name, self._args, self._args.runner_class.runner
        return NodePool(
            f"{name}-nodes",
            NodePoolArgs(
                pool=name,
                capacity=class_capacity(runner),
                times=disruption(runner.longest_job),
                arch=runner.arch,
                spot=runner.spot,
                node_role_name=args.cluster.node_role_name,
                subnet_ids=args.network.private_subnet_ids,
                security_group_id=args.cluster.security_group_id,
                tags={**args.tags, **class_tags(name)},
                needs=[*args.cluster.ready, *args.network.routes],
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _generation(self, generation: int, needs: Sequence[pulumi.Resource] = ()) -> RunnerObject:
        # The logical name holds the generation, so that the current one stays the same resource when it becomes the previous one.
        return RunnerObject(
            f"{self._name}-object-{generation}",
            RunnerObjectArgs(runner_class=self._args.runner_class, generation=generation, needs=needs),
            pulumi.ResourceOptions(parent=self),
        )
