"""RunnerClass: one runner class inside the cluster.

Owns both namespaces with their pod security, the service accounts, the manager's rights, the token's Secret, network policies,
quota, the AWS config, and the Helm release. Leaves out AWS roles (`runner_identity`), the GitLab runner (`runner_object`) and nodes
(`node_pool`).

Rights and accounts are made beside the release, so that no upgrade takes them from a draining manager, and no destroy does: an
uninstall returns while the manager still finishes its jobs, but the deletion of the manager's namespace waits for its pods, and
Kubernetes removes pods before everything else in a namespace (KEP-5080, on since 1.33). So what is in a namespace goes with it and
never by itself, and the jobs' namespace, and whatever else a running job needs, outlives the manager's.

Names are text, and one dependency says what waits for what: when a deletion fails or is interrupted, the engine walks every path of
dependencies below it (`markAsDependency`), and an output counts as two or three.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pulumi
import pulumi_kubernetes as kubernetes

from components.documents import namespaces
from components.documents.disruption import disruption
from components.documents.helm_values import CA_SECRET, TOKEN_ANNOTATION, TOKEN_SECRET, helm_values
from components.documents.namespaces import jobs_quota, namespace_labels
from components.documents.network_policies import jobs_policy, manager_policy
from components.documents.profiles import class_profiles
from config.names import (
    AWS_CONFIG_MAP,
    JOB_SERVICE_ACCOUNT,
    MANAGER_SERVICE_ACCOUNT,
    helm_release,
    namespace_jobs,
    namespace_manager,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RunnerClassArgs:
    """Inputs of `RunnerClass`."""

    settings: Settings
    """Settings of the stack."""
    runner_class: str
    """The class."""
    token: pulumi.Input[str]
    """Runner authentication token; secret."""
    manager_role_arn: str
    """Role that the manager's service account is annotated with."""
    vpc_cidrs: pulumi.Input[Sequence[str]]
    """Networks that jobs may not reach."""
    after: Sequence[pulumi.Resource] = ()
    """Releases of classes that come before this one: managers are rolled one class at a time."""
    nodes: Sequence[pulumi.Resource] = ()
    """Where managers and jobs run; the namespaces go before they do."""
    needs: Sequence[pulumi.Resource] = ()
    """What jobs use until their end: roles, the runner in GitLab, the cache. It outlives the manager."""


