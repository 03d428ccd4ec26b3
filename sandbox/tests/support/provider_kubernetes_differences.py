"""The differences between the kubernetes stand-in and the real plugin that tests show.

Every test of the kubernetes provider runs with both. With the real plugin, a test of this list must fail, and any other must
pass. The table in sandbox/docs/stand-ins.md has these lines in this order; a test compares them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the real plugin does otherwise."""

    test: str
    """Name of the test that shows the stand-in's behaviour."""
    case: str
    stand_in: str
    plugin: str
    reason: str
    """Why the stand-in stays as it is."""


DIFFERENCES = (
    Difference(
        test="test_an_object_of_another_manager_is_not_taken_over",
        case="somebody else's object, same values",
        stand_in="create refuses, with the owner's name",
        plugin="create takes it over",
        reason="since 4.29.0 the plugin refuses too",
    ),
    Difference(
        test="test_deleting_a_deleted_object_is_no_error_and_spares_its_successor",
        case="delete where somebody else made the object anew",
        stand_in="leaves it",
        plugin="deletes it",
        reason="the state names the old object by its uid",
    ),
    Difference(
        test="test_a_misspelt_property_is_refused_by_the_sdk_s_types",
        case="misspelt property of a built-in kind",
        stand_in="refused, with the likely name",
        plugin="dropped silently",
        reason="you see the mistake at once",
    ),
    Difference(
        test="test_a_namespaced_name_on_a_cluster_wide_kind_is_refused",
        case="namespace on a kind without namespaces",
        stand_in="refused",
        plugin="ignored",
        reason="as above",
    ),
    Difference(
        test="test_values_that_the_chart_refuses_fail_the_preview",
        case="release: values that the chart refuses",
        stand_in="the preview fails",
        plugin="the preview passes",
        reason="as above",
    ),
    Difference(
        test="test_a_release_that_a_killed_helm_left_pending_is_upgraded",
        case="release that a killed run left pending",
        stand_in="gone on from",
        plugin='"cannot re-use a name that is still in use"',
        reason="`make up` goes on after a kill",
    ),
    Difference(
        test="test_outputs_are_the_live_object_without_field_ownership",
        case="state of an object",
        stand_in="without `metadata.managedFields`",
        plugin="with it",
        reason="the programs read neither",
    ),
)


def difference(test: str) -> Difference | None:
    """Return the difference that a test shows, or None."""
    return next((line for line in DIFFERENCES if line.test == test), None)
