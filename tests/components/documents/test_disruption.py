"""Times derived from the longest job of a class: only the timeout in GitLab may end a job."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.documents import disruption as contract
from components.documents.disruption import (
    DAY,
    HOUR,
    MINUTE,
    disruption,
    jobs_budget,
    managers_disruption,
    pods_at_once,
)
from tests.support.generated_cases import QUICK

# longest job; then, in minutes: manager's grace, node's grace, delete timeout; and expiry in days (14 at most)
CONTRACT = [
    (10 * MINUTE, 20, 40.5, 55.5),
    (30 * MINUTE, 40, 60.5, 75.5),
    (HOUR, 70, 90.5, 105.5),
    (90 * MINUTE, 100, 120.5, 135.5),
    (2 * HOUR, 130, 150.5, 165.5),
    (4 * HOUR, 250, 270.5, 285.5),
    (8 * HOUR, 490, 510.5, 525.5),
    (12 * HOUR, 730, 750.5, 765.5),
]


@pytest.mark.parametrize(("longest", "manager", "node", "delete"), CONTRACT)
def test_the_longest_job_of_a_class_sets_its_timeouts_and_grace_periods(
    longest: int, manager: float, node: float, delete: float
) -> None:
    times = disruption(longest)
    assert times.gitlab_timeout == longest, "GitLab's own timeout is the one that may end a job"
    assert times.manager_grace == manager * MINUTE
    assert times.node_grace == node * MINUTE, "longest job, pod grace and half an hour"
    assert times.delete_timeout == delete * MINUTE, "the engine waits longer than the nodes do"
    assert times.consolidate_after >= 5 * MINUTE, "a pod that has not started yet must not lose its node"
    assert times.poll_timeout == 10 * MINUTE


@QUICK
@given(longest=st.integers(600, 24 * HOUR))
def test_gitlab_s_timeout_is_the_shortest_of_all_times(longest: int) -> None:
    times = disruption(longest)
    assert times.gitlab_timeout < times.manager_grace < times.node_grace < times.delete_timeout
    assert times.expire_after + times.node_grace <= 21 * DAY, "Auto Mode ends every node after 21 days, drain included"
    assert times.expire_after >= DAY, "nodes are not replaced all day long"


@QUICK
@given(jobs=st.lists(st.integers(600, 24 * HOUR), max_size=5))
def test_nodes_of_managers_outlast_the_longest_job_of_any_class(jobs: list[int]) -> None:
    times = managers_disruption(jobs)
    for job in jobs:
        assert times.node_grace > disruption(job).manager_grace, "a drain must not end a manager that waits for a job"
        assert times.delete_timeout > disruption(job).manager_grace


def test_one_budget_of_a_class_covers_all_its_pods_and_allows_no_eviction() -> None:
    budget = jobs_budget("small")
    assert budget["selector"] == {"matchLabels": {"runner-platform/class": "small"}}, "the label that every job pod has"
    assert budget["minAvailable"] > pods_at_once(1000), "more than the largest class has"
    assert "maxUnavailable" not in budget, "Kubernetes cannot count pods without a controller"
    assert budget["unhealthyPodEvictionPolicy"] == "IfHealthyBudget", "a job goes on when its service has ended"


def most_pods(concurrent: int, lengths: list[int], ends_within: int) -> int:
    """Count the most pods at once while each slot runs jobs of these lengths, one after the other, beside a draining manager."""
    starts_and_ends = [(0, 1)] * concurrent  # the old manager's pods: their jobs last, and no job follows
    for slot in range(concurrent):
        begin = 0
        for length in lengths[slot % len(lengths) :] + lengths:
            starts_and_ends += [(begin, 1), (begin + length + ends_within, -1)]
            begin += length
    pods, most = 0, 0
    for _, change in sorted(starts_and_ends, key=lambda event: (event[0], -event[1])):
        pods += change
        most = max(most, pods)
    return most


@QUICK
@given(concurrent=st.integers(1, 50), lengths=st.lists(st.integers(contract.SHORTEST_JOB, 90), min_size=1, max_size=6))
def test_the_quota_holds_every_pod_of_short_jobs_during_a_roll(concurrent: int, lengths: list[int]) -> None:
    assert most_pods(concurrent, lengths, contract.POD_ENDS_WITHIN) <= pods_at_once(concurrent)


def test_the_quota_is_no_larger_than_the_shortest_jobs_need() -> None:
    shortest = [contract.SHORTEST_JOB] * 3
    assert most_pods(4, shortest, contract.POD_ENDS_WITHIN) == pods_at_once(4) == 12


def test_a_cleanup_grace_of_30_s_would_fill_the_quota_with_finished_pods() -> None:
    assert most_pods(4, [13] * 6, 32) > pods_at_once(4), "measured: 3 of 14 jobs failed with `exceeded quota`"
    times = disruption(HOUR)
    assert 0 < times.cleanup_grace < times.pod_grace, "with 0 the API server forgets a pod that still runs"
    assert times.poll_timeout > contract.POD_ENDS_WITHIN, "a pod that waits for the room of an ending one still starts"
