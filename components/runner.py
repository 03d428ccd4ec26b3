"""Runner: one runner class from end to end.

Composes what a class is made of: its nodes, its two AWS roles, its GitLab runner, and what runs in the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pulumi

from components.documents.disruption import disruption
from components.documents.node_pool import class_capacity
from components.node_pool import NodePool, NodePoolArgs
from components.runner_class import RunnerClass, RunnerClassArgs
from components.runner_identity import RunnerIdentity, RunnerIdentityArgs
from components.runner_object import RunnerObject, RunnerObjectArgs
from config.secrets import runner_token
from config.tags import CLASS, default_tags

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.cluster import Cluster
    from components.job_cache import JobCache
    from components.network import Network
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunnerArgs:
    """Inputs of `Runner`; the component's name is the class."""

    settings: Settings
    """Settings of the stack."""
    cluster: Cluster
    """Where it runs."""
    network: Network
    """What its nodes are in, and its jobs may not reach."""
    cache: JobCache
    """Where its jobs leave things for each other."""
    managers: NodePool
    """Nodes of the managers."""
    access: Sequence[pulumi.Resource] = ()
    """Delegated roles: a job that is still running when the platform is destroyed ends as who it is."""
    after: Sequence[Runner] = ()
    """Classes whose managers are rolled before this one's, so that what breaks breaks one class."""


class Runner(pulumi.ComponentResource):
    """A runner class."""

    job_role_arn: pulumi.Output[str]
    """Role of its job pods."""
    helm_release: pulumi.Resource
    """Release of its manager."""
    retired: Sequence[pulumi.Resource]
    """The generation of its runner before the current one, which waits for the release."""
    runner_id: pulumi.Output[str] | None
    """Id of its runner in GitLab; None where somebody else made it."""

    def __init__(self, name: str, args: RunnerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Runner", name, None, opts)
        settings = args.settings
        child = pulumi.ResourceOptions(parent=self)
        pool = self._nodes(name, args)
        identity = RunnerIdentity(
            f"{name}-identity",
            RunnerIdentityArgs(
                settings=settings,
                runner_class=name,
                issuer=args.cluster.issuer,
                oidc_provider_arn=args.cluster.oidc_provider_arn,
            ),
            child,
        )
        made = self._current(name, settings)
        self.runner_id = made.id if made is not None else None
        runner_class = RunnerClass(
            f"{name}-runner",
            RunnerClassArgs(
                settings=settings,
                runner_class=name,
                token=made.token if made is not None else runner_token(name, settings.stack),
                nodes=[pool.pool, args.managers.pool],
                needs=[identity, args.cache, *args.access, *([made] if made is not None else [])],
                after=[each.helm_release for each in args.after],
                # Composed, so that a first preview shows it; `needs` makes the account wait for the role.
                manager_role_arn=settings.names.role_arn(
                    settings.platform_account.id, settings.names.manager_role(name)
                ),
                vpc_cidrs=args.network.vpc_cidrs,
            ),
            child,
        )
        self.helm_release = runner_class.helm_release
        self.retired = self._retire(name, settings, runner_class)
        self.job_role_arn = identity.job_role_arn
        self.register_outputs({"job_role_arn": self.job_role_arn})

    def _nodes(self, name: str, args: RunnerArgs) -> NodePool:
        settings, runner = args.settings, args.settings.runners[name]
        return NodePool(
            f"{name}-nodes",
            NodePoolArgs(
                pool=name,
                plan=class_capacity(runner),
                times=disruption(runner.longest_job),
                arch=runner.arch,
                spot=runner.spot,
                node_role_name=args.cluster.node_role_name,
                subnet_ids=args.network.private_subnet_ids,
                security_group_id=args.cluster.security_group_id,
                tags={**default_tags(settings.stack, settings.tags), CLASS: name},
                needs=[*args.cluster.ready, *args.network.routes],
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _current(self, name: str, settings: Settings) -> RunnerObject | None:
        if settings.gitlab.runners == "external":
            return None
        return self._generation(name, settings, settings.runners[name].token)

    def _retire(self, name: str, settings: Settings, current: RunnerClass) -> list[RunnerObject]:
        # The generation before is paused when the manager has moved on, so that its running jobs finish and no job is refused.
        previous = settings.runners[name].token - 1
        if settings.gitlab.runners == "external" or previous == 0:
            return []
        return [self._generation(name, settings, previous, [current.helm_release])]

    def _generation(
        self, name: str, settings: Settings, generation: int, needs: Sequence[pulumi.Resource] = ()
    ) -> RunnerObject:
        # The generation is in the name: what is current now is the same resource when it is the one before.
        return RunnerObject(
            f"{name}-object-{generation}",
            RunnerObjectArgs(settings=settings, runner_class=name, generation=generation, needs=needs),
            pulumi.ResourceOptions(parent=self),
        )


def one_after_the_other(shared: RunnerArgs, opts: pulumi.ResourceOptions) -> dict[str, Runner]:
    """All classes of the settings, by name, in their order: each manager is rolled after the one before it.

    Args:
        shared: what the classes have in common.
        opts: options of each.
    """
    made: dict[str, Runner] = {}
    for name in shared.settings.runners:
        made[name] = Runner(name, replace(shared, after=list(made.values())[-1:]), opts)
    return made
