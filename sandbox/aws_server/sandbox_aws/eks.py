"""The EKS operations that MiniStack lacks or answers wrongly, in front of MiniStack's own.

`eks_clusters` owns a cluster's record from creation to deletion, `eks_updates` its changes, `eks_versions` which
Kubernetes versions there are, `eks_access` who gets in, `eks_token` how a caller shows who they are.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ministack.core.iam_evaluator import resolve_caller_identity
from ministack.core.responses import get_region
from ministack.core.router import extract_access_key_id
from ministack.services import eks

from sandbox_aws import eks_access, eks_clusters, eks_updates, eks_versions
from sandbox_aws.patching import handlers, replace

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer

_ONE = re.compile(r"/clusters/(?P<name>[A-Za-z0-9_-]+)(?P<rest>/updates|/updates/(?P<update>[^/]+)|/update-config)")


def install() -> None:
    """Put the routes in front of MiniStack's, and give issuers the shape that AWS gives them."""
    table = handlers("app", "SERVICE_HANDLERS")
    table["eks"] = _with_routes(table["eks"])
    replace("services.eks", "_ministack_issuer_base", lambda _original: _issuer_base)
    replace("services.eks", "_delete_cluster", eks_clusters.protected)


def _issuer_base() -> str:
    return f"https://oidc.eks.{get_region()}.amazonaws.com"


def _with_routes(original: Any) -> Any:
    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer:
        answer = _route(method, path, headers, body, query)
        if answer is None:
            answer = await original(method, path, headers, body, query)
        return answer

    return handle


def _route(method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]) -> Answer | None:
    """Return our answer, or None to let MiniStack answer."""
    request = json.loads(body) if body and method in {"POST", "PUT"} else {}
    found = _ONE.fullmatch(path)
    if found is None:
        whole = {
            ("POST", "/clusters"): lambda: eks_clusters.create(
                request, _caller(headers, query), extract_access_key_id(headers, query)
            ),
            ("GET", "/cluster-versions"): lambda: eks_versions.describe(query),
            ("GET", "/access-policies"): eks_access.list_policies,
        }
        answer = whole.get((method, path))
    else:
        name, update = found["name"], found["update"]
        kind = "/updates/" if update else found["rest"]
        of_one = {
            ("POST", "/update-config"): lambda: eks_updates.update_config(name, request),
            ("POST", "/updates"): lambda: eks_updates.update_version(name, request),
            ("GET", "/updates"): lambda: eks_updates.list_updates(name),
            ("GET", "/updates/"): lambda: eks_updates.describe(name, update),
        }
        answer = of_one.get((method, kind))
    return None if answer is None else answer()


def _caller(headers: dict[str, str], query: dict[str, Any]) -> str:
    """Return the role, not the session, of who calls."""
    arn: str = (resolve_caller_identity(extract_access_key_id(headers, query)) or {}).get("userArn", "")
    return eks._role_arn_from_assumed_role(arn) or arn
