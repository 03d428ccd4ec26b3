"""Order of creation, and the reverse order of deletion, in both stacks.

The engine deletes in the reverse order of dependencies and parents, so each test follows recorded dependencies.
"""

from __future__ import annotations

from functools import cache, reduce
from itertools import pairwise
from operator import or_
from typing import TYPE_CHECKING

import pytest

from components.documents.disruption import disruption
from config import foundation, load
from config.quantities import parse_duration
from tests.support.program import STACKS, mock_run, mock_run_of, one_class, raw

if TYPE_CHECKING:
    from runner_platform.check.mock_run import MockRun


@cache
def needs(stack: str) -> dict[str, frozenset[str]]:
    """Return the direct and indirect dependencies of each resource, by logical name.

    A resource also depends on its provider and on the resource of `deleted_with`, with their dependencies.
    """
    return closure(mock_run(stack))


def closure(run: MockRun) -> dict[str, frozenset[str]]:
    direct: dict[str, set[str]] = {}
    for resource in run.resources:
        providers_and_owners = filter(None, [resource.provider, resource.deleted_with])
        direct.setdefault(resource.urn, set()).update(resource.depends_on, providers_and_owners)
    bits = {
        urn: 1 << place for place, urn in enumerate({*direct, *(needed for urns in direct.values() for needed in urns)})
    }
    reached: dict[str, int] = {}

    def of(urn: str) -> int:  # a set as the bits of one number, since unions of numbers are fast
        if urn not in reached:
            reached[urn] = 0  # there are no cycles
            reached[urn] = reduce(or_, (bits[needed] | of(needed) for needed in direct.get(urn, set())), 0)
        return reached[urn]

    names = {bit: urn.rpartition("::")[2] for urn, bit in bits.items()}
    return {names[bits[urn]]: frozenset(name for bit, name in names.items() if of(urn) & bit) for urn in direct}


