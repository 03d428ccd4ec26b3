"""The disruption contract: all times of a class, derived from `longest_job`.

Only GitLab's timeout should ever end a job. All other causes (a manager's shutdown, a pod's deadline, a node's drain, its
expiry) get times so that they come later. Sources: https://docs.gitlab.com/runner/executors/kubernetes/ and
https://karpenter.sh/docs/concepts/disruption/
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from components.documents.pods import CLASS_LABEL

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NODE_LIFE = 21 * DAY
"""Auto Mode's ceiling for a node's life, drain included."""
MANAGER_SLACK = 10 * MINUTE
POD_GRACE = 30
CLEANUP_GRACE = 1
"""Grace of a finished job's pod. The build's process 1 is a shell that ignores SIGTERM, so the pod lasts as long as its grace. With 0 the
API server would forget the pod while its processes still run."""
POD_ENDS_WITHIN = 4
"""Seconds from the end of a job until its pod is gone. Measured with GitLab Runner 19.4.0, a kubelet and a cleanup grace of 1 s: 3 to 4 s.
With a grace of 30 s it was 30 to 32 s, and 3 of 14 jobs failed because their class's quota was full."""
SHORTEST_JOB = 10
"""Least seconds from one pod of a runner's slot to the next. Measured the same way, with the image on the node: 13 to 20 s for a job
that runs one command."""
NODE_SLACK = 30 * MINUTE
NODE_STARTS_WITHIN = 10 * MINUTE
"""Node start and image pull: the runner waits so long for a pod before it gives the job up."""
LONGEST_EXPIRY = 14 * DAY
MORE_PODS_THAN_EVER = 1_000_000
"""Pods that a class never has: a budget that asks for so many allows no eviction."""
MANAGERS_AT_ONCE = 2
"""While a manager is rolled, the old one finishes up to `concurrent` jobs, and the new one takes as many again."""


@dataclass(frozen=True, kw_only=True)
class Disruption:
    """All times of one class, in seconds."""

    gitlab_timeout: int
    """`maximum_timeout` of the runner in GitLab."""
    manager_grace: int
    """`terminationGracePeriodSeconds` of the manager: it waits for running jobs."""
    pod_grace: int
    """`pod_termination_grace_period_seconds` of job pods: a pod that is evicted has so long."""
    cleanup_grace: int
    """`cleanup_grace_period_seconds`: a pod whose job is over has so long."""
    poll_timeout: int
    """How long the runner waits for a job's pod to start."""
    node_grace: int
    """`terminationGracePeriod` of the class's NodePool."""
    expire_after: int
    """`expireAfter` of the NodePool; with `node_grace` it stays within a node's life."""
    consolidate_after: int
    """`consolidateAfter`: Karpenter keeps an empty node so long, and does not miss a pod in its first seconds."""
    delete_timeout: int
    """`custom_timeouts.delete` of resources that outlast running jobs."""


def disruption(longest_job: int) -> Disruption:
    """Derive a class's times from its longest job in seconds."""
    node_grace = longest_job + POD_GRACE + NODE_SLACK
    return Disruption(
        gitlab_timeout=longest_job,
        manager_grace=longest_job + MANAGER_SLACK,
        pod_grace=POD_GRACE,
        cleanup_grace=CLEANUP_GRACE,
        poll_timeout=NODE_STARTS_WITHIN,
        node_grace=node_grace,
        expire_after=min(LONGEST_EXPIRY, NODE_LIFE - node_grace),
        consolidate_after=5 * MINUTE,
        delete_timeout=node_grace + 15 * MINUTE,
    )


def pods_at_once(concurrent: int) -> int:
    """Return the most pods of a class at the same time.

    Each slot of the manager has one running pod, and beside it the pods of earlier jobs that have not ended yet. While a manager is
    rolled, the old one has up to `concurrent` pods too: it takes no new jobs, so that none of its slots has a second pod.
    """
    ending = math.ceil(POD_ENDS_WITHIN / SHORTEST_JOB)
    return (MANAGERS_AT_ONCE + ending) * concurrent


def jobs_budget(runner_class: str) -> dict[str, Any]:
    """Return the specification of the one PodDisruptionBudget of a class's job pods: a drain waits for the job of every pod.

    The runner's own budgets select by runner, project and slot. Two managers, or a pod that is ending, have the same labels, and the
    API server answers 500 to the eviction of a pod that two budgets select. Here only `minAvailable` with a number works: job pods
    have no controller, so that Kubernetes cannot count percentages or `maxUnavailable`. A pod that has not started, has finished or is
    ending can always be evicted. A running pod with a dead service counts as unhealthy; its job goes on, so it stays too.
    Source: https://kubernetes.io/docs/tasks/run-application/configure-pdb/#arbitrary-controllers-and-selectors
    """
    return {
        "minAvailable": MORE_PODS_THAN_EVER,
        "selector": {"matchLabels": {CLASS_LABEL: runner_class}},
        "unhealthyPodEvictionPolicy": "IfHealthyBudget",
    }


def managers_disruption(longest_jobs: list[int]) -> Disruption:
    """Derive the times of the managers' nodes, which outlast the longest class."""
    return disruption(max(longest_jobs, default=HOUR) + MANAGER_SLACK)
