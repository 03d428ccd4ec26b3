"""The tables of a release: whatever is not in them, in any spelling, is reported, and legitimate settings pass."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w

from access.resource import UNKNOWN
from components.documents.helm_values import helm_values
from components.documents.profiles import class_profiles
from config import load
from policies.fields import ABSENT
from policies.rule import evaluate_resource
from tests.support.case_names import case_name
from tests.support.certificate import certificate
from tests.support.policy_cases import (
    BY_ID,
    all_findings,
    assert_undecided,
    assert_violation,
    findings_on_stack,
    options_with,
    report,
    resource_named,
    run_with,
    stack_with,
    with_input,
    with_toml,
)
from tests.support.program import parsed, put, raw
from tests.support.release_changes import CHANGES, DEPLOY, SMALL

if TYPE_CHECKING:
    from tests.support.release_changes import ReleaseChange

DATA = load.ROOT / "tests" / "data"
AUTHORITY = certificate("gitlab.example.com")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: case_name(change.name))
def test_a_change_is_reported_by_exactly_the_rules_that_judge_its_key(change: ReleaseChange) -> None:
    resource = change.applied()
    of_stack = {rule for rule in change.rules if BY_ID[rule].of_stack is not None}
    assert set(all_findings(resource)) | of_stack == change.rules
    for rule in of_stack:
        assert findings_on_stack(rule, stack_with(resource)), f"{rule} reports nothing"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("values.gitlabUrl", 'values.gitlabUrl is "x", not "https://gitlab.com"'),
        ("values.hostAliases", "values.hostAliases is set; the platform sets no such key"),
        ("values.runners.secret", 'values.runners.secret is "x", not "runner-token"'),
        ("values.nodeSelector", 'values.nodeSelector is "x", not {"runner-platform/class": "managers"}'),
        ("values.resources", "values.resources is not an object"),
    ],
)
def test_a_finding_names_the_path_and_the_expected_value(path: str, message: str) -> None:
    assert report("R10", with_input(resource_named("prod", SMALL), path, "x")) == [f"VIOLATION: {message}"]


def test_a_finding_repeats_no_value_of_an_unlisted_key() -> None:
    release = with_input(resource_named("prod", SMALL), "values.runnerToken", "glrt-fabricated")
    release = with_toml(release, "token", "glrt-fabricated")
    assert "fabricated" not in " ".join(report("R10", release))


def leaves(value: Any, path: str) -> list[str]:
    """Return the paths of all leaves of a document."""
    if isinstance(value, dict) and value:
        return [leaf for key, member in value.items() for leaf in leaves(member, f"{path}.{key}")]
    return [path]


HARMLESS = {"values.podAnnotations.runner-platform/token-sha256", "compat"}
"""The path of the first holds a dot that is no separator, and the SDK writes `compat`."""


@pytest.mark.parametrize("name", [SMALL, DEPLOY])
def test_no_input_of_a_release_can_be_removed_or_changed_in_silence(name: str) -> None:
    release = resource_named("prod", name)
    paths = [path for key, value in release.inputs.items() for path in leaves(value, key) if "/" not in path]
    paths = [path for path in paths if "." not in path.partition("Annotations.")[2] and path not in HARMLESS]
    silent = [path for path in paths if not all_findings(with_input(release, path, {"other": 1}))]
    assert silent == [], "an object in place of any value is a finding"
    removed = [path for path in paths if not all_findings(with_input(release, path, ABSENT))]
    assert set(removed) <= {
        "values.rbac.create",
        "values.securityContext.privileged",
        "values.resources.requests.cpu",
    }, "the chart's own default is as safe"


REVIEWED = [
    ("values.logLevel", "warn"),
    ("values.resources.requests.cpu", "250m"),
    ("values.resources.limits.cpu", "1"),
    ("values.checkInterval", 10),
    ("values.replicas", 2),
    ("timeout", 1800),
    ("maxHistory", 10),
    ("skipCrds", False),
    ("valueYamlFiles", []),
    ("repositoryOpts", {"repo": "https://charts.gitlab.io", "caFile": "", "keyFile": "", "username": ""}),
    ("resourceNames", {"ConfigMap/v1": ["x"]}),
    ("checksum", "0"),
    ("description", "x"),
]


@pytest.mark.parametrize(("path", "value"), REVIEWED)
def test_a_harmless_value_passes(path: str, value: Any) -> None:
    assert all_findings(with_input(resource_named("prod", SMALL), path, value)) == {}


@pytest.mark.parametrize(
    ("path", "value"),
    [("limit", 20), ("kubernetes.cpu_limit", "2"), ("kubernetes.poll_timeout", 900), ("kubernetes.cap_drop", ["ALL"])],
)
def test_a_harmless_setting_of_the_runner_passes(path: str, value: Any) -> None:
    assert all_findings(with_toml(resource_named("prod", SMALL), path, value)) == {}


def test_a_reviewed_key_is_an_option() -> None:
    release = with_input(resource_named("prod", SMALL), "values.priorityClassName", "x")
    assert_violation("R10", release, "values.priorityClassName is set")
    assert report("R10", release, keys=["values.priorityClassName"]) == []
    release = with_toml(resource_named("prod", SMALL), "kubernetes.runtime_class_name", "gvisor")
    assert report("R10", release, keys=["values.runners.config [[runners]].kubernetes.runtime_class_name"]) == []


def test_an_unknown_value_is_undecided_except_the_hash_of_the_token() -> None:
    release = resource_named("prod", SMALL)
    assert_undecided("R10", with_input(release, "values.gitlabUrl", UNKNOWN), "values.gitlabUrl")
    assert_undecided("R10", with_input(release, "values.resources", UNKNOWN), "values.resources")
    unknown_hash = with_input(
        release,
        "values.podAnnotations",
        {**release.inputs["values"]["podAnnotations"], "runner-platform/token-sha256": UNKNOWN},
    )
    assert report("R10", unknown_hash) == []


def keys_of(structure: dict[str, Any], path: str = "") -> list[str]:
    """Return the paths of all keys that `config.toml` may hold, without the names in maps."""
    return [
        key
        for name, entry in structure.items()
        for key in (keys_of(entry["keys"], f"{path}{name}.") if entry.get("keys") else [f"{path}{name}"])
    ]


def set_in_toml(path: str, value: Any) -> bool:
    """Return whether the pack reports a key of `[[runners]]` with a value."""
    release = resource_named("prod", SMALL)
    document = tomllib.loads(release.inputs["values"]["runners"]["config"])
    table = document["runners"][0]
    *tables, last = path.split(".")
    for name in tables:
        table = table.setdefault(name, {}) if isinstance(table, dict) else {}
    if isinstance(table, dict):
        table[last] = value
    return bool(all_findings(with_input(release, "values.runners.config", tomli_w.dumps(document))))


BOUNDED_KEYS = {
    *("limit", "output_limit", "request_concurrency", "cache.Shared"),
    *("kubernetes.poll_interval", "kubernetes.print_pod_warning_events"),
    *("kubernetes.cleanup_grace_period_seconds", "kubernetes.pod_termination_grace_period_seconds"),
    *(
        f"kubernetes.pod_security_context.{key}"
        for key in ("run_as_non_root", "run_as_user", "run_as_group", "fs_group")
    ),
    *("kubernetes.allowed_images", "kubernetes.allowed_services"),
}
"""Keys whose range holds one of the tried values; an open class may list its images."""
JUDGED_ELSEWHERE = ("cache.Path", "cache.s3.BucketName", "kubernetes.pod_spec.")
"""Keys of S02, which looks at the whole stack, and those of the members of a list."""
BOUNDED_VALUES = {
    *("checkInterval", "terminationGracePeriodSeconds", "metrics.enabled", "unregisterRunners", "probeTimeoutSeconds"),
    *("livenessProbe.initialDelaySeconds", "livenessProbe.periodSeconds", "podSecurityContext.runAsUser"),
    *("podSecurityContext.fsGroup", "securityContext.readOnlyRootFilesystem"),
}
OF_EACH_TYPE: list[Any] = [True, 7, "x", ["x"], {"x": "y"}]


@pytest.mark.thorough
@pytest.mark.parametrize("value", OF_EACH_TYPE, ids=repr)
def test_no_key_of_the_runner_can_be_set_in_silence(value: Any) -> None:
    keys = keys_of(json.loads((DATA / "runner-config-keys.json").read_text())["config"]["runners"]["keys"])
    assert len(keys) > 300, "the structure of the runner has been read"
    silent = {key for key in keys if not set_in_toml(key, value)}
    assert {key for key in silent if not key.startswith(JUDGED_ELSEWHERE)} <= BOUNDED_KEYS


@pytest.mark.thorough
@pytest.mark.parametrize("value", OF_EACH_TYPE, ids=repr)
def test_no_value_of_the_chart_can_be_set_in_silence(value: Any) -> None:
    names = json.loads((DATA / "chart-values.json").read_text())["read_by_templates"]
    release = resource_named("prod", SMALL)
    assert {name for name in names if not all_findings(with_input(release, f"values.{name}", value))} <= BOUNDED_VALUES


LEGITIMATE = {
    "gitlab": {"url": "https://gitlab.example.com:8443", "runners": "external", "ca_bundle": AUTHORITY},
    "chart": {"repository": "oci://registry.example.com/charts", "version": "0.93.0"},
    "organization.region": "us-east-1",
    "runners.small.concurrent": 1,
    "runners.medium.concurrent": 1000,
    "runners.medium.longest_job": "24h",
    "runners.small.longest_job": "10m",
    "runners.big.arch": "arm64",
    "runners.big.pod_security": "restricted",
    "runners.small.tag": "docker",
    "runners.small.cpu": "1500m",
    "runners.new": {"level": "protected", "project": "9", "cpu": "1", "memory": "2Gi", "disk": "10Gi", "concurrent": 3, "longest_job": "1h"},
}  # fmt: skip


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_class_of_legitimate_settings_passes(stack: str) -> None:
    values = raw(stack)
    for path, value in LEGITIMATE.items():
        put(values, path, value)
    settings = parsed(values, stack)
    run = run_with(stack, values)
    for name in settings.runners:
        runner_class = settings.runner_class(name)
        inputs = {"namespace": f"runner-{name}", "values": helm_values(runner_class)}
        release = replace(resource_named(stack, SMALL), inputs={**resource_named(stack, SMALL).inputs, **inputs})
        release.inputs["values"]["podAnnotations"]["runner-platform/token-sha256"] = "0" * 64
        release = with_input(release, "name", f"gitlab-runner-{name}")
        for rule in ("R01", "R02", "R03", "R04", "R05", "R09", "R10"):
            assert evaluate_resource(BY_ID[rule], release, run, options_with(BY_ID[rule], {})) == []
        metadata = {"name": "aws-config", "namespace": f"jobs-{name}"}
        config = {"metadata": metadata, "data": {"config": class_profiles(runner_class)}}
        config_map = replace(resource_named(stack, "small-runner-aws-config"), inputs=config)
        assert evaluate_resource(BY_ID["T13"], config_map, run, {}) == []
