"""Resources of a stack with rare settings: existing networks, other partitions, external tokens, private authorities."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest import mock

import pulumi
import pytest
from pulumi.runtime import config as runtime_config

from components.cluster import verified_services
from components.network import closed_networks, usable_zones, verified_subnets
from config.errors import SettingsError
from config.secrets import runner_token
from config.sections import ExistingNetwork
from tests.support.certificate import certificate
from tests.support.packaged_chart import packaged
from tests.support.program import ABSENT, TOKEN, mock_run, mock_run_of, names_of, one_class, policy, put

if TYPE_CHECKING:
    from access.resource import Resource
    from runner_platform.check.mock_run import MockRun

pytestmark = pytest.mark.thorough

AUTHORITY = certificate("gitlab.example.com")
EXISTING = {"vpc": "vpc-0a", "private": ["subnet-0a", "subnet-0c"]}


@cache
def mirrored() -> str:
    """Path of a packaged chart, as a mirror has it; a mock run reads only its name and version."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder)
    return str(packaged(folder / "gitlab-runner-0.93.0.tgz"))


@cache
def unusual_run() -> MockRun:
    """Run dev with one class and all rare settings at once: a government partition, an existing private network, arm64, external runners."""
    values = one_class()
    for path, value in {
        "organization.partition": "aws-us-gov",
        "organization.region": "us-gov-west-1",
        "network": {"existing": EXISTING},
        "gitlab": {"url": "https://gitlab.example.com:8443/gitlab", "runners": "external", "ca_bundle": AUTHORITY},
        "cluster.access": {"private": {"reached_from": "vpn"}},
        "cluster.administrators": [
            *("arn:aws-us-gov:iam::222222222222:role/people/reader", "arn:aws-us-gov:iam::333333333333:role/reader"),
        ],
        "chart": {"path": mirrored()},
        "cache.expire_days": 0,
        "registry.open": ["a/b", "a-b"],
        "runners.small.arch": "arm64",
        "runners.small.pod_security": "restricted",
        "runners.small.tags": ["special", "docker"],
        "registry.mutable": {"open": ["cache"]},
        "platform.boundary": "company/boundary",
        "tags": {"further": {"Kostenstelle Straße": "4711", "empty": ""}},
        "accounts.log-archive": {"id": "555555555555", "open": ["state"]},
    }.items():
        put(values, path, value)
    with mock.patch.dict(os.environ, {"RUNNER_TOKEN_SMALL": f"{TOKEN}\n"}):
        return mock_run_of("dev", values)


def of(token: str, name: str) -> Resource:
    return unusual_run().get(token, name)


def test_existing_subnets_are_used_and_nothing_of_the_network_is_made() -> None:
    types = {resource.type for resource in unusual_run().resources if resource.type.startswith("aws:ec2/")}
    assert types == set(), "somebody else owns that network"
    cluster = of("aws:eks/cluster:Cluster", "cluster-cluster")
    assert cluster.inputs["vpcConfig"]["subnetIds"] == EXISTING["private"]
    nodes = of("kubernetes:eks.amazonaws.com/v1:NodeClass", "small-nodes-class")
    assert nodes.inputs["spec"]["subnetSelectorTerms"] == [{"id": subnet_id} for subnet_id in EXISTING["private"]]
    jobs = of("kubernetes:networking.k8s.io/v1:NetworkPolicy", "small-runner-jobs-network")
    assert "10.0.0.0/16" in jobs.inputs["spec"]["egress"][1]["to"][0]["ipBlock"]["except"], (
        "that VPC is out of jobs' reach"
    )


def test_a_private_endpoint_is_not_public_at_all() -> None:
    config = of("aws:eks/cluster:Cluster", "cluster-cluster").inputs["vpcConfig"]
    assert (config["endpointPublicAccess"], config["endpointPrivateAccess"]) == (False, True)
    assert "publicAccessCidrs" not in config


def test_every_arn_that_is_registered_carries_the_partition() -> None:
    for resource in unusual_run().resources:
        for key, value in resource.inputs.items():
            words = json.dumps(value).replace("\\", "").split('"')
            # The rehearsal's own answers are of the partition aws: they are what a cloud would say, not what the program composes.
            wrong = [w for w in words if w.startswith("arn:aws:") and "000000000000" not in w]
            assert not wrong, f"{resource.name}.{key}: {wrong} exist in no account of aws-us-gov"


def test_an_arm64_class_has_arm64_nodes_and_managers_stay_as_they_are() -> None:
    def arch(name: str) -> Any:
        spec = of("kubernetes:karpenter.sh/v1:NodePool", name).inputs["spec"]["template"]["spec"]
        return next(
            requirement["values"] for requirement in spec["requirements"] if requirement["key"] == "kubernetes.io/arch"
        )

    assert (arch("small-nodes-pool"), arch("managers-pool")) == (["arm64"], ["amd64"])


