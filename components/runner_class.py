"""RunnerClass: a runner class inside the cluster.

Owns both namespaces with their pod security, the service accounts, the manager's permissions, the token's Secret, network
policies, quota, the AWS config, and the Helm release. Leaves out AWS roles (`runner_identity`), the runner in GitLab
(`runner_object`) and nodes (`node_pool`).

Order of deletion. An uninstall of the release returns while the manager still finishes its jobs. So permissions and accounts are
not part of the release, and objects in a namespace are deleted with the namespace, never alone: the deletion of a namespace waits
for its pods, and Kubernetes removes pods before all else (KEP-5080, on since 1.33). The jobs' namespace, and all else that a
running job needs, outlives the manager's.

Names are plain text, and each order is one dependency: if a deletion fails or is interrupted, the engine walks every path of
dependencies below it (`markAsDependency`), and an output counts as two or three.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pulumi
import pulumi_kubernetes as kubernetes

from components.documents.disruption import disruption, jobs_budget
from components.documents.helm_values import CA_SECRET, TOKEN_ANNOTATION, TOKEN_SECRET, helm_values
from components.documents.namespaces import EXECUTOR_RULES, jobs_quota, namespace_labels
from components.documents.network_policies import HTTPS_PORT, jobs_policy, manager_policy
from components.documents.profiles import class_profiles
from components.job_admission import JobAdmission, JobAdmissionArgs
from config.gitlab_values import host_and_port
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

    from config.settings import KubernetesClassSettings


@dataclass(frozen=True, kw_only=True)
class RunnerClassArgs:
    """Inputs of `RunnerClass`."""

    runner_class: KubernetesClassSettings
    """Settings of the class."""
    service_cidr: str
    """Network of the cluster's services."""
    vpc_cidrs: pulumi.Input[Sequence[str]]
    """Networks that jobs may not reach."""
    token: pulumi.Input[str]
    """Runner authentication token; secret."""
    manager_role_arn: str
    """Role in the annotation of the manager's service account."""
    after: Sequence[pulumi.Resource] = ()
    """Releases of earlier classes: managers roll one class at a time."""
    nodes: Sequence[pulumi.Resource] = ()
    """Nodes of managers and jobs; they outlive the namespaces."""
    needs: Sequence[pulumi.Resource] = ()
    """Roles, the runner in GitLab, the cache: jobs use them until their end, so they outlive the manager."""


