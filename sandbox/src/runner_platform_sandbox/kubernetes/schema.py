"""Small words for writing the schemas of custom resource definitions.

Leaves out the schemas themselves (`karpenter_schema.py`, `eks_schema.py`). Source:
https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

_QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)


def text(**more: Any) -> Schema:
    """Schema of a string."""
    return {"type": "string", **more}


def number(**more: Any) -> Schema:
    """Schema of an integer."""
    return {"type": "integer", **more}


def listing(items: Schema, **more: Any) -> Schema:
    """Schema of a list."""
    return {"type": "array", "items": items, **more}


def mapping(values: Schema, **more: Any) -> Schema:
    """Schema of an object with free keys."""
    return {"type": "object", "additionalProperties": values, **more}


def fields(properties: dict[str, Schema], *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    """Schema of an object with known keys."""
    schema: Schema = {"type": "object", "properties": properties, **more}
    return {**schema, "required": list(required)} if required else schema


def anything() -> Schema:
    """Schema of an object whose inside nothing of ours reads."""
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def rule(expression: str, message: str) -> Schema:
    """One refusal, in the API server's expression language."""
    return {"rule": expression, "message": message}


def quantities() -> Schema:
    """Schema of a map from resource to amount."""
    return mapping(
        {"anyOf": [{"type": "integer"}, {"type": "string"}], "pattern": _QUANTITY, "x-kubernetes-int-or-string": True}
    )


def status(properties: dict[str, Schema]) -> Schema:
    """Schema of a status: conditions, and what the kind adds."""
    condition = fields(
        {
            "type": text(),
            "status": text(enum=["True", "False", "Unknown"]),
            "reason": text(),
            "message": text(),
            "lastTransitionTime": text(format="date-time"),
            "observedGeneration": number(),
        },
        required=("type", "status"),
    )
    conditions = listing(condition, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]})
    return fields({"conditions": conditions, **properties})