def test_a_private_authority_reaches_the_manager_under_the_host_s_name() -> None:
    secret = of("kubernetes:core/v1:Secret", "small-runner-ca")
    assert json.loads(json.dumps(secret.inputs["stringData"])) in ("[secret]", {"gitlab.example.com.crt": AUTHORITY}), (
        "the runner looks for <host>.crt, without the port"
    )
    values = of("kubernetes:helm.sh/v3:Release", "small-runner-release").inputs["values"]
    assert values["certsSecretName"] == secret.inputs["metadata"]["name"]
    assert values["gitlabUrl"] == "https://gitlab.example.com:8443/gitlab"
    manager = of("kubernetes:networking.k8s.io/v1:NetworkPolicy", "small-runner-manager-network")
    assert [port["port"] for port in manager.inputs["spec"]["egress"][1]["ports"]] == [443, 8443]


def test_a_token_of_the_environment_stays_secret_and_makes_no_runner() -> None:
    assert unusual_run().of_type("gitlab:index/userRunner:UserRunner") == [], (
        "external runners are registered elsewhere"
    )
    for resource in unusual_run().resources:
        assert TOKEN not in json.dumps(dict(resource.inputs)), f"{resource.name} would leave the token in plain text"


def digest(run: MockRun) -> Any:
    release = run.get("kubernetes:helm.sh/v3:Release", "small-runner-release")
    return release.inputs["values"]["podAnnotations"]["runner-platform/token-sha256"]


def test_a_newline_behind_a_token_is_taken_off() -> None:
    assert digest(unusual_run()) == hashlib.sha256(TOKEN.encode()).hexdigest(), (
        "7.5: GitLab refuses a header with a newline in it"
    )


def test_a_token_of_the_stack_s_secret_is_used() -> None:
    assert digest(larger()) == digest(unusual_run()), "the same token, wherever it comes from"


def test_a_missing_token_prints_the_command_that_sets_it() -> None:
    runtime_config.set_all_config({})
    with pytest.raises(SettingsError) as caught:
        runner_token("small", "dev")
    assert "pulumi config set --stack dev --secret --path 'runner-platform:tokens.small'" in str(caught.value)
    assert "RUNNER_TOKEN_SMALL (masked and protected)" in str(caught.value)
    assert isinstance(caught.value, pulumi.RunError), "the language host prints a RunError without a traceback"


def test_a_chart_of_a_path_needs_no_repository() -> None:
    inputs = of("kubernetes:helm.sh/v3:Release", "small-runner-release").inputs
    assert inputs["chart"] == mirrored()
    assert not {"version", "repositoryOpts"} & set(inputs)
    usual = mock_run("dev").get("kubernetes:helm.sh/v3:Release", "small-runner-release").inputs
    assert (usual["chart"], usual["version"]) == ("gitlab-runner", "0.93.0"), (
        "pinned: newer values are ignored silently"
    )
    assert usual["repositoryOpts"] == {"repo": "https://charts.gitlab.io"}
    assert usual["atomic"] is True, "a release that does not come up is taken back"
    assert usual["name"] == "gitlab-runner-small", "7.4: names are stable"


def test_two_administrators_of_one_name_and_a_role_called_reader_are_three_entries() -> None:
    entries = {
        resource.name: resource.inputs["principalArn"]
        for resource in unusual_run().of_type("aws:eks/accessEntry:AccessEntry")
    }
    assert len(entries) == 5, f"deployer, reader, nodes and two administrators: {entries}"


def test_repositories_that_differ_in_a_slash_are_two() -> None:
    urns = [resource.urn for resource in unusual_run().of_type("aws:ecr/repository:Repository")]
    assert len(set(urns)) == len(urns) == 5, "runner image, apps, a/b, a-b and the cache"


def test_only_the_tags_of_a_mutable_repository_may_be_overwritten() -> None:
    repositories = unusual_run().of_type("aws:ecr/repository:Repository")
    mutability = {resource.inputs["name"]: resource.inputs["imageTagMutability"] for resource in repositories}
    assert {name for name, value in mutability.items() if value == "MUTABLE"} == {"dev/open/cache"}
    assert set(mutability.values()) == {"MUTABLE", "IMMUTABLE"}


