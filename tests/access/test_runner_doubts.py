"""What a runner's configuration takes from elsewhere is undecided, never refused."""

from __future__ import annotations

from typing import Any

import pytest

from access.clusters import runner_config_of

PLAIN = 'service_account = "job"\n'
HEAD = "[[runners]]\n[runners.kubernetes]\n"
PATCH = "[[runners.kubernetes.pod_spec]]\n"


def reason(text: str, **values: Any) -> str:
    config = runner_config_of({"runners": {"config": HEAD + text}, **values}, "managers")
    return config.undecided.reason if config.undecided is not None else ""


def json_patch(steps: str) -> str:
    return f"{PATCH}patch_type = 'json'\npatch = '{steps}'"


@pytest.mark.parametrize(
    "text",
    [
        f'{PATCH}patch_path = "/home/gitlab-runner/patch.yaml"',
        f'{PATCH}Patch_Path = "/etc/patch.json"\npatch_type = "strategic"',
        'service_account = "{{ .Values.account }}"',
        'service_account = "$ACCOUNT"',
        'namespace = "${NAMESPACE}"',
        'namespace = "{{ .Release.Namespace }}"',
        'service_account_overwrite_allowed = "{{ .Values.allowed }}"',
        'service_account_overwrite_allowed = "^[[:alpha:]]+$"',
        "service_account_overwrite_allowed = '^\\pL+$'",
        'namespace_overwrite_allowed = "${ALLOWED}"',
        "namespace_per_job = true",
        f"{PATCH}patch = 'serviceAccountName: $ACCOUNT'",
        f"{PATCH}patch = 'serviceAccountName: 5'",
        json_patch('[{"op": "copy", "from": "/metadata/name", "path": "/serviceAccountName"}]'),
        json_patch('[{"op": "replace", "path": "", "value": {"serviceAccountName": "x"}}]'),
        json_patch('[{"op": "add", "path": "/volumes/0/projected/sources/-", "value": {}}]'),
    ],
)
def test_what_the_runner_takes_from_elsewhere_is_undecided(text: str) -> None:
    assert reason(text).startswith("the runner's configuration in namespace managers")


@pytest.mark.parametrize(
    "values",
    [
        {"envVars": [{"name": "KUBERNETES_SERVICE_ACCOUNT", "valueFrom": {"secretKeyRef": {"name": "x"}}}]},
        {"envVars": [{"name": "KUBERNETES_SERVICE_ACCOUNT", "value": "$(ACCOUNT)"}]},
        {"envVars": [{"name": "KUBERNETES_NAMESPACE_OVERWRITE_ALLOWED", "value": "[[:lower:]]"}]},
        {"extraEnv": {"KUBERNETES_NAMESPACE": "x"}},
        {"extraEnvFrom": {"KUBERNETES_NAMESPACE": {"secretKeyRef": {}}}},
        {"preEntrypointScript": "sed -i s/job/deploy/ /configmaps/config.template.toml"},
    ],
)
def test_what_the_release_adds_to_the_configuration_is_undecided(values: dict[str, Any]) -> None:
    assert reason(PLAIN, **values)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        'service_account_overwrite_allowed = "^deploy-[a-z]+$"',
        f"{PATCH}patch = 'serviceAccountName: deploy'",
        f"{PATCH}patch = 'serviceAccountName: null'",
        json_patch('[{"op": "add", "path": "/volumes/-", "value": {"name": "x", "emptyDir": {}}}]'),
    ],
)
def test_a_configuration_that_says_everything_is_decided(text: str) -> None:
    assert not reason(text, envVars=[{"name": "TZ", "valueFrom": {}}], extraEnv={"TZ": "UTC"})
