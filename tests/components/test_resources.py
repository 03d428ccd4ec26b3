"""Resources of each component, and one refusal for each validation of its inputs."""

from __future__ import annotations

import gc
import json
from dataclasses import FrozenInstanceError, fields, is_dataclass
from importlib import import_module
from typing import Any

import pytest

from components.delegated_role import DelegatedRoleArgs
from components.documents.disruption import disruption
from components.documents.node_pool import managers_capacity
from components.documents.runner_object import runner_attributes
from components.node_pool import NodePoolArgs
from components.platform_access import PlatformAccessArgs
from config import load
from config.capabilities import Capability, Level
from config.errors import SettingsError
from config.names import Names
from config.sections import Organization
from runner_platform.check.mock_cloud import Mocks
from runner_platform.check.mock_run import run_program
from tests.support.program import mock_run, names_of, parsed, policy, put, raw

ORGANIZATION = Organization(id="o-senncloud01", region="eu-central-1")
MODULES = [import_module(f"components.{file.stem}") for file in sorted((load.ROOT / "components").glob("[a-z]*.py"))]
ARGS = [
    args_class
    for module in MODULES
    for name, args_class in vars(module).items()
    if name.endswith("Args") and args_class.__module__ == module.__name__
]


@pytest.mark.parametrize("args", ARGS, ids=lambda args_class: args_class.__name__)
def test_inputs_of_a_component_are_frozen_keyword_only_and_described(args: Any) -> None:
    assert is_dataclass(args)
    parameters = args.__dataclass_params__
    assert parameters.frozen, "what was validated stays as it was"
    assert all(field.kw_only for field in fields(args)), "a call says what it means"
    assert args.__doc__


def delegated(**changes: Any) -> DelegatedRoleArgs:
    arguments: dict[str, Any] = {
        "names": Names(organization=ORGANIZATION, stack="dev"),
        "account_id": "333333333333",
        "level": Level.OPEN,
        "capabilities": [Capability.ECS],
        "platform_account_id": "222222222222",
        "job_roles": ["runner-small-dev"],
    }
    return DelegatedRoleArgs(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"job_roles": []}, "job_roles is empty for level open in 333333333333; make no role where no class may enter"),
        ({"capabilities": []}, "capabilities is empty for level open in 333333333333; give the level something to do"),
    ],
)
def test_a_delegated_role_without_purpose_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        delegated(**changes)


def test_inputs_do_not_change_after_their_validation() -> None:
    with pytest.raises(FrozenInstanceError):
        delegated().account_id = "1"  # type: ignore[misc]  # that is what is tested


def test_spot_nodes_for_long_jobs_are_refused() -> None:
    arguments: dict[str, Any] = {
        "pool": "big",
        "capacity": managers_capacity(1),
        "node_role_name": "node",
        "subnet_ids": [],
        "security_group_id": "sg",
        "tags": {},
    }
    NodePoolArgs(**arguments, times=disruption(3600), spot=True)
    with pytest.raises(ValueError, match="spot for pool 'big' with jobs of 3601 s"):
        NodePoolArgs(**arguments, times=disruption(3601), spot=True)


@pytest.mark.parametrize("field", ["project", "ref"])
@pytest.mark.parametrize("wild", ["group/*", "gro?p/main"])
def test_a_deployer_that_trusts_more_than_one_branch_is_refused(field: str, wild: str) -> None:
    arguments: dict[str, Any] = {
        "organization": ORGANIZATION,
        "account_id": "222222222222",
        "state_bucket": "b",
        "gitlab_url": "https://gitlab.com",
        "boundary": None,
        "project": "group/project",
        "ref": "main",
        "operators": (),
        "protect": True,
        field: wild,
    }
    with pytest.raises(ValueError, match=f"{field} .* has a wildcard"):
        PlatformAccessArgs(**arguments)


@pytest.mark.parametrize(
    ("changes", "runner_class", "expected"),
    [
        ({}, "small", ("group_type", 1234)),
        ({}, "deploy", ("project_type", 5678)),
        (
            {"runners.deploy.project": None, "runners.deploy.group": "99"},
            "deploy",
            ("group_type", 99),
        ),
    ],
)
def test_a_runner_belongs_to_the_group_or_to_one_project(
    changes: dict[str, Any], runner_class: str, expected: tuple[str, int]
) -> None:
    values = raw("dev")
    for path, value in changes.items():
        put(values, path, value)
    attributes = runner_attributes(parsed(values).runner_class(runner_class))
    assert (attributes.runner_type, attributes.owner) == expected


