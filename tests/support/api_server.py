"""An API server in memory: the objects of a class as the program makes them, and answers that a test puts in the way."""

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


class FakeApiServer(Cluster):
    """Answers from a dictionary by path; remembers what it was asked."""

    def __init__(self, stack: str = "prod") -> None:
        super().__init__("fake", "https://127.0.0.1:1", None, dict)
        self.objects: dict[str, Any] = {}
        self.sent: list[tuple[str, str, Any]] = []
        settings = load.of_stack(stack)
        for name in settings.runners:
            jobs, manager = (f"/api/v1/namespaces/{each}" for each in (namespace_jobs(name), namespace_manager(name)))
            self.objects |= {
                f"{manager}/configmaps/{helm_release(name)}": {
                    "data": {"config.template.toml": config_toml(settings, name)}
                },
                f"{jobs}/configmaps/aws-config": {"data": {"config": class_profiles(settings, name)}},
                f"{jobs}/serviceaccounts/job": {"metadata": {"name": "job"}},
            }

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
        self.sent.append((method, path, body))
        if path.endswith("/token"):
            assert body is not None
            return json.dumps({"status": {"token": token(path, body["spec"])}})
        found = self.objects.get(path.partition("?")[0])
        if found is None:
            raise ApiRefusalError(f"cluster fake: {path} not found", 404)
        return found if isinstance(found, str) else json.dumps(found)


def token(path: str, spec: Mapping[str, Any]) -> str:
    """A token whose claims say who it is for; its signature is none."""
    _, _, _, _, namespace, _, account, _ = path.split("/")
    claims = {"iss": ISSUER, "sub": f"system:serviceaccount:{namespace}:{account}", "aud": spec["audiences"]}
    return f"{encoded({'alg': 'RS256', 'kid': 'k'})}.{encoded(claims)}.c2lnbmF0dXJl"


def encoded(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def decoded(part: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=="))
    return value
