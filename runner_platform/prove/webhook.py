"""What EKS's identity webhook does to a pod whose service account names a role.

The platform's job accounts name none, on purpose. If one ever does, the variables that this adds beat the profiles in some SDKs, and a
proof must see that: so it is done here as EKS does it.
Source: https://github.com/aws/amazon-eks-pod-identity-webhook
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from runner_platform.prove.merge import merged

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "eks.amazonaws.com/"
FOLDER = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
VOLUME = "aws-iam-token"
DEFAULT_SECONDS = 86400


def mutated(pod: Mapping[str, Any], annotations: Mapping[str, str], region: str) -> dict[str, Any]:
    """The pod after admission; the same where the service account names no role."""
    role = annotations.get(f"{PREFIX}role-arn")
    if not role:
        return dict(pod)
    added = {
        "AWS_ROLE_ARN": role,
        "AWS_WEB_IDENTITY_TOKEN_FILE": f"{FOLDER}/token",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_STS_REGIONAL_ENDPOINTS": "regional",
    }
    containers = []
    for container in pod["spec"]["containers"]:
        known = {each["name"] for each in container.get("env", [])}
        containers.append(
            {
                "name": container["name"],
                # What the container has already stays, even where it is empty.
                "env": [{"name": name, "value": value} for name, value in added.items() if name not in known],
                "volumeMounts": [{"name": VOLUME, "mountPath": FOLDER, "readOnly": True}],
            }
        )
    token = {
        "audience": annotations.get(f"{PREFIX}audience", WEB_IDENTITY_AUDIENCE),
        "expirationSeconds": int(annotations.get(f"{PREFIX}token-expiration", DEFAULT_SECONDS)),
        "path": "token",
    }
    volumes = [{"name": VOLUME, "projected": {"sources": [{"serviceAccountToken": token}]}}]
    return merged(pod, {"spec": {"containers": containers, "volumes": volumes}})
