"""Access entries and access policies: who they are for, and what the cluster's keepers make of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from sandbox.tests.support.aws_network import make_cluster
from tests.support.aws_cases import CICD, Cloud, refusal, trusting, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

INVALID = (400, "InvalidParameterException")


def entry_role(aws: Cloud, path: str = "/") -> str:
    """Make a role for an access entry."""
    iam = aws.root(CICD).client("iam")
    made = iam.create_role(RoleName=unique("who"), Path=path, AssumeRolePolicyDocument=trusting(CICD))
    return str(made["Role"]["Arn"])


def test_a_nodes_entry_takes_the_policy_of_auto_mode(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    node = {"clusterName": cluster.name, "principalArn": entry_role(aws)}
    entry = eks.create_access_entry(**node, type="EC2")["accessEntry"]
    assert (entry["type"], entry["kubernetesGroups"]) == ("EC2", ["system:nodes"])
    arn = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSAutoNodePolicy"
    eks.associate_access_policy(**node, policyArn=arn, accessScope={"type": "cluster"})
    found = eks.list_associated_access_policies(**node)["associatedAccessPolicies"]
    assert [one["policyArn"] for one in found] == [arn]
    assert eks.describe_access_entry(**node)["accessEntry"]["type"] == "EC2"


def test_access_entries_are_for_principals_that_exist(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    arn = entry_role(aws, "/cicd/")
    nobody = [f"arn:aws:iam::{CICD}:role/nobody", arn.replace("/cicd/", "/"), "nonsense"]
    for principal in nobody:
        assert refusal(eks.create_access_entry, clusterName=cluster.name, principalArn=principal) == INVALID
    entry = eks.create_access_entry(clusterName=cluster.name, principalArn=arn)["accessEntry"]
    assert entry["username"].endswith("/{{SessionName}}")
    again = refusal(eks.create_access_entry, clusterName=cluster.name, principalArn=arn)
    assert again == (409, "ResourceInUseException")


@pytest.mark.parametrize(
    ("why", "fields"),
    [
        ("a group of the system", {"kubernetesGroups": ["system:masters"]}),
        ("groups for nodes", {"type": "EC2_LINUX", "kubernetesGroups": ["a"]}),
        ("a user name for nodes", {"type": "EC2", "username": "a"}),
        ("an unknown type", {"type": "ADMIN"}),
    ],
)
def test_an_access_entry_that_eks_would_refuse_is_refused(aws: Cloud, why: str, fields: dict[str, Any]) -> None:
    eks, cluster = make_cluster(aws)
    asked = {"clusterName": cluster.name, "principalArn": entry_role(aws)} | fields
    assert refusal(eks.create_access_entry, **asked) == INVALID, why


def test_an_unknown_access_policy_is_refused(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)
    who = {"clusterName": cluster.name, "principalArn": entry_role(aws)}
    eks.create_access_entry(**who)
    known = {one["arn"] for one in eks.list_access_policies()["accessPolicies"]}
    wrong = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSEverythingPolicy"
    found = refusal(eks.associate_access_policy, **who, policyArn=wrong, accessScope={"type": "cluster"})
    assert wrong not in known
    assert found == (404, "ResourceNotFoundException")


def test_keepers_see_every_change_of_access_and_get_the_objects_for_it(aws: Cloud) -> None:
    eks, cluster = make_cluster(aws)

    def version() -> str:
        return next(one for one in aws.admin.clusters() if one.id == cluster.id).access_version

    seen = [version()]
    who = {"clusterName": cluster.name, "principalArn": entry_role(aws)}
    view = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"
    eks.create_access_entry(**who)
    seen.append(version())
    scope = {"type": "namespace", "namespaces": ["jobs-*"]}
    eks.associate_access_policy(**who, policyArn=view, accessScope=scope)
    seen.append(version())
    objects = aws.admin.rbac(cluster, ["jobs-small", "jobs-medium", "kube-system"])
    bindings = [one for one in objects if one["kind"] == "RoleBinding"]
    assert {one["metadata"]["namespace"] for one in bindings} == {"jobs-small", "jobs-medium"}
    assert all("ministack.org/eks-access-policy" in one["metadata"]["labels"] for one in objects)
    eks.disassociate_access_policy(**who, policyArn=view)
    seen.append(version())
    assert [one for one in aws.admin.rbac(cluster, ["jobs-small"]) if one["kind"] == "RoleBinding"] == []
    eks.update_access_entry(**who, kubernetesGroups=["readers"])
    seen.append(version())
    assert all(before != after for before, after in itertools.pairwise(seen))
    assert version() == seen[-1]