@pytest.mark.parametrize(
    ("runner_class", "access", "locked"), [("small", "not_protected", False), ("deploy", "ref_protected", True)]
)
def test_gitlab_decides_which_jobs_a_runner_takes(runner_class: str, access: str, locked: bool) -> None:
    inputs = mock_run("prod").get("gitlab:index/userRunner:UserRunner", f"{runner_class}-object-1-runner").inputs
    assert (inputs["accessLevel"], inputs["locked"]) == (access, locked), (
        "`protected` in our own files binds nobody there"
    )
    assert (inputs["untagged"], inputs["tagLists"]) == (False, [runner_class])
    assert inputs["maximumTimeout"] == parsed(raw("prod"), "prod").runners[runner_class].longest_job


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_cluster_runs_in_auto_mode_with_its_own_node_pools(stack: str) -> None:
    inputs = mock_run(stack).get("aws:eks/cluster:Cluster", "cluster-cluster").inputs
    assert inputs["computeConfig"] == {"enabled": True, "nodePools": []}, "no built-in pools, and so no node role"
    assert inputs["accessConfig"] == {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    assert set(inputs["enabledClusterLogTypes"]) == {"api", "audit", "authenticator", "controllerManager", "scheduler"}
    assert inputs["upgradePolicy"] == {"supportType": "STANDARD"}, "extended support costs six times as much"
    assert inputs["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == "172.20.0.0/16", "DNS is its tenth address"
    assert inputs["encryptionConfig"]["resources"] == ["secrets"]
    provider = mock_run(stack).get("pulumi:providers:kubernetes", "cluster-kubernetes")
    assert "token" not in json.loads(provider.inputs["kubeconfig"])["users"][0]["user"], "no credential in the state"
    assert provider.inputs["clusterIdentifier"], "a changed kubeconfig must not replace every object"
    group = mock_run(stack).get("aws:cloudwatch/logGroup:LogGroup", "cluster-logs").inputs
    assert group["retentionInDays"] == 90, "EKS would make it without retention"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_only_listed_roles_have_access_entries(stack: str) -> None:
    run = mock_run(stack)
    entries = {
        resource.inputs["principalArn"].partition(":role")[2]: resource
        for resource in run.of_type("aws:eks/accessEntry:AccessEntry")
    }
    suffix = "" if stack == "prod" else f"-{stack}"
    assert set(entries) == {
        *(
            "/platform-administrator",
            "/break-glass",
            "/cicd-platform/platform-deployer",
            "/cicd-platform/platform-reader",
        ),
        f"/cicd{suffix}/runner-platform-node{suffix}",
    }
    assert entries[f"/cicd{suffix}/runner-platform-node{suffix}"].inputs["type"] == "EC2"
    reader = run.get("aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "cluster-access-reader-policy")
    assert reader.inputs["policyArn"].endswith("/AmazonEKSAdminViewPolicy"), "the reader looks and changes nothing"


@pytest.mark.parametrize(("stack", "zones", "nats"), [("dev", 2, 1), ("prod", 3, 3)])
def test_a_new_network_has_the_zones_and_gateways_of_the_settings(stack: str, zones: int, nats: int) -> None:
    run = mock_run(stack)
    assert len(run.of_type("aws:ec2/natGateway:NatGateway")) == nats
    assert len(run.of_type("aws:ec2/subnet:Subnet")) == 2 * zones
    closed = run.get("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "network-default-security-group").inputs
    assert not {"ingress", "egress"} & set(closed), "the default group lets nothing through"
    assert run.get("aws:ec2/vpcEndpoint:VpcEndpoint", "network-s3").inputs["vpcEndpointType"] == "Gateway"
    assert run.of_type("aws:ec2/flowLog:FlowLog"), "who talked to whom"
    for resource in run.of_type("aws:ec2/subnet:Subnet"):
        assert not resource.inputs.get("mapPublicIpOnLaunch"), "nothing gets a public address by itself"


@pytest.mark.parametrize("stack", ["dev", "prod", "foundation"])
def test_buckets_are_private_encrypted_and_for_the_organisation_only(stack: str) -> None:
    run = mock_run(stack)
    for bucket in run.of_type("aws:s3/bucket:Bucket"):
        name = bucket.name.removesuffix("-bucket")
        block = run.get("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", f"{name}-public-access").inputs
        assert all(block[key] is True for key in block if key != "bucket"), "public in no way"
        (rule,) = run.get(
            "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
            f"{name}-encryption",
        ).inputs["rules"]
        assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
        document = json.dumps(policy(run.get("aws:s3/bucketPolicy:BucketPolicy", f"{name}-policy")))
        assert "aws:SecureTransport" in document
        assert "aws:PrincipalOrgID" in document
        versioned = [
            versioning
            for versioning in run.of_type("aws:s3/bucketVersioning:BucketVersioning")
            if versioning.name.startswith(name)
        ]
        assert bool(versioned) == (stack == "foundation"), "state has versions; a cache needs none"


def test_the_foundation_trusts_the_platform_s_project_and_named_people() -> None:
    run = mock_run("foundation")
    for name in raw("foundation")["accounts"]:
        for role in ("deployer", "reader"):
            role_resource = run.get("aws:iam/role:Role", f"access-{name}-{role}-role")
            assert f"access-{name}-gitlab" in names_of(role_resource.depends_on), (
                "IAM refuses a trust in a provider that is not there"
            )
            pipeline, people = policy(role_resource, "assumeRolePolicy")["Statement"]
            assert pipeline["Condition"] == {
                "StringEquals": {
                    "gitlab.com:aud": "https://gitlab.com",
                    "gitlab.com:sub": "project_path:senncloud/runner-platform:ref_type:branch:ref:main",
                }
            }
            assert people["Condition"]["ArnEquals"] == {
                "aws:PrincipalArn": ["arn:aws:iam::111111111111:role/platform-operator"]
            }


def test_a_mock_run_answers_an_unlisted_type_with_its_inputs_and_refuses_an_unlisted_function() -> None:
    class Arguments:
        typ, name, inputs, custom, provider = (
            "aws:sqs/queue:Queue",
            "q",
            {"fifoQueue": True},
            True,
            "",
        )  # the SDK's shape
        token, args = "aws:index/getRegion:getRegion", {}  # same

    _, outputs = Mocks().new_resource(Arguments())  # type: ignore[arg-type]  # the attributes that the mocks read
    assert outputs == {"name": "q", "arn": "arn:aws:sqs:eu-central-1:000000000000:q", "fifoQueue": True}
    with pytest.raises(ValueError, match="no answer for function aws:index/getRegion:getRegion; add it"):
        Mocks().call(Arguments())  # type: ignore[arg-type]  # same


def test_a_mock_run_leaves_the_garbage_collector_as_it_was() -> None:
    assert gc.isenabled()
    with pytest.raises(SettingsError):
        run_program("dev", {})
    assert gc.isenabled(), "a mock run stops the collector, and a refused one must start it again"
