"""Reading a manager's release, and its container's paths on this machine; the real runner is in `running/test_gitlab_runner.py`."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from runner_platform_sandbox import runner_managers
from runner_platform_sandbox.processes import ProcessId
from runner_platform_sandbox.runner_managers import Release, RunnerManager, RunnerManagerError, Surroundings

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.client import KubeClient

SCRIPT = """cp /configmaps/config.toml "/home/gitlab-runner/.gitlab-runner/config.toml"
source /configmaps/set-secrets; cat /secrets/runner-token; bash /configmaps/entrypoint
exec /entrypoint run --working-directory=/home/gitlab-runner; ls /usr/secrets /home/gitlab-runner-2"""


class Objects:
    """A cluster of a few objects."""

    def __init__(self, **container: Any) -> None:
        self.container = {
            "command": ["/usr/bin/dumb-init", "--", "/bin/bash", "/configmaps/entrypoint"],
            "volumeMounts": [
                {"name": "settings", "mountPath": "/configmaps"},
                {"name": "secrets", "mountPath": "/secrets"},
            ],
            **container,
        }

    def find(self, _api_version: str, _kind: str, _name: str, namespace: str) -> dict[str, Any] | None:
        if namespace != "runner-small":
            return None
        token = {"name": "runner-token", "items": [{"key": "runner-token", "path": "token"}]}
        volumes = [
            {"name": "settings", "configMap": {"name": "gitlab-runner-small"}},
            {"name": "secrets", "projected": {"sources": [{"secret": token}]}},
        ]
        spec = {"serviceAccountName": "manager", "containers": [self.container], "volumes": volumes}
        return {"spec": {"template": {"spec": spec}}}

    def get(self, _api_version: str, kind: str, _name: str, _namespace: str) -> dict[str, Any]:
        return {
            "ServiceAccount": {"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:x"}}},
            "ConfigMap": {"data": {"entrypoint": SCRIPT}},
            "Secret": {"data": {"runner-token": base64.b64encode(b"glrt-x").decode(), "other": "eA=="}},
        }[kind]

    @property
    def client(self) -> KubeClient:
        return cast("KubeClient", self)


def surroundings(root: Path) -> Surroundings:
    return Surroundings(
        program=Path("/tools/gitlab-runner"),
        root=root,
        stack="dev",
        kubeconfig=root / "kubeconfig",
        gitlab="http://127.0.0.1:1",
        aws="http://127.0.0.1:2",
        region="eu-central-1",
    )


def test_a_release_is_read_as_the_container_sees_it() -> None:
    release = Release.read(Objects(env=[{"name": "CI_SERVER_URL", "value": "https://x"}]).client, "small")
    assert release.command == ["/bin/bash", "/configmaps/entrypoint"]
    assert release.variables == {"CI_SERVER_URL": "https://x"}
    assert release.files == {"/configmaps": {"entrypoint": SCRIPT}, "/secrets": {"token": "glrt-x"}}
    assert (release.account, release.role_arn) == ("manager", "arn:x")


def test_a_release_does_not_show_its_token() -> None:
    assert "glrt-x" not in repr(Release.read(Objects().client, "small"))


def test_a_variable_from_another_object_is_refused_by_name() -> None:
    env = [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}]
    with pytest.raises(RunnerManagerError, match="takes TOKEN from another object"):
        Release.read(Objects(env=env).client, "small")


def test_scripts_find_their_container_s_paths_below_the_managers_folder(tmp_path: Path) -> None:
    manager = RunnerManager(surroundings(tmp_path), "small")
    place = tmp_path / "managers" / "dev" / "small"
    assert manager._replaced(SCRIPT) == (
        f'cp {place}/configmaps/config.toml "{place}/home/gitlab-runner/.gitlab-runner/config.toml"\n'
        f"source {place}/configmaps/set-secrets; cat {place}/secrets/runner-token; bash {place}/configmaps/entrypoint\n"
        f"exec /tools/gitlab-runner run --working-directory={place}/home/gitlab-runner; "
        "ls /usr/secrets /home/gitlab-runner-2"
    )


def test_a_record_of_another_process_with_the_same_id_ends_nothing(tmp_path: Path) -> None:
    record = tmp_path / "managers" / "dev" / "small" / "process.json"
    record.parent.mkdir(parents=True)
    record.write_text(json.dumps({"pid": os.getpid(), "started": ProcessId.mine().started - 60}))
    assert runner_managers.end_leftovers(tmp_path) == 0
    assert not record.exists()
