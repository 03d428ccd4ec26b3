"""Rules about runner releases and runners in GitLab, for every place where a setting can be."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from typing import Any

import pytest

from access.resource import UNKNOWN
from tests.support.policy_cases import (
    ABSENT,
    all_findings,
    assert_undecided,
    assert_violation,
    findings_on_stack,
    report,
    resource_named,
    stack_without,
    with_input,
    with_toml,
)

RELEASE, PROTECTED = "small-runner-release", "deploy-runner-release"
CONFIG = "values.runners.config"
RULES = ("R01", "R02", "R03", "R04", "R05", "R09", "R10")


@pytest.mark.parametrize(
    ("rule", "path", "value", "message"),
    [
        ("R01", "kubernetes.privileged", True, "privileged is on"),
        ("R01", "kubernetes.allow_privilege_escalation", True, "allow_privilege_escalation is on"),
        ("R01", "kubernetes.allow_privilege_escalation", ABSENT, "does not set allow_privilege_escalation"),
        ("R02", "kubernetes.service_account_overwrite_allowed", "dev", "jobs may choose the value"),
        ("R02", "kubernetes.service_account_overwrite_allowed", "^a$|b", "jobs may choose the value"),
        ("R02", "kubernetes.namespace_overwrite_allowed", ".*", "jobs may choose the value"),
        ("R02", "kubernetes.node_tolerations_overwrite_allowed", "^$", "jobs may choose the value"),
        ("R02", "kubernetes.bearer_token_overwrite_allowed", True, "is on: jobs may choose the value"),
        ("R03", "kubernetes.pod_spec", ABSENT, "has no patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch", "hostNetwork: true", "is not the patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch", "a: [", "is not the patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch_type", "json", "is not the patch aws-identity"),
        ("R03", "kubernetes.pod_spec.0.patch_path", "/etc/patch", "is not the patch aws-identity"),
        ("R03", "feature_flags.FF_USE_ADVANCED_POD_SPEC_CONFIGURATION", False, "the runner ignores the patch"),
        ("R04", "kubernetes.pull_policy", ["if-not-present"], "allows 'if-not-present', not only always"),
        ("R04", "kubernetes.pull_policy", "if-not-present", "allows 'if-not-present', not only always"),
        ("R04", "kubernetes.allowed_pull_policies", ["always", "never"], "allows 'never', not only always"),
        ("R04", "kubernetes.pull_policy", ABSENT, "pull_policy lists nothing"),
        ("R04", "kubernetes.pull_policy", [], "pull_policy lists nothing"),
        ("R05", "kubernetes.service_account", "manager", "is 'manager', not job"),
        ("R05", "kubernetes.service_account", ABSENT, "does not set service_account"),
        ("R05", "kubernetes.namespace", "runner-small", "is 'runner-small', not jobs-small"),
        ("R05", "kubernetes.automount_service_account_token", True, "automount_service_account_token is not off"),
    ],
)  # fmt: skip
def test_an_unsafe_setting_in_the_toml_is_a_violation(rule: str, path: str, value: Any, message: str) -> None:
    assert_violation(rule, with_toml(resource_named("prod", RELEASE), path, value), message)


@pytest.mark.parametrize(
    ("rule", "path", "value", "message"),
    [
        ("R01", "values.securityContext.privileged", True, "is on"),
        ("R01", "values.securityContext.allowPrivilegeEscalation", ABSENT, "is on"),
        ("R05", "values.rbac.create", True, "makes service accounts and rights of its own"),
        ("R05", "values.rbac.create", "false", "makes service accounts and rights of its own"),
        ("R05", "values.rbac.clusterWideAccess", True, "makes service accounts and rights of its own"),
        ("R05", "values.serviceAccount.create", ABSENT, "makes service accounts and rights of its own"),
        ("R05", "values.serviceAccount.name", "default", "is 'default', not manager"),
        ("R05", "namespace", "default", "in namespace 'default', which is not the manager's namespace of a class"),
        ("R07", "version", "0.1.0", "version is '0.1.0', not"),
        ("R07", "chart", "oci://evil/gitlab-runner", "chart is 'oci://evil/gitlab-runner', not"),
        ("R07", "repositoryOpts.repo", "https://charts.evil.example", "repositoryOpts.repo is 'https://charts.evil.example', not"),
        ("R07", "version", ABSENT, "version is '', not"),
        ("R09", CONFIG, "[[runners]]\n[[runners]]\n", "exactly one [[runners]]"),
        ("R09", CONFIG, "no toml", "is not TOML"),
        ("R09", CONFIG, "concurrent = 1", "exactly one [[runners]]"),
        ("R09", CONFIG, ABSENT, "is missing"),
        ("R09", CONFIG, '[[runners]]\nx = "{{ .Values.x }}"\n', "contains a template expression"),
    ],
)  # fmt: skip
def test_an_unsafe_setting_elsewhere_in_the_release_is_a_violation(
    rule: str, path: str, value: Any, message: str
) -> None:
    assert_violation(rule, with_input(resource_named("prod", RELEASE), path, value), message)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("allowed_images", ["*"], "allows *"),
        ("allowed_images", ["222222222222.dkr.ecr.eu-central-1.amazonaws.com/open/**"], "which is not below"),
        ("allowed_services", ["docker.io/**"], "which is not below"),
        ("allowed_images", ABSENT, "would run any image"),
        ("allowed_images", [], "would run any image"),
        ("helper_image", ABSENT, "is missing, not 222222222222.dkr.ecr"),
        ("helper_image", "222222222222.dkr.ecr.eu-central-1.amazonaws.com/protected/apps:1", "protected/apps:1, not"),
    ],
)
def test_a_protected_class_runs_protected_images_only(key: str, value: Any, message: str) -> None:
    assert_violation("R04", with_toml(resource_named("prod", PROTECTED), f"kubernetes.{key}", value), message)


def test_an_open_class_may_limit_its_images() -> None:
    release = with_toml(resource_named("prod", RELEASE), "kubernetes.allowed_images", ["*"])
    assert all_findings(release) == {}


@pytest.mark.parametrize("rule", RULES)
def test_an_unknown_configuration_is_undecided(rule: str) -> None:
    assert_undecided(rule, with_input(resource_named("prod", RELEASE), CONFIG, UNKNOWN), CONFIG)


@pytest.mark.parametrize("rule", ["R01", "R02", "R03", "R04", "R05"])
def test_an_unreadable_configuration_is_undecided(rule: str) -> None:
    assert_undecided(rule, with_input(resource_named("prod", RELEASE), CONFIG, "no toml"), CONFIG)


def test_a_second_pod_patch_is_a_violation() -> None:
    release = resource_named("prod", RELEASE)
    renamed_patch = with_toml(release, "kubernetes.pod_spec.0.name", "any name")
    assert report("R03", renamed_patch) == [], "the rule compares the patch and not the name of the patch"
    (patch,) = tomllib.loads(release.inputs["values"]["runners"]["config"])["runners"][0]["kubernetes"]["pod_spec"]
    assert_violation(
        "R03",
        with_toml(release, "kubernetes.pod_spec", [patch, {"name": "x", "patch": "hostPID: true"}]),
        "is not the patch",
    )
    assert_violation("R03", with_toml(release, "kubernetes.pod_spec", [patch, patch]), "has 2 patches")


RUNNER = "deploy-object-1-runner"


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("accessLevel", "not_protected", "accessLevel is not_protected, not ref_protected"),
        ("accessLevel", ABSENT, "accessLevel is missing, not ref_protected"),
        ("locked", False, "locked is not true"),
        ("locked", ABSENT, "locked is not true"),
        ("untagged", True, "untagged is not false"),
        ("untagged", ABSENT, "untagged is not false"),
        ("runnerType", "group_type", "runnerType is group_type, not project_type"),
        ("projectId", 1.0, "projectId is 1.0, not 5678"),
        ("projectId", ABSENT, "projectId is missing, not 5678"),
        ("maximumTimeout", 60, "maximumTimeout is 60, not"),
        ("tagLists", ["deploy", "small"], "not the tags of one class"),
        ("tagLists", ["other"], "not the tags of one class"),
        ("tagLists", ABSENT, "not the tags of one class"),
    ],
)
def test_a_gitlab_runner_that_differs_from_its_class_is_a_violation(path: str, value: Any, message: str) -> None:
    assert_violation("R08", with_input(resource_named("prod", RUNNER), path, value), message)


def test_a_protected_class_without_a_runner_is_a_violation() -> None:
    messages = [finding.text for finding in findings_on_stack("R08", stack_without(RUNNER))]
    assert messages == ["class deploy is protected and has no runner in GitLab with its tags"]


@pytest.mark.parametrize("path", ["accessLevel", "locked", "untagged", "tagLists", "projectId"])
def test_an_unknown_input_of_a_runner_is_undecided(path: str) -> None:
    assert_undecided("R08", with_input(resource_named("prod", RUNNER), path, UNKNOWN), path)


def test_a_paused_runner_of_an_older_token_generation_passes() -> None:
    assert (
        report(
            "R08",
            replace(
                with_input(resource_named("prod", RUNNER), "paused", True),
                urn="urn:pulumi:prod::runner-platform::older",
            ),
        )
        == []
    )