class RunnerClass(pulumi.ComponentResource):
    """A runner class."""

    release: pulumi.Output[str]
    """Name of the Helm release."""
    helm_release: kubernetes.helm.v3.Release
    """The release, for what must wait until the manager has rolled."""

    def __init__(self, name: str, args: RunnerClassArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerClass", name, None, opts)
        self._name, self._args = name, args
        self._runner = args.settings.runners[args.runner_class]
        self._in_jobs, self._in_manager = namespace_jobs(args.runner_class), namespace_manager(args.runner_class)
        self._jobs = self._namespace("jobs", self._in_jobs, *args.nodes)
        self._manager = self._namespace("manager", self._in_manager, self._jobs, *args.needs)
        inside = [*self._jobs_rights(), *self._jobs_guards(), *self._manager_objects()]
        self.helm_release = self._release([*inside, *args.after])
        self.release = self.helm_release.name.apply(str)
        self.register_outputs({"release": self.release})

    def _options(self, *depends_on: pulumi.Resource, **more: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on), **more)

    def _inside(self, namespace: kubernetes.core.v1.Namespace, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of what is in a namespace: made after it, and deleted with it when its last pod has ended."""
        return self._options(*depends_on, deleted_with=namespace)

    def _namespace(self, kind: str, physical_name: str, *needs: pulumi.Resource) -> kubernetes.core.v1.Namespace:
        slow = pulumi.CustomTimeouts(delete=f"{disruption(self._runner.longest_job).delete_timeout}s")
        return kubernetes.core.v1.Namespace(
            f"{self._name}-{kind}",
            metadata={"name": physical_name, "labels": namespace_labels(kind, self._args.runner_class, self._runner)},
            opts=self._options(*needs, custom_timeouts=slow),
        )

    def _jobs_rights(self) -> list[pulumi.Resource]:
        name, namespace = self._name, self._in_jobs
        job = kubernetes.core.v1.ServiceAccount(
            f"{name}-job-account",
            metadata={"name": JOB_SERVICE_ACCOUNT, "namespace": namespace},
            automount_service_account_token=False,
            opts=self._inside(self._jobs),
        )
        role = kubernetes.rbac.v1.Role(
            f"{name}-executor",
            metadata={"name": "executor", "namespace": namespace},
            rules=cast("Any", namespaces.EXECUTOR_RULES),
            opts=self._inside(self._jobs),
        )
        manager = {
            "kind": "ServiceAccount",
            "name": MANAGER_SERVICE_ACCOUNT,
            # Bound before it exists, so that the binding outlives it.
            "namespace": self._in_manager,
        }
        binding = kubernetes.rbac.v1.RoleBinding(
            f"{name}-executor-binding",
            metadata={"name": "executor", "namespace": namespace},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": "executor"},
            subjects=cast("Any", [manager]),
            opts=self._inside(self._jobs, role),
        )
        return [job, binding]

    def _jobs_guards(self) -> list[pulumi.Resource]:
        name, args = self._name, self._args
        policy = pulumi.Output.from_input(args.vpc_cidrs).apply(
            lambda cidrs: jobs_policy(
                service_cidr=args.settings.cluster.service_cidr,
                vpc_cidrs=cidrs,
                endpoint_cidrs=args.settings.network.endpoint_cidrs,
            )
        )
        return [
            kubernetes.networking.v1.NetworkPolicy(
                f"{name}-jobs-network",
                metadata={"name": "jobs", "namespace": self._in_jobs},
                spec=cast("Any", policy),
                opts=self._inside(self._jobs),
            ),
            kubernetes.core.v1.ResourceQuota(
                f"{name}-quota",
                metadata={"name": "jobs", "namespace": self._in_jobs},
                spec={"hard": jobs_quota(self._runner)},
                opts=self._inside(self._jobs),
            ),
            kubernetes.core.v1.ConfigMap(
                f"{name}-aws-config",
                metadata={"name": AWS_CONFIG_MAP, "namespace": self._in_jobs},
                data={"config": class_profiles(args.settings, args.runner_class)},
                opts=self._inside(self._jobs),
            ),
        ]

    def _manager_objects(self) -> list[pulumi.Resource]:
        name, settings, namespace = self._name, self._args.settings, self._in_manager
        port = int(settings.gitlab.url.rpartition(":")[2]) if settings.gitlab.url.count(":") > 1 else 443
        made: list[pulumi.Resource] = [
            kubernetes.core.v1.ServiceAccount(
                f"{name}-manager-account",
                metadata={
                    "name": MANAGER_SERVICE_ACCOUNT,
                    "namespace": namespace,
                    "annotations": {"eks.amazonaws.com/role-arn": self._args.manager_role_arn},
                },
                opts=self._inside(self._manager),
            ),
            kubernetes.networking.v1.NetworkPolicy(
                f"{name}-manager-network",
                metadata={"name": "manager", "namespace": namespace},
                spec=cast("Any", manager_policy(service_cidr=settings.cluster.service_cidr, gitlab_port=port)),
                opts=self._inside(self._manager),
            ),
            kubernetes.core.v1.Secret(
                f"{name}-token",
                metadata={"name": TOKEN_SECRET, "namespace": namespace},
                # The chart mounts both keys, and neither is optional.
                string_data={"runner-token": self._args.token, "runner-registration-token": ""},
                opts=self._inside(self._manager),
            ),
        ]
        if settings.gitlab.ca_bundle:
            host = settings.gitlab.url.removeprefix("https://").partition(":")[0]
            made.append(
                kubernetes.core.v1.Secret(
                    f"{name}-ca",
                    metadata={"name": CA_SECRET, "namespace": namespace},
                    string_data={f"{host}.crt": settings.gitlab.ca_bundle},
                    opts=self._inside(self._manager),
                )
            )
        return made

    def _release(self, needed: Sequence[pulumi.Resource]) -> kubernetes.helm.v3.Release:
        args, chart = self._args, self._args.settings.chart
        times = disruption(self._runner.longest_job)
        values = helm_values(args.settings, args.runner_class)
        # The chart's own checksum does not see an external Secret: the token's hash rolls the manager.
        values["podAnnotations"][TOKEN_ANNOTATION] = pulumi.Output.unsecret(
            pulumi.Output.from_input(args.token).apply(lambda token: hashlib.sha256(token.encode()).hexdigest())
        )
        in_registry = chart.repository is not None and chart.repository.startswith("oci://")
        return kubernetes.helm.v3.Release(
            f"{self._name}-release",
            name=helm_release(args.runner_class),  # fixed: with autonaming every replacement would be a second runner
            namespace=self._in_manager,
            chart=chart.path or (f"{chart.repository}/gitlab-runner" if in_registry else "gitlab-runner"),
            version=chart.version,
            repository_opts={"repo": chart.repository} if chart.repository and not in_registry else None,
            values=values,
            atomic=True,
            cleanup_on_fail=True,
            timeout=15 * 60,
            max_history=5,
            opts=self._options(*needed, custom_timeouts=pulumi.CustomTimeouts(delete=f"{times.delete_timeout}s")),
        )
