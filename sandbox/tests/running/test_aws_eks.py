"""EKS: a cluster's record, its changes, its access entries, and what its keepers are told."""

from __future__ import annotations

from typing import Any

import pytest

from runner_platform_sandbox.aws.client import AwsAdminError, EksCluster
from sandbox.tests.support.aws_network import auto_mode, cluster_request, make_cluster
from tests.support.aws_cases import CICD, REGION, Cloud, jwks, policy, refusal, token, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

INVALID = (400, "InvalidParameterException")


def shown(eks: Any, cluster: EksCluster) -> dict[str, Any]:
    """Return what DescribeCluster says."""
    found: dict[str, Any] = eks.describe_cluster(name=cluster.name)["cluster"]
    return found


def test_a_cluster_is_creating_until_its_control_plane_answers(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws, active=False)
    found = shown(eks, cluster)
    assert (found["status"], found.get("endpoint"), found["certificateAuthority"]) == ("CREATING", None, {})
    assert refusal(eks.update_cluster_config, name=cluster.name, deletionProtection=True)[1] == "ResourceInUseException"
    said = {"status": "ACTIVE", "endpoint": "https://127.0.0.1:6443", "certificate_authority": "Y2E="}
    aws.admin.report(cluster, said | {"jwks": jwks("issuer", "1")})
    found = shown(eks, cluster)
    assert (found["status"], found["endpoint"]) == ("ACTIVE", "https://127.0.0.1:6443")
    assert found["certificateAuthority"] == {"data": "Y2E="}


def test_a_cluster_keeps_what_was_asked_for(aws: Cloud) -> None:
    key = aws.root(CICD).client("kms").create_key()["KeyMetadata"]["Arn"]
    eks, cluster = make_cluster(aws, encryptionConfig=[{"resources": ["secrets"], "provider": {"keyArn": key}}])
    found = shown(eks, cluster)
    assert found["computeConfig"] == {"enabled": True}
    assert found["storageConfig"] == {"blockStorage": {"enabled": True}}
    assert found["kubernetesNetworkConfig"]["elasticLoadBalancing"] == {"enabled": True}
    assert found["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == cluster.service_cidr == "172.20.0.0/16"
    assert found["upgradePolicy"] == {"supportType": "STANDARD"}
    assert found["deletionProtection"] is False
    assert found["encryptionConfig"][0]["provider"]["keyArn"] == key
    assert found["accessConfig"]["authenticationMode"] == "API"
    on, off = found["logging"]["clusterLogging"]
    assert (on["types"], on["enabled"], off["enabled"]) == (["api", "audit"], True, False)
    assert found["tags"] == {"platform:stack": "dev"}
    assert found["resourcesVpcConfig"]["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_the_issuer_has_awss_shape_and_belongs_to_one_cluster(aws: Cloud) -> None:
    (_eks, first), (_again, second) = make_cluster(aws), make_cluster(aws)
    assert first.issuer.startswith(f"https://oidc.eks.{REGION}.amazonaws.com/id/")
    assert first.id == first.issuer.rpartition("/")[2]
    assert first.id != second.id
    assert first.auth_token != second.auth_token


def test_the_vpc_and_the_clusters_security_group_are_real(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    ec2, network = aws.root(CICD).client("ec2"), shown(eks, cluster)["resourcesVpcConfig"]
    assert ec2.describe_subnets(SubnetIds=network["subnetIds"])["Subnets"][0]["VpcId"] == network["vpcId"]
    group = network["clusterSecurityGroupId"]
    found = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]
    assert found["IpPermissions"][0]["UserIdGroupPairs"][0]["GroupId"] == group
    eks.delete_cluster(name=cluster.name)
    assert refusal(ec2.describe_security_groups, GroupIds=[group])[1] == "InvalidGroup.NotFound"


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("a version that EKS does not have", {"version": "1.99"}),
        ("a version that is out of support", {"version": "1.30"}),
        ("a role that does not exist", {"roleArn": f"arn:aws:iam::{CICD}:role/nobody"}),
        ("half of Auto Mode", {"computeConfig": {"enabled": False}}),
        ("Auto Mode with self-managed add-ons", {"bootstrapSelfManagedAddons": True}),
        ("a name with a dot", {"name": "a.b"}),
        ("a key that does not exist", {"encryptionConfig": [{"resources": ["secrets"], "provider": {"keyArn": "k"}}]}),
        ("a subnet that does not exist", {"resourcesVpcConfig": {"subnetIds": ["subnet-1", "subnet-2"]}}),
    ],
)
def test_a_cluster_that_eks_would_refuse_is_refused(aws: Cloud, why: str, fields: dict[str, Any]) -> None:
    request = cluster_request(aws, CICD, **fields)
    assert refusal(aws.root(CICD).client("eks").create_cluster, **request) == INVALID, why


