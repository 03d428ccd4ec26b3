"""Known mistakes with the official chart and the executor, checked on the registered resources of both stacks.

Numbers are sections of the facts that the program was written from; other mistakes are in the tests of `config_toml`,
`helm_values`, `node_pool`, the order of deletion and unusual settings.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from components.documents import namespaces
from tests.support.class_settings import CLASSES
from tests.support.program import STACKS, mock_run, raw

if TYPE_CHECKING:
    from access.resource import Resource

RELEASE = "kubernetes:helm.sh/v3:Release"
EXECUTOR_TABLE = {
    *(("", "pods", verb) for verb in ("create", "delete", "get", "list", "watch")),
    *(("", f"pods/{sub}", verb) for sub in ("attach", "exec") for verb in ("create", "delete", "get", "patch")),
    *(("", "pods/log", verb) for verb in ("get", "list")),
    *(("", "secrets", verb) for verb in ("create", "delete", "get", "update")),
    ("", "serviceaccounts", "get"),
    *(("", "services", verb) for verb in ("create", "get")),
    *(("", "events", verb) for verb in ("list", "watch")),
}
"""https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions, without what only other settings need."""


def release(stack: str, runner_class: str) -> Resource:
    return mock_run(stack).get(RELEASE, f"{runner_class}-runner-release")


def values(stack: str, runner_class: str) -> dict[str, Any]:
    chart_values: dict[str, Any] = release(stack, runner_class).inputs["values"]
    return chart_values


def runner(stack: str, runner_class: str) -> dict[str, Any]:
    (section,) = tomllib.loads(values(stack, runner_class)["runners"]["config"])["runners"]
    return dict(section)


def objects_of_class(stack: str, runner_class: str, kind: str) -> list[Resource]:
    """Return the objects of a kind in both namespaces of a class."""
    resources = [resource for resource in mock_run(stack).resources if resource.type.rpartition(":")[2] == kind]
    return [
        resource
        for resource in resources
        if resource.inputs["metadata"]["namespace"] in {f"runner-{runner_class}", f"jobs-{runner_class}"}
    ]


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_registered_template_is_the_only_source_of_config_toml(stack: str, runner_class: str) -> None:
    runners = values(stack, runner_class)["runners"]
    assert "configOverride" not in runners, (
        "2.6: it would skip register, and with it concurrent, the token and everything"
    )
    assert "jobNamespace" not in runners, "2.4: it only reaches the default template; ours names the namespace itself"
    assert {"template", "cache"}.isdisjoint(runners), "2.4: static keys of a cache come by runners.cache.secretName"


def test_the_manager_has_the_permissions_that_the_executor_documents() -> None:
    rules = {
        (group, resource, verb)
        for rule in namespaces.EXECUTOR_RULES
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rules == EXECUTOR_TABLE, (
        "2.7: the chart's wildcard covers every secret; our budgets need no rights of the manager"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_only_the_manager_s_service_account_has_a_role_for_eks(stack: str, runner_class: str) -> None:
    accounts = {
        account.inputs["metadata"]["name"]: account.inputs
        for account in objects_of_class(stack, runner_class, "ServiceAccount")
    }
    assert set(accounts) == {"manager", "job"}, "2.7: the chart makes none for jobs, which would use `default`"
    arn = accounts["manager"]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"]
    assert arn.endswith(f"/runner-manager-{runner_class}{'' if stack == 'prod' else f'-{stack}'}"), "4: no other key"
    assert "annotations" not in accounts["job"]["metadata"], "a webhook would set variables that win over AWS_PROFILE"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_manager_s_pod_keeps_the_defaults_of_the_chart(stack: str, runner_class: str) -> None:
    chart_values = values(stack, runner_class)
    assert "automountServiceAccountToken" not in chart_values, (
        "2.8: the manager speaks to the API server with its token"
    )
    assert not isinstance(chart_values.get("image"), str), "2.8: image is a map; GitLab's page still shows text"
    assert "hpa" not in chart_values, "2.8: replicas would be left out"
    assert "sessionServer" not in chart_values, (
        "2.8: enabled, it creates a public load balancer; as null, it fails the rendering"
    )
    assert chart_values["securityContext"]["readOnlyRootFilesystem"] is False, (
        "7.5: a read-only root needs a volume at /tmp"
    )
    assert chart_values["podSecurityContext"]["runAsUser"] == 100, "2.8: the alpine image's user; ubuntu's is 999"
    assert all(isinstance(annotation, str) for annotation in chart_values["podAnnotations"].values()), (
        "2.8: annotations are text"
    )
    assert not any("{{" in annotation for annotation in chart_values["podAnnotations"].values()), (
        "2.8: they are not templated"
    )
    assert chart_values["resources"]["requests"]["memory"], "7.4: a manager killed hard leaves its jobs hanging"


@pytest.mark.parametrize("stack", STACKS)
def test_every_release_has_a_namespace_and_a_name_of_its_own(stack: str) -> None:
    releases = [release(stack, name).inputs for name in raw(stack)["runners"]]
    for key in ("namespace", "name"):
        assert len({inputs[key] for inputs in releases}) == len(releases), "2.8: a selector is only `app: <full name>`"
    for inputs in releases:
        assert inputs["values"]["fullnameOverride"] == inputs["name"], "9: explicit, so that accounts and names stay"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_keys_that_runner_versions_changed_are_in_their_current_form(stack: str, runner_class: str) -> None:
    kubernetes_section = runner(stack, runner_class)["kubernetes"]
    assert "terminationGracePeriodSeconds" not in kubernetes_section, (
        "3.2: gone since 17.0, though the documentation lists it"
    )
    assert kubernetes_section["pod_termination_grace_period_seconds"] == 30, "an evicted job's processes may clean up"
    assert kubernetes_section["cleanup_grace_period_seconds"] == 1, (
        "a finished pod counts against the quota until its grace is over"
    )
    assert kubernetes_section["pod_disruption_budget"] is False, "two budgets of one pod make every eviction fail"
    assert "helper_image_flavor" not in kubernetes_section, "3.2: it chooses among GitLab's own helper images"
    protected = raw(stack)["runners"][runner_class]["level"] == "protected"
    assert ("helper_image" in kubernetes_section) is protected, (
        "3.2: a pinned helper must be raised with the runner, so only protected classes pin it"
    )
    assert {key for key in kubernetes_section if key.startswith(("pod_cpu", "pod_memory"))} == set(), (
        "3.2: runners before 18.10 ignore them, and the pod would have no limits"
    )
    assert {"autoscaler", "namespace_per_job", "bearer_token_overwrite_allowed"}.isdisjoint(kubernetes_section), (
        "2.7: each needs permissions that the manager does not have"
    )
    (patch,) = kubernetes_section["pod_spec"]
    assert set(patch) == {"name", "patch_type", "patch"}, "3.2: `patch` or `patch_path`, not both"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_only_feature_flags_that_change_pods_or_tokens_are_set(stack: str, runner_class: str) -> None:
    assert runner(stack, runner_class)["feature_flags"] == {
        "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION": True,
        "FF_DISABLE_AUTOMATIC_TOKEN_ROTATION": True,
        "FF_USE_POD_ACTIVE_DEADLINE_SECONDS": True,
        "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR": False,
        "FF_CONCRETE": False,
        "FF_SUSPENDABLE_ENVIRONMENTS": False,
        "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY": False,
    }, (
        "3.3: the others are in development, empty the caches (FF_HASH_CACHE_KEYS), or go with the runner (FF_USE_FASTZIP)"
    )


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_the_cache_is_encrypted_by_the_settings_of_its_bucket(stack: str, runner_class: str) -> None:
    s3 = runner(stack, runner_class)["cache"]["s3"]
    assert set(s3) == {"BucketName", "BucketLocation", "AuthenticationType"}, (
        "4: a key named by alias would be copied into a session policy, where only an ARN works"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_no_node_is_removed_while_a_job_runs_on_it(stack: str) -> None:
    for resource in mock_run(stack).of_type("kubernetes:karpenter.sh/v1:NodePool"):
        spec = resource.inputs["spec"]
        assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty", "7.3: consolidation moves running pods"
        assert spec["disruption"]["consolidateAfter"] == "5m", "7.3: a pending pod's node counts as empty"
        template = spec["template"]["spec"]
        assert template["terminationGracePeriod"], "7.3: without it do-not-disrupt blocks a node's expiry for ever"
        assert template["expireAfter"] not in {"Never", ""}, "7.3: expiry is not held up by do-not-disrupt"
        spot = any(
            "spot" in requirement["values"]
            for requirement in template["requirements"]
            if requirement["key"] == "karpenter.sh/capacity-type"
        )
        settings = raw(stack)["runners"].get(resource.inputs["metadata"]["name"], {})
        assert spot == settings.get("spot", False), "7.4: managers never; a class where its settings say so"


@pytest.mark.parametrize("stack", STACKS)
def test_each_class_has_one_runner_one_token_and_one_release(stack: str) -> None:
    run, classes = mock_run(stack), set(raw(stack)["runners"])
    for token, ending in (
        ("gitlab:index/userRunner:UserRunner", "-object-1-runner"),
        ("kubernetes:core/v1:Secret", "-runner-token"),
        (RELEASE, "-runner-release"),
    ):
        counts = Counter(resource.name.removesuffix(ending) for resource in run.of_type(token))
        assert counts == Counter(classes), f"9: {token}: tags and access level are the runner's, so one for each class"
