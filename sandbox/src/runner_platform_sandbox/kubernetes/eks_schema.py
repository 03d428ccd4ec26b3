"""Schema of the NodeClass that EKS Auto Mode serves.

Owns the fields that EKS documents; what no program of ours sets is checked less deeply. Leaves out what only the
service can know: whether a role, a subnet or a key exists.
Source: https://docs.aws.amazon.com/eks/latest/userguide/create-node-class.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.kubernetes.schema import anything, fields, listing, mapping, number, rule, status, text

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.schema import Schema

_RESERVED_TAGS = ("kubernetes.io/cluster/", "karpenter.sh/", "eks.amazonaws.com/", "eks:")
_MAX_TERMS = 30
_REFUSALS = [
    rule(
        "has(self.role) != has(self.instanceProfile)",
        "exactly one of 'role' and 'instanceProfile' must be set",
    ),
    rule(
        "has(self.podSubnetSelectorTerms) == has(self.podSecurityGroupSelectorTerms)",
        "'podSubnetSelectorTerms' and 'podSecurityGroupSelectorTerms' must be set together",
    ),
]


def _terms(properties: dict[str, Schema], *, exclusive: tuple[str, ...]) -> Schema:
    """Selector terms: each says tags, or one of the exclusive fields and nothing else."""
    names = ["tags", *exclusive]
    some = " || ".join(f"has(x.{name})" for name in names)
    refusals = [rule(f"self.all(x, {some})", f"expected at least one, got none, {names}")]
    for name in exclusive:
        others = " || ".join(f"has(x.{other})" for other in names if other != name)
        refusals.append(
            rule(
                f"!self.exists(x, has(x.{name}) && ({others}))", f"'{name}' is mutually exclusive with the other fields"
            )
        )
    tags = mapping(text(maxLength=256), maxProperties=20)
    return listing(
        fields({"tags": tags, **properties}),
        maxItems=_MAX_TERMS,
        **{"x-kubernetes-validations": refusals},
    )


def _subnets() -> Schema:
    return _terms({"id": text(pattern=r"^subnet-[0-9a-z]+$", maxLength=64)}, exclusive=("id",))


def _security_groups() -> Schema:
    properties = {"id": text(pattern=r"^sg-[0-9a-z]+$", maxLength=64), "name": text(maxLength=255)}
    return _terms(properties, exclusive=("id", "name"))


def _storage() -> Schema:
    size: dict[str, Any] = {"pattern": r"^[0-9]+(Gi|G|Ti|T)$", "default": "80Gi"}
    return fields(
        {
            "size": text(**size),
            "iops": number(minimum=3000, maximum=16000, default=3000),
            "throughput": number(minimum=125, maximum=1000, default=125),
            "kmsKeyID": text(maxLength=2048),
        }
    )


def _tags() -> Schema:
    refusals = [
        rule(f"self.all(k, !k.startsWith('{prefix}'))", f"tag keys that start with '{prefix}' are reserved")
        for prefix in _RESERVED_TAGS
    ]
    return mapping(text(maxLength=256), maxProperties=45, **{"x-kubernetes-validations": refusals})


def _advanced_networking() -> Schema:
    return fields(
        {
            "associatePublicIPAddress": {"type": "boolean"},
            "enableV4Egress": {"type": "boolean"},
            "httpsProxy": text(maxLength=255),
            "noProxy": listing(text(), maxItems=50),
            "ipv4PrefixSize": text(enum=["Auto", "32"]),
            "networkInterfaces": listing(anything()),
        }
    )


def _advanced_security() -> Schema:
    return fields({"fips": {"type": "boolean"}, "kernelLockdown": text(enum=["none", "integrity"])})


def node_class() -> Schema:
    """Schema of a NodeClass's spec and status."""
    certificate = fields({"name": text(), "data": text()}, required=("name", "data"))
    spec = fields(
        {
            "role": text(minLength=1, maxLength=64),
            "instanceProfile": text(minLength=1),
            "subnetSelectorTerms": {**_subnets(), "minItems": 1},
            "securityGroupSelectorTerms": {**_security_groups(), "minItems": 1},
            "podSubnetSelectorTerms": _subnets(),
            "podSecurityGroupSelectorTerms": _security_groups(),
            "capacityReservationSelectorTerms": listing(anything()),
            "placementGroupSelector": anything(),
            "ephemeralStorage": _storage(),
            "snatPolicy": text(enum=["Random", "Disabled"], default="Random"),
            "networkPolicy": text(enum=["DefaultAllow", "DefaultDeny"], default="DefaultAllow"),
            "networkPolicyEventLogs": text(enum=["Disabled", "Enabled"], default="Disabled"),
            "advancedNetworking": _advanced_networking(),
            "advancedSecurity": _advanced_security(),
            "certificateBundles": listing(certificate),
            "tags": _tags(),
        },
        required=("subnetSelectorTerms", "securityGroupSelectorTerms"),
        **{"x-kubernetes-validations": _REFUSALS},
    )
    observed: dict[str, Schema] = {
        "subnets": listing(anything()),
        "securityGroups": listing(anything()),
        "instanceProfile": text(),
    }
    return fields({"spec": spec, "status": status(observed)}, required=("spec",))
