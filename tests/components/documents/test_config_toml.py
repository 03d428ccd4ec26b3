"""config.toml of every class of both stacks: existing keys, known mistakes with runner and chart, the identity of jobs.

Section numbers refer to the facts about the official chart and executor that the program was written from.
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.documents import job_identity, pods
from components.documents.config_toml import OVERWRITES, config_toml, request_concurrency, runner_image
from config.quantities import parse_cpu, parse_memory
from tests.support.class_settings import CLASSES, settings_of
from tests.support.program import parsed, raw, raw_in

DATA = Path(__file__).parents[2] / "data"
KEYS: dict[str, Any] = json.loads((DATA / "runner-config-keys.json").read_text())["config"]
SHADOWED = ("retry_limit", "retry_backoff_max", "resource_availability_check_max_attempts")
PATCH = """
containers:
- name: build
  env:
  - {name: AWS_CONFIG_FILE, value: /etc/runner-platform/aws/config}
  - {name: AWS_SDK_LOAD_CONFIG, value: "1"}
  volumeMounts:
  - {name: runner-platform-aws, mountPath: /etc/runner-platform/aws, readOnly: true}
- name: helper
  env:
  - {name: HOME, value: /tmp}
volumes:
- name: runner-platform-aws
  projected:
    defaultMode: 292
    sources:
    - serviceAccountToken: {audience: sts.amazonaws.com, expirationSeconds: 3600, path: token}
    - configMap: {name: aws-config, items: [{key: config, path: config}]}
