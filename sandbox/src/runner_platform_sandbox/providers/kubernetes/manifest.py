"""What an object's manifest says: its kind, its name, and the annotations that steer the plugin.

Owns what the plugin knows without a cluster: type tokens, scope, fields that cannot change, names that it makes up, and
the annotations skipAwait, waitFor, patchForce, patchFieldManager, deletionPropagationPolicy, autonamed. Leaves out what
the API server decides: custom kinds, defaults, validation.

Fields that force a replacement: https://kubernetes.io/docs/reference/kubernetes-api/, and as in the real plugin the
data of Secrets and ConfigMaps, since pods do not notice a change in place
(https://www.pulumi.com/registry/packages/kubernetes/api-docs/provider/).
Annotations: https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/#annotations
Names: https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from runner_platform_sandbox.providers.stand_in import InvalidInputsError, Naming, ProviderError
from runner_platform_sandbox.providers.validation import Failure

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
"""Groups with all cluster-scoped kinds listed above; their other kinds are namespaced."""

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


PREFIX: Final = "pulumi.com/"
AUTONAMED: Final = f"{PREFIX}autonamed"
_PROPAGATION: Final = {"background": "Background", "foreground": "Foreground", "orphan": "Orphan"}
_JSON_PATH: Final = re.compile(r"^jsonpath=\{\.(?P<path>[\w.\-\[\]]+)\}(?:=(?P<value>.*))?$")
_CONDITION: Final = re.compile(r"^condition=(?P<type>[\w.\-/]+)(?:=(?P<status>\w+))?$")
_HEX: Final = 8


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
        """Whether the kind is namespaced; None for custom kinds, which only the cluster knows."""
        if self.kind in _CLUSTER_SCOPED.get(self.group, set()):
            return False
        return True if self.group in _BUILT_IN else None

    def __str__(self) -> str:
        return f"{self.api_version} {self.kind}"


def kind_of_token(token: str) -> Kind:
    """Read the kind from a type token, such as `kubernetes:core/v1:Namespace`.

    Raises:
        ProviderError: The token is not an object's, or the stand-in does not model the type.
    """
    _, _, group_version_kind = token.partition(":")
    group_version, _, kind = group_version_kind.partition(":")
    group, slash, version = group_version.partition("/")
    if not slash or not kind:
        raise ProviderError(
            f"{token} is not a Kubernetes object; the kubernetes stand-in supports objects and helm.sh/v3:Release"
        )
    if kind.endswith(("Patch", "List")):
        raise ProviderError(f"{token}: the kubernetes stand-in models whole objects only; register the object itself")
    return Kind(version if group == "core" else group_version, kind)


def kind_of(manifest: dict[str, Any]) -> Kind:
    """Read the kind from an object."""
    return Kind(str(manifest["apiVersion"]), str(manifest["kind"]))


def replacing_paths(kind: Kind, changes: list[str], *, mutable: bool) -> list[str]:
    """Return the changed paths that need a new object.

    Args:
        kind: Kind of the object.
        changes: Dotted paths of all changes.
        mutable: True if the provider may change the data of this Secret or ConfigMap in place.
    """
    fixed = _IMMUTABLE.get((kind.group, kind.kind), frozenset())
    if mutable and kind.kind in {"ConfigMap", "Secret"}:
        fixed = fixed & {"type"}
    fixed |= {"metadata.name", "metadata.namespace"}
    paths = [path for path in changes if any(_is_below(path, place) for place in fixed)]
    if kind == Kind("v1", "Pod"):
        paths = [path for path in paths if not any(_is_below(path, place) for place in _MUTABLE_POD_FIELDS)]
    return paths


def _is_below(path: str, place: str) -> bool:
    return path == place or path.startswith((f"{place}.", f"{place}["))


def annotation(manifest: Mapping[str, Any], name: str) -> str | None:
    """Return the value of annotation `pulumi.com/<name>`, or None."""
    value = ((manifest.get("metadata") or {}).get("annotations") or {}).get(PREFIX + name)
    return None if value is None else str(value)


def annotation_is_true(manifest: Mapping[str, Any], name: str) -> bool:
    """Tell whether annotation `pulumi.com/<name>` is true."""
    return (annotation(manifest, name) or "").lower() == "true"


def propagation(manifest: Mapping[str, Any]) -> str:
    """Return the deletion policy of dependents from the annotation; Foreground by default, as in the real plugin.

    Raises:
        ProviderError: The annotation is not a deletion policy.
    """
    value = annotation(manifest, "deletionPropagationPolicy") or "foreground"
    try:
        return _PROPAGATION[value.lower()]
    except KeyError:
        raise ProviderError(
            f"annotation {PREFIX}deletionPropagationPolicy is {value!r}; use background, foreground or orphan"
        ) from None


def wait_conditions(manifest: Mapping[str, Any]) -> list[str]:
    """Return the conditions of `pulumi.com/waitFor`: one expression, or a JSON list of them.

    Raises:
        ProviderError: An expression is neither `condition=Type[=Status]` nor `jsonpath={.path}[=value]`.
    """
    text = annotation(manifest, "waitFor")
    if not text:
        return []
    expressions = json.loads(text) if text.startswith("[") else [text]
    for expression in expressions:
        if not (_JSON_PATH.match(expression) or _CONDITION.match(expression)):
            raise ProviderError(
                f"annotation {PREFIX}waitFor has the unknown expression {expression!r}; "
                "use condition=<type>[=<status>] or jsonpath={.<path>}[=<value>]"
            )
    return [str(expression) for expression in expressions]


def is_fulfilled(manifest: Mapping[str, Any], expression: str) -> bool:
    """Tell whether a live object fulfils an expression of `wait_conditions`."""
    condition = _CONDITION.match(expression)
    if condition:
        status_by_type = {
            item.get("type"): item.get("status") for item in (manifest.get("status") or {}).get("conditions") or []
        }
        return status_by_type.get(condition["type"]) == (condition["status"] or "True")
    path = _JSON_PATH.match(expression)
    if path is None:
        return False
    value: Any = manifest
    for part in re.findall(r"[\w\-]+", path["path"]):
        value = (
            value[int(part)]
            if isinstance(value, list) and part.isdigit() and int(part) < len(value)
            else _get(value, part)
        )
    return value is not None if path["value"] is None else str(value) == path["value"]


def _get(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, Mapping) else None


def automatic_name(logical: str, naming: Naming) -> str:
    """Return a name for a resource without a name: `<logical>-<8 hex>`.

    Raises:
        InvalidInputsError: The stack's configuration disables autonaming.
    """
    if naming.disabled:
        raise InvalidInputsError([Failure("metadata.name", "is required: autonaming is disabled for this stack")])
    if naming.proposed:
        return naming.proposed
    return f"{logical}-{hashlib.sha256(naming.seed + logical.encode()).hexdigest()[:_HEX]}"


def with_name(metadata: dict[str, Any], old_metadata: dict[str, Any], logical: str, naming: Naming) -> dict[str, Any]:
    """Return metadata with a name: the program's, the previous automatic one, or a new automatic one."""
    if metadata.get("name") or metadata.get("generateName"):
        return metadata
    old_annotations = old_metadata.get("annotations") or {}
    previous_name = old_annotations.get(AUTONAMED) == "true" and old_metadata.get("name")
    name = previous_name or automatic_name(logical, naming)
    return {**metadata, "name": name, "annotations": {**(metadata.get("annotations") or {}), AUTONAMED: "true"}}


def identifier(manifest: dict[str, Any]) -> str:
    """Return the id of an object: `namespace/name`, or the name of an object without a namespace."""
    metadata = manifest.get("metadata") or {}
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata.get('name')}" if namespace else str(metadata.get("name"))


def parse_identifier(text: str) -> tuple[str, str]:
    """Return namespace (may be empty) and name from an id."""
    namespace, _, name = text.rpartition("/")
    return namespace, name


def namespace_and_name(manifest: dict[str, Any]) -> list[Any]:
    """Return namespace and name; two objects with the same ones collide."""
    metadata = manifest.get("metadata") or {}
    return [metadata.get("namespace"), metadata.get("name")]


def label_digest(text: str) -> str:
    """Return a hash of a text as 16 hexadecimal digits, valid in a label."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
