"""JobAdmission: what the API server refuses in the jobs' namespace of a class.

Owns the policy and its binding. Both belong to the whole cluster and name the namespace, so that they exist before it and outlive it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import pulumi
import pulumi_kubernetes as kubernetes

from components.documents.job_admission import admission_name, job_admission, job_admission_binding

if TYPE_CHECKING:
    from config.settings import KubernetesClassSettings


@dataclass(frozen=True, kw_only=True)
class JobAdmissionArgs:
    """Inputs of `JobAdmission`."""

    runner_class: KubernetesClassSettings
    """Settings of the class."""


class JobAdmission(pulumi.ComponentResource):
    """Admission of a class's job pods."""

    binding: pulumi.Resource
    """The binding; it waits for the policy. No pod is checked without it."""

    def __init__(self, name: str, args: JobAdmissionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:JobAdmission", name, None, opts)
        runner_class = args.runner_class
        metadata = kubernetes.meta.v1.ObjectMetaArgs(name=admission_name(runner_class.name))
        policy = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicy(
            f"{name}-policy",
            metadata=metadata,
            spec=cast("Any", job_admission(runner_class)),
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.binding = kubernetes.admissionregistration.v1.ValidatingAdmissionPolicyBinding(
            f"{name}-binding",
            metadata=metadata,
            spec=cast("Any", job_admission_binding(runner_class.name)),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )
        self.register_outputs({})
