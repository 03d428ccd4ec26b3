"""The kubernetes stand-in's pure parts: kinds, names, differences, annotations, readiness, settings, options."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.providers.kubernetes import charts, cluster_access, differences, helm, manifest, waiting
from runner_platform_sandbox.providers.kubernetes.manifest import Kind
from runner_platform_sandbox.providers.kubernetes.provider import Kubernetes
from runner_platform_sandbox.providers.stand_in import InvalidInputsError, Naming, ProviderError, Target
from runner_platform_sandbox.providers.wire import UNKNOWN

SEED = Naming(seed=b"seed")
TEXT = (
    "apiVersion: v1\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a}}]\nclusters: [{name: a, cluster: "
)


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("kubernetes:core/v1:Namespace", Kind("v1", "Namespace")),
        ("kubernetes:apps/v1:Deployment", Kind("apps/v1", "Deployment")),
        ("kubernetes:rbac.authorization.k8s.io/v1:Role", Kind("rbac.authorization.k8s.io/v1", "Role")),
        ("kubernetes:karpenter.sh/v1:NodePool", Kind("karpenter.sh/v1", "NodePool")),
    ],
)
def test_tokens_name_kinds(token: str, kind: Kind) -> None:
    assert manifest.kind_of_token(token) == kind


@pytest.mark.parametrize("token", ["kubernetes:core/v1:NamespacePatch", "kubernetes:core/v1:PodList", "kubernetes:x:Y"])
def test_tokens_that_are_no_single_object_are_refused(token: str) -> None:
    with pytest.raises(ProviderError, match="kubernetes stand-in"):
        manifest.kind_of_token(token)


@pytest.mark.parametrize(
    ("kind", "namespaced"),
    [
        (Kind("v1", "Namespace"), False),
        (Kind("v1", "Pod"), True),
        (Kind("apps/v1", "Deployment"), True),
        (Kind("rbac.authorization.k8s.io/v1", "ClusterRole"), False),
        (Kind("rbac.authorization.k8s.io/v1", "Role"), True),
        (Kind("karpenter.sh/v1", "NodePool"), False),
        (Kind("eks.amazonaws.com/v1", "NodeClass"), False),
        (Kind("example.com/v1", "Thing"), None),
        (Kind("gateway.networking.k8s.io/v1", "GatewayClass"), None),
    ],
)
def test_the_scope_of_a_kind_is_known_without_a_cluster(kind: Kind, namespaced: bool | None) -> None:
    assert kind.namespaced is namespaced


@pytest.mark.parametrize(
    ("kind", "path", "replaces"),
    [
        (Kind("v1", "ConfigMap"), "data.a", True),
        (Kind("v1", "Secret"), "type", True),
        (Kind("v1", "Pod"), "spec.nodeName", True),
        (Kind("v1", "Pod"), "spec.tolerations[0].key", False),
        (Kind("batch/v1", "Job"), "spec.template.spec.containers[0].image", True),
        (Kind("batch/v1", "Job"), "spec.suspend", False),
        (Kind("apps/v1", "Deployment"), "spec.selectorless", False),
        (Kind("apps/v1", "Deployment"), "metadata.namespace", True),
        (Kind("example.com/v1", "Thing"), "spec.a", False),
        (Kind("example.com/v1", "Thing"), "metadata.name", True),
    ],
)
def test_fields_that_cannot_change(kind: Kind, path: str, replaces: bool) -> None:
    assert bool(manifest.replacing_paths(kind, [path], mutable=False)) is replaces


def test_mutable_data_changes_in_place_and_its_type_does_not() -> None:
    replaced = manifest.replacing_paths(Kind("v1", "Secret"), ["data.a", "stringData.b", "type"], mutable=True)
    assert replaced == ["type"]


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {}}, {}, []),
        ({"a": None}, {"a": []}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, ["a.b", "a.c"]),
        ({"a": [1, 2]}, {"a": [1, 3]}, ["a[1]"]),
        ({"a": [1]}, {"a": [1, 2]}, ["a"]),
        ({"a": UNKNOWN}, {"a": UNKNOWN}, ["a"]),
        ({"a": 0}, {}, ["a"]),
    ],
)
def test_differences_name_paths(old: Any, new: Any, paths: list[str]) -> None:
    assert differences.changed(old, new) == paths


def test_a_refresh_follows_maps_by_key_and_named_lists_by_name() -> None:
    inputs = {"spec": {"replicas": 1, "gone": True, "containers": [{"name": "b", "image": "x"}]}}
    live = {
        "status": {},
        "spec": {"replicas": 3, "default": 1, "containers": [{"name": "a"}, {"name": "b", "image": "y", "tty": True}]},
    }
    seen = differences.adopt_live(inputs, live)
    assert seen == {"spec": {"replicas": 3, "containers": [{"name": "a"}, {"name": "b", "image": "y"}]}}


def test_names_are_made_once_and_marked() -> None:
    first = manifest.with_name({}, {}, "settings", SEED)
    assert manifest.with_name({"labels": {"a": "b"}}, first, "settings", Naming(seed=b"other"))["name"] == first["name"]
    assert first["annotations"] == {"pulumi.com/autonamed": "true"}
    assert manifest.with_name({"name": "given"}, first, "settings", SEED) == {"name": "given"}
    assert manifest.with_name({}, {"name": "given"}, "x", Naming(seed=b"", proposed="p"))["name"] == "p"
    with pytest.raises(InvalidInputsError, match="autonaming is disabled"):
        manifest.with_name({}, {}, "x", Naming(seed=b"", disabled=True))


def test_ids_name_the_namespace_where_there_is_one() -> None:
    assert manifest.identifier({"metadata": {"name": "a"}}) == "a"
    assert manifest.parse_identifier(manifest.identifier({"metadata": {"name": "a", "namespace": "b"}})) == ("b", "a")


@pytest.mark.parametrize(
    ("expression", "met"),
    [
        ("condition=Ready", True),
        ("condition=Synced", False),
        ("condition=Synced=False", True),
        ("jsonpath={.status.phase}=Bound", True),
        ("jsonpath={.status.phase}=Lost", False),
        ("jsonpath={.status.items[1].name}=b", True),
        ("jsonpath={.status.nowhere}", False),
    ],
)
def test_wait_for_expressions_match_conditions_and_paths(expression: str, met: bool) -> None:
    conditions = [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]
    status = {"phase": "Bound", "items": [{"name": "a"}, {"name": "b"}], "conditions": conditions}
    metadata = {"annotations": {"pulumi.com/waitFor": expression}}
    thing = {"apiVersion": "v1", "kind": "Thing", "metadata": metadata, "status": status}
    assert waiting.verdict(thing).ready is met


def test_an_unknown_expression_in_wait_for_is_refused() -> None:
    with pytest.raises(ProviderError, match="condition=<type>"):
        manifest.wait_conditions({"metadata": {"annotations": {"pulumi.com/waitFor": '["condition=A", "eventually"]'}}})


def test_deletion_is_foreground_unless_the_object_says_otherwise() -> None:
    assert manifest.propagation({}) == "Foreground"
    note = {"metadata": {"annotations": {"pulumi.com/deletionPropagationPolicy": "orphan"}}}
    assert manifest.propagation(note) == "Orphan"
    note["metadata"]["annotations"]["pulumi.com/deletionPropagationPolicy"] = "sideways"
    with pytest.raises(ProviderError, match="use background, foreground or orphan"):
        manifest.propagation(note)


def live(kind: Kind, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": "x", "generation": 2},
        "spec": spec,
        "status": status,
    }


DEPLOYMENT, POD, JOB = Kind("apps/v1", "Deployment"), Kind("v1", "Pod"), Kind("batch/v1", "Job")
DONE = {"observedGeneration": 2, "updatedReplicas": 1, "availableReplicas": 1, "replicas": 1}
LATE = {"type": "Progressing", "reason": "ProgressDeadlineExceeded", "status": "False", "message": "late"}


@pytest.mark.parametrize(
    ("live_object", "ready", "failed"),
    [
        (live(DEPLOYMENT, DONE, replicas=1), True, False),
        (live(DEPLOYMENT, {**DONE, "observedGeneration": 1}, replicas=1), False, False),
        (live(DEPLOYMENT, {**DONE, "replicas": 2}, replicas=1), False, False),
        (live(DEPLOYMENT, {}, replicas=0, paused=True), True, False),
        (live(DEPLOYMENT, {**DONE, "conditions": [LATE]}, replicas=2), False, True),
        (live(POD, {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}), True, False),
        (live(POD, {"phase": "Pending"}), False, False),
        (live(POD, {"phase": "Failed", "message": "out of disk"}), False, True),
        (live(JOB, {"conditions": [{"type": "Complete", "status": "True"}]}), True, False),
        (live(JOB, {"conditions": [{"type": "Failed", "status": "True", "reason": "Backoff"}]}), False, True),
        (live(JOB, {}, suspend=True), True, False),
        (live(Kind("v1", "Namespace"), {"phase": "Active"}), True, False),
        (live(Kind("v1", "ServiceAccount"), {}), True, False),
        (live(Kind("karpenter.sh/v1", "NodePool"), {}), True, False),
        (
            live(Kind("karpenter.sh/v1", "NodePool"), {"conditions": [{"type": "Ready", "status": "False"}]}),
            False,
            False,
        ),
    ],
)
def test_an_object_is_ready_pending_or_failed(live_object: dict[str, Any], ready: bool, failed: bool) -> None:
    state = waiting.verdict(live_object)
    assert (state.ready, state.failed) == (ready, failed)


def kubeconfig(server: str) -> str:
    return f"{TEXT}{{server: {server}}}}}]\n"


@pytest.mark.parametrize(
    ("olds", "news", "replaces"),
    [
        ({"clusterIdentifier": "a"}, {"clusterIdentifier": "b"}, ["clusterIdentifier"]),
        ({"kubeconfig": kubeconfig("https://a")}, {"kubeconfig": kubeconfig("https://b")}, ["kubeconfig"]),
        ({"kubeconfig": kubeconfig("https://a")}, {"kubeconfig": kubeconfig("https://a") + "# x\n"}, []),
        (
            {"kubeconfig": kubeconfig("https://a"), "clusterIdentifier": "a"},
            {"kubeconfig": kubeconfig("https://b"), "clusterIdentifier": "a"},
            [],
        ),
        ({"namespace": "a"}, {"namespace": "a", "clusterIdentifier": "a"}, []),
    ],
)
def test_only_another_cluster_replaces_the_provider(
    olds: dict[str, Any], news: dict[str, Any], replaces: list[str]
) -> None:
    assert cluster_access.compare_settings(olds, news).replaces == replaces


def test_settings_that_are_not_modelled_or_not_known_are_refused() -> None:
    for config, why in (
        ({"renderYamlToDirectory": "x"}, "rendering to files is not modelled"),
        ({"enableServerSideApply": "false"}, "must not be false"),
        ({"kubeConfig": "x"}, "did you mean 'kubeconfig'"),
    ):
        with pytest.raises(InvalidInputsError, match=why):
            Kubernetes().check_config(config)
    assert Kubernetes().check_config({"kubeconfig": UNKNOWN, "clusterIdentifier": "a"})


def test_functions_are_refused_with_the_reason() -> None:
    with pytest.raises(ProviderError, match="kubernetes:yaml:decode is not modelled"):
        Kubernetes().invoke("kubernetes:yaml:decode", {})


@pytest.mark.parametrize(
    ("version", "runner"), [((77, 0), "18.0.0"), ((88, 2), "18.11.2"), ((89, 1), "19.0.1"), ((93, 0), "19.4.0")]
)
def test_chart_versions_map_to_runner_versions(version: tuple[int, int], runner: str) -> None:
    assert charts.app_version(*version) == runner


def test_inputs_of_a_release_become_arguments_of_helm(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"name": "a", "namespace": "b", "atomic": True, "createNamespace": True, "maxHistory": 3, "timeout": 9}
    for major, atomic in ((3, "--atomic"), (4, "--rollback-on-failure")):
        monkeypatch.setattr(helm, "major", lambda version=major: version)
        text = helm.install_arguments(charts.OWN_CHART, inputs, "owner")
        assert {atomic, "--wait", "--create-namespace"} <= set(text)
        assert text[text.index("--timeout") + 1] == "9s"
        assert text[text.index("--history-max") + 1] == "3"
    assert "--wait" not in helm.install_arguments(
        charts.OWN_CHART, {**inputs, "atomic": False, "skipAwait": True}, "owner"
    )
    assert helm.uninstall_arguments("a", "b", inputs, 30)[-2:] == ["30s", "--wait"]


def test_options_that_are_not_modelled_are_refused() -> None:
    assert [failure.path for failure in helm.unsupported_inputs({"postrender": "x", "atomic": True})] == ["postrender"]


@pytest.mark.parametrize(
    ("token", "inputs", "path"),
    [
        ("kubernetes:core/v1:Namespace", {"metadata": {"lables": {"a": "b"}}}, "metadata.lables"),
        (
            "kubernetes:apps/v1:Deployment",
            {"spec": {"selector": {}, "template": {"spec": {"containers": [{"name": "a", "imagee": "b"}]}}}},
            "spec.template.spec.containers[0].imagee",
        ),
        ("kubernetes:helm.sh/v3:Release", {"chart": "x", "repositoryOpts": {"repos": "y"}}, "repositoryOpts.repos"),
    ],
)
def test_misspelt_properties_are_found_at_any_depth_without_a_cluster(
    token: str, inputs: dict[str, Any], path: str
) -> None:
    provider = Kubernetes()
    provider.configure({"kubeconfig": kubeconfig("http://127.0.0.1:9")})
    target = Target(urn=f"urn:pulumi:dev::test::{token}::x", token=token, name="x")
    with pytest.raises(InvalidInputsError) as caught:
        provider.check(target, inputs, {}, SEED)
    assert [failure.path for failure in caught.value.failures] == [path]


def test_errors_of_helm_are_short_and_hold_no_token() -> None:
    text = "WARNING: old\nlevel=WARN msg=x\nError: bad values: glrt-abc_d.e-f here\n"
    assert helm._shortened(text) == "bad values: [hidden] here"
