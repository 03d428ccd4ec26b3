"""Helm's own record of a release."""

from __future__ import annotations

import base64
import gzip
import json
from types import SimpleNamespace
from typing import Any

import pytest

from config import load
from runner_platform.driver import helm_releases
from runner_platform.kube.client import ApiRefusalError


def test_the_status_of_a_revision_comes_from_its_payload_and_not_its_label() -> None:
    payload = {"name": "gitlab-runner-small", "version": 3, "info": {"status": "pending-upgrade"}}
    packed = base64.b64encode(base64.b64encode(gzip.compress(json.dumps(payload).encode()))).decode()
    metadata = {
        "name": "sh.helm.release.v1.gitlab-runner-small.v3",
        "namespace": "runner-small",
        "labels": {"status": "deployed"},
    }
    revision = helm_releases.parse_revision({"metadata": metadata, "data": {"release": packed}})
    assert (revision.release, revision.number, revision.status) == ("gitlab-runner-small", 3, "pending-upgrade")
    assert revision.status in helm_releases.PENDING
    assert revision.path == "/api/v1/namespaces/runner-small/secrets/sh.helm.release.v1.gitlab-runner-small.v3"


@pytest.mark.parametrize("status", [401, 403, 500])
def test_only_a_caller_without_access_leaves_releases_to_the_engine(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """A destroy that was killed after the deployer's access policy or access entry can be refreshed."""

    def refuse(_: str) -> Any:
        raise ApiRefusalError("cluster runner-platform-dev refuses", status)

    monkeypatch.setattr(helm_releases.Cluster, "of", lambda _: SimpleNamespace(get=refuse))
    run: Any = SimpleNamespace(project=SimpleNamespace(runner_settings=load.of_stack("dev")))
    if status < 500:
        assert helm_releases.delete_pending_revisions(run) == 0
    else:
        with pytest.raises(ApiRefusalError):
            helm_releases.delete_pending_revisions(run)
