"""Stand-in for an API server: the objects of a stack's classes in memory, plus answers that a test adds."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from components.documents.config_toml import config_toml
from components.documents.profiles import class_profiles
from config import load
from config.names import helm_release, namespace_jobs, namespace_manager
from runner_platform.kube.client import ApiRefusalError, Cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF"


class ApiServerStandIn(Cluster):
    """Answers from a dictionary by path and records the requests."""

    def __init__(self, stack: str = "prod") -> None:
        super().__init__("stand-in", "https://127.0.0.1:1", None, dict)
        self.objects: dict[str, Any] = {}
        self.sent: list[tuple[str, str, Any]] = []
        settings = load.of_stack(stack)
        for name in settings.runners:
            jobs = f"/api/v1/namespaces/{namespace_jobs(name)}"
            manager = f"/api/v1/namespaces/{namespace_manager(name)}"
            self.objects |= {
                f"{manager}/configmaps/{helm_release(name)}": {
                    "data": {"config.template.toml": config_toml(settings.runner_class(name))}
                },
                f"{jobs}/configmaps/aws-config": {"data": {"config": class_profiles(settings.runner_class(name))}},
                f"{jobs}/serviceaccounts/job": {"metadata": {"name": "job"}},
            }

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        self.sent.append((method, path, body))
        if path.endswith("/token"):
            assert body is not None
            return json.dumps({"status": {"token": token(path, body["spec"])}})
        answer = self.objects.get(path.partition("?")[0])
        if answer is None:
            raise ApiRefusalError(f"cluster stand-in: {path} not found", 404)
        return answer if isinstance(answer, str) else json.dumps(answer)


def token(path: str, spec: Mapping[str, Any]) -> str:
    """Return a token with the right claims and no valid signature."""
    _, _, _, _, namespace, _, account, _ = path.split("/")
    claims = {"iss": ISSUER, "sub": f"system:serviceaccount:{namespace}:{account}", "aud": spec["audiences"]}
    return f"{encoded({'alg': 'RS256', 'kid': 'k'})}.{encoded(claims)}.c2lnbmF0dXJl"


def encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return value
