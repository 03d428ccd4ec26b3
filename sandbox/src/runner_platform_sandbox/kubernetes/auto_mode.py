"""The custom resource definitions of EKS Auto Mode: NodePool, NodeClaim and NodeClass.

NodePool and NodeClaim are Karpenter's own definitions, with the rules and defaults that EKS adds. EKS publishes no
definition of its NodeClass, so this one is written from the documentation; fields that no program of ours sets are
checked less deeply. Leaves out what only the service can know (whether a role, a subnet or a key exists) and the
controllers (`nodes`). As in EKS, a new cluster has no NodePool and no NodeClass, because the product switches the
built-in pools off.

Sources: https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html and create-node-class.html, and
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import yaml

from runner_platform_sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pathlib import Path

    from runner_platform_sandbox.kubernetes.client import KubeClient

Schema = dict[str, Any]

KARPENTER = "karpenter.sh/v1"
EKS = "eks.amazonaws.com/v1"

_ESTABLISHED_SECONDS = 120.0  # a second on idle cores; several clusters may start at once on busy ones
_POLL_SECONDS = 0.05
_KINDS = ((KARPENTER, "NodePool"), (KARPENTER, "NodeClaim"), (EKS, "NodeClass"))
_RULES = "x-kubernetes-validations"

_DEFAULT_LIFETIME = "336h"
_MAX_LIFETIME_HOURS = 504
_ALLOWED_KUBERNETES_LABELS = (
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)
_RESERVED_TAGS = ("kubernetes.io/cluster/", "karpenter.sh/", "eks.amazonaws.com/", "eks:")
_MAX_TERMS = 30


def definitions(crds: Path) -> list[dict[str, Any]]:
    """Return the three CustomResourceDefinition objects.

    Args:
        crds: Folder with Karpenter's definitions, `karpenter.sh_nodepools.yaml` and `karpenter.sh_nodeclaims.yaml`.
    """
    node_pool = yaml.safe_load((crds / "karpenter.sh_nodepools.yaml").read_text())
    template = _properties(node_pool)["spec"]["properties"]["template"]["properties"]
    labels = template["metadata"]["properties"]["labels"]
    _add_rule(labels, f"self.all(key, {_label_expression('key')})", 'label domain "kubernetes.io" is restricted')
    _add_eks_rules(template["spec"])
    key = template["spec"]["properties"]["requirements"]["items"]["properties"]["key"]
    _add_rule(key, _label_expression("self"), 'label domain "kubernetes.io" is restricted')

    node_claim = yaml.safe_load((crds / "karpenter.sh_nodeclaims.yaml").read_text())
    _add_eks_rules(_properties(node_claim)["spec"])
    return [node_pool, node_claim, _node_class_definition()]


def install(client: KubeClient, crds: Path) -> None:
    """Install or update the definitions and wait until their kinds can be listed.

    Raises:
        SandboxError: The API server does not establish them.
    """
    installed = [client.apply(definition) for definition in definitions(crds)]
    end = time.monotonic() + _ESTABLISHED_SECONDS
    for definition in installed:
        name = definition["metadata"]["name"]
        while not _established(client.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", name)):
            if time.monotonic() > end:
                raise SandboxError(
                    f"the API server did not establish {name} within {_ESTABLISHED_SECONDS:.0f} s",
                    "look at its log, then try again",
                )
            time.sleep(_POLL_SECONDS)
    for api_version, kind in _KINDS:
        client.list(api_version, kind)  # waits out the "storage is (re)initializing" that follows


def _established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)


# -- additions of EKS to Karpenter's definitions -------------------------------------------------------------------


def _properties(definition: dict[str, Any]) -> dict[str, Schema]:
    """Return the properties of a definition's only version."""
    (version,) = definition["spec"]["versions"]
    properties: dict[str, Schema] = version["schema"]["openAPIV3Schema"]["properties"]
    return properties


def _add_rule(schema: Schema, expression: str, message: str) -> None:
    schema[_RULES] = [*schema.get(_RULES, []), _rule(expression, message)]


def _add_eks_rules(node_spec: Schema) -> None:
    """Restrict a node's class and lifetime as Auto Mode does."""
    properties = node_spec["properties"]
    _add_rule(
        properties["nodeClassRef"],
        "self.group == 'eks.amazonaws.com' && self.kind == 'NodeClass'",
        "EKS Auto Mode serves nodeClassRef group 'eks.amazonaws.com', kind 'NodeClass' only",
    )
    properties["expireAfter"]["default"] = _DEFAULT_LIFETIME
    _add_rule(
        properties["expireAfter"],
        f"self != 'Never' && duration(self) <= duration('{_MAX_LIFETIME_HOURS}h')",
        "expireAfter must be at most 21 days (504h): the longest life of an Auto Mode node",
    )


def _label_expression(subject: str) -> str:
    allowed = ", ".join(f'"{label}"' for label in _ALLOWED_KUBERNETES_LABELS)
    return (
        f'{subject} in [{allowed}] || {subject}.startsWith("node.kubernetes.io/") '
        f'|| {subject}.startsWith("node-restriction.kubernetes.io/") '
        f'|| !{subject}.find("^([^/]+)").endsWith("kubernetes.io")'
    )


# -- the NodeClass of EKS ------------------------------------------------------------------------------------------


def _node_class_definition() -> dict[str, Any]:
    group, _, version = EKS.partition("/")
    columns = [
        {"name": "Role", "type": "string", "jsonPath": ".spec.role"},
        {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _node_class()},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"nodeclasses.{group}"},
        "spec": {
            "group": group,
            "names": {
                "kind": "NodeClass",
                "listKind": "NodeClassList",
                "plural": "nodeclasses",
                "singular": "nodeclass",
            },
            "scope": "Cluster",
            "versions": [served],
        },
    }


