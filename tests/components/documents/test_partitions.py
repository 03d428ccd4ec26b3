"""Every document in every AWS partition: ARNs and domain names."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from components.documents import capabilities, cluster, network, platform_roles, registry, storage
from components.documents.boundary import BoundaryAccount, boundary
from config.capabilities import Capability, Level
from config.names import Names
from config.partitions import service_principal
from config.sections import Organization
from tests.support.class_settings import delegated_trust
from tests.support.program import parsed, raw_in

if TYPE_CHECKING:
    from collections.abc import Iterator

PARTITIONS = {
    "aws": ("eu-central-1", "amazonaws.com"),
    "aws-us-gov": ("us-gov-west-1", "amazonaws.com"),
    "aws-cn": ("cn-north-1", "amazonaws.com.cn"),
    "aws-eusc": ("eusc-de-east-1", "amazonaws.eu"),
    "aws-iso": ("us-iso-east-1", "c2s.ic.gov"),
    "aws-iso-b": ("us-isob-east-1", "sc2s.sgov.gov"),
    "aws-iso-e": ("eu-isoe-west-1", "cloud.adc-e.uk"),
    "aws-iso-f": ("us-isof-south-1", "csp.hci.ic.gov"),
}
ACCOUNT = "222222222222"


def organization_in(partition: str) -> Organization:
    return Organization(id="o-senncloud01", region=PARTITIONS[partition][0], partition=partition)  # type: ignore[arg-type]  # one of eight


def every_document(partition: str) -> Iterator[tuple[str, dict[str, Any]]]:
    organization = organization_in(partition)
    region = PARTITIONS[partition][0]
    settings = parsed(raw_in(region), "prod")
    names = settings.names
    for account, level in settings.roles_needed():
        yield f"trust {account} {level}", delegated_trust(settings, account, level)
        grantee = capabilities.Grantee(names=names, account_id=ACCOUNT, level=level)
        for capability in Capability:
            yield f"{capability} {level}", capabilities.capability_document(capability, grantee)
    yield "boundary", boundary(BoundaryAccount(organization=organization, account_id=ACCOUNT))
    role = platform_roles.PlatformRoleAccount(organization=organization, account_id=ACCOUNT, state_bucket="b")
    yield "deployer", platform_roles.deployer(role)
    yield "reader", platform_roles.reader(role)
    yield "tagging", cluster.tagging_permissions(partition)
    yield "bucket", storage.bucket_policy(organization, "b")
    yield "key", storage.key_policy(organization, ACCOUNT)
    yield "flow log", network.flow_log_writer(organization, ACCOUNT, "g")
    yield (
        "cache",
        storage.cache_access(organization, bucket="b", prefix="small", account_id=ACCOUNT, key_alias="alias/k"),
    )
    yield "pull", registry.pull_policy(organization)


@pytest.mark.parametrize("partition", PARTITIONS)
def test_every_arn_carries_the_partition(partition: str) -> None:
    for name, document in every_document(partition):
        arns = [word for word in json.dumps(document).split('"') if word.startswith("arn:")]
        foreign = [arn for arn in arns if not arn.startswith(f"arn:{partition}:")]
        assert not foreign, f"{name}: {foreign} exist in no account of {partition}"


@pytest.mark.parametrize(
    ("partition", "domain"), [(partition, domain) for partition, (_, domain) in PARTITIONS.items()]
)
def test_service_names_have_the_domain_of_the_partition(partition: str, domain: str) -> None:
    organization = organization_in(partition)
    grantee = capabilities.Grantee(
        names=Names(organization=organization, stack="prod"),
        account_id=ACCOUNT,
        level=Level.OPEN,
    )
    state = capabilities.capability_document(Capability.STATE, grantee)
    services = [
        statement["Condition"]["StringEquals"]["kms:ViaService"]
        for statement in state["Statement"]
        if statement["Sid"] == "Key"
    ]
    assert services == [f"s3.{organization.region}.{domain}"], (
        "the key may be used through S3 only, under the name of S3 in this partition"
    )
    in_china = partition == "aws-cn"
    assert service_principal("ec2", partition) == ("ec2.amazonaws.com.cn" if in_china else "ec2.amazonaws.com")
