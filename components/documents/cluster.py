"""The deployer's kubeconfig, and the permission of the control plane to tag nodes.

The kubeconfig names a command instead of a token, so that no token is ever in state. `runner-platform kube-token` asks
`aws eks get-token` and waits until the API server accepts the token: access entries take effect some seconds after they are made.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
"""

from __future__ import annotations

from typing import Any

from components.documents.statements import Document, document

COMMAND = "runner-platform"
INSTALL_HINT = "activate the project's environment (. .venv/bin/activate) so that runner-platform is on PATH"


def kubeconfig(*, name: Any, endpoint: Any, certificate_authority: Any, region: str, profile: str) -> dict[str, Any]:
    """Return the kubeconfig of one cluster.

    Args:
        name: the cluster's name.
        endpoint: `https://…` of the API server.
        certificate_authority: base64 of its certificate authority's PEM.
        region: the cluster's region.
        profile: the AWS profile that acts.
    """
    user = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": COMMAND,
            "args": ["kube-token", "--cluster", name, "--region", region, "--profile", profile],
            "installHint": INSTALL_HINT,
            "interactiveMode": "Never",
            "provideClusterInfo": True,
        }
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "cluster", "cluster": {"server": endpoint, "certificate-authority-data": certificate_authority}}
        ],
        "users": [{"name": "deployer", "user": user}],
        "contexts": [{"name": "deployer", "context": {"cluster": "cluster", "user": "deployer"}}],
        "current-context": "deployer",
    }


def tagging_permissions(partition: str) -> Document:
    """Permit Auto Mode to put the platform's tags on nodes and volumes; no node with such tags starts otherwise.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/auto-learn-iam.html
    """
    cluster = "${aws:PrincipalTag/eks:eks-cluster-name}"
    condition = {
        "StringEquals": {"aws:RequestTag/eks:eks-cluster-name": cluster},
        "StringLike": {
            "aws:RequestTag/eks:kubernetes-node-class-name": "*",
            "aws:RequestTag/eks:kubernetes-node-pool-name": "*",
        },
    }
    ec2 = f"arn:{partition}:ec2:*:*:"
    return document(
        {
            "Sid": "Compute",
            "Effect": "Allow",
            "Action": ["ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateLaunchTemplate"],
            "Resource": "*",
            "Condition": condition,
        },
        {
            "Sid": "Storage",
            "Effect": "Allow",
            "Action": ["ec2:CreateVolume", "ec2:CreateSnapshot"],
            "Resource": [f"{ec2}volume/*", f"{ec2}snapshot/*"],
            "Condition": {"StringEquals": condition["StringEquals"]},
        },
        {
            "Sid": "Networking",
            "Effect": "Allow",
            "Action": "ec2:CreateNetworkInterface",
            "Resource": "*",
            "Condition": {
                "StringEquals": condition["StringEquals"],
                "StringLike": {"aws:RequestTag/eks:kubernetes-cni-node-name": "*"},
            },
        },
    )
