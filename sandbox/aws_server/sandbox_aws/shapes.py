"""Requests and answers of the query protocols, read and written by botocore's models of the services.

MiniStack reads and writes each field by hand and drops the fields that it does not list. With a model every field of an
operation is kept, under AWS's name and with its type. Loading a model takes 0.1 s and 14 MB (EC2), at the first use.
"""

from __future__ import annotations

import uuid
from functools import cache
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from botocore.loaders import Loader
from botocore.model import ServiceModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_aws.answers import Answer


class MalformedError(ValueError):
    """A value of a request does not have the type of its field."""


@cache
def model(service: str) -> Any:
    """Return botocore's model of a service, such as `autoscaling`."""
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def read(service: str, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a request by AWS's names, typed; absent fields are absent.

    Raises:
        MalformedError: A value does not have the type of its field.
    """
    shape = model(service).operation_model(operation).input_shape
    values: dict[str, Any] = _read(shape, _tree(parameters, ""), _is_ec2(service))
    return values


def read_part(service: str, shape: str, parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the fields below `prefix` of a request as the structure `shape`.

    Raises:
        MalformedError: A value does not have the type of its field.
    """
    values: dict[str, Any] = _read(
        model(service).shape_for(shape), _tree(parameters, f"{prefix}."), _is_ec2(service), prefix
    )
    return values


def write_part(service: str, shape: str, value: Mapping[str, Any]) -> str:
    """Return the XML inside an element of the structure `shape`; fields outside of the model are left out."""
    return _write(model(service).shape_for(shape), value, _is_ec2(service))


def answer(service: str, operation: str, result: Mapping[str, Any] | None = None) -> Answer:
    """Answer an operation of a query protocol with its result."""
    described = model(service)
    shape = described.operation_model(operation).output_shape
    inner = "" if shape is None else _write(shape, result or {}, _is_ec2(service))
    body = (
        f'<{operation}Response xmlns="{described.metadata["xmlNamespace"]}"><{operation}Result>{inner}'
        f"</{operation}Result><ResponseMetadata><RequestId>{uuid.uuid4()}</RequestId></ResponseMetadata>"
        f"</{operation}Response>"
    )
    return 200, {"Content-Type": "text/xml"}, body.encode()


def error(service: str, code: str, message: str, status: int = 400) -> Answer:
    """Answer an operation of a query protocol with an error."""
    body = (
        f'<ErrorResponse xmlns="{model(service).metadata["xmlNamespace"]}"><Error><Type>Sender</Type><Code>{code}</Code>'
        f"<Message>{escape(message)}</Message></Error><RequestId>{uuid.uuid4()}</RequestId></ErrorResponse>"
    )
    return status, {"Content-Type": "text/xml"}, body.encode()


def _is_ec2(service: str) -> bool:
    return bool(model(service).metadata["protocol"] == "ec2")


def _tree(parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return parameters such as `A.B.1` below `prefix` as nested dictionaries."""
    tree: dict[str, Any] = {}
    for name, value in parameters.items():
        if not name.startswith(prefix):
            continue
        *path, leaf = name.removeprefix(prefix).split(".")
        node = tree
        for step in path:
            child = node.setdefault(step, {})
            node = child if isinstance(child, dict) else {}
        node[leaf] = value[0] if isinstance(value, list) else value
    return tree


def _read(shape: Any, tree: Any, ec2: bool, path: str = "") -> Any:
    if shape.type_name == "structure":
        branches = tree if isinstance(tree, dict) else {}
        names = {member: _query_name(member, child, ec2) for member, child in shape.members.items()}
        return {
            member: _read(child, branches[names[member]], ec2, f"{path}.{member}".lstrip("."))
            for member, child in shape.members.items()
            if names[member] in branches
        }
    if shape.type_name == "list":
        branches = tree if isinstance(tree, dict) else {}
        if not ec2 and not shape.serialization.get("flattened"):
            branches = branches.get(shape.member.serialization.get("name", "member"), {})
        return [
            _read(shape.member, branches[index], ec2, f"{path}.{index}")
            for index in sorted((index for index in branches if index.isdigit()), key=int)
        ]
    return _scalar(shape.type_name, str(tree), path)


def _query_name(member: str, shape: Any, ec2: bool) -> str:
    names = shape.serialization
    if "queryName" in names:
        return str(names["queryName"])
    name = str(names.get("name", member))
    return name[:1].upper() + name[1:] if ec2 else name


def _scalar(kind: str, text: str, path: str) -> Any:
    try:
        if kind in {"integer", "long"}:
            return int(text)
        if kind in {"float", "double"}:
            return float(text)
    except ValueError as problem:
        raise MalformedError(f"Value '{text}' at '{path}' is not of type {kind}") from problem
    if kind == "boolean":
        return text.lower() == "true"
    return text


def _write(shape: Any, value: Any, ec2: bool) -> str:
    if shape.type_name == "structure":
        return "".join(
            _element(child.serialization.get("name", member), _write(child, value[member], ec2))
            for member, child in shape.members.items()
            if value.get(member) is not None
        )
    if shape.type_name == "list":
        name = shape.member.serialization.get("name", "item" if ec2 else "member")
        return "".join(_element(name, _write(shape.member, item, ec2)) for item in value)
    if shape.type_name == "boolean":
        return "true" if value else "false"
    return escape(str(value))


def _element(name: str, inner: str) -> str:
    return f"<{name}>{inner}</{name}>"
