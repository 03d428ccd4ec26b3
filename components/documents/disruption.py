"""The disruption contract: all times of a class, derived from `longest_job`.

Only GitLab's timeout should ever end a job. All other causes (a manager's shutdown, a pod's deadline, a node's drain, its
expiry) get times so that they come later. Sources: https://docs.gitlab.com/runner/executors/kubernetes/ and
https://karpenter.sh/docs/concepts/disruption/
"""

from __future__ import annotations

from dataclasses import dataclass

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NODE_LIFE = 21 * DAY
"""Auto Mode's ceiling for a node's life, drain included."""
MANAGER_SLACK = 10 * MINUTE
POD_GRACE = 30
NODE_SLACK = 30 * MINUTE
NODE_STARTS_WITHIN = 10 * MINUTE
"""Node start and image pull: the runner waits so long for a pod before it gives the job up."""
LONGEST_EXPIRY = 14 * DAY
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
    """`pod_termination_grace_period_seconds` of job pods."""
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
        poll_timeout=NODE_STARTS_WITHIN,
        node_grace=node_grace,
        expire_after=min(LONGEST_EXPIRY, NODE_LIFE - node_grace),
        consolidate_after=5 * MINUTE,
        delete_timeout=node_grace + 15 * MINUTE,
    )


def managers_disruption(longest_jobs: list[int]) -> Disruption:
    """Derive the times of the managers' nodes, which outlast the longest class."""
    return disruption(max(longest_jobs, default=HOUR) + MANAGER_SLACK)
