"""Helm's own record of a release."""

from __future__ import annotations

import base64
import gzip
import json

from runner_platform.driver import helm_releases


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
