"""Helm values of every class of both stacks: only keys that the chart reads and that a manager accepts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.documents import namespaces
from components.documents.helm_values import helm_values
from components.documents.namespaces import jobs_quota, namespace_labels
from config.quantities import parse_cpu, parse_memory
from tests.support.certificate import certificate
from tests.support.class_settings import CLASSES, settings_of
from tests.support.program import parsed, raw

READ = set(json.loads((Path(__file__).parents[2] / "data/chart-values.json").read_text())["read_by_templates"])
CONTAINERS = frozenset({"rbac", "runners", "runners.cache", "sessionServer", "hpa"})
"""Maps of which the templates use only the keys below."""
FORBIDDEN = ("tags", "locked", "protected", "runUntagged", "maximumTimeout", "cache", "configOverride", "configPath")


def unread(values: dict[str, Any], prefix: str = "") -> list[str]:
    unread_keys = []
    for key, value in values.items():
        path = f"{prefix}{key}"
        if path in READ - CONTAINERS:
            continue
        if isinstance(value, dict) and any(read_key.startswith(f"{path}.") for read_key in READ):
            unread_keys += unread(value, f"{path}.")
        else:
            unread_keys.append(path)
    return unread_keys


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_every_value_is_one_that_the_chart_reads(stack: str, runner_class: str) -> None:
    assert unread(helm_values(settings_of(stack).runner_class(runner_class))) == [], (
        "Helm ignores unknown values silently"
    )


def test_a_value_that_the_chart_does_not_read_is_recognised() -> None:
    assert unread({"runners": {"nonsense": 1}, "imaginary": 2}) == ["runners.nonsense", "imaginary"]


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_no_value_is_set_that_an_authentication_token_forbids(stack: str, runner_class: str) -> None:
    values = helm_values(settings_of(stack).runner_class(runner_class))
    assert not set(FORBIDDEN) & set(values["runners"]), "2.2: GitLab has these settings, and `register` fails with them"
    assert not {"runnerToken", "runnerRegistrationToken"} & set(values), "2.1: the token comes from a Secret of our own"
    text = yaml.safe_dump(values)
    assert "glrt-" not in text, "no token anywhere in values"
    assert "null" not in text, "2.8: whole maps set to null abort rendering"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_names_of_the_release_are_fixed(stack: str, runner_class: str) -> None:
    values = helm_values(settings_of(stack).runner_class(runner_class))
    assert values["fullnameOverride"] == f"gitlab-runner-{runner_class}", (
        "2.7: a random name would change with each release"
    )
    assert values["runners"]["name"] == settings_of(stack).names.tag(runner_class), (
        "2.5: name in the template has no effect"
    )
    assert values["runners"]["secret"] == "runner-token"
    assert values["gitlabUrl"] == "https://gitlab.com"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_permissions_and_service_accounts_are_not_part_of_the_release(stack: str, runner_class: str) -> None:
    values = helm_values(settings_of(stack).runner_class(runner_class))
    assert values["rbac"] == {"create": False}, "2.7: the chart's default rule is everything of the core group"
    assert values["serviceAccount"] == {"create": False, "name": "manager"}, (
        "7.4: an uninstall would take the rights of a manager that still drains"
    )


def test_the_manager_has_no_wildcard_permission() -> None:
    rules = {(r, v) for rule in namespaces.EXECUTOR_RULES for r in rule["resources"] for v in rule["verbs"]}
    assert not [rule_verb for rule_verb in rules if "*" in rule_verb], "2.7: the chart's own rule reads every Secret"
    assert {("events", "list"), ("serviceaccounts", "get"), ("pods", "watch"), ("pods/exec", "create")} <= rules
    assert ("secrets", "list") not in rules, "secrets hold the variables of other jobs"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_manager_outlives_its_longest_job_and_no_scaler_moves_it(stack: str, runner_class: str) -> None:
    settings = settings_of(stack)
    values, longest = helm_values(settings.runner_class(runner_class)), settings.runners[runner_class].longest_job
    assert values["terminationGracePeriodSeconds"] == longest + 600, "7.4: after SIGQUIT it waits for running jobs"
    assert "shutdown_timeout" not in values, "it bounds the forceful phase only"
    assert "deploymentLifecycle" not in values, "2.1: it would replace the hook that unregisters"
    assert values["unregisterRunners"] is True
    assert values["podAnnotations"]["karpenter.sh/do-not-disrupt"] == "true", "7.4: no manager adopts another's jobs"
    assert values["nodeSelector"] == {"runner-platform/class": "managers"}, "managers never run on spot"
    assert values["tolerations"][0]["value"] == "managers"
    assert values["resources"]["requests"], "2.8: the chart sets none"
    assert values["replicas"] == 1


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_liveness_probe_is_rare_and_metrics_are_on(stack: str, runner_class: str) -> None:
    values = helm_values(settings_of(stack).runner_class(runner_class))
    assert values["livenessProbe"]["periodSeconds"] >= 60, "7.5: a fleet would hit the rate limit"
    assert values["metrics"] == {"enabled": True}
    assert values["concurrent"] == raw(stack)["runners"][runner_class]["concurrent"], "2.3: a global key, so a value"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_manager_fits_pod_security_restricted(stack: str, runner_class: str) -> None:
    values = helm_values(settings_of(stack).runner_class(runner_class))
    container = values["securityContext"]
    assert container["runAsNonRoot"] is True
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert values["podSecurityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert values["podSecurityContext"]["fsGroup"] == 65533, "2.8: lets the manager read its token of AWS"


def test_only_a_private_authority_is_mounted() -> None:
    bundle = certificate("gitlab.example.com")
    settings = parsed(raw("dev", gitlab__url="https://gitlab.example.com", gitlab__ca_bundle=bundle))
    assert helm_values(settings.runner_class("small"))["certsSecretName"] == "gitlab-ca"
    assert "certsSecretName" not in helm_values(settings_of("dev").runner_class("small"))


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_namespaces_enforce_pod_security_and_warn(stack: str, runner_class: str) -> None:
    runner = settings_of(stack).runners[runner_class]
    for kind, enforced in (("manager", "restricted"), ("jobs", "baseline")):
        labels = namespace_labels(kind, runner_class, runner)
        assert labels["pod-security.kubernetes.io/enforce"] == enforced
        assert labels["pod-security.kubernetes.io/warn"] == "restricted"
        assert labels["runner-platform/class"] == runner_class


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_quota_holds_the_jobs_of_two_managers_and_those_still_ending(stack: str, runner_class: str) -> None:
    runner = settings_of(stack).runners[runner_class]
    hard = jobs_quota(runner)
    count = int(hard["pods"])
    assert count == 3 * runner.concurrent, "7.4: a rolled manager's jobs run on beside those of the new one"
    # The helper, and five services of each job.
    assert parse_cpu(hard["requests.cpu"]) == count * (runner.cpu + 600)
    assert parse_memory(hard["requests.memory"]) == count * (runner.memory + 6 * 256 * 2**20)
    assert hard["services.loadbalancers"] == "0", "a job publishes nothing"
