"""What the aws stand-in says and keeps when something is wrong: with the program, in AWS, or in between."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.providers.stand_in import (
    CancelledError,
    InvalidInputsError,
    PartialFailureError,
    ProviderError,
)
from sandbox.tests.support.provider_aws_account import TRUST
from sandbox.tests.support.provider_driver import Driver
from tests.support.aws_cases import CICD, DEV, REGION

if TYPE_CHECKING:
    from sandbox.tests.support.provider_aws_account import Account

pytestmark = pytest.mark.sandbox
pytest_plugins = ["sandbox.tests.support.aws_fixture", "sandbox.tests.support.provider_aws_fixture"]

BUCKET = "aws:s3/bucket:Bucket"
ROLE = "aws:iam/role:Role"
CLUSTER = "aws:eks/cluster:Cluster"
ROLE_INPUTS = {"assumeRolePolicy": json.dumps(TRUST)}


@pytest.fixture
def driver(account: Account) -> Driver:
    return Driver(account.stand_in())


def cluster_inputs(account: Account, name: str) -> dict[str, Any]:
    return {"name": name, "roleArn": account.role_arn, "vpcConfig": {"subnetIds": [account.subnet_a, account.subnet_b]}}


def test_a_type_that_is_not_modelled_is_named_with_those_that_are(driver: Driver) -> None:
    with pytest.raises(ProviderError, match=r"does not model type aws:sqs/queue:Queue; it knows .*iam/role"):
        driver.up("aws:sqs/queue:Queue", "queue", {})


def test_a_function_that_is_not_modelled_is_named_with_those_that_are(driver: Driver) -> None:
    with pytest.raises(ProviderError, match=r"does not model function .*getAmi; it knows .*getSubnets"):
        driver.provider.invoke("aws:ec2/getAmi:getAmi", {})


def test_a_property_that_the_sdk_has_and_the_stand_in_does_not_is_refused(driver: Driver) -> None:
    with pytest.raises(InvalidInputsError, match=r"managedPolicyArns .* does not model"):
        driver.check(ROLE, "role", {**ROLE_INPUTS, "managedPolicyArns": []})


@pytest.mark.parametrize(
    ("token", "inputs", "words"),
    [
        ("aws:kms/alias:Alias", {"name": "cicd", "targetKeyId": "k"}, "must start with alias/"),
        ("aws:kms/key:Key", {"deletionWindowInDays": 3}, "from 7 to 30, got 3"),
        ("aws:ec2/route:Route", {"routeTableId": "rtb-1", "destinationCidrBlock": "0.0.0.0/0"}, "exactly one of"),
        ("aws:ec2/natGateway:NatGateway", {"subnetId": "subnet-1"}, "allocationId is required"),
        ("aws:iam/openIdConnectProvider:OpenIdConnectProvider", {"url": "http://a", "clientIdLists": []}, "https://"),
        (
            CLUSTER,
            {"roleArn": "r", "vpcConfig": {"subnetIds": []}, "computeConfig": {"enabled": True}},
            "must agree with the other switches of Auto Mode",
        ),
    ],
)
def test_inputs_that_contradict_are_refused_before_anything_is_made(
    driver: Driver, token: str, inputs: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidInputsError, match=words):
        driver.check(token, "thing", inputs)


def test_the_wrong_account_is_refused_by_its_number(account: Account) -> None:
    with pytest.raises(ProviderError, match=rf"leads to account {CICD} .* allowed: {DEV}"):
        account.stand_in(allowedAccountIds=[DEV])
    with pytest.raises(ProviderError, match=rf"forbidden: {CICD}"):
        account.stand_in(forbiddenAccountIds=[CICD])


def test_refused_calls_name_action_thing_account_and_reason(account: Account) -> None:
    driver = Driver(account.stand_in())
    driver.up(ROLE, "twice", {**ROLE_INPUTS, "name": "refused-twice"})
    words = rf"iam:CreateRole on refused-twice in account {CICD}: EntityAlreadyExists"
    with pytest.raises(ProviderError, match=words):
        Driver(account.stand_in()).up(ROLE, "twice", {**ROLE_INPUTS, "name": "refused-twice"})
    driver.destroy(ROLE, "twice")


def test_a_made_up_name_is_kept_until_a_replacement(driver: Driver) -> None:
    driver.up(ROLE, "runner", ROLE_INPUTS)
    name = driver.states["runner"].outputs["name"]
    assert name.startswith("runner-")
    assert len(name) == len("runner-") + 7
    assert driver.check(ROLE, "runner", ROLE_INPUTS)["name"] == name
    diff, _ = driver.preview(ROLE, "runner", {**ROLE_INPUTS, "path": "/other/"})
    assert diff is not None
    assert diff.replaces == ["path"]
    assert not diff.delete_before_replace, "the new one gets a name of its own"
    diff, _ = driver.preview(ROLE, "runner", {**ROLE_INPUTS, "path": "/other/", "name": name})
    assert diff is not None
    assert diff.delete_before_replace, "a fixed name cannot exist twice"
    driver.destroy(ROLE, "runner")


def test_a_change_outside_the_program_shows_and_is_repaired(driver: Driver, account: Account) -> None:
    inputs = {**ROLE_INPUTS, "name": "drifting", "tags": {"a": "1"}}
    driver.up(ROLE, "drifting", inputs)
    iam = account.client("iam")
    iam.tag_role(RoleName="drifting", Tags=[{"Key": "b", "Value": "2"}])
    iam.update_role(RoleName="drifting", Description="by hand")
    driver.refresh(ROLE, "drifting")
    assert driver.states["drifting"].inputs["tags"] == {"a": "1", "b": "2"}
    diff = driver.up(ROLE, "drifting", inputs)
    assert diff is not None
    assert diff.changes == ["description", "tags.b"]
    role = iam.get_role(RoleName="drifting")["Role"]
    assert [tag["Key"] for tag in role["Tags"]] == ["a"]
    assert not role.get("Description")
    driver.destroy(ROLE, "drifting")


def test_a_resource_deleted_by_hand_leaves_the_state_at_a_refresh(driver: Driver, account: Account) -> None:
    driver.up(ROLE, "deleted", {**ROLE_INPUTS, "name": "deleted"})
    account.client("iam").delete_role(RoleName="deleted")
    assert driver.refresh(ROLE, "deleted") is None


def test_an_interrupted_wait_leaves_a_resource_that_the_next_run_finishes(account: Account) -> None:
    driver = Driver(account.stand_in())
    inputs = cluster_inputs(account, "interrupted")
    account.planes.paused.set()
    threading.Timer(1, driver.provider.cancel).start()
    started = time.monotonic()
    with pytest.raises(PartialFailureError, match="interrupted") as error:
        driver.up(CLUSTER, "interrupted", inputs)
    assert isinstance(error.value.__cause__, CancelledError)
    assert time.monotonic() - started < 10
    assert driver.states["interrupted"].id == "interrupted", "it exists, so the state must say so"
    account.planes.paused.clear()
    driver.provider = account.stand_in()
    driver.up(CLUSTER, "interrupted", inputs)
    assert driver.states["interrupted"].outputs["status"] == "ACTIVE"
    assert account.client("eks").list_clusters()["clusters"].count("interrupted") == 1
    driver.destroy(CLUSTER, "interrupted")


def test_a_wait_that_takes_too_long_names_its_seconds(account: Account) -> None:
    driver = Driver(account.stand_in())
    account.planes.paused.set()
    with pytest.raises(PartialFailureError, match="EKS cluster late to become active did not happen within 1 s"):
        driver.up(CLUSTER, "late", cluster_inputs(account, "late"), timeout=1)
    account.planes.paused.clear()
    driver.destroy(CLUSTER, "late")


def test_a_protected_cluster_says_how_to_delete_it(driver: Driver, account: Account) -> None:
    inputs = {**cluster_inputs(account, "protected"), "deletionProtection": True}
    driver.up(CLUSTER, "protected", inputs)
    with pytest.raises(ProviderError, match="set deletion_protection to False"):
        driver.destroy(CLUSTER, "protected")
    driver.up(CLUSTER, "protected", {**inputs, "deletionProtection": False})
    driver.destroy(CLUSTER, "protected")


def test_a_bucket_with_objects_is_deleted_only_by_force(driver: Driver, account: Account) -> None:
    driver.up(BUCKET, "full", {"bucket": "full-bucket"})
    account.client("s3").put_object(Bucket="full-bucket", Key="a", Body=b"1")
    with pytest.raises(ProviderError, match="set force_destroy"):
        driver.destroy(BUCKET, "full")
    driver.up(BUCKET, "full", {"bucket": "full-bucket", "forceDestroy": True})
    driver.destroy(BUCKET, "full")


def test_a_subnet_that_is_used_cannot_keep_the_engine_waiting_for_ever(driver: Driver, account: Account) -> None:
    driver.up("aws:ec2/vpc:Vpc", "used", {"cidrBlock": "10.30.0.0/16"})
    account.client("ec2").create_subnet(VpcId=driver.states["used"].id, CidrBlock="10.30.0.0/24")
    with pytest.raises(ProviderError, match="something outside this program still uses it"):
        driver.destroy("aws:ec2/vpc:Vpc", "used", timeout=1)


def test_a_log_group_that_exists_says_so(driver: Driver, account: Account) -> None:
    account.client("logs").create_log_group(logGroupName="/taken")
    with pytest.raises(ProviderError, match="delete or import it"):
        driver.up("aws:cloudwatch/logGroup:LogGroup", "taken", {"name": "/taken"})


def test_a_resource_can_live_in_another_region_than_the_provider(driver: Driver, account: Account) -> None:
    inputs = {"bucket": "elsewhere-bucket", "region": "eu-west-1"}
    driver.up(BUCKET, "elsewhere", inputs)
    assert driver.states["elsewhere"].outputs["bucketRegion"] == "eu-west-1"
    existing = Driver(account.stand_in()).import_(BUCKET, "elsewhere", "elsewhere-bucket@eu-west-1")
    assert existing is not None
    assert (existing.id, existing.outputs["region"]) == ("elsewhere-bucket", "eu-west-1")
    diff, _ = driver.preview(BUCKET, "elsewhere", {"bucket": "elsewhere-bucket"})
    assert diff is not None
    assert diff.replaces == ["region"]
    driver.destroy(BUCKET, "elsewhere")


def test_functions_return_existing_resources(driver: Driver, account: Account) -> None:
    def call(token: str, **arguments: Any) -> dict[str, Any]:
        return driver.provider.invoke(token, arguments)

    assert call("aws:index/getCallerIdentity:getCallerIdentity")["accountId"] == CICD
    assert call("aws:index/getPartition:getPartition")["dnsSuffix"] == "amazonaws.com"
    assert call("aws:index/getRegion:getRegion")["region"] == REGION
    zones = call("aws:index/getAvailabilityZones:getAvailabilityZones", excludeNames=[f"{REGION}b"])
    assert f"{REGION}a" in zones["names"]
    assert f"{REGION}b" not in zones["names"]
    assert call("aws:ec2/getVpc:getVpc", id=account.vpc)["cidrBlock"] == "10.9.0.0/16"
    subnet = call("aws:ec2/getSubnet:getSubnet", id=account.subnet_a)
    assert (subnet["vpcId"], subnet["availabilityZone"]) == (account.vpc, f"{REGION}a")
    filters = [{"name": "vpc-id", "values": [account.vpc]}]
    assert account.subnet_b in call("aws:ec2/getSubnets:getSubnets", filters=filters)["ids"]
    assert call("aws:eks/getCluster:getCluster", name=account.cluster)["vpcConfig"]["subnetIds"]
    assert call("aws:eks/getClusterVersions:getClusterVersions")["clusterVersions"]
    with pytest.raises(ProviderError, match=r"looked for a VPC with .* and found none"):
        call("aws:ec2/getVpc:getVpc", cidrBlock="10.99.0.0/16")
    with pytest.raises(ProviderError, match="no EKS cluster nowhere"):
        call("aws:eks/getCluster:getCluster", name="nowhere")
    with pytest.raises(InvalidInputsError, match="filters"):
        call("aws:ec2/getSubnets:getSubnets", filter=[])
