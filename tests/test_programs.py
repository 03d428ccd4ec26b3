"""Resources of both programs in a mock run: parents, tokens, providers, protection, order, secrets, names, tags.

Every test reads the registered resources of every stack; no test depends on the inside of a component.
"""

from __future__ import annotations

import ast
import json
from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from config import foundation, load
from tests.support.program import ALL_STACKS, mock_run, policy, raw, size

if TYPE_CHECKING:
    from access.resource import Resource

PROGRAMS = (*ALL_STACKS, foundation.STACK)
PROTECTED = {"aws:kms/key:Key", "aws:eks/cluster:Cluster", "aws:ecr/repository:Repository"}
CACHE = ("cache-key", "cache-bucket")
REPOSITORIES = ("protected/runner", "protected/apps", "open/apps")


def registered_resources() -> list[tuple[str, Resource]]:
    return [(stack, resource) for stack in PROGRAMS for resource in mock_run(stack).resources]


def provider_name(resource: Resource) -> str:
    return resource.provider.rpartition("::")[2]


def tokens() -> dict[str, str]:
    """Return the type token in the source of each component, by class name."""
    modules = {}
    for file in sorted((load.ROOT / "components").glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and any(
                ast.unparse(base) == "pulumi.ComponentResource" for base in node.bases
            ):
                (call,) = [
                    call
                    for call in ast.walk(node)
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
                ]
                modules[node.name] = ast.literal_eval(call.args[0])  # fails where the token is not a literal
    return modules


def test_every_component_s_token_is_a_literal_with_its_name() -> None:
    assert tokens() == {name: f"runnerplatform:index:{name}" for name in tokens()}, (
        "a changed token replaces everything"
    )


OPTIONAL = ("GitLabRole", "Alarms", "FargateTasks")


def test_each_component_is_used_by_some_program() -> None:
    used = {resource.type for _, resource in registered_resources() if not resource.custom}
    optional = {f"runnerplatform:index:{name}" for name in OPTIONAL}
    assert used | optional == set(tokens().values()) | optional, (
        "every component is in a program; optional components have tests of their own"
    )


def test_every_resource_has_a_component_as_parent() -> None:
    for stack, resource in registered_resources():
        if resource.custom and not resource.type.startswith("pulumi:providers:"):
            assert "runnerplatform:index:" in resource.parent, f"{resource.name} of {stack} belongs to no component"


@pytest.mark.parametrize("stack", PROGRAMS)
def test_no_two_resources_have_one_urn(stack: str) -> None:
    urns = [resource.urn for resource in mock_run(stack).resources]
    assert len(set(urns)) == len(urns), "the engine refuses a second one"


@pytest.mark.parametrize("stack", PROGRAMS)
def test_no_default_provider_is_ever_used(stack: str) -> None:
    provider_urns = {
        resource.urn for resource in mock_run(stack).resources if resource.type.startswith("pulumi:providers:")
    }
    for resource in mock_run(stack).resources:
        if resource.custom and not resource.type.startswith("pulumi:providers:"):
            assert resource.provider in provider_urns, f"{resource.name} would go to whatever account the shell has"


@pytest.mark.parametrize("stack", PROGRAMS)
def test_each_provider_of_an_account_acts_there_only_and_names_no_role(stack: str) -> None:
    accounts, profile = raw(stack)["accounts"], "foundation" if stack == foundation.STACK else "platform"
    providers = {resource.name: resource.inputs for resource in mock_run(stack).of_type("pulumi:providers:aws")}
    assert set(providers) == set(accounts)
    for name, inputs in providers.items():
        assert json.loads(inputs["allowedAccountIds"]) == [accounts[name]["id"]], "the wrong profile must fail at once"
        assert inputs["profile"] == f"{profile}-{name}"
        assert "assumeRoles" not in inputs, "who acts stands in the caller's AWS config"
        tags = json.loads(inputs["defaultTags"])["tags"]
        assert tags == {"platform:stack": stack, "platform:owner": "platform", "platform:cost": "cicd"}


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_each_aws_resource_goes_to_its_account(stack: str) -> None:
    for resource in mock_run(stack).resources:
        if not resource.type.startswith("aws:"):
            continue
        delegated = resource.name.startswith("delegated-")
        expected = resource.name.split("-")[1] if delegated else "cicd"
        assert provider_name(resource) == expected, f"{resource.name} belongs to account {expected}"


def test_the_foundation_s_resources_go_to_the_account_in_their_name() -> None:
    for resource in mock_run(foundation.STACK).resources:
        if resource.type.startswith("aws:"):
            expected = "admin" if resource.name.startswith("secrets-") else resource.name.split("-")[1]
            assert provider_name(resource) == expected, f"{resource.name} belongs to account {expected}"


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_protection_comes_from_the_settings(stack: str) -> None:
    expected = raw(stack)["platform"]["protect"]
    for resource in mock_run(stack).resources:
        if resource.type in PROTECTED and resource.name not in CACHE:
            assert resource.protect is expected, f"{resource.name}: platform.protect is {expected}"
        elif resource.name in CACHE:
            assert not resource.protect, "a cache is nothing that anybody must keep"
    for cluster in mock_run(stack).of_type("aws:eks/cluster:Cluster"):
        assert cluster.inputs["deletionProtection"] is expected, "EKS's own lock, beside the engine's"


def test_state_and_keys_of_the_foundation_are_protected_and_kept() -> None:
    run = mock_run(foundation.STACK)
    for token in ("aws:s3/bucket:Bucket", "aws:kms/key:Key"):
        for resource in run.of_type(token):
            assert resource.protect, f"{resource.name}: without it no stack's state can be read"
            assert resource.retain_on_delete, f"{resource.name}: whoever unprotects it still has to delete it by hand"
    for token in ("aws:iam/role:Role", "aws:iam/policy:Policy", "aws:iam/openIdConnectProvider:OpenIdConnectProvider"):
        assert all(resource.protect for resource in run.of_type(token)), "the way in must not be lost by a mistake"


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_no_token_stands_in_any_input(stack: str) -> None:
    run = mock_run(stack)
    for resource in run.resources:
        assert "glrt-" not in json.dumps(dict(resource.inputs)), (
            f"{resource.name} would leave a token in the state in plain text"
        )
    for resource in run.of_type("kubernetes:core/v1:Secret"):
        if resource.name.endswith("-token"):
            assert resource.inputs["stringData"] == "[secret]" or resource.inputs["stringData"] == {
                "runner-token": "[secret]",
                "runner-registration-token": "",
            }, "the chart mounts both keys, and the token is a secret to the end"
    for resource in run.of_type("kubernetes:helm.sh/v3:Release"):
        digest = resource.inputs["values"]["podAnnotations"]["runner-platform/token-sha256"]
        assert len(digest) == 64, "the token's hash rolls the manager; the chart's own checksum cannot see the Secret"


@pytest.mark.parametrize("stack", PROGRAMS)
def test_policy_documents_are_known_and_parse(stack: str) -> None:
    for resource in mock_run(stack).resources:
        for key in ("policy", "assumeRolePolicy"):
            if (
                resource.type.startswith("aws:")
                and key in resource.inputs
                and resource.type != "aws:ecr/lifecyclePolicy:LifecyclePolicy"
            ):
                document = json.loads(resource.inputs[key])
                assert document["Version"] == "2012-10-17", f"{resource.name} has a document of another grammar"
                assert document["Statement"], f"{resource.name} says nothing"


@pytest.mark.parametrize("stack", PROGRAMS)
def test_documents_keep_to_iam_s_sizes(stack: str) -> None:
    inline: dict[tuple[str, str], int] = {}
    for resource in mock_run(stack).resources:
        if resource.type == "aws:iam/rolePolicy:RolePolicy":
            of_role = (provider_name(resource), resource.inputs["role"])
            inline[of_role] = inline.get(of_role, 0) + size(policy(resource))
        elif resource.type == "aws:iam/role:Role":
            assert size(policy(resource, "assumeRolePolicy")) <= 2048, f"{resource.name}: IAM's limit of a trust"
        elif resource.type == "aws:iam/policy:Policy":
            assert size(policy(resource)) <= 6144, f"{resource.name}: IAM's limit of a managed policy"
    too_long = {role: length for role, length in inline.items() if length > 10240}
    assert not too_long, f"all inline policies of a role share 10,240 characters: {too_long}"


FIXED = {
    "aws:iam/role:Role": "name",
    "aws:kms/alias:Alias": "name",
    "aws:s3/bucket:Bucket": "bucket",
    "aws:eks/cluster:Cluster": "name",
    "aws:ecr/repository:Repository": "name",
    "aws:cloudwatch/logGroup:LogGroup": "name",
    "aws:iam/policy:Policy": "name",
}


def physical(stack: str) -> list[tuple[str, str, str]]:
    return [
        (provider_name(resource), resource.type, resource.inputs[FIXED[resource.type]])
        for resource in mock_run(stack).resources
        if resource.type in FIXED
    ]


def test_all_stacks_stand_side_by_side_in_the_same_accounts() -> None:
    every = list(chain(*(physical(stack) for stack in PROGRAMS)))
    doubles = {name for name in every if every.count(name) > 1}
    assert not doubles, "IAM names are unique per account whatever their path, and so are these"


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_physical_names_of_roles_are_under_the_stack_s_path(stack: str) -> None:
    path = "/cicd/" if stack == "prod" else f"/cicd-{stack}/"
    for resource in mock_run(stack).of_type("aws:iam/role:Role"):
        assert resource.inputs["path"] == path, "the boundary and the deployer's rights go by path"
        assert resource.inputs["name"].endswith("" if stack == "prod" else f"-{stack}")


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_every_resource_of_a_class_carries_its_tag(stack: str) -> None:
    for resource in mock_run(stack).of_type("aws:iam/role:Role"):
        if "-identity-" in resource.name:
            assert resource.inputs["tags"] == {"platform:class": resource.name.partition("-")[0]}, (
                "costs are asked for by class"
            )
    for resource in mock_run(stack).of_type("kubernetes:eks.amazonaws.com/v1:NodeClass"):
        tags = resource.inputs["spec"]["tags"]
        assert {"platform:stack", "platform:owner", "platform:cost"} <= set(tags), "nodes are what costs money"
        assert tags.get("platform:class", "managers") == resource.inputs["metadata"]["name"]


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_both_sides_of_each_trust_agree_in_what_is_registered(stack: str) -> None:
    run, accounts = mock_run(stack), raw(stack)["accounts"]
    trusted: set[tuple[str, str]] = set()
    for resource in run.of_type("aws:iam/role:Role"):
        if resource.name.startswith("delegated-"):
            own = f"arn:aws:iam::{accounts[provider_name(resource)]['id']}:role{resource.inputs['path']}{resource.inputs['name']}"
            for statement in json.loads(resource.inputs["assumeRolePolicy"])["Statement"]:
                trusted |= {(arn, own) for arn in statement["Condition"]["ArnEquals"]["aws:PrincipalArn"]}
            boundary = f"arn:aws:iam::{accounts[provider_name(resource)]['id']}:policy/cicd-platform/delegated-boundary"
            assert resource.inputs["permissionsBoundary"] == boundary, (
                f"{resource.name} could do more than the boundary"
            )
    permitted = set()
    for resource in run.of_type("aws:iam/rolePolicy:RolePolicy"):
        if resource.name.endswith("-delegated-roles"):
            job = run.get("aws:iam/role:Role", resource.name.removesuffix("-delegated-roles")).inputs
            own = f"arn:aws:iam::{accounts['cicd']['id']}:role{job['path']}{job['name']}"
            permitted |= {(own, arn) for arn in json.loads(resource.inputs["policy"])["Statement"][0]["Resource"]}
    assert trusted == permitted, "one list makes both sides"
    assert trusted, "an empty matrix would agree with anything"


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_exports_are_what_a_person_needs(stack: str) -> None:
    exports: dict[str, Any] = mock_run(stack).exports
    suffix = "" if stack == "prod" else f"-{stack}"
    if "cluster" in raw(stack):
        assert exports["cluster"] == f"runner-platform{suffix}"
        assert exports["update_kubeconfig"] == (
            f"aws eks update-kubeconfig --name runner-platform{suffix} --region eu-central-1 --profile platform-cicd"
        )
    else:
        assert {"cluster", "update_kubeconfig"} & set(exports) == set(), "the stack has no cluster"
    assert exports["runner_tags"] == {name: f"{name}{suffix}" for name in raw(stack)["runners"]}
    assert set(exports["job_roles"]) == set(raw(stack)["runners"])
    assert exports["cache_bucket"].startswith("o-senncloud01-cache-")
    assert exports["runner_image"], "pipelines name it"
    assert set(exports["repositories"]) == {f"{suffix[1:]}/{repository}".lstrip("/") for repository in REPOSITORIES}
    of_classes = {runner["level"] for runner in raw(stack)["runners"].values()}
    for account, account_settings in raw(stack)["accounts"].items():
        levels = {level for level in of_classes if account_settings.get(level)}
        assert set(exports["delegated_roles"][account]) == levels, "one role per level that has something to do there"