def test_a_cluster_needs_two_zones_and_a_way_in(aws: Cloud) -> None:
    request = cluster_request(aws, CICD)
    eks, network = aws.root(CICD).client("eks"), request["resourcesVpcConfig"]
    one_zone = network | {"subnetIds": network["subnetIds"][:1]}
    assert refusal(eks.create_cluster, **request | {"resourcesVpcConfig": one_zone}) == INVALID
    closed = network | {"endpointPrivateAccess": False, "endpointPublicAccess": False}
    assert refusal(eks.create_cluster, **request | {"resourcesVpcConfig": closed}) == INVALID


def test_two_stacks_cannot_have_a_cluster_of_the_same_name(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    request = cluster_request(aws, CICD, name=cluster.name)
    assert refusal(eks.create_cluster, **request) == (409, "ResourceInUseException")


def test_a_protected_cluster_is_deleted_only_after_its_protection_is_lifted(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws, deletionProtection=True)
    assert refusal(eks.delete_cluster, name=cluster.name) == (400, "InvalidRequestException")
    eks.update_cluster_config(name=cluster.name, deletionProtection=False)
    assert eks.delete_cluster(name=cluster.name)["cluster"]["status"] == "DELETING"
    assert refusal(eks.describe_cluster, name=cluster.name) == (404, "ResourceNotFoundException")
    with pytest.raises(AwsAdminError, match=cluster.name):
        aws.admin.report(cluster, {"status": "ACTIVE"})


def test_a_deleted_clusters_tokens_are_worth_nothing(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    aws.admin.report(cluster, {"status": "ACTIVE", "jwks": jwks("issuer", "1")})
    iam, name = aws.root(CICD).client("iam"), unique()
    arn = iam.create_open_id_connect_provider(Url=cluster.issuer, ClientIDList=["sts.amazonaws.com"])
    principal = {"Federated": arn["OpenIDConnectProviderArn"]}
    trust = policy({"Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity"})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    sts = aws.root(CICD).client("sts")
    fields = {"RoleArn": role, "RoleSessionName": "job", "WebIdentityToken": token(cluster.issuer, "system:s")}
    sts.assume_role_with_web_identity(**fields)
    eks.delete_cluster(name=cluster.name)
    assert refusal(sts.assume_role_with_web_identity, **fields) == (400, "InvalidIdentityToken")


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"resourcesVpcConfig": {"publicAccessCidrs": ["198.51.100.0/24"]}}, "EndpointAccessUpdate"),
        ({"resourcesVpcConfig": {"endpointPublicAccess": False}}, "EndpointAccessUpdate"),
        ({"logging": {"clusterLogging": [{"types": ["scheduler"], "enabled": True}]}}, "LoggingUpdate"),
        ({"upgradePolicy": {"supportType": "EXTENDED"}}, "UpgradePolicyUpdate"),
        ({"zonalShiftConfig": {"enabled": True}}, "ZonalShiftConfigUpdate"),
        ({"deletionProtection": True}, "DeletionProtectionUpdate"),
        (auto_mode(enabled=False), "AutoModeUpdate"),
    ],
)
def test_a_change_is_kept_and_leaves_an_update(aws: Cloud, asked: dict[str, Any], kind: str) -> None:
    eks, cluster = make_cluster(aws)
    update = eks.update_cluster_config(name=cluster.name, **asked)["update"]
    assert (update["type"], update["status"]) == (kind, "InProgress")
    found = eks.describe_update(name=cluster.name, updateId=update["id"])["update"]
    assert (found["status"], found["errors"]) == ("Successful", [])
    assert update["id"] in eks.list_updates(name=cluster.name)["updateIds"]
    assert refusal(eks.update_cluster_config, name=cluster.name, **asked) == INVALID, "nothing is left to change"


