"""What the plugin knows about kinds without asking a cluster: type tokens, scope, and which fields cannot change.

Leaves out everything that the API server says itself: custom kinds, defaults, validation.
The fields that force a replacement are those of the Kubernetes API reference
(https://kubernetes.io/docs/reference/kubernetes-api/), and as in the real plugin also the data of Secrets and
ConfigMaps, since pods do not notice a change in place (https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/).
"""

from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.providers.base import ProviderError

_CLUSTER_SCOPED: Final = {
    "v1": {"Namespace", "Node", "PersistentVolume"},
    "admissionregistration.k8s.io": {
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    },
    "apiextensions.k8s.io": {"CustomResourceDefinition"},
    "apiregistration.k8s.io": {"APIService"},
    "certificates.k8s.io": {"CertificateSigningRequest", "ClusterTrustBundle"},
    "flowcontrol.apiserver.k8s.io": {"FlowSchema", "PriorityLevelConfiguration"},
    "networking.k8s.io": {"IPAddress", "IngressClass", "ServiceCIDR"},
    "node.k8s.io": {"RuntimeClass"},
    "rbac.authorization.k8s.io": {"ClusterRole", "ClusterRoleBinding"},
    "resource.k8s.io": {"DeviceClass", "ResourceSlice"},
    "scheduling.k8s.io": {"PriorityClass"},
    "storage.k8s.io": {"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"},
    # What Auto Mode brings: https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html
    "karpenter.sh": {"NodeClaim", "NodePool"},
    "eks.amazonaws.com": {"NodeClass", "NodeDiagnostic"},
}
_BUILT_IN: Final = {
    *_CLUSTER_SCOPED,
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "policy",
}
"""Groups whose kinds are all known here, so that one which is not listed above lives in namespaces."""

_SELECTOR: Final = frozenset({"spec.selector"})
_IMMUTABLE: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("v1", "ConfigMap"): frozenset({"data", "binaryData"}),
    ("v1", "Secret"): frozenset({"data", "stringData", "type"}),
    ("v1", "PersistentVolumeClaim"): frozenset({"spec"}),
    ("v1", "Pod"): frozenset({"spec"}),
    ("v1", "ResourceQuota"): frozenset({"spec.scopes"}),
    ("v1", "Service"): frozenset({"spec.clusterIP"}),
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "StatefulSet"): _SELECTOR | {"spec.podManagementPolicy", "spec.serviceName", "spec.volumeClaimTemplates"},
    ("batch", "Job"): _SELECTOR | {"spec.completions", "spec.template"},
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): frozenset({"roleRef"}),
    ("rbac.authorization.k8s.io", "RoleBinding"): frozenset({"roleRef"}),
    ("scheduling.k8s.io", "PriorityClass"): frozenset({"value", "preemptionPolicy"}),
    ("storage.k8s.io", "StorageClass"): frozenset({"parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"}),
}
_MUTABLE_POD_FIELDS: Final = ("spec.activeDeadlineSeconds", "spec.tolerations")


@dataclass(frozen=True)
class Kind:
    """One kind of object."""

    api_version: str
    """Such as `v1` or `apps/v1`."""
    kind: str

    @property
    def group(self) -> str:
        """API group; `v1` for the core group."""
        return self.api_version.rpartition("/")[0] or "v1"

    @property
    def namespaced(self) -> bool | None:
        """Whether its objects live in namespaces; None for custom kinds that only a cluster knows."""
        if self.kind in _CLUSTER_SCOPED.get(self.group, set()):
            return False
        return True if self.group in _BUILT_IN else None

    def __str__(self) -> str:
        return f"{self.api_version} {self.kind}"


def of_token(token: str) -> Kind:
    """Read the kind from a type token, such as `kubernetes:core/v1:Namespace`.

    Raises:
        ProviderError: It is no token of an object, or of one that the stand-in does not model.
    """
    _, _, rest = token.partition(":")
    group_version, _, kind = rest.partition(":")
    group, slash, version = group_version.partition("/")
    if not slash or not kind:
        raise ProviderError(
            f"{token} is no Kubernetes object; the kubernetes stand-in knows objects and helm.sh/v3:Release"
        )
    if kind.endswith(("Patch", "List")):
        raise ProviderError(f"{token}: the kubernetes stand-in models whole objects only; register the object itself")
    return Kind(version if group == "core" else group_version, kind)


def of_object(manifest: dict[str, Any]) -> Kind:
    """Read the kind from an object."""
    return Kind(str(manifest["apiVersion"]), str(manifest["kind"]))


def replacing(kind: Kind, changes: list[str], *, mutable: bool) -> list[str]:
    """Return those of the changed paths that only a new object can have.

    Args:
        kind: Of the object.
        changes: Dotted paths.
        mutable: The provider allows changing the data of this Secret or ConfigMap in place.
    """
    fixed = _IMMUTABLE.get((kind.group, kind.kind), frozenset())
    if mutable and kind.kind in {"ConfigMap", "Secret"}:
        fixed = fixed & {"type"}
    fixed |= {"metadata.name", "metadata.namespace"}
    found = [path for path in changes if any(_below(path, place) for place in fixed)]
    if kind == Kind("v1", "Pod"):
        found = [path for path in found if not any(_below(path, place) for place in _MUTABLE_POD_FIELDS)]
    return found


def _below(path: str, place: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))
