"""Changes that open nothing: the pack stays green. Many share one run of the program, since a green run clears them all."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pytest

from components.cluster import Cluster
from components.documents import namespaces, node_pool
from components.job_cache import JobCache
from tests.attacks.bench import outcome_of
from tests.attacks.change import put, together, with_addition, with_inputs, with_result
from tests.attacks.mutation import Mutation

if TYPE_CHECKING:
    from access.resource import Resource

pytestmark = pytest.mark.processes
QUEUE = "urn:pulumi:prod::runner-platform::runnerplatform:index:JobCache$aws:sqs/queue:Queue::cache-events"
EXCEPTION = f"- {{rule: H05, resource: '{QUEUE}', reason: events of the cache for the bill, expires: 2999-01-01}}\n"
CLASS = {
    "level": "open",
    "accounts": ["dev"],
    "cpu": "1",
    "memory": "2Gi",
    "disk": "10Gi",
    "concurrent": 2,
    "longest_job": "30m",
}
SETTINGS: dict[str, Any] = {
    "runners.tiny": CLASS,
    "runners.small.concurrent": 7,
    "runners.small.disk": "15Gi",
    "runners.small.longest_job": "45m",
    "runners.small.arch": "arm64",
    "tags.owner": "another-team",
    "cache.expire_days": 9,
    "network.nat": "per-zone",
    "network.cidr": "10.60.0.0/16",
    "cluster.administrators": [
        f"arn:aws:iam::222222222222:role/people/{name}" for name in ("day-shift", "night-shift")
    ],
    "accounts.dev.open": ["ecs"],
    "alarms.topic": "arn:aws:sns:eu-central-1:222222222222:alarms",
}


def a_queue(component: Any, _args: Any) -> None:
    """Make a queue, for which there is an exception."""
    aws.sqs.Queue("cache-events", name="events", opts=pulumi.ResourceOptions(parent=component))


def renamed(component: Any, args: Any) -> None:
    """Make a log group under a logical name that the program does not use."""
    aws.cloudwatch.LogGroup(
        "renamed-group", name=f"/{args.names.cluster}/more", opts=pulumi.ResourceOptions(parent=component)
    )


CODE = together(
    with_inputs(aws.cloudwatch.LogGroup, retention_in_days=365),
    with_inputs(aws.kms.Key, deletion_window_in_days=14, description="a key"),
    with_inputs(aws.iam.Role, description="a role", tags={"more": "tags"}),
    with_inputs(aws.ec2.Vpc, tags={"Name": "runners"}),
    with_inputs(aws.s3.BucketVersioning, versioning_configuration={"status": "Enabled"}),
    with_inputs(aws.eks.Cluster, version="1.34"),
    with_result(namespaces.namespace_labels, put("platform", "team")),
    with_result(node_pool.node_pool_spec, put("40m", "disruption", "consolidateAfter")),
    with_result(node_pool.node_class_spec, put("120Gi", "ephemeralStorage", "size")),
    with_addition(Cluster, renamed),
)


MACHINE_SETTINGS: dict[str, Any] = {
    "runners.small.instance": "m7g.large",
    "runners.small.concurrent": 3,
    "runners.small.disk": "80Gi",
    "runners.medium.max_instances": 9,
    "runners.medium.spot": False,
    "runners.medium.capacity": 2,
    "runners.medium.uses": 20,
    "runners.medium.instances": {"types": ["c7i.xlarge", "m7i.xlarge"]},
    "network.nat": "single",
    "tags.owner": "another-team",
    "machines.image": "/company/images/ubuntu/{arch}",
}
MACHINE_CODE = together(
    with_inputs(aws.ec2.LaunchTemplate, description="machines", tags={"more": "tags"}),
    with_inputs(aws.autoscaling.Group, health_check_grace_period=120, default_instance_warmup=400),
    with_inputs(aws.ssm.Parameter, description="a token"),
    with_inputs(aws.ec2.SecurityGroup, tags={"Name": "machines"}),
)


def with_other_names(resources: list[Resource]) -> list[Resource]:
    """Give the resources of machines other logical names, everywhere."""

    def renamed(urn: str) -> str:
        return urn.replace("-machines-", "-instances-")

    return [
        replace(
            resource,
            urn=renamed(resource.urn),
            name=renamed(resource.name),
            parent=renamed(resource.parent),
            depends_on=tuple(map(renamed, resource.depends_on)),
            property_dependencies={
                key: tuple(map(renamed, urns)) for key, urns in resource.property_dependencies.items()
            },
        )
        for resource in resources
    ]


@pytest.mark.parametrize(
    "change",
    [
        Mutation(attack="", name="unchanged machines", rules=frozenset(), stack="small"),
        Mutation(
            attack="", name="other settings of machines", rules=frozenset(), stack="small", settings=MACHINE_SETTINGS
        ),
        Mutation(attack="", name="other code of machines", rules=frozenset(), stack="small", change=MACHINE_CODE),
        Mutation(
            attack="", name="other logical names of machines", rules=frozenset(), stack="small", edit=with_other_names
        ),
        Mutation(attack="", name="other settings", rules=frozenset(), settings=SETTINGS),
        Mutation(attack="", name="other code", rules=frozenset(), change=CODE),
        Mutation(
            attack="", name="a queue", rules=frozenset(), change=with_addition(JobCache, a_queue), exceptions=EXCEPTION
        ),
    ],
    ids=lambda change: change.name,
)
def test_a_harmless_change_stays_green(change: Mutation) -> None:
    assert [str(finding) for finding in outcome_of(change).findings] == []
