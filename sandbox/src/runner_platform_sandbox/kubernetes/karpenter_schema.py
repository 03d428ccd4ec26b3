"""Schemas of NodePool and NodeClaim, as EKS Auto Mode serves them.

Owns their fields and refusals as Karpenter and EKS document them, so that a wrong NodePool is refused here with the
same field named. Unknown fields are pruned, or refused under strict validation, as there. Leaves out old versions.
Sources: https://karpenter.sh/docs/concepts/nodepools/ and
https://docs.aws.amazon.com/eks/latest/userguide/create-node-pool.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner_platform_sandbox.kubernetes.schema import fields, listing, mapping, number, quantities, rule, status, text

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.schema import Schema

MAX_LIFETIME_HOURS = 504
_DURATION = r"^([0-9]+(s|m|h))+$"
_DURATION_OR_NEVER = r"^(([0-9]+(s|m|h))+|Never)$"
_LABEL_KEY = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"
)
_LABEL_VALUE = r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"

_WELL_KNOWN_KUBERNETES = (
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
)
_WELL_KNOWN_KARPENTER = ("karpenter.sh/capacity-type", "karpenter.sh/nodepool")


def _refused_keys(subject: str) -> list[Schema]:
    kubernetes = ", ".join(f'"{key}"' for key in _WELL_KNOWN_KUBERNETES)
    karpenter = ", ".join(f'"{key}"' for key in _WELL_KNOWN_KARPENTER)
    return [
        rule(
            f'{subject} in [{kubernetes}] || {subject}.startsWith("node.kubernetes.io/") '
            f'|| {subject}.startsWith("node-restriction.kubernetes.io/") '
            f'|| !{subject}.find("^([^/]+)").endsWith("kubernetes.io")',
            'label domain "kubernetes.io" is restricted',
        ),
        rule(
            f'{subject} in [{karpenter}] || !{subject}.find("^([^/]+)").endsWith("karpenter.sh")',
            'label domain "karpenter.sh" is restricted',
        ),
        rule(f'{subject} != "karpenter.sh/nodepool"', 'label "karpenter.sh/nodepool" is restricted'),
        rule(f'{subject} != "kubernetes.io/hostname"', 'label "kubernetes.io/hostname" is restricted'),
    ]


def _requirements(*, restricted: bool) -> Schema:
    operators = ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt", "Gte", "Lte"]
    key = text(maxLength=316, pattern=_LABEL_KEY)
    if restricted:
        key["x-kubernetes-validations"] = _refused_keys("self")
    item = fields(
        {
            "key": key,
            "operator": text(enum=operators),
            "values": listing(text(maxLength=63, pattern=_LABEL_VALUE), maxItems=100),
            "minValues": number(minimum=1, maximum=50),
        },
        required=("key", "operator"),
    )
    refusals = [
        rule(
            "self.all(x, x.operator == 'In' ? has(x.values) && x.values.size() != 0 : true)",
            "requirements with operator 'In' must have a value defined",
        ),
        rule(
            "self.all(x, x.operator in ['Gt', 'Lt', 'Gte', 'Lte'] ? has(x.values) && x.values.size() == 1 "
            "&& x.values[0].matches('^[0-9]+$') : true)",
            "requirements operator 'Gt', 'Lt', 'Gte' or 'Lte' must have a single positive integer value",
        ),
        rule(
            "self.all(x, x.operator == 'In' && has(x.minValues) ? x.values.size() >= x.minValues : true)",
            "requirements with 'minValues' must have at least that many values specified in the 'values' field",
        ),
    ]
    return listing(item, maxItems=100, **{"x-kubernetes-validations": refusals})


def _taints() -> Schema:
    effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"]
    item = fields(
        {
            "key": text(minLength=1, pattern=_LABEL_KEY),
            "value": text(pattern=_LABEL_VALUE),
            "effect": text(enum=effects),
            "timeAdded": text(format="date-time"),
        },
        required=("key", "effect"),
    )
    return listing(item)


def _node_class_reference() -> Schema:
    return fields(
        {"group": text(minLength=1), "kind": text(minLength=1), "name": text(minLength=1)},
        required=("group", "kind", "name"),
        **{
            "x-kubernetes-validations": [
                rule(
                    "self.group == 'eks.amazonaws.com' && self.kind == 'NodeClass'",
                    "EKS Auto Mode serves nodeClassRef group 'eks.amazonaws.com', kind 'NodeClass' only",
                )
            ]
        },
    )


def _node_spec(*, restricted: bool) -> dict[str, Schema]:
    return {
        "nodeClassRef": _node_class_reference(),
        "requirements": _requirements(restricted=restricted),
        "taints": _taints(),
        "startupTaints": _taints(),
        "expireAfter": text(
            pattern=_DURATION_OR_NEVER,
            default="336h",
            **{
                "x-kubernetes-validations": [
                    rule(
                        f"self != 'Never' && duration(self) <= duration('{MAX_LIFETIME_HOURS}h')",
                        "expireAfter must be at most 21 days (504h): the longest life of an Auto Mode node",
                    )
                ]
            },
        ),
        "terminationGracePeriod": text(pattern=_DURATION),
    }


def _disruption() -> Schema:
    budget = fields(
        {
            "nodes": text(pattern=r"^((100|[0-9]{1,2})%|[0-9]+)$", default="10%"),
            "reasons": listing(text(enum=["Underutilized", "Empty", "Drifted"]), maxItems=50),
            "schedule": text(
                pattern=r"^(@(annually|yearly|monthly|weekly|daily|midnight|hourly))|((.+)\s(.+)\s(.+)\s(.+)\s(.+))$"
            ),
            "duration": text(pattern=r"^((([0-9]+(h|m))|([0-9]+h[0-9]+m))(0s)?)$"),
        },
        required=("nodes",),
    )
    refusals = [
        rule(
            "self.all(x, has(x.schedule) == has(x.duration))",
            "'schedule' must be set with 'duration'",
        )
    ]
    return fields(
        {
            "consolidationPolicy": text(
                enum=["WhenEmpty", "WhenEmptyOrUnderutilized", "Balanced"], default="WhenEmptyOrUnderutilized"
            ),
            "consolidateAfter": text(pattern=_DURATION_OR_NEVER, default="0s"),
            "budgets": listing(
                budget, maxItems=50, default=[{"nodes": "10%"}], **{"x-kubernetes-validations": refusals}
            ),
        },
        required=("consolidateAfter",),
        default={"consolidateAfter": "0s"},
    )


def node_pool() -> Schema:
    """Schema of a NodePool's spec and status."""
    labels = mapping(
        text(maxLength=63, pattern=_LABEL_VALUE),
        maxProperties=100,
        **{
            "x-kubernetes-validations": [
                {**each, "rule": f"self.all(x, {each['rule']})"} for each in _refused_keys("x")
            ]
        },
    )
    template = fields(
        {
            "metadata": fields({"labels": labels, "annotations": mapping(text())}),
            "spec": fields(_node_spec(restricted=True), required=("nodeClassRef", "requirements")),
        },
        required=("spec",),
    )
    spec = fields(
        {
            "template": template,
            "disruption": _disruption(),
            "limits": quantities(),
            "weight": number(minimum=1, maximum=100),
            "replicas": {**number(minimum=0), "format": "int64"},
        },
        required=("template",),
        **{
            "x-kubernetes-validations": [
                rule("!has(self.replicas) || !has(self.weight)", "'weight' cannot be set with 'replicas'"),
                rule(
                    "!has(self.replicas) || !has(self.limits) || self.limits.all(x, x == 'nodes')",
                    "only 'limits.nodes' can be set with 'replicas'",
                ),
            ]
        },
    )
    return fields({"spec": spec, "status": status({"resources": quantities(), "nodes": number()})}, required=("spec",))


def node_claim() -> Schema:
    """Schema of a NodeClaim's spec and status."""
    properties = {**_node_spec(restricted=False), "resources": fields({"requests": quantities()})}
    observed = {
        "nodeName": text(),
        "providerID": text(),
        "imageID": text(),
        "capacity": quantities(),
        "allocatable": quantities(),
        "lastPodEventTime": text(format="date-time"),
    }
    immutable = rule("self == oldSelf", "spec is immutable")
    spec = fields(properties, required=("nodeClassRef", "requirements"), **{"x-kubernetes-validations": [immutable]})
    return fields({"spec": spec, "status": status(observed)}, required=("spec",))
