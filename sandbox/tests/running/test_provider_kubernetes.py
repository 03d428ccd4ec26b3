"""The kubernetes provider against a real API server: the life of objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.kubernetes.errors import NotFoundError
from runner_platform_sandbox.providers.stand_in import InvalidInputsError, ProviderError
from runner_platform_sandbox.providers.wire import UNKNOWN, Secret
from sandbox.tests.support.provider_driver import Driver
from sandbox.tests.support.provider_kubernetes_cases import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    changed,
    cluster,
    config_map,
    deployment,
    home,
    message,
    plugin,
    stack,
)
from tests.support.waiting import until

if TYPE_CHECKING:
    from runner_platform_sandbox.kubernetes.cluster import Cluster

pytestmark = pytest.mark.sandbox

__all__ = ["cluster", "plugin", "stack"]  # fixtures


def test_a_second_up_changes_no_kind_of_object(stack: Driver) -> None:
    things: list[tuple[str, dict[str, Any]]] = [
        (CONFIG_MAP, config_map(stack)),
        (SECRET, {"metadata": {"namespace": home(stack)}, "stringData": {"token": "x"}}),
        (SERVICE_ACCOUNT, {"metadata": {"namespace": home(stack), "name": "job"}}),
        (QUOTA, {"metadata": {"namespace": home(stack)}, "spec": {"hard": {"pods": "1e1"}}}),
        (DEPLOYMENT, deployment(stack)),
    ]
    for at, (token, inputs) in enumerate(things):
        stack.up(token, f"thing{at}", inputs)
    for refreshed in (False, True):
        for at, (token, inputs) in enumerate(things):
            if refreshed:
                stack.refresh(token, f"thing{at}")
            diff = stack.up(token, f"thing{at}", inputs)
            assert diff is not None
            assert diff.changes == [], f"{token}, refreshed: {refreshed}"


def test_outputs_are_the_live_object_without_field_ownership(stack: Driver) -> None:
    outputs = stack.states["home"].outputs
    assert outputs["status"] == {"phase": "Active"}
    assert outputs["metadata"]["uid"]
    assert "managedFields" not in outputs["metadata"]


def test_a_name_is_made_once_and_kept(stack: Driver) -> None:
    stack.up(CONFIG_MAP, "settings", {"metadata": {"namespace": home(stack)}, "data": {"a": "1"}})
    first = stack.states["settings"].id
    assert first.startswith(f"{home(stack)}/settings-")
    labelled = {"metadata": {"namespace": home(stack), "labels": {"b": "2"}}, "data": {"a": "1"}}
    diff = stack.up(CONFIG_MAP, "settings", labelled)
    assert diff is not None
    assert diff.replaces == []
    assert stack.states["settings"].id == first


def test_an_update_in_place_keeps_the_object(stack: Driver) -> None:
    stack.up(DEPLOYMENT, "x", deployment(stack))
    uid = stack.states["x"].outputs["metadata"]["uid"]
    more = changed(deployment(stack), "spec.replicas", 2)
    diff, planned = stack.preview(DEPLOYMENT, "x", more)
    assert diff is not None
    assert (diff.changes, planned["spec"]["replicas"]) == (["spec.replicas"], 2)
    stack.up(DEPLOYMENT, "x", more)
    outputs = stack.states["x"].outputs
    assert (outputs["metadata"]["uid"], outputs["spec"]["replicas"]) == (uid, 2)

    def available() -> bool:
        # The plugin may return with the second replica on its way: `Progressing` is still true from the first rollout.
        stack.refresh(DEPLOYMENT, "x")
        return bool(stack.states["x"].outputs["status"]["availableReplicas"] == 2)

    until(available, "the second replica")


def test_a_field_that_leaves_the_program_leaves_the_object(stack: Driver, cluster: Cluster) -> None:
    inputs = {"metadata": {"namespace": home(stack), "name": "job", "labels": {"a": "1", "b": "2"}}}
    stack.up(SERVICE_ACCOUNT, "job", inputs)
    stack.up(SERVICE_ACCOUNT, "job", {"metadata": {"namespace": home(stack), "name": "job", "labels": {"a": "1"}}})
    assert cluster.client.get("v1", "ServiceAccount", "job", home(stack))["metadata"]["labels"] == {"a": "1"}


@pytest.mark.parametrize("path", ["spec.selector.matchLabels.app", "metadata.name"])
def test_a_changed_immutable_property_replaces_the_resource(stack: Driver, path: str) -> None:
    inputs = deployment(stack)
    stack.up(DEPLOYMENT, "x", inputs)
    uid = stack.states["x"].outputs["metadata"]["uid"]
    changed_inputs = changed(inputs, path, "y")
    if path.startswith("spec"):
        changed_inputs = changed(changed_inputs, "spec.template.metadata.labels.app", "y")
    diff = stack.up(DEPLOYMENT, "x", changed_inputs)
    assert diff is not None
    assert diff.replaces
    assert diff.delete_before_replace == path.startswith("spec"), "two objects of one name cannot be there together"
    assert stack.states["x"].outputs["metadata"]["uid"] != uid


def test_a_preview_plans_the_replacement_that_an_immutable_field_needs(stack: Driver) -> None:
    inputs = deployment(stack)
    stack.up(DEPLOYMENT, "x", inputs)
    labelled = changed(inputs, "spec.template.metadata.labels.app", "y")
    diff, planned = stack.preview(DEPLOYMENT, "x", changed(labelled, "spec.selector.matchLabels.app", "y"))
    assert diff is not None
    assert diff.replaces
    assert planned["spec"]["selector"]["matchLabels"] == {"app": "y"}


def test_the_api_server_names_immutable_fields_of_custom_kinds(stack: Driver) -> None:
    inputs = {"metadata": {"namespace": home(stack)}, "immutable": True, "data": {"a": "MQ=="}}
    stack.provider = stack.start(enableSecretMutable=True)
    stack.up(SECRET, "token", inputs)
    diff = stack.up(SECRET, "token", changed(inputs, "data.a", "Mg=="))
    assert diff is not None
    assert diff.replaces, "an immutable Secret can only be replaced, also where the provider allows changes in place"


def test_a_secret_is_replaced_unless_the_provider_lets_it_change(stack: Driver) -> None:
    inputs = {"metadata": {"namespace": home(stack), "name": "token"}, "stringData": {"token": "1"}}
    stack.up(SECRET, "token", inputs)
    diff, _ = stack.preview(SECRET, "token", changed(inputs, "stringData.token", "2"))
    assert diff is not None
    assert diff.replaces
    stack.provider = stack.start(enableSecretMutable=True)
    diff = stack.up(SECRET, "token", changed(inputs, "stringData.token", "2"))
    assert diff is not None
    assert ([path.rpartition(".")[2] for path in diff.changes], diff.replaces) == (["token"], [])


def test_the_data_of_a_secret_is_marked(stack: Driver) -> None:
    inputs = {"metadata": {"namespace": home(stack), "name": "token"}, "stringData": {"token": "x"}}
    stack.up(SECRET, "token", inputs)
    existing = stack.import_(SECRET, "again", f"{home(stack)}/token")
    assert existing is not None
    assert isinstance(existing.outputs["data"], Secret)
    assert isinstance(existing.inputs["data"], Secret)


def test_a_refresh_finds_what_somebody_changed(stack: Driver, cluster: Cluster) -> None:
    stack.up(DEPLOYMENT, "x", deployment(stack))
    cluster.client.patch("apps/v1", "Deployment", "x", home(stack), {"spec": {"replicas": 3}})
    stack.refresh(DEPLOYMENT, "x")
    assert stack.states["x"].inputs["spec"]["replicas"] == 3, "the drift is in the state, for the next diff"


def test_an_object_deleted_outside_the_program_leaves_the_state_at_a_refresh(stack: Driver, cluster: Cluster) -> None:
    stack.up(CONFIG_MAP, "settings", config_map(stack))
    cluster.client.delete("v1", "ConfigMap", "settings", home(stack))
    assert stack.refresh(CONFIG_MAP, "settings") is None


def test_fields_of_others_are_not_overwritten_and_the_owner_is_named(stack: Driver, cluster: Cluster) -> None:
    stack.up(DEPLOYMENT, "x", deployment(stack))
    body = {"apiVersion": "apps/v1", "kind": "Deployment", **changed(deployment(stack), "spec.replicas", 2)}
    cluster.client.apply(body, force=True, field_manager="an-autoscaler")
    stack.refresh(DEPLOYMENT, "x")
    assert stack.states["x"].inputs["spec"]["replicas"] == 2, "a refresh changes nothing, so nothing is in its way"
    more = changed(deployment(stack), "spec.replicas", 4)
    conflict = message(
        stack, stand_in=r"spec\.replicas.*an-autoscaler.*patchForce", plugin=r"an-autoscaler.*spec\.replicas"
    )
    with pytest.raises(ProviderError, match=conflict):
        stack.up(DEPLOYMENT, "x", more)
    forced = changed(more, "metadata.annotations", {"pulumi.com/patchForce": "true"})
    stack.up(DEPLOYMENT, "x", forced)
    assert stack.states["x"].outputs["spec"]["replicas"] == 4


def test_an_object_of_another_manager_is_not_taken_over(stack: Driver, cluster: Cluster) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", **config_map(stack)}
    cluster.client.apply(body, field_manager="a-person")
    for way in (stack.preview, stack.up):
        with pytest.raises(ProviderError, match=r"exists already and belongs to a-person; import it"):
            way(CONFIG_MAP, "settings", config_map(stack))
    upserting = Driver(stack.start(upsertExistingObjects=True, enablePatchForce=True))
    upserting.up(CONFIG_MAP, "settings", config_map(stack))


def test_an_object_of_an_interrupted_run_is_taken_over(stack: Driver) -> None:
    stack.up(CONFIG_MAP, "settings", config_map(stack))
    uid = stack.states["settings"].outputs["metadata"]["uid"]
    del stack.states["settings"]  # the engine was killed before it could write its state
    stack.up(CONFIG_MAP, "settings", config_map(stack))
    assert stack.states["settings"].outputs["metadata"]["uid"] == uid


def test_an_imported_object_is_managed_without_a_change(stack: Driver, cluster: Cluster) -> None:
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": home(stack), "name": "job"}}
    cluster.client.apply(body, field_manager="a-person")
    assert stack.import_(SERVICE_ACCOUNT, "job", f"{home(stack)}/job") is not None
    diff = stack.up(SERVICE_ACCOUNT, "job", {"metadata": {"namespace": home(stack), "name": "job"}})
    assert diff is not None
    assert diff.changes == []


def test_a_preview_of_a_new_object_returns_the_inputs(stack: Driver) -> None:
    inputs = {"metadata": {"namespace": "not-yet", "name": "x"}, "data": {"a": "1"}}
    assert stack.preview(CONFIG_MAP, "x", inputs)[1]["data"] == {"a": "1"}
    unknown = {"metadata": {"namespace": UNKNOWN, "name": "x"}, "data": {"a": UNKNOWN}}
    assert stack.preview(CONFIG_MAP, "y", unknown)[1]["data"]["a"] is UNKNOWN
    custom = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, "spec": {"a": 1}}
    assert stack.preview("kubernetes:example.com/v1:Thing", "z", custom)[1]["spec"] == {"a": 1}


def test_a_preview_changes_nothing_and_shows_defaults(stack: Driver, cluster: Cluster) -> None:
    _, planned = stack.preview(DEPLOYMENT, "x", deployment(stack))
    assert planned["spec"]["progressDeadlineSeconds"] == 600, "the API server itself has answered"
    assert "status" not in planned
    with pytest.raises(NotFoundError):
        cluster.client.get("apps/v1", "Deployment", "x", home(stack))


def test_a_preview_reports_what_the_api_server_would_refuse(stack: Driver) -> None:
    bad = changed(deployment(stack), "spec.template.metadata.labels", {"app": "other"})
    refusal = message(stack, stand_in="Deployment .*/x would be refused.*selector", plugin="x.* is invalid: .*selector")
    with pytest.raises(ProviderError, match=refusal):
        stack.preview(DEPLOYMENT, "x", bad)


def test_a_misspelt_property_is_refused_by_the_sdk_s_types(stack: Driver) -> None:
    with pytest.raises(InvalidInputsError, match=r"spec\.replica is not a property.*replicas"):
        stack.up(DEPLOYMENT, "x", changed(deployment(stack), "spec.replica", 1))


def test_a_namespaced_name_on_a_cluster_wide_kind_is_refused(stack: Driver) -> None:
    with pytest.raises(InvalidInputsError, match=r"metadata\.namespace must not be set"):
        stack.up(NAMESPACE, "x", {"metadata": {"name": "x", "namespace": "y"}})