def _node_class() -> Schema:
    certificate = _object({"name": _text(), "data": _text()}, required=("name", "data"))
    spec = _object(
        {
            "role": _text(minLength=1, maxLength=64),
            "instanceProfile": _text(minLength=1),
            "subnetSelectorTerms": {**_subnets(), "minItems": 1},
            "securityGroupSelectorTerms": {**_security_groups(), "minItems": 1},
            "podSubnetSelectorTerms": _subnets(),
            "podSecurityGroupSelectorTerms": _security_groups(),
            "capacityReservationSelectorTerms": _list(_anything()),
            "placementGroupSelector": _anything(),
            "ephemeralStorage": _storage(),
            "snatPolicy": _text(enum=["Random", "Disabled"], default="Random"),
            "networkPolicy": _text(enum=["DefaultAllow", "DefaultDeny"], default="DefaultAllow"),
            "networkPolicyEventLogs": _text(enum=["Disabled", "Enabled"], default="Disabled"),
            "advancedNetworking": _advanced_networking(),
            "advancedSecurity": _object(
                {"fips": {"type": "boolean"}, "kernelLockdown": _text(enum=["none", "integrity"])}
            ),
            "certificateBundles": _list(certificate),
            "tags": _tags(),
        },
        required=("subnetSelectorTerms", "securityGroupSelectorTerms"),
        **{
            _RULES: [
                _rule(
                    "has(self.role) != has(self.instanceProfile)",
                    "exactly one of 'role' and 'instanceProfile' must be set",
                ),
                _rule(
                    "has(self.podSubnetSelectorTerms) == has(self.podSecurityGroupSelectorTerms)",
                    "'podSubnetSelectorTerms' and 'podSecurityGroupSelectorTerms' must be set together",
                ),
            ]
        },
    )
    return _object({"spec": spec, "status": _status()}, required=("spec",))


def _terms(properties: dict[str, Schema], *, exclusive: tuple[str, ...]) -> Schema:
    """Schema of selector terms: a term holds tags, or exactly one of the exclusive fields."""
    names = ["tags", *exclusive]
    any_field = " || ".join(f"has(term.{name})" for name in names)
    rules = [_rule(f"self.all(term, {any_field})", f"expected at least one, got none, {names}")]
    for name in exclusive:
        other_fields = " || ".join(f"has(term.{other_name})" for other_name in names if other_name != name)
        rules.append(
            _rule(
                f"!self.exists(term, has(term.{name}) && ({other_fields}))",
                f"'{name}' is mutually exclusive with the other fields",
            )
        )
    tags = _map(_text(maxLength=256), maxProperties=20)
    return _list(_object({"tags": tags, **properties}), maxItems=_MAX_TERMS, **{_RULES: rules})


def _subnets() -> Schema:
    return _terms({"id": _text(pattern=r"^subnet-[0-9a-z]+$", maxLength=64)}, exclusive=("id",))


def _security_groups() -> Schema:
    properties = {"id": _text(pattern=r"^sg-[0-9a-z]+$", maxLength=64), "name": _text(maxLength=255)}
    return _terms(properties, exclusive=("id", "name"))


def _storage() -> Schema:
    return _object(
        {
            "size": _text(pattern=r"^[0-9]+(Gi|G|Ti|T)$", default="80Gi"),
            "iops": _integer(minimum=3000, maximum=16000, default=3000),
            "throughput": _integer(minimum=125, maximum=1000, default=125),
            "kmsKeyID": _text(maxLength=2048),
        }
    )


def _tags() -> Schema:
    rules = [
        _rule(f"self.all(key, !key.startsWith('{prefix}'))", f"tag keys that start with '{prefix}' are reserved")
        for prefix in _RESERVED_TAGS
    ]
    return _map(_text(maxLength=256), maxProperties=45, **{_RULES: rules})


def _advanced_networking() -> Schema:
    return _object(
        {
            "associatePublicIPAddress": {"type": "boolean"},
            "enableV4Egress": {"type": "boolean"},
            "httpsProxy": _text(maxLength=255),
            "noProxy": _list(_text(), maxItems=50),
            "ipv4PrefixSize": _text(enum=["Auto", "32"]),
            "networkInterfaces": _list(_anything()),
        }
    )


def _status() -> Schema:
    condition = _object(
        {
            "type": _text(),
            "status": _text(enum=["True", "False", "Unknown"]),
            "reason": _text(),
            "message": _text(),
            "lastTransitionTime": _text(format="date-time"),
            "observedGeneration": _integer(),
        },
        required=("type", "status"),
    )
    conditions = _list(condition, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})
    return _object(
        {
            "conditions": conditions,
            "subnets": _list(_anything()),
            "securityGroups": _list(_anything()),
            "instanceProfile": _text(),
        }
    )


# -- schema elements -----------------------------------------------------------------------------------------------


def _text(**keywords: Any) -> Schema:
    return {"type": "string", **keywords}


def _integer(**keywords: Any) -> Schema:
    return {"type": "integer", **keywords}


def _list(items: Schema, **keywords: Any) -> Schema:
    return {"type": "array", "items": items, **keywords}


def _map(values: Schema, **keywords: Any) -> Schema:
    return {"type": "object", "additionalProperties": values, **keywords}


def _object(properties: dict[str, Schema], *, required: tuple[str, ...] = (), **keywords: Any) -> Schema:
    schema: Schema = {"type": "object", "properties": properties, **keywords}
    return {**schema, "required": list(required)} if required else schema


def _anything() -> Schema:
    """Schema of an object with any fields."""
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _rule(expression: str, message: str) -> Schema:
    return {"rule": expression, "message": message}
