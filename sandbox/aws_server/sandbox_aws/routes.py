"""The control routes under /_sandbox/, for the supervisor and the Kubernetes part; never served to jobs."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox_aws import eks_clusters, machines, organization
from sandbox_aws.answers import as_json, json_error
from sandbox_aws.state import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer
    from sandbox_aws.state import Saver

_CLUSTER = re.compile(
    r"/_sandbox/clusters/(?P<account>\d{12})/(?P<region>[a-z0-9-]+)/(?P<name>[A-Za-z0-9_-]+)(?P<rbac>/rbac)?"
)
_MACHINES = "/_sandbox/machines/"


def handle(method: str, path: str, query: str, body: bytes, saver: Saver) -> Answer:
    """Answer one control request; an invalid request gets its error as text."""
    try:
        document = json.loads(body or b"{}")
        answer = _route(method, path, parse_qs(query), document)
    except machines.NoMachineError as error:
        return json_error(404, "NotFoundException", str(error))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return json_error(400, "ValidationException", f"{method} {path}: {error!r}")
    if answer is None:
        return json_error(404, "NotFoundException", f"No control route {method} {path}")
    if method != "GET":
        saver.save_all()
    return answer


def _route(method: str, path: str, query: dict[str, list[str]], document: dict[str, Any]) -> Answer | None:
    fixed: dict[tuple[str, str], Callable[[], Any]] = {
        ("GET", "/_sandbox/health"): lambda: {"ready": True, "pid": os.getpid()},
        ("POST", "/_sandbox/save"): dict,
        ("PUT", "/_sandbox/organization"): lambda: organization.declare(document),
        ("PUT", "/_sandbox/issuers"): lambda: RECORDS.issuers.update({str(document["issuer"]): dict(document["jwks"])}),
        ("GET", "/_sandbox/clusters"): eks_clusters.listing,
    }
    if (method, path) in fixed:
        answer = fixed[method, path]()
        return as_json({} if answer is None else answer)
    if method == "POST" and path.startswith(_MACHINES):
        answer = machines.handle(path.removeprefix(_MACHINES), document)
        return None if answer is None else as_json(answer)
    match = _CLUSTER.fullmatch(path)
    if match is None:
        return None
    cluster = (match["account"], match["region"], match["name"])
    if match["rbac"] and method == "GET":
        namespaces = [name for part in query.get("namespaces", []) for name in part.split(",") if name]
        return as_json(eks_clusters.rbac(*cluster, namespaces))
    if not match["rbac"] and method == "PUT":
        return _reported(cluster, document)
    return None


def _reported(cluster: tuple[str, str, str], document: dict[str, Any]) -> Answer:
    if eks_clusters.report(*cluster, document):
        return as_json({})
    account, region, name = cluster
    return json_error(404, "ResourceNotFoundException", f"No cluster {name} in {account} {region}")