def test_every_role_has_the_organisation_s_boundary_or_the_platform_s_own() -> None:
    for role in unusual_run().of_type("aws:iam/role:Role"):
        account = role.account
        own = role.inputs["name"].startswith(("delegated-role", "gitlab-"))
        policy_name = "cicd-platform/delegated-boundary" if own else "company/boundary"
        assert role.inputs["permissionsBoundary"] == f"arn:aws-us-gov:iam::{account}:policy/{policy_name}", role.name
    plain = [role.inputs.get("permissionsBoundary") for role in mock_run("dev").of_type("aws:iam/role:Role")]
    assert None in plain, "without platform.boundary nothing changes"


def test_further_tags_are_on_everything_and_on_nodes() -> None:
    tags = {"Kostenstelle Straße": "4711", "empty": ""}
    for provider in unusual_run().of_type("pulumi:providers:aws"):
        assert tags.items() <= dict(json.loads(provider.inputs["defaultTags"])["tags"]).items()
    nodes = of("kubernetes:eks.amazonaws.com/v1:NodeClass", "small-nodes-class")
    assert tags.items() <= nodes.inputs["spec"]["tags"].items()


def test_an_account_with_a_dash_has_its_profile_and_roles() -> None:
    config = of("kubernetes:core/v1:ConfigMap", "small-runner-aws-config").inputs["data"]["config"]
    assert "[profile log-archive]" in config
    role = of("aws:iam/role:Role", "delegated-log-archive-open-role")
    assert role.account == "555555555555"
    assert role.provider.rpartition("::")[2] == "log-archive"


def test_a_cache_that_is_kept_for_ever_has_no_expiry() -> None:
    def rules(run: MockRun) -> set[str]:
        lifecycle = run.get("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", "cache-lifecycle")
        return {rule["id"] for rule in lifecycle.inputs["rules"]}

    assert rules(unusual_run()) == {"unfinished"}
    assert rules(mock_run("dev")) == {"unfinished", "expiry"}


def test_a_class_s_own_tags_are_exported() -> None:
    assert unusual_run().exports["runner_tags"] == {"small": "special, docker"}


def test_a_role_for_gitlab_s_tokens_stands_in_its_account_within_the_boundary() -> None:
    (role,) = [
        resource for resource in larger().of_type("aws:iam/role:Role") if resource.inputs["name"] == "gitlab-app-dev"
    ]
    assert role.provider.rpartition("::")[2] == "dev", "in the account that it opens"
    assert role.inputs["permissionsBoundary"].endswith(":policy/cicd-platform/delegated-boundary")
    (statement,) = policy(role, "assumeRolePolicy")["Statement"]
    assert statement["Condition"]["StringEquals"]["gitlab.com:sub"] == (
        "project_path:senncloud/app:ref_type:branch:ref:main"
    )


class Subnet:
    """The result of looking up a subnet."""

    def __init__(
        self,
        name: str,
        vpc: str = "vpc-0a",
        zone: str = "a",
        public: bool = False,
        zone_id: str = "",
        outpost: str = "",
    ) -> None:
        self.id, self.vpc_id, self.map_public_ip_on_launch = name, vpc, public
        self.availability_zone = zone if len(zone) > 1 else f"us-east-1{zone}"
        self.availability_zone_id, self.outpost_arn, self.ipv6_native = zone_id, outpost, name.endswith("6")


@pytest.mark.parametrize(
    ("subnets", "words"),
    [
        ([Subnet("subnet-0a"), Subnet("subnet-0b", vpc="vpc-0b", zone="b")], "subnet-0b is in vpc-0b, not in vpc-0a"),
        ([Subnet("subnet-0a"), Subnet("subnet-0b", zone="b", public=True)], "subnet-0b gives public addresses"),
        ([Subnet("subnet-0a"), Subnet("subnet-0b")], "all subnets are in us-east-1a; EKS needs two zones"),
        ([Subnet("subnet-0a"), Subnet("subnet-06", zone="b")], "subnet-06 has no IPv4 addresses"),
        ([Subnet("subnet-0a"), Subnet("subnet-0b", zone="us-west-2-lax-1a")], "us-west-2-lax-1a, a Local Zone"),
        ([Subnet("subnet-0a"), Subnet("subnet-0b", zone="us-east-1-wl1-bos-wlz-1")], "or Wavelength Zone"),
        ([Subnet("subnet-0a"), Subnet("subnet-0b", zone="b", outpost="arn:aws:outposts:…")], "is on the Outpost"),
        ([Subnet("subnet-0a"), Subnet("subnet-0b", zone="e", zone_id="use1-az3")], "use1-az3.*a zone without EKS"),
    ],
)
def test_subnets_that_do_not_fit_nodes_are_refused_by_id(subnets: list[Subnet], words: str) -> None:
    with pytest.raises(pulumi.RunError, match=words):
        verified_subnets(ExistingNetwork.model_validate(EXISTING), subnets)