class RunnerClass(pulumi.ComponentResource):
    """A runner class inside the cluster."""

    release: pulumi.Output[str]
    """Name of the Helm release."""
    helm_release: kubernetes.helm.v3.Release
    """The release, for resources that wait until the manager has rolled."""

    def __init__(self, name: str, args: RunnerClassArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:RunnerClass", name, None, opts)
        self._name, self._args = name, args
        self._class_name, self._runner = args.runner_class.name, args.runner_class.runner
        self._in_jobs, self._in_manager = namespace_jobs(self._class_name), namespace_manager(self._class_name)
        admission = JobAdmission(
            f"{name}-admission", JobAdmissionArgs(runner_class=args.runner_class), pulumi.ResourceOptions(parent=self)
        )
        self._jobs = self._namespace("jobs", self._in_jobs, admission.binding, *args.nodes)
        self._manager = self._namespace("manager", self._in_manager, self._jobs, *args.needs)
        objects = [*self._jobs_permissions(), *self._jobs_guards(), *self._manager_objects()]
        self.helm_release = self._release([*objects, *args.after])
        self.release = self.helm_release.name.apply(str)
        self.register_outputs({"release": self.release})

    def _options(self, *depends_on: pulumi.Resource, **more: Any) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(depends_on), **more)

    def _inside(self, namespace: kubernetes.core.v1.Namespace, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Return the options of an object in a namespace: made after the namespace, deleted with it."""
        return self._options(*depends_on, deleted_with=namespace)

    def _namespace(self, kind: str, physical_name: str, *needs: pulumi.Resource) -> kubernetes.core.v1.Namespace:
        slow = pulumi.CustomTimeouts(delete=f"{disruption(self._runner.longest_job).delete_timeout}s")
        return kubernetes.core.v1.Namespace(
            f"{self._name}-{kind}",
            metadata={"name": physical_name, "labels": namespace_labels(kind, self._class_name, self._runner)},
            opts=self._options(*needs, custom_timeouts=slow),
        )

    def _jobs_permissions(self) -> list[pulumi.Resource]:
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
            rules=cast("Any", EXECUTOR_RULES),
            opts=self._inside(self._jobs),
        )
        # The manager's account does not exist yet, so that the binding outlives it.
        manager = {"kind": "ServiceAccount", "name": MANAGER_SERVICE_ACCOUNT, "namespace": self._in_manager}
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
                service_cidr=args.service_cidr, vpc_cidrs=cidrs, endpoint_cidrs=args.runner_class.endpoint_cidrs
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
            kubernetes.policy.v1.PodDisruptionBudget(
                f"{name}-budget",
                metadata={"name": "jobs", "namespace": self._in_jobs},
                spec=cast("Any", jobs_budget(self._class_name)),
                opts=self._inside(self._jobs),
            ),
            kubernetes.core.v1.ConfigMap(
                f"{name}-aws-config",
                metadata={"name": AWS_CONFIG_MAP, "namespace": self._in_jobs},
                data={"config": class_profiles(args.runner_class)},
                opts=self._inside(self._jobs),
            ),
        ]

    def _manager_objects(self) -> list[pulumi.Resource]:
        name, args, namespace = self._name, self._args, self._in_manager
        gitlab = args.runner_class.gitlab
        host, port = host_and_port(gitlab.url)
        objects: list[pulumi.Resource] = [
            kubernetes.core.v1.ServiceAccount(
                f"{name}-manager-account",
                metadata={
                    "name": MANAGER_SERVICE_ACCOUNT,
                    "namespace": namespace,
                    "annotations": {"eks.amazonaws.com/role-arn": args.manager_role_arn},
                },
                opts=self._inside(self._manager),
            ),
            kubernetes.networking.v1.NetworkPolicy(
                f"{name}-manager-network",
                metadata={"name": "manager", "namespace": namespace},
                spec=cast("Any", manager_policy(service_cidr=args.service_cidr, gitlab_port=int(port or HTTPS_PORT))),
                opts=self._inside(self._manager),
            ),
            kubernetes.core.v1.Secret(
                f"{name}-token",
                metadata={"name": TOKEN_SECRET, "namespace": namespace},
                # The chart mounts both keys, and neither is optional.
                string_data={"runner-token": args.token, "runner-registration-token": ""},
                opts=self._inside(self._manager),
            ),
        ]
        if gitlab.ca_bundle:
            certificate = kubernetes.core.v1.Secret(
                f"{name}-ca",
                metadata={"name": CA_SECRET, "namespace": namespace},
                string_data={f"{host}.crt": gitlab.ca_bundle},
                opts=self._inside(self._manager),
            )
            objects.append(certificate)
        return objects

    def _release(self, needs: Sequence[pulumi.Resource]) -> kubernetes.helm.v3.Release:
        args, chart = self._args, self._args.runner_class.chart
        times = disruption(self._runner.longest_job)
        values = helm_values(args.runner_class)
        # The chart's own checksum does not cover an external Secret: the token's hash rolls the manager.
        values["podAnnotations"][TOKEN_ANNOTATION] = pulumi.Output.unsecret(
            pulumi.Output.from_input(args.token).apply(lambda token: hashlib.sha256(token.encode()).hexdigest())
        )
        in_registry = chart.repository is not None and chart.repository.startswith("oci://")
        return kubernetes.helm.v3.Release(
            f"{self._name}-release",
            name=helm_release(self._class_name),  # fixed: with autonaming every replacement would be a second runner
            namespace=self._in_manager,
            chart=chart.path or (f"{chart.repository}/gitlab-runner" if in_registry else "gitlab-runner"),
            version=chart.version,
            repository_opts={"repo": chart.repository} if chart.repository and not in_registry else None,
            values=values,
            atomic=True,
            cleanup_on_fail=True,
            timeout=15 * 60,
            max_history=5,
            opts=self._options(*needs, custom_timeouts=pulumi.CustomTimeouts(delete=f"{times.delete_timeout}s")),
        )
