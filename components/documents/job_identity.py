"""The AWS identity of a job pod: one patch of the pod's specification.

The job's service account has no role annotation, so no webhook acts. The patch gives the container `build`, and no other
container, a projected token and the class's AWS config. It also gives the helper a home that every user can write. The policy pack, `prove`, the runner image and `access` use this text.
Source: https://docs.gitlab.com/runner/executors/kubernetes/#overwrite-generated-pod-specifications
"""

from __future__ import annotations

from typing import Any

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.names import AWS_CONFIG_MAP, IDENTITY_FOLDER, IDENTITY_VOLUME

FEATURE_FLAG = "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION"
PATCH_NAME = "aws-identity"
TOKEN_SECONDS = 3600
READABLE_BY_ALL = 0o444
HELPER_HOME = "/tmp"  # noqa: S108  # a folder of the helper's own image, which no other container sees
"""Git writes a configuration file there before it clones. Without it user 1000 of a restricted class has the home `/`, which only root
can write, and `/builds` would let a job change the helper's Git."""


def job_environment() -> dict[str, str]:
    """Return the variables of container `build`; a web-identity variable is left out on purpose (`profiles`)."""
    return {"AWS_CONFIG_FILE": f"{IDENTITY_FOLDER}/config", "AWS_SDK_LOAD_CONFIG": "1"}


def pod_patch() -> dict[str, Any]:
    """Return the strategic merge patch. It has no `subPath`: a renewed token would never arrive through one."""
    return {
        "containers": [
            {
                "name": "build",
                "env": [{"name": name, "value": value} for name, value in job_environment().items()],
                "volumeMounts": [{"name": IDENTITY_VOLUME, "mountPath": IDENTITY_FOLDER, "readOnly": True}],
            },
            {"name": "helper", "env": [{"name": "HOME", "value": HELPER_HOME}]},
        ],
        "volumes": [
            {
                "name": IDENTITY_VOLUME,
                "projected": {
                    "defaultMode": READABLE_BY_ALL,
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "audience": WEB_IDENTITY_AUDIENCE,
                                "expirationSeconds": TOKEN_SECONDS,
                                "path": "token",
                            }
                        },
                        {"configMap": {"name": AWS_CONFIG_MAP, "items": [{"key": "config", "path": "config"}]}},
                    ],
                },
            }
        ],
    }
