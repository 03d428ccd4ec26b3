"""The control routes under /_sandbox/, for the supervisor and the Kubernetes part; never served to jobs."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from sandbox_aws import eks_clusters, organization
from sandbox_aws.answers import as_json, json_error
from sandbox_aws.records import RECORDS

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer
    from sandbox_aws.persist import Saver

_CLUSTER = re.compile(
    r"/_sandbox/clusters/(?P<account>\d{12})/(?P<region>[a-z0-9-]+)/(?P<name>[A-Za-z0-9_-]+)(?P<rbac>/rbac)?"
)


def handle(method: str, path: str, query: str, body: bytes, saver: Saver) -> Answer:
    """Answer one control request; errors say what is wrong with it."""
    try:
        document = json.loads(body or b"{}")
        answer = _route(method, path, parse_qs(query), document)
    except (ValueError, TypeError, KeyError) as error:
        return json_error(400, "ValidationException", f"{method} {path}: {error!r}")
    if answer is None:
        return json_error(404, "NotFoundException", f"No control route {method} {path}")
    if method != "GET":
        saver.save_all()
    return answer


def _route(method: str, path: str, query: dict[str, list[str]], document: dict[str, Any]) -> Answer | None:
    match method, path:
        case "GET", "/_sandbox/health":
            return as_json({"ready": True, "pid": os.getpid()})
        case "POST", "/_sandbox/save":
            return as_json({})
        case "PUT", "/_sandbox/organization":
            organization.declare(document)
            return as_json({})
        case "PUT", "/_sandbox/issuers":
            RECORDS.issuers[str(document["issuer"])] = dict(document["jwks"])
            return as_json({})
        case "GET", "/_sandbox/clusters":
            return as_json(eks_clusters.listing())
    found = _CLUSTER.fullmatch(path)
    if found is None:
        return None
    where = (found["account"], found["region"], found["name"])
    if found["rbac"] and method == "GET":
        namespaces = [name for part in query.get("namespaces", []) for name in part.split(",") if name]
        return as_json(eks_clusters.rbac(*where, namespaces))
    if not found["rbac"] and method == "PUT":
        return (
            as_json({})
            if eks_clusters.report(*where, document)
            else json_error(
                404, "ResourceNotFoundException", f"No cluster {found['name']} in {found['account']} {found['region']}"
            )
        )
    return None
