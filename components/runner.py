"""Runner: one runner class from end to end.

Composes the parts of a class: AWS roles (`runner_identity`), the runner in GitLab (`runner_object`), and what runs the jobs: nodes
(`node_pool`) and namespaces with the Helm release (`runner_class`), or machines (`machine_runner`). Roles and runner keep their logical names
when a class changes its executor, so that its tags, its token and every trust stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.documents import trust
from components.documents.disruption import disruption
from components.documents.machines import roles
from components.documents.node_pool import class_capacity
from components.machine_runner import MachineRunner, MachineRunnerArgs
from components.node_pool import NodePool, NodePoolArgs
from components.runner_class import RunnerClass, RunnerClassArgs
from components.runner_identity import RunnerIdentity, RunnerIdentityArgs
from components.runner_object import RunnerObject, RunnerObjectArgs
from config.names import JOB_SERVICE_ACCOUNT, MANAGER_SERVICE_ACCOUNT, namespace_jobs, namespace_manager
from config.secrets import runner_token
from config.settings import MachineClassSettings
from config.tags import class_tags

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.cluster import Cluster
    from components.documents.statements import Document
    from components.job_cache import JobCache
    from components.job_cluster import JobCluster
    from components.network import Network
    from config.settings import KubernetesClassSettings


@dataclass(frozen=True, kw_only=True)
class RunnerArgs:
    """Inputs of `Runner`."""

    runner_class: KubernetesClassSettings | MachineClassSettings
    """Settings of the class."""
    tags: Mapping[str, str]
    """Tags of everything in the stack, for the nodes."""
    job_cluster: JobCluster | None
    """Where a class on Kubernetes runs; None in a stack without such a class."""
    network: Network
    """Where its nodes or machines are; closed to its jobs."""
    cache: JobCache
    """The job cache; it outlives running jobs."""
    access: Sequence[pulumi.Resource] = ()
    """Delegated roles; they outlive running jobs."""
    after: Sequence[Runner] = ()
    """Classes whose managers roll before this one's, so that a faulty change breaks only one class."""


class Runner(pulumi.ComponentResource):
    """A runner class."""

    job_role_arn: pulumi.Output[str]
    """Role of its job pods."""
    manager: pulumi.Resource
    """Release or group of its manager."""
    retired: Sequence[pulumi.Resource]
    """The previous generation of its runner in GitLab; it waits for the manager."""
    runner_id: pulumi.Output[str] | None
    """Id of its runner in GitLab; None with `runners: external`."""

    def __init__(self, name: str, args: RunnerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Runner", name, None, opts)
        self._name, self._args = name, args
        settings, managed = args.runner_class, args.runner_class.gitlab.runners == "managed"
        runner_object = self._generation(settings.runner.token) if managed else None
        self.runner_id = runner_object.id if runner_object is not None else None
        token = runner_object.token if runner_object is not None else runner_token(name, settings.names.stack)
        registered = [runner_object] if runner_object is not None else []
        if isinstance(settings, MachineClassSettings):
            identity = self._identity(_of_machines(settings), roles.manager_permissions(settings))
            self.manager = self._machines(settings, token, [identity, *registered])
        else:
            identity = self._identity(_of_pods(self._job_cluster.cluster, settings))
            self.manager = self._pods(settings, token, [identity, *registered])
        # The previous generation pauses when the manager has moved on: its running jobs finish, and no job is refused.
        previous = settings.runner.token - 1
        self.retired = [self._generation(previous, [self.manager])] if managed and previous else []
        self.job_role_arn = identity.job_role_arn
        self.register_outputs({"job_role_arn": self.job_role_arn})

    @property
    def _job_cluster(self) -> JobCluster:
        if self._args.job_cluster is None:
            raise ValueError(
                f"class {self._name} is of executor kubernetes, and job_cluster is None; pass the stack's cluster"
            )
        return self._args.job_cluster

    def _identity(self, trusts: Trusts, permissions: Mapping[str, Document] | None = None) -> RunnerIdentity:
        return RunnerIdentity(
            f"{self._name}-identity",
            RunnerIdentityArgs(
                runner_class=self._args.runner_class,
                manager_trust=trusts.manager,
                job_trust=trusts.job,
                manager_permissions=permissions or {},
            ),
            pulumi.ResourceOptions(parent=self),
        )

    def _pods(
        self, settings: KubernetesClassSettings, token: pulumi.Input[str], needs: Sequence[pulumi.Resource]
    ) -> pulumi.Resource:
        args, names = self._args, settings.names
        pool = self._nodes(settings)
        runner_class = RunnerClass(
            f"{self._name}-runner",
            RunnerClassArgs(
                runner_class=settings,
                service_cidr=self._job_cluster.cluster.service_cidr,
                vpc_cidrs=args.network.vpc_cidrs,
                token=token,
                # Composed, so that a first preview shows it; `needs` makes the service account wait for the role.
                manager_role_arn=names.role_arn(settings.platform_account_id, names.manager_role(self._name)),
                nodes=[pool.pool, self._job_cluster.managers.pool],
                needs=[*needs, args.cache, *args.access],
                after=[runner.manager for runner in args.after],
            ),
            pulumi.ResourceOptions(parent=self),
        )
        return runner_class.helm_release

    def _machines(
        self, settings: MachineClassSettings, token: pulumi.Input[str], needs: Sequence[pulumi.Resource]
    ) -> pulumi.Resource:
        args = self._args
        machine_runner = MachineRunner(
            f"{self._name}-machines",
            MachineRunnerArgs(
                runner_class=settings,
                token=token,
                network=args.network,
                tags=args.tags,
                needs=[*needs, args.cache, *args.access],
                after=[runner.manager for runner in args.after],
            ),
            pulumi.ResourceOptions(parent=self),
        )
        return machine_runner.manager

    def _nodes(self, settings: KubernetesClassSettings) -> NodePool:
        name, args, cluster, runner = self._name, self._args, self._job_cluster.cluster, settings.runner
        return NodePool(
            f"{name}-nodes",
            NodePoolArgs(
                pool=name,
                capacity=class_capacity(runner),
                times=disruption(runner.longest_job),
                arch=runner.arch,
                spot=runner.spot,
                node_role_name=cluster.node_role_name,
                subnet_ids=args.network.private_subnet_ids,
                security_group_id=cluster.security_group_id,
                tags={**args.tags, **class_tags(name)},
                needs=[*cluster.ready, *args.network.routes],
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


@dataclass(frozen=True, kw_only=True)
class Trusts:
    """Trust documents of a class's own roles."""

    manager: pulumi.Input[Document]
    """Who is the manager."""
    job: pulumi.Input[Document]
    """Who is a job."""


def _of_pods(cluster: Cluster, settings: KubernetesClassSettings) -> Trusts:
    """Trust the service accounts of the class."""

    def trust_in(namespace: str, account: str) -> pulumi.Output[Document]:
        return pulumi.Output.all(cluster.oidc_provider_arn, cluster.issuer).apply(
            lambda values: trust.service_account(
                provider_arn=values[0], issuer=values[1], namespace=namespace, account=account
            )
        )

    return Trusts(
        manager=trust_in(namespace_manager(settings.name), MANAGER_SERVICE_ACCOUNT),
        job=trust_in(namespace_jobs(settings.name), JOB_SERVICE_ACCOUNT),
    )


def _of_machines(settings: MachineClassSettings) -> Trusts:
    """Trust EC2 for the manager, and for jobs the machines or tasks that run them."""
    return Trusts(manager=trust.service(roles.EC2), job=roles.job_trust(settings))
