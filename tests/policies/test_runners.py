"""Rules of runner releases and of runners in GitLab: every door through which a setting comes in."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from access.resource import UNKNOWN
from tests.support.policy_cases import ABSENT, changed, one, says, undecides, violates, whole, with_toml, without

RELEASE, PROTECTED = "small-runner-release", "deploy-runner-release"
CONFIG = "values.runners.config"
RULES = ("R01", "R02", "R03", "R04", "R05", "R07", "R09")


@pytest.mark.parametrize(
    ("rule", "path", "value", "said"),
    [
        ("R01", "kubernetes.privileged", True, "privileged is on"),
        ("R01", "kubernetes.allow_privilege_escalation", True, "allow_privilege_escalation is on"),
        ("R01", "kubernetes.allow_privilege_escalation", ABSENT, "does not set allow_privilege_escalation"),
        ("R01", "kubernetes.cap_add", ["SYS_ADMIN"], "adds capabilities"),
        ("R01", "kubernetes.build_container_security_context", {"privileged": True}, "privileged is on"),
        ("R01", "kubernetes.helper_container_security_context", {"capabilities": {"add": ["ALL"]}}, "adds capabilities"),
        ("R01", "kubernetes.init_permissions_container_security_context", {"allow_privilege_escalation": True}, "is on"),
        ("R01", "kubernetes.build_container_security_context", {"proc_mount": "Unmasked"}, "unmasks /proc"),
        ("R02", "kubernetes.service_account_overwrite_allowed", "dev", "lets jobs choose"),
        ("R02", "kubernetes.service_account_overwrite_allowed", "^a$|b", "lets jobs choose"),
        ("R02", "kubernetes.namespace_overwrite_allowed", ".*", "lets jobs choose"),
        ("R02", "kubernetes.node_tolerations_overwrite_allowed", "^$", "lets jobs choose"),
        ("R02", "kubernetes.bearer_token_overwrite_allowed", True, "a token for the cluster"),
        ("R03", "kubernetes.volumes", {"host_path": [{"name": "s", "mount_path": "/s", "host_path": "/var/run"}]}, "mounts host_path volumes"),
        ("R03", "kubernetes.volumes", {"secret": [{"name": "s", "mount_path": "/s"}]}, "mounts secret volumes"),
        ("R03", "kubernetes.pod_spec", ABSENT, "has no patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch", "hostNetwork: true", "is not the patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch", "a: [", "is not the patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch_type", "json", "is not the patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch_path", "/etc/patch", "is not the patch aws-identity"),
        ("R03", "feature_flags.FF_USE_ADVANCED_POD_SPEC_CONFIGURATION", False, "the patch is passed over"),
        ("R04", "kubernetes.pull_policy", ["if-not-present"], "allows more than always"),
        ("R04", "kubernetes.pull_policy", "if-not-present", "allows more than always"),
        ("R04", "kubernetes.allowed_pull_policies", ["always", "never"], "allows more than always"),
        ("R04", "kubernetes.pull_policy", ABSENT, "does not set pull_policy"),
        ("R05", "kubernetes.service_account", "manager", "is not job"),
        ("R05", "kubernetes.service_account", ABSENT, "does not set service_account"),
        ("R05", "kubernetes.namespace", "runner-small", "is not jobs-small"),
        ("R05", "kubernetes.namespace_per_job", True, "namespace_per_job is on"),
        ("R05", "kubernetes.automount_service_account_token", True, "automount_service_account_token is on"),
        ("R05", "kubernetes.bearer_token", "x", "act as somebody else"),
        ("R05", "kubernetes.host", "https://other", "act as somebody else"),
        ("R07", "kubernetes.image", "alpine:latest", "or a moving one"),
        ("R07", "kubernetes.image", "registry:5000/alpine", "has no tag"),
        ("R07", "kubernetes.helper_image", "helper", "has no tag"),
    ],
)  # fmt: skip
def test_a_setting_that_opens_something_is_found_in_the_toml(rule: str, path: str, value: Any, said: str) -> None:
    violates(rule, with_toml(one("prod", RELEASE), path, value), said)


@pytest.mark.parametrize(
    ("rule", "path", "value", "said"),
    [
        ("R01", "values.envVars", [{"name": "KUBERNETES_PRIVILEGED", "value": "true"}], "is on"),
        ("R01", "values.extraEnv", {"KUBERNETES_PRIVILEGED": True}, "is on"),
        ("R01", "values.runners.privileged", True, "is on"),
        ("R01", "values.securityContext.privileged", True, "is on"),
        ("R01", "values.securityContext.capabilities", {"add": ["NET_ADMIN"]}, "adds capabilities"),
        ("R02", "values.envVars", [{"name": "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE_ALLOWED", "value": ".*"}], "lets jobs choose"),
        ("R02", "values.extraEnv", {"KUBERNETES_BEARER_TOKEN_OVERWRITE_ALLOWED": "true"}, "a token for the cluster"),
        ("R02", "values.runners.namespaceOverwriteAllowed", "x", "lets jobs choose"),
        ("R03", "values.volumes", [{"name": "d", "hostPath": {"path": "/var/run/docker.sock"}}], "mounts a path of the node"),
        ("R03", "values.hostNetwork", "true", "hostNetwork is on"),
        ("R04", "values.envVars", [{"name": "KUBERNETES_PULL_POLICY", "value": "never"}], "allows more than always"),
        ("R05", "values.rbac.create", True, "makes accounts and rights of its own"),
        ("R05", "values.rbac.clusterWideAccess", True, "makes accounts and rights of its own"),
        ("R05", "values.serviceAccount.create", ABSENT, "makes accounts and rights of its own"),
        ("R05", "values.serviceAccount.name", "default", "is not manager"),
        ("R05", "values.envVars", [{"name": "KUBERNETES_SERVICE_ACCOUNT", "value": "manager"}], "is not job"),
        ("R05", "namespace", "default", "in no manager's namespace"),
        ("R07", "version", "0.1.0", "version is not what the settings say"),
        ("R07", "chart", "oci://evil/gitlab-runner", "chart is not what the settings say"),
        ("R07", "repositoryOpts.repo", "https://charts.evil.example", "repositoryOpts.repo is not"),
        ("R07", "version", ABSENT, "version is not what the settings say"),
        ("R07", "values.runnerToken", "glrt-x", "a token stands in a Secret"),
        ("R07", "values.runnerRegistrationToken", "x", "a token stands in a Secret"),
        ("R09", CONFIG, "[[runners]]\n[[runners]]\n", "exactly one [[runners]]"),
        ("R09", CONFIG, "no toml", "is not TOML"),
        ("R09", CONFIG, "concurrent = 1", "exactly one [[runners]]"),
        ("R09", CONFIG, ABSENT, "is missing"),
        ("R09", CONFIG, '[[runners]]\nx = "{{ .Values.x }}"\n', "holds a template expression"),
        ("R09", "values.runners.configOverride", "x", "sets the runner beside"),
        ("R09", "values.runners.configPath", "x", "sets the runner beside"),
        ("R09", "values.preEntrypointScript", "x", "is not a value that a release sets here"),
        ("R09", "values.extraObjects", [{}], "is not a value"),
        ("R09", "values.extraEnvFrom", {"KUBERNETES_PRIVILEGED": {}}, "is not a value"),
        ("R09", "valueYamlFiles", ["x"], "where no rule looks"),
        ("R09", "postrender", "x", "where no rule looks"),
    ],
)  # fmt: skip
def test_a_setting_that_opens_something_is_found_at_every_other_door(
    rule: str, path: str, value: Any, said: str
) -> None:
    violates(rule, changed(one("prod", RELEASE), path, value), said)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("allowed_images", ["*"], "allows *"),
        ("allowed_images", ["222222222222.dkr.ecr.eu-central-1.amazonaws.com/open/**"], "which is not below"),
        ("allowed_services", ["docker.io/**"], "which is not below"),
        ("allowed_images", ABSENT, "would run any image"),
    ],
)
def test_a_protected_class_runs_protected_images_only(key: str, value: Any, said: str) -> None:
    violates("R04", with_toml(one("prod", PROTECTED), f"kubernetes.{key}", value), said)
    assert says("R04", with_toml(one("prod", RELEASE), "kubernetes.allowed_images", ["*"])) == [], (
        "open classes may run any"
    )


@pytest.mark.parametrize("rule", RULES)
def test_a_configuration_that_is_not_known_is_undecided(rule: str) -> None:
    undecides(rule, changed(one("prod", RELEASE), CONFIG, UNKNOWN), CONFIG)


@pytest.mark.parametrize("rule", ["R01", "R02", "R03", "R04", "R05"])
def test_a_configuration_that_cannot_be_read_is_undecided_for_all_but_one(rule: str) -> None:
    undecides(rule, changed(one("prod", RELEASE), CONFIG, "no toml"), CONFIG)


def test_a_patch_that_is_added_is_found_even_after_ours() -> None:
    release = one("prod", RELEASE)
    ours = with_toml(release, "kubernetes.pod_spec.0.name", "any name")
    assert says("R03", ours) == [], "what the patch says counts, not what it is called"
    (patch,) = tomllib.loads(release.inputs["values"]["runners"]["config"])["runners"][0]["kubernetes"]["pod_spec"]
    violates(
        "R03",
        with_toml(release, "kubernetes.pod_spec", [patch, {"name": "x", "patch": "hostPID: true"}]),
        "is not the patch",
    )
    violates("R03", with_toml(release, "kubernetes.pod_spec", [patch, patch]), "has 2 patches")


def test_an_image_by_digest_is_pinned() -> None:
    digest = f"registry.example/alpine@sha256:{'0' * 64}"
    assert says("R07", with_toml(one("prod", RELEASE), "kubernetes.image", digest)) == []


def test_values_that_a_release_may_set_are_configuration() -> None:
    release = changed(one("prod", RELEASE), "values.priorityClassName", "x")
    violates("R09", release, "priorityClassName is not a value")
    names = [*release.inputs["values"], "priorityClassName"]
    assert says("R09", release, values=names) == []


RUNNER = "deploy-object-1-runner"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("accessLevel", "not_protected", "accessLevel is not ref_protected"),
        ("accessLevel", ABSENT, "accessLevel is not ref_protected"),
        ("locked", False, "locked is not true"),
        ("locked", ABSENT, "locked is not true"),
        ("untagged", True, "untagged is not false"),
        ("untagged", ABSENT, "untagged is not false"),
        ("runnerType", "group_type", "runnerType is not project_type"),
        ("projectId", 1.0, "projectId is not 5678"),
        ("projectId", ABSENT, "projectId is not 5678"),
        ("maximumTimeout", 60, "maximumTimeout is not"),
        ("tagLists", ["deploy", "small"], "not the tag of one class"),
        ("tagLists", ["other"], "not the tag of one class"),
        ("tagLists", ABSENT, "not the tag of one class"),
    ],
)
def test_a_runner_in_gitlab_that_its_class_does_not_bind_is_found(path: str, value: Any, said: str) -> None:
    violates("R08", changed(one("prod", RUNNER), path, value), said)


def test_a_protected_class_without_a_runner_is_found_unless_others_make_them() -> None:
    found = [each.text for each in whole("R08", without(RUNNER))]
    assert found == ["class deploy is protected and has no runner in GitLab that says so"]


@pytest.mark.parametrize("path", ["accessLevel", "locked", "untagged", "tagLists", "projectId"])
def test_what_is_not_known_of_a_runner_is_undecided(path: str) -> None:
    undecides("R08", changed(one("prod", RUNNER), path, UNKNOWN), path)


def test_a_runner_that_is_paused_is_an_older_generation() -> None:
    assert (
        says(
            "R08", replace(changed(one("prod", RUNNER), "paused", True), urn="urn:pulumi:prod::runner-platform::older")
        )
        == []
    )