def assert_waits(stack: str, later: str, *earlier: str) -> None:
    missing = set(earlier) - needs(stack)[later]
    assert not missing, f"{later} does not wait for {missing}: they could be deleted while {later} still needs them"


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("late", ["cluster-cluster", "managers-class", "small-nodes-class", "small-nodes-pool"])
def test_routes_gateways_and_endpoints_outlive_cluster_and_nodes(stack: str, late: str) -> None:
    zones = raw(stack)["network"]["zones"]
    nats = 1 if raw(stack)["network"]["nat"] == "single" else zones
    network = [f"network-private-{zone}-default" for zone in range(zones)]
    network += [f"network-private-{zone}-0-association" for zone in range(zones)]
    network += [f"network-nat-{number}" for number in range(nats)]
    assert_waits(
        stack, late, *network, "network-s3", "network-public-default", "network-vpc", "network-internet-gateway"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_the_cluster_waits_for_its_log_group_key_and_roles(stack: str) -> None:
    assert_waits(
        stack,
        "cluster-cluster",
        *("cluster-logs", "cluster-key", "cluster-alias", "cluster-roles-cluster", "cluster-roles-cluster-tagging"),
        *("cluster-roles-cluster-amazoneksclusterpolicy", "cluster-roles-cluster-amazonekscomputepolicy"),
        "cluster-roles-node-amazoneksworkernodeminimalpolicy",
    )


@pytest.mark.parametrize("stack", STACKS)
def test_objects_of_the_cluster_wait_for_the_access_of_the_deployer(stack: str) -> None:
    inside = [resource for resource in mock_run(stack).resources if resource.type.startswith("kubernetes:")]
    assert inside, "the program makes objects in the cluster"
    for kubernetes_object in inside:
        assert_waits(
            stack,
            kubernetes_object.name,
            "cluster-access-deployer",
            "cluster-access-deployer-policy",
            "cluster-kubernetes",
        )


@pytest.mark.parametrize("stack", STACKS)
def test_nodes_wait_for_their_access_entry_and_their_network_policies(stack: str) -> None:
    for pool in ("managers", *(f"{name}-nodes" for name in raw(stack)["runners"])):
        assert_waits(stack, f"{pool}-class", "cluster-access-nodes-policy", "cluster-network-policies")
        assert_waits(stack, f"{pool}-pool", f"{pool}-class", "cluster-access-nodes-policy")


@pytest.mark.parametrize("stack", STACKS)
def test_a_class_is_deleted_in_the_order_release_namespaces_nodes(stack: str) -> None:
    for name in raw(stack)["runners"]:
        contents = [
            resource.name
            for resource in mock_run(stack).resources
            if resource.name.startswith(f"{name}-runner-") and resource.type.startswith("kubernetes:")
        ]
        outer = ("-release", "-manager", "-jobs", "-admission-policy", "-admission-binding")
        inner = {content for content in contents if not content.endswith(outer)}
        assert len(inner) >= 9, f"{inner}: accounts, rights, policies, quota, config and token"
        assert_waits(stack, f"{name}-runner-release", *inner, f"{name}-object-1-runner")
        assert_waits(
            stack, f"{name}-runner-jobs", f"{name}-runner-admission-policy", f"{name}-runner-admission-binding"
        )
        for namespace in (f"{name}-runner-manager", f"{name}-runner-jobs"):
            assert_waits(
                stack, namespace, f"{name}-nodes-pool", f"{name}-nodes-class", "managers-pool", "managers-class"
            )
        for content in inner:
            assert {f"{name}-runner-manager", f"{name}-runner-jobs"} & needs(stack)[content], (
                f"{content} is in a namespace"
            )


@pytest.mark.parametrize("stack", STACKS)
def test_dependencies_of_a_running_job_outlive_its_manager(stack: str) -> None:
    resources = [resource for resource in mock_run(stack).resources if resource.custom]
    roles = [resource.name for resource in resources if resource.name.startswith("delegated-")]
    for name in raw(stack)["runners"]:
        own = [f"{name}-identity-{part}" for part in ("job", "manager", "manager-cache")]
        reached = [f"{name}-identity-job-delegated-roles"] if raw(stack)["runners"][name].get("accounts") != [] else []
        # 7.4: an uninstall returns while the manager still drains; the deletion of its namespace waits for its pod.
        assert_waits(stack, f"{name}-runner-manager", *own, *reached, *roles, f"{name}-object-1-runner")
        assert_waits(stack, f"{name}-runner-manager", f"{name}-runner-jobs", "cache-bucket", "cache-key")


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("manager", {"manager-account", "manager-network", "token"}),
        ("jobs", {"job-account", "executor", "executor-binding", "jobs-network", "quota", "budget", "aws-config"}),
    ],
)
def test_objects_in_a_namespace_are_deleted_with_it(stack: str, kind: str, expected: set[str]) -> None:
    resources = mock_run(stack).resources
    for name in raw(stack)["runners"]:
        (namespace,) = [resource for resource in resources if resource.name == f"{name}-runner-{kind}"]
        where = namespace.inputs["metadata"]["name"]
        inside = [resource for resource in resources if resource.inputs.get("metadata", {}).get("namespace") == where]
        assert {resource.name.removeprefix(f"{name}-runner-") for resource in inside} == expected
        for resource in inside:
            assert resource.deleted_with == namespace.urn, (
                f"7.4: without {resource.name} a draining manager cannot end its jobs"
            )


@pytest.mark.parametrize("stack", [*STACKS, foundation.STACK])
def test_a_destroy_deletes_the_guard_first(stack: str) -> None:
    (guard,) = mock_run(stack).of_type("runnerplatform:index:Guard")
    assert guard.protect is raw(stack)["platform"]["protect"], (
        "the settings decide its protection; the guard is in the program always"
    )
    guarded = {
        resource.name for resource in mock_run(stack).resources if resource.custom and "providers" not in resource.type
    }
    assert guarded <= needs(stack)["guard"], (
        f"{guarded - needs(stack)['guard']} would be deleted before the guard refuses"
    )


@pytest.mark.parametrize("stack", STACKS)
def test_a_manager_waits_for_the_permissions_of_its_role(stack: str) -> None:
    for name in raw(stack)["runners"]:
        assert_waits(
            stack, f"{name}-runner-manager-account", f"{name}-identity-manager", f"{name}-identity-manager-cache"
        )


