"""Mutations with resources, properties and options that no rule looked at before: unknown types, code at deployment, provider options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_gitlab as gitlab
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster
from components.runner_class import RunnerClass
from tests.attacks.catalog.trusts import CICD, SMALL
from tests.attacks.change import put, with_addition, with_inputs
from tests.attacks.mutation import seen_by

if TYPE_CHECKING:
    from tests.attacks.change import Change

RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
RIGHTS = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
IN_JOBS = {"name": "executor", "namespace": "jobs-small"}


def added(token: str, /, **inputs: Any) -> Change:
    """Return a change that makes one more resource in the open class."""

    def make(component: Any, _args: Any) -> None:
        pulumi.CustomResource(token, "stranger", dict(inputs), pulumi.ResourceOptions(parent=component))

    return with_addition(RunnerClass, make, "small-runner")


def node_entry(component: Any, args: Any) -> None:
    """Give jobs of the open class the rights of a node."""
    aws.eks.AccessEntry(
        "node-entry",
        cluster_name=args.names.cluster,
        principal_arn=SMALL,
        type="EC2",
        opts=pulumi.ResourceOptions(parent=component),
    )


def other_server(kubeconfig: pulumi.Output[str]) -> pulumi.Output[str]:
    """Return a kubeconfig that sends the deployer's token to another server."""
    return kubeconfig.apply(
        lambda text: json.dumps(
            put("https://elsewhere.example.com", "clusters", 0, "cluster", "server")(json.loads(text))
        )
    )


MUTATIONS = [
    seen_by(
        "H05", "A20", "a patch widens the managers' role", added(f"{RBAC}:RolePatch", metadata=IN_JOBS, rules=RIGHTS)
    ),
    seen_by(
        "H05",
        "A20",
        "a list holds a role with every right",
        added(f"{RBAC}:ClusterRoleList", items=[{"metadata": {"name": "all"}, "rules": RIGHTS}]),
    ),
    seen_by(
        "H05",
        "A24",
        "a webhook rewrites pods",
        added(
            "kubernetes:admissionregistration.k8s.io/v1:MutatingWebhookConfiguration",
            metadata={"name": "rewrites"},
            webhooks=[{"name": "rewrites.example.com", "clientConfig": {"url": "https://rewrites.example.com"}}],
        ),
    ),
    seen_by(
        "H05",
        "A30",
        "a Fargate profile runs pods beside the nodes",
        added(
            "aws:eks/fargateProfile:FargateProfile",
            clusterName="runner-platform",
            podExecutionRoleArn=f"arn:aws:iam::{CICD}:role/cicd/runner-deploy",
        ),
    ),
    seen_by(
        "H05",
        "A08",
        "a SAML provider of a stranger",
        added("aws:iam/samlProvider:SamlProvider", name="theirs", samlMetadataDocument="<EntityDescriptor/>"),
    ),
    seen_by(
        "H05",
        "A10",
        "a function runs with the role of the deploy jobs",
        added("aws:lambda/function:Function", role=f"arn:aws:iam::{CICD}:role/cicd/runner-deploy", handler="a.b"),
    ),
    seen_by(
        "H05",
        "A18",
        "a runner is enabled for another project",
        added("gitlab:index/projectRunnerEnablement:ProjectRunnerEnablement", project="9999", runnerId=1),
    ),
    seen_by(
        "H05",
        "A18",
        "a branch of the deploying project loses its protection",
        added(
            "gitlab:index/branchProtection:BranchProtection", project="5678", branch="main", pushAccessLevel="developer"
        ),
    ),
    seen_by(
        "H05",
        "A22",
        "a runner by the older resource, with a registration token",
        added("gitlab:index/runner:Runner", registrationToken="x", tagLists=["deploy"]),  # fabricated
    ),
    seen_by("H06", "A30", "a dynamic resource", added("pulumi-python:dynamic:Resource", __provider="gASV")),
    seen_by("H06", "A30", "a command on the deployer's machine", added("command:local:Command", create="env | base64")),
    seen_by(
        "H06", "A30", "manifests that are fetched", added("kubernetes:yaml/v2:ConfigFile", file="https://example.com/a")
    ),
    seen_by(
        "H05", "A30", "subnets hand out public addresses", with_inputs(aws.ec2.Subnet, map_public_ip_on_launch=True)
    ),
    seen_by(
        "H05",
        "A30",
        "a Secret that holds the token of another service account",
        with_inputs(kubernetes.core.v1.Secret, "small-runner-token", type="kubernetes.io/service-account-token"),
    ),
    seen_by(
        "E11",
        "A20",
        "the cluster's DNS is changed",
        added(
            "kubernetes:core/v1:ConfigMap",
            metadata={"name": "coredns", "namespace": "kube-system"},
            data={"Corefile": "example.com { forward . 198.51.100.1 }"},
        ),
    ),
    seen_by("E04 T10", "A21", "jobs of the open class enter the cluster as nodes", with_addition(Cluster, node_entry)),
    seen_by(
        "H01",
        "A25",
        "the provider of prod compares no account",
        with_inputs(aws.Provider, "prod", skip_credentials_validation=True),
    ),
    seen_by(
        "H01",
        "A25",
        "the provider of prod reads other files",
        with_inputs(aws.Provider, "prod", shared_config_files=["/tmp/config"]),  # noqa: S108  # names a file of an attacker
    ),
    seen_by(
        "H07",
        "A25",
        "the deployer's token goes to another server",
        with_inputs(kubernetes.Provider, kubeconfig=other_server),
    ),
    seen_by(
        "H07",
        "A25",
        "objects are replaced past their managers",
        with_inputs(kubernetes.Provider, enable_server_side_apply=False),
    ),
    seen_by(
        "H07",
        "A25",
        "runners are made in another instance",
        with_inputs(gitlab.Provider, base_url="https://example.com/api/v4/"),
    ),
]
