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
        """Whether its objects live in namespaces; None for custom kinds that only a cluster knows."""
        if self.kind in _CLUSTER_SCOPED.get(self.group, set()):
            return False
        return True if self.group in _BUILT_IN else None

    def __str__(self) -> str:
        return f"{self.api_version} {self.kind}"


def kind_of_token(token: str) -> Kind:
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


def kind_of(manifest: dict[str, Any]) -> Kind:
    """Read the kind from an object."""
    return Kind(str(manifest["apiVersion"]), str(manifest["kind"]))


def replacing_paths(kind: Kind, changes: list[str], *, mutable: bool) -> list[str]:
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


def annotation(manifest: Mapping[str, Any], name: str) -> str | None:
    """Return the value of annotation `pulumi.com/<name>`, None if it is not set."""
    value = ((manifest.get("metadata") or {}).get("annotations") or {}).get(PREFIX + name)
    return None if value is None else str(value)


def is_set(manifest: Mapping[str, Any], name: str) -> bool:
    """Tell whether annotation `pulumi.com/<name>` says true."""
    return (annotation(manifest, name) or "").lower() == "true"


def propagation(manifest: Mapping[str, Any]) -> str:
    """Return how dependents are deleted: Foreground unless the object says otherwise, as in the real plugin.

    Raises:
        ProviderError: The annotation names no policy.
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
                f"annotation {PREFIX}waitFor: {expression!r} is not understood; "
                "use condition=<type>[=<status>] or jsonpath={.<path>}[=<value>]"
            )
    return [str(expression) for expression in expressions]


def is_fulfilled(manifest: Mapping[str, Any], expression: str) -> bool:
    """Tell whether a live object fulfils one expression of `waits`."""
    condition = _CONDITION.match(expression)
    if condition:
        found = {
            item.get("type"): item.get("status") for item in (manifest.get("status") or {}).get("conditions") or []
        }
        return found.get(condition["type"]) == (condition["status"] or "True")
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


def automatic_name(logical: str, wish: Naming) -> str:
    """Return a name for a resource that the program did not name: `<logical>-<8 hex>`.

    Raises:
        InvalidInputsError: The stack's configuration forbids made-up names.
    """
    if wish.disabled:
        raise InvalidInputsError([Failure("metadata.name", "is required: autonaming is disabled for this stack")])
    if wish.proposed:
        return wish.proposed
    return f"{logical}-{hashlib.sha256(wish.seed + logical.encode()).hexdigest()[:_HEX]}"


def with_name(metadata: dict[str, Any], old_metadata: dict[str, Any], logical: str, wish: Naming) -> dict[str, Any]:
    """Return metadata with a name: the given one, else the one made before, else a new one, marked as made up."""
    if metadata.get("name") or metadata.get("generateName"):
        return metadata
    notes = old_metadata.get("annotations") or {}
    made_before = notes.get(AUTONAMED) == "true" and old_metadata.get("name")
    name = made_before or automatic_name(logical, wish)
    return {**metadata, "name": name, "annotations": {**(metadata.get("annotations") or {}), AUTONAMED: "true"}}


def identifier(manifest: dict[str, Any]) -> str:
    """Return the id of an object."""
    metadata = manifest.get("metadata") or {}
    namespace = metadata.get("namespace")
    return f"{namespace}/{metadata.get('name')}" if namespace else str(metadata.get("name"))


def parse_identifier(text: str) -> tuple[str, str]:
    """Return namespace (may be empty) and name of an id."""
    namespace, _, name = text.rpartition("/")
    return namespace, name


def namespace_and_name(manifest: dict[str, Any]) -> list[Any]:
    """Return what makes two objects collide: namespace and name."""
    metadata = manifest.get("metadata") or {}
    return [metadata.get("namespace"), metadata.get("name")]


def label_digest(text: str) -> str:
    """Return 16 hexadecimal digits that stand for a text, fit for a label."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