@pytest.mark.parametrize("stack", STACKS)
def test_deletion_waits_longer_than_the_nodes_grace(stack: str) -> None:
    run = mock_run(stack)
    for name, runner in raw(stack)["runners"].items():
        times = disruption(parse_duration(runner["longest_job"]))
        for late in ("nodes-class", "nodes-pool", "runner-manager", "runner-jobs", "runner-release"):
            (resource,) = [resource for resource in run.resources if resource.name == f"{name}-{late}"]
            assert resource.delete_timeout == f"{times.delete_timeout}s", (
                f"{resource.name} would time out while jobs run"
            )
            assert times.delete_timeout > times.node_grace
    longest = max(parse_duration(runner_settings["longest_job"]) for runner_settings in raw(stack)["runners"].values())
    (managers,) = [resource for resource in run.resources if resource.name == "managers-pool"]
    assert parse_duration(managers.delete_timeout) > disruption(longest).node_grace


@pytest.mark.parametrize("stack", [*STACKS, foundation.STACK])
def test_a_failed_deletion_does_not_keep_the_engine_busy_for_minutes(stack: str) -> None:
    """Count the visits of the engine, which walks every path of dependencies after a failed deletion."""
    resources = {resource.urn: resource for resource in mock_run(stack).resources}

    @cache
    def visits(urn: str) -> int:
        if urn not in resources:
            return 1
        below = [resources[urn].provider, *resources[urn].depends_on, resources[urn].deleted_with]
        return 1 + sum(visits(dependency) for dependency in below if dependency)

    counts = {resource.name: visits(urn) for urn, resource in resources.items()}
    most = max(counts, key=lambda name: counts[name])
    assert counts[most] < 10**7, (
        f"{most}: {counts[most]:,} visits of about a microsecond; let fewer resources wait for a whole component"
    )


def test_node_objects_are_deleted_in_the_foreground() -> None:
    for resource in mock_run("dev").resources:
        if resource.type.startswith(("kubernetes:karpenter.sh", "kubernetes:eks.amazonaws.com")):
            assert resource.inputs["metadata"]["annotations"] == {
                "pulumi.com/deletionPropagationPolicy": "foreground"
            }, "the pool is deleted after its last node"


@cache
def rotated() -> MockRun:
    """Run dev with the class `small` in its third token generation."""
    return mock_run_of("dev", one_class(runners__small__token=3))


def test_a_rotation_pauses_the_previous_generation_after_the_manager_moved_on() -> None:
    run = rotated()
    runners = {resource.name: resource for resource in run.of_type("gitlab:index/userRunner:UserRunner")}
    assert set(runners) == {"small-object-3-runner", "small-object-2-runner"}, "generation 1 is deleted"
    current, previous = runners["small-object-3-runner"], runners["small-object-2-runner"]
    assert (current.inputs["paused"], previous.inputs["paused"]) == (False, True)
    waits = closure(run)
    assert "small-runner-release" in waits["small-object-2-runner"], (
        "paused before the manager moved on, it would refuse jobs"
    )
    assert "small-object-3-runner" in waits["small-runner-release"], "the release carries the new token"
    assert "small-object-2-runner" not in waits["small-runner-release"], "destroy removes the runner after its release"


def test_the_previous_generation_is_the_same_resource_as_before() -> None:
    def urn(run: MockRun, name: str) -> str:
        return next(resource.urn for resource in run.resources if resource.name == name)

    first, third = mock_run("dev"), rotated()
    current = urn(first, "small-object-1-runner").replace("-1-", "-2-")
    assert urn(third, "small-object-2-runner") == current, (
        "with another URN the engine would replace it, and the running manager's token with it"
    )
    (small,) = [
        runner for runner in first.of_type("gitlab:index/userRunner:UserRunner") if runner.name.startswith("small")
    ]
    assert small.inputs["paused"] is False


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_managers_are_rolled_one_class_at_a_time_in_the_order_of_the_settings(stack: str) -> None:
    run, classes = mock_run(stack), list(load.of_stack(stack).runners)
    for before, after in pairwise(classes):
        first, then = (run.get("kubernetes:helm.sh/v3:Release", f"{name}-runner-release") for name in (before, after))
        assert first.urn in then.depends_on, f"a chart that breaks {before} must not reach {after}"