"""
"""The identity of a job and the home of its helper, as an addition to the pod."""


@cache
def text(stack: str, runner_class: str) -> str:
    return config_toml(settings_of(stack).runner_class(runner_class))


def runner(stack: str, runner_class: str) -> dict[str, Any]:
    (section,) = tomllib.loads(text(stack, runner_class))["runners"]
    return dict(section)


def kubernetes(stack: str, runner_class: str) -> dict[str, Any]:
    return dict(runner(stack, runner_class)["kubernetes"])


def unknown(document: Any, keys: dict[str, Any], path: str = "") -> list[str]:
    unknown_keys = []
    for key, value in document.items():
        where = f"{path}{key}"
        if key not in keys:
            unknown_keys.append(where)
            continue
        inner = keys[key].get("keys")
        for item in value if isinstance(value, list) else [value]:
            if inner and isinstance(item, dict):
                unknown_keys += unknown(item, inner, f"{where}.")
    return unknown_keys


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_every_key_is_one_that_the_runner_reads(stack: str, runner_class: str) -> None:
    document = tomllib.loads(text(stack, runner_class))
    assert not unknown(document, KEYS), "the runner ignores unknown keys silently"
    assert unknown({"x": 1}, KEYS) == ["x"], "the comparison recognises an unknown key"
    assert set(document) == {"runners"}, "2.3: global keys of a template are ignored; they are values of the chart"
    assert len(document["runners"]) == 1, "2.5: registration fails with more than one [[runners]]"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_no_key_is_written_that_register_overwrites(stack: str, runner_class: str) -> None:
    section = runner(stack, runner_class)
    assert "name" not in section, "2.5: register fills the name with the pod's before it merges the template"
    assert not {"token", "url"} & set(section), "the token comes from the Secret, the URL from the chart"
    assert not set(SHADOWED) & set(section["kubernetes"]), "2.5: flags with defaults of their own win over the template"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_template_is_unchanged_by_the_templating_of_the_chart(stack: str, runner_class: str) -> None:
    assert "{{" not in text(stack, runner_class), "2.4: runners.config goes through tpl"
    assert f'namespace = "jobs-{runner_class}"' in text(stack, runner_class), (
        "2.4: without `namespace =` the chart would set the manager's own, where the token is"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_jobs_may_overwrite_no_setting(stack: str, runner_class: str) -> None:
    kubernetes_section = kubernetes(stack, runner_class)
    overwrites = {key for key in KEYS["runners"]["keys"]["kubernetes"]["keys"] if key.endswith("_overwrite_allowed")}
    closed = {key for key in overwrites if not kubernetes_section.get(key)}
    assert closed == overwrites, "3.2: these expressions are not anchored; empty is off"
    assert set(OVERWRITES) <= overwrites, "the runner knows each name"
    assert not [key for key in kubernetes_section if key.endswith("_overwrite_max_allowed")], (
        "requests stay as node capacity was computed from them"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_protected_classes_run_only_images_that_no_open_class_can_push(stack: str, runner_class: str) -> None:
    kubernetes_section, settings = kubernetes(stack, runner_class), settings_of(stack)
    if raw(stack)["runners"][runner_class]["level"] == "open":
        assert not {"allowed_images", "allowed_services", "helper_image"} & set(kubernetes_section), (
            "open classes run any image, and GitLab's own helper"
        )
        return
    prefix = f"222222222222.dkr.ecr.eu-central-1.amazonaws.com/{settings.names.prefix}protected/"
    for key in ("allowed_images", "allowed_services"):
        assert kubernetes_section[key], f"a missing {key} allows every image: an open job could control a protected one"
        for image in kubernetes_section[key]:
            assert image.startswith(prefix), f"{key}: {image} could be pushed by an open class or by a stranger"
    for key in ("image", "helper_image"):
        assert kubernetes_section[key].startswith(prefix), f"{key} runs in every job"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_images_are_pulled_for_every_job(stack: str, runner_class: str) -> None:
    kubernetes_section = kubernetes(stack, runner_class)
    assert kubernetes_section["pull_policy"] == kubernetes_section["allowed_pull_policies"] == ["always"], (
        "6: if-not-present would let a job use a private image of another project from the node's cache"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_containers_request_what_node_capacity_was_computed_from(stack: str, runner_class: str) -> None:
    kubernetes_section, settings = kubernetes(stack, runner_class), settings_of(stack).runners[runner_class]
    total = pods.pod(settings)
    prefixes = ("", "helper_", "service_")
    assert sum(parse_cpu(kubernetes_section[f"{p}cpu_request"]) for p in prefixes) == total.cpu, "whole pods per node"
    assert sum(parse_memory(kubernetes_section[f"{p}memory_request"]) for p in prefixes) == total.memory
    assert sum(parse_memory(kubernetes_section[f"{p}ephemeral_storage_request"]) for p in prefixes) == total.disk
    for prefix in prefixes:
        assert kubernetes_section[f"{prefix}memory_limit"] == kubernetes_section[f"{prefix}memory_request"], (
            "a pod over its request kills its neighbours"
        )
    assert parse_memory(kubernetes_section["helper_memory_request"]) >= 250 * 2**20, (
        "3.2: the helper needs 250Mi for caches"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_pods_wait_for_nodes_and_no_scaler_moves_them(stack: str, runner_class: str) -> None:
    kubernetes_section = kubernetes(stack, runner_class)
    assert kubernetes_section["poll_timeout"] >= 600, "7.2: 180 s is shorter than node start plus image pull"
    assert kubernetes_section["pod_annotations"] == {
        "karpenter.sh/do-not-disrupt": "true",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    }, "7.3: one annotation for each scaler"
    assert kubernetes_section["node_selector"]["runner-platform/class"] == runner_class, (
        "jobs run on nodes of their class"
    )
    assert kubernetes_section["node_tolerations"] == {f"runner-platform/class={runner_class}": "NoSchedule"}
    assert kubernetes_section["node_selector"]["kubernetes.io/arch"] == "amd64", (
        "3.2: it also selects the helper image's architecture"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_feature_flags_are_set_where_jobs_cannot_change_them(stack: str, runner_class: str) -> None:
    section = runner(stack, runner_class)
    assert "environment" not in section, "a job could override a flag in `environment`"
    flags = section["feature_flags"]
    assert flags["FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"] is True, "3.2: pod_spec is ignored without it"
    assert flags["FF_DISABLE_AUTOMATIC_TOKEN_ROTATION"] is True, (
        "5: the Secret would keep a token that is no longer valid"
    )
    assert flags["FF_USE_POD_ACTIVE_DEADLINE_SECONDS"] is True, (
        "3.3: a pod without a manager ends with the job's timeout"
    )
    assert not flags.get("FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY"), (
        "3.3: jobs would succeed before their last command"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_cache_has_no_static_keys_and_a_prefix_of_its_own(stack: str, runner_class: str) -> None:
    cache_section = runner(stack, runner_class)["cache"]
    assert (cache_section["Type"], cache_section["Path"]) == ("s3", runner_class), (
        "no other class reads what an open class writes"
    )
    assert cache_section["Shared"] is True, "4: without it a new token means an empty cache"
    s3 = cache_section["s3"]
    assert not {"AccessKey", "SecretKey", "SessionToken", "RoleARN", "ServerAddress"} & set(s3), (
        "the manager's role signs"
    )
    assert (s3["AuthenticationType"], s3["BucketLocation"]) == ("iam", "eu-central-1"), (
        "4: without a region the manager asks S3 and falls back to us-east-1"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_cache_archives_are_unpacked_where_every_user_may_write(stack: str, runner_class: str) -> None:
    folder = runner(stack, runner_class)["cache_dir"]
    assert folder.startswith("/builds/"), "the shared volume; as user 1000 the helper cannot make the default /cache"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_jobs_are_unprivileged_and_have_no_token_of_kubernetes(stack: str, runner_class: str) -> None:
    kubernetes_section = kubernetes(stack, runner_class)
    assert kubernetes_section["privileged"] is False
    assert kubernetes_section["allow_privilege_escalation"] is False
    assert kubernetes_section["automount_service_account_token"] is False, "6: no token of the Kubernetes API in a job"
    assert kubernetes_section["service_account"] == "job", "2.7: without it jobs use `default`"
    assert kubernetes_section["pod_security_context"] == {"seccomp_profile": {"type": "RuntimeDefault"}}, (
        "user and group only together: the token's mode depends on them"
    )
    assert not {"host_path", "volumes"} & set(kubernetes_section), (
        "no socket of the node and no volume that helper and services see"
    )


def test_restricted_jobs_run_as_one_user_with_their_group() -> None:
    settings = parsed(raw("dev", runners__small__pod_security="restricted"))
    kubernetes_section = tomllib.loads(config_toml(settings.runner_class("small")))["runners"][0]["kubernetes"]
    assert kubernetes_section["cap_drop"] == ["ALL"]
    context = kubernetes_section["pod_security_context"]
    assert {"run_as_user", "run_as_group", "fs_group", "run_as_non_root", "seccomp_profile"} == set(context), (
        "7.1: with a user and without fs_group the token could not be read"
    )
    assert context["run_as_user"] == context["fs_group"]


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_identity_patch_is_the_documented_one(stack: str, runner_class: str) -> None:
    (patch,) = kubernetes(stack, runner_class)["pod_spec"]
    assert (patch["name"], patch["patch_type"]) == ("aws-identity", "strategic"), "merge would replace whole containers"
    assert yaml.safe_load(patch["patch"]) == yaml.safe_load(PATCH), (
        "`prove`, the rules, the image and `access` rely on this text"
    )


def test_a_job_has_no_environment_variable_of_web_identity() -> None:
    names = {
        *job_identity.job_environment(),
        *(variable["name"] for variable in job_identity.pod_patch()["containers"][0]["env"]),
    }
    assert not {"AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_PROFILE"} & names, "they would win over AWS_PROFILE"
    assert "subPath" not in json.dumps(job_identity.pod_patch()), "a renewed token never arrives through a subPath"


@pytest.mark.parametrize(("concurrent", "expected"), [(1, 1), (2, 2), (4, 2), (8, 2), (12, 3), (40, 10), (1000, 250)])
def test_classes_with_many_concurrent_jobs_ask_for_several_at_once(concurrent: int, expected: int) -> None:
    assert request_concurrency(concurrent) == expected, (
        "3.1: with one, long polling delays jobs; never more than concurrent"
    )


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("eu-central-1", "222222222222.dkr.ecr.eu-central-1.amazonaws.com"),
        ("us-gov-west-1", "222222222222.dkr.ecr.us-gov-west-1.amazonaws.com"),
        ("cn-north-1", "222222222222.dkr.ecr.cn-north-1.amazonaws.com.cn"),
        ("eusc-de-east-1", "222222222222.dkr.ecr.eusc-de-east-1.amazonaws.eu"),
        ("us-iso-east-1", "222222222222.dkr.ecr.us-iso-east-1.c2s.ic.gov"),
    ],
)
def test_the_registry_s_host_is_that_of_the_partition(region: str, host: str) -> None:
    settings = parsed(raw_in(region), "prod")
    assert settings.names.registry_host(settings.platform_account.id) == host
    assert runner_image(settings.names, settings.platform_account.id).startswith(f"{host}/protected/runner:"), (
        "pinned, with a tag"
    )


def test_an_arm64_class_runs_on_arm64_nodes() -> None:
    settings = parsed(raw("dev", runners__small__arch="arm64"))
    kubernetes_section = tomllib.loads(config_toml(settings.runner_class("small")))["runners"][0]["kubernetes"]
    assert kubernetes_section["node_selector"]["kubernetes.io/arch"] == "arm64"