def test_zones_without_eks_are_left_out_and_too_few_are_refused() -> None:
    zones = SimpleNamespace(
        names=["us-west-1a", "us-west-1b", "us-west-1c"], zone_ids=["usw1-az2", "usw1-az3", "usw1-az1"]
    )
    assert usable_zones(zones, 2) == ["us-west-1b", "us-west-1c"], "EKS takes no subnet in usw1-az2"
    with pytest.raises(pulumi.RunError, match="is 3, and the account has 2 zones"):
        usable_zones(zones, 3)


def test_endpoints_never_open_a_whole_network_of_an_existing_vpc() -> None:
    assert closed_networks(["10.0.0.0/16"], ["10.0.9.0/24"]) == ["10.0.0.0/16"]
    with pytest.raises(pulumi.RunError, match=r"10\.0\.0\.0/16 holds all of 10\.0\.0\.0/16"):
        closed_networks(["100.64.0.0/16", "10.0.0.0/16"], ["10.0.0.0/16"])


def test_an_existing_network_that_overlaps_the_services_is_refused() -> None:
    assert verified_services(["10.0.0.0/16"], "172.20.0.0/16") == "172.20.0.0/16"
    with pytest.raises(pulumi.RunError, match=r"172\.20\.0\.0/16 overlaps 172\.16\.0\.0/12"):
        verified_services(["10.0.0.0/16", "172.16.0.0/12"], "172.20.0.0/16")


def test_subnets_that_fit_are_taken_in_order() -> None:
    subnets = [Subnet("subnet-0a"), Subnet("subnet-0c", zone="b")]
    assert verified_subnets(ExistingNetwork.model_validate(EXISTING), subnets) == EXISTING["private"]


def with_more(memory: str) -> dict[str, Any]:
    """Dev with the class `small`, one class more, and accounts up to the ninth: changes of settings and nothing else."""
    values = one_class(gitlab={"url": "https://gitlab.com", "runners": "external"})
    values["accounts"]["stage"] = {"id": "555555555555", "open": ["ecs", "pulumi"]}
    values["accounts"] |= {f"team{number}": {"id": f"{number:012}", "open": ["state"]} for number in range(6)}
    values["runners"]["huge"] = {**values["runners"]["small"], "cpu": "30", "memory": memory, "disk": "90Gi"}
    values["gitlab_oidc"] = {"app": {"account": "dev", "level": "open", "project": "senncloud/app", "ref": "main"}}
    values["tokens"] = {"small": TOKEN, "huge": f"{TOKEN}-huge"}
    return values


@cache
def larger() -> MockRun:
    return mock_run_of("dev", with_more("60Gi"))


def test_a_further_class_and_a_further_account_are_changes_of_settings_only() -> None:
    run = larger()
    teams = {f"team{number}" for number in range(6)}
    assert {resource.name for resource in run.of_type("pulumi:providers:aws")} == {"cicd", "dev", "stage"} | teams
    assert teams <= {name for name, roles in run.exports["delegated_roles"].items() if set(roles) == {"open"}}
    delegated = run.get("aws:iam/role:Role", "delegated-stage-open-role")
    trusted = policy(delegated, "assumeRolePolicy")["Statement"][0]["Condition"]["ArnEquals"]["aws:PrincipalArn"]
    assert [arn.rpartition("/")[2] for arn in trusted] == ["runner-huge-dev", "runner-small-dev"]
    assert {
        resource.name.rpartition("-")[2]
        for resource in run.of_type("aws:iam/rolePolicy:RolePolicy")
        if "stage" in resource.name
    } == {
        *("ecs", "pulumi"),
    }, "one policy for each capability"
    assert run.get("kubernetes:helm.sh/v3:Release", "huge-runner-release").inputs["name"] == "gitlab-runner-huge"
    config = run.get("kubernetes:core/v1:ConfigMap", "small-runner-aws-config").inputs["data"]["config"]
    assert "[profile stage]" in config, "the new account's profile is in every class that may enter"


def test_memory_of_one_class_changes_that_class_and_nothing_else() -> None:
    before = {resource.urn: resource.inputs for resource in larger().resources}
    after = {resource.urn: resource.inputs for resource in mock_run_of("dev", with_more("100Gi")).resources}
    changed = names_of(tuple(urn for urn in before | after if before.get(urn) != after.get(urn)))
    assert changed, "the memory of a class is part of its requests"
    assert all(name.startswith("huge-") for name in changed), f"{changed}: other classes would be rolled without need"


@pytest.mark.parametrize("path", ["runners.small.memory", "network.cidr"])
def test_a_program_with_bad_settings_registers_nothing(path: str) -> None:
    values = one_class()
    put(values, path, ABSENT)
    with pytest.raises(pulumi.RunError, match="nothing was touched"):
        mock_run_of("dev", values)