def test_changes_are_seen(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    groups = [{"types": ["scheduler"], "enabled": True}, {"types": ["api"], "enabled": False}]
    eks.update_cluster_config(name=cluster.name, logging={"clusterLogging": groups})
    eks.update_cluster_config(name=cluster.name, resourcesVpcConfig={"endpointPublicAccess": False})
    found = shown(eks, cluster)
    assert found["logging"]["clusterLogging"][0] == {"types": ["audit", "scheduler"], "enabled": True}
    assert found["resourcesVpcConfig"]["endpointPublicAccess"] is False
    assert found["resourcesVpcConfig"]["publicAccessCidrs"] == ["203.0.113.0/24"]


@pytest.mark.parametrize(
    ("why", "asked"),
    [
        ("two kinds at once", {"deletionProtection": True, "upgradePolicy": {"supportType": "EXTENDED"}}),
        ("no way in", {"resourcesVpcConfig": {"endpointPublicAccess": False, "endpointPrivateAccess": False}}),
        ("back to a mode without the API", {"accessConfig": {"authenticationMode": "API_AND_CONFIG_MAP"}}),
        ("half of Auto Mode", {"computeConfig": {"enabled": False}}),
        ("nothing", {}),
    ],
)
def test_a_change_that_eks_would_refuse_is_refused(aws: Cloud, why: str, asked: dict[str, Any]) -> None:
    eks, cluster = make_cluster(aws)
    assert refusal(eks.update_cluster_config, name=cluster.name, **asked) == INVALID, why


def test_a_cluster_goes_up_one_minor_version_at_a_time(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws, version="1.33")
    for wrong in ("1.33", "1.32", "1.35", "1.99"):
        assert refusal(eks.update_cluster_version, name=cluster.name, version=wrong) == INVALID
    update = eks.update_cluster_version(name=cluster.name, version="1.34")["update"]
    assert update["type"] == "VersionUpdate"
    assert shown(eks, cluster)["version"] == "1.34"
    assert refusal(eks.describe_update, name=cluster.name, updateId=cluster.id) == (404, "ResourceNotFoundException")


def test_versions_say_how_long_they_are_supported(aws: Cloud) -> None:
    eks = aws.root(CICD).client("eks")
    found = {one["clusterVersion"]: one for one in eks.describe_cluster_versions()["clusterVersions"]}
    assert found["1.35"]["versionStatus"] == "STANDARD_SUPPORT"
    assert found["1.33"]["versionStatus"] == "EXTENDED_SUPPORT"
    assert "1.30" not in found
    only = eks.describe_cluster_versions(clusterVersions=["1.35"])["clusterVersions"]
    assert [one["clusterVersion"] for one in only] == ["1.35"]
    standard = eks.describe_cluster_versions(versionStatus="STANDARD_SUPPORT")["clusterVersions"]
    assert {one["versionStatus"] for one in standard} == {"STANDARD_SUPPORT"}
    assert [one["defaultVersion"] for one in eks.describe_cluster_versions(defaultOnly=True)["clusterVersions"]] == [
        True
    ]


def test_what_is_reported_must_make_sense(aws: Cloud) -> None:
    _eks, cluster = make_cluster(aws)
    with pytest.raises(AwsAdminError, match="BROKEN"):
        aws.admin.report(cluster, {"status": "BROKEN"})
