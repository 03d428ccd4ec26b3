"""Every key that a Helm release of the platform may have, and the values that the key may have.

One table for the inputs of the Release resource, the values of the chart and the runner's `config.toml`. Rule R10 refuses a key that is not
here, and a value that its key may not have. Where the settings decide a value, exactly that value is right; else a range is. A key marked
with the id of another rule is that rule's to judge. The values here are written down a second time on purpose, and not taken from
`components/documents/`: a change there must not change what is expected of it.
Sources: https://docs.gitlab.com/runner/executors/kubernetes/#configuration-settings, the chart's values.yaml,
https://www.pulumi.com/registry/packages/kubernetes/api-docs/helm/v3/release/#inputs
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.documents.helm_values import CA_SECRET, TOKEN_ANNOTATION, TOKEN_SECRET
from components.documents.pods import CLASS_LABEL
from config.capabilities import Level
from config.names import AWS_CONFIG_MAP, IDENTITY_FOLDER, IDENTITY_VOLUME, MANAGERS_POOL, helm_release
from config.versions import RUNNER_IMAGE_TAG
from policies.fields import contains_unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator

    from config.settings import KubernetesClassSettings, RunnerClassSettings
    from policies.fields import Field


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The values that a key may have."""

    text: str
    """The values in words, for a message."""
    allows: Callable[[Any], bool]
    """Whether a known value is right."""
    required: bool = True
    """Whether a release without the key is wrong."""
    decides: bool = True
    """Whether an unknown value is undecided."""


Table = Mapping[str, "Expected | Table"]
"""Keys of an object; a nested table stands for a required object."""


def exact(value: Any) -> Expected:
    """Expect one value of the same JSON type: a number is not a boolean, and text is neither."""
    text = json.dumps(value, sort_keys=True)
    return Expected(text=text, allows=lambda actual: json.dumps(actual, sort_keys=True) == text)


def one_of(*values: Any) -> Expected:
    """Expect one of several values."""
    texts = [json.dumps(value) for value in values]
    return Expected(text=" or ".join(texts), allows=lambda actual: json.dumps(actual) in texts)


def whole(low: int, high: int) -> Expected:
    """Expect a whole number within bounds."""
    return Expected(
        text=f"a whole number from {low} to {high}", allows=lambda value: type(value) is int and low <= value <= high
    )


def optional(expected: Expected) -> Expected:
    """Expect the same, or no such key."""
    return Expected(text=f"{expected.text}, or absent", allows=expected.allows, required=False)


def judged_by(_rule: str) -> Expected:
    """Leave a key, its value and its absence to another rule."""
    return Expected(text="", allows=lambda _: True, required=False, decides=False)


FLAG = one_of(False, True)
ANYTHING = Expected(text="anything", allows=lambda _: True, required=False, decides=False)
"""For keys that the provider writes itself, and for texts that nothing reads."""
_QUANTITY = re.compile(r"[1-9][0-9]{0,6}(\.[0-9]{1,3})?(m|[KMGT]i?)?")
QUANTITY = Expected(
    text="a quantity such as 256Mi",
    allows=lambda value: isinstance(value, str) and _QUANTITY.fullmatch(value) is not None,
)
HASH = Expected(
    text="the token's hash",
    allows=lambda value: isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None,
    decides=False,
)
"""Unknown in a first preview."""
DAY = 24 * 3600
LONGEST_SHOWN = 80
"""Characters of a value in a message."""
UNDISRUPTED = {
    "karpenter.sh/do-not-disrupt": exact("true"),
    "cluster-autoscaler.kubernetes.io/safe-to-evict": exact("false"),
}


def release_table(runner_class: KubernetesClassSettings) -> Table:
    """Return the table of the inputs of a class's release."""
    return {
        "name": exact(helm_release(runner_class.name)),
        "namespace": judged_by("R05"),
        **dict.fromkeys(("chart", "version"), judged_by("R07")),
        "repositoryOpts": {"repo": judged_by("R07")},
        "values": values_table(runner_class),
        **dict.fromkeys(("atomic", "cleanupOnFail"), FLAG),
        "timeout": whole(60, 3600),
        "maxHistory": whole(1, 50),
        **dict.fromkeys(("compat", "checksum", "resourceNames", "manifest", "status", "description"), ANYTHING),
    }


def values_table(runner_class: KubernetesClassSettings) -> Table:
    """Return the table of the chart's values."""
    name, gitlab = runner_class.name, runner_class.gitlab
    probe = {key: whole(1, 600) for key in ("initialDelaySeconds", "periodSeconds")}
    resources = {"cpu": optional(QUANTITY), "memory": QUANTITY, "ephemeral-storage": optional(QUANTITY)}
    taint = {"key": CLASS_LABEL, "operator": "Equal", "value": MANAGERS_POOL, "effect": "NoSchedule"}
    return {
        "gitlabUrl": exact(gitlab.url),
        "fullnameOverride": exact(helm_release(name)),
        "replicas": whole(1, 3),
        "concurrent": exact(runner_class.runner.concurrent),
        "checkInterval": whole(1, 60),
        "unregisterRunners": FLAG,
        "terminationGracePeriodSeconds": whole(1, 8 * DAY),
        "runners": {
            "name": exact(runner_class.names.tag(name)),
            "executor": exact("kubernetes"),
            "secret": exact(TOKEN_SECRET),
            "config": judged_by("R09"),
        },
        "rbac": dict.fromkeys(("create", "clusterWideAccess"), judged_by("R05")),
        "serviceAccount": dict.fromkeys(("create", "name"), judged_by("R05")),
        "metrics": {"enabled": FLAG},
        "livenessProbe": probe,
        "probeTimeoutSeconds": whole(1, 60),
        "podLabels": {CLASS_LABEL: exact(name)},
        "podAnnotations": {**UNDISRUPTED, TOKEN_ANNOTATION: HASH},
        "podSecurityContext": {
            **dict.fromkeys(("runAsUser", "fsGroup"), whole(1, 65535)),
            "seccompProfile": {"type": exact("RuntimeDefault")},
        },
        "securityContext": {
            **dict.fromkeys(("privileged", "allowPrivilegeEscalation"), judged_by("R01")),
            "readOnlyRootFilesystem": FLAG,
            "runAsNonRoot": exact(True),
            "capabilities": {"drop": exact(["ALL"])},
        },
        "resources": {"requests": resources, "limits": resources},
        "nodeSelector": exact({CLASS_LABEL: MANAGERS_POOL}),
        "tolerations": exact([taint]),
        "logLevel": optional(one_of("info", "warn", "error")),
        "logFormat": optional(one_of("runner", "text", "json")),
        **({"certsSecretName": exact(CA_SECRET)} if gitlab.ca_bundle else {}),
    }


def config_table(runner_class: KubernetesClassSettings) -> Table:
    """Return the table of the one `[[runners]]` of `config.toml`."""
    return {
        "request_concurrency": whole(1, 1000),
        "limit": optional(whole(1, 1000)),
        "output_limit": optional(whole(1, 1_000_000)),
        "cache_dir": exact("/builds/.cache"),
        "feature_flags": {
            "FF_USE_ADVANCED_POD_SPEC_CONFIGURATION": judged_by("R03"),
            **dict.fromkeys(("FF_DISABLE_AUTOMATIC_TOKEN_ROTATION", "FF_USE_POD_ACTIVE_DEADLINE_SECONDS"), exact(True)),
            **dict.fromkeys(
                (
                    "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR",
                    "FF_CONCRETE",
                    "FF_SUSPENDABLE_ENVIRONMENTS",
                    "FF_USE_LEGACY_KUBERNETES_EXECUTION_STRATEGY",
                ),
                exact(False),
            ),
        },
        "cache": {
            "Type": exact("s3"),
            "Path": judged_by("S02"),
            "Shared": exact(True),
            "s3": {
                "BucketName": judged_by("S02"),
                "BucketLocation": exact(runner_class.names.organization.region),
                "AuthenticationType": exact("iam"),
            },
        },
        "kubernetes": _kubernetes_table(runner_class),
    }


def _kubernetes_table(runner_class: KubernetesClassSettings) -> Table:
    name = runner_class.name
    return {
        **dict.fromkeys(("privileged", "allow_privilege_escalation"), judged_by("R01")),
        **{f"{key}_overwrite_allowed": judged_by("R02") for key in OVERWRITES},
        "pod_spec": judged_by("R03"),
        **dict.fromkeys(("pull_policy", "allowed_pull_policies"), judged_by("R04")),
        **_images_table(runner_class),
        **dict.fromkeys(("namespace", "service_account", "automount_service_account_token"), judged_by("R05")),
        **_resources_table(),
        **_security_table(runner_class),
        "poll_timeout": whole(60, 7200),
        "poll_interval": optional(whole(1, 60)),
        "pod_disruption_budget": exact(False),
        **dict.fromkeys(("pod_termination_grace_period_seconds", "cleanup_grace_period_seconds"), whole(0, 3600)),
        "print_pod_warning_events": optional(FLAG),
        "node_selector": exact({CLASS_LABEL: name, "kubernetes.io/arch": runner_class.runner.arch}),
        "node_tolerations": exact({f"{CLASS_LABEL}={name}": "NoSchedule"}),
        "pod_labels": exact({CLASS_LABEL: name}),
        "pod_annotations": UNDISRUPTED,
    }


POD_PATCH = {
    "containers": [
        {
            "name": "build",
            "env": [
                {"name": "AWS_CONFIG_FILE", "value": f"{IDENTITY_FOLDER}/config"},
                {"name": "AWS_SDK_LOAD_CONFIG", "value": "1"},
            ],
            "volumeMounts": [{"name": IDENTITY_VOLUME, "mountPath": IDENTITY_FOLDER, "readOnly": True}],
        },
        {"name": "helper", "env": [{"name": "HOME", "value": "/tmp"}]},  # noqa: S108  # in the helper's own image
    ],
    "volumes": [
        {
            "name": IDENTITY_VOLUME,
            "projected": {
                "defaultMode": 0o444,
                "sources": [
                    {
                        "serviceAccountToken": {
                            "audience": "sts.amazonaws.com",
                            "expirationSeconds": 3600,
                            "path": "token",
                        }
                    },
                    {"configMap": {"name": AWS_CONFIG_MAP, "items": [{"key": "config", "path": "config"}]}},
                ],
            },
        }
    ],
}
"""The one patch of job pods: the container `build` gets the class's AWS config and token; rule R03 compares it."""
OVERWRITES = ("bearer_token", "namespace", "service_account", "pod_annotations", "pod_labels", "node_selector", "node_tolerations")  # fmt: skip
"""What jobs could choose, if `<key>_overwrite_allowed` were set."""


def _images_table(runner_class: KubernetesClassSettings) -> Table:
    table = {"image": exact(runner_image(runner_class))}
    if runner_class.runner.level is Level.PROTECTED:
        lists = dict.fromkeys(("allowed_images", "allowed_services"), judged_by("R04"))
        return {**table, **lists, "helper_image": judged_by("R04")}
    return {**table, **dict.fromkeys(("allowed_images", "allowed_services"), ANYTHING)}


def runner_image(runner_class: RunnerClassSettings) -> str:
    """Return the one image that jobs without an image of their own run, with its pinned tag."""
    names = runner_class.names
    return f"{names.registry_host(runner_class.platform_account_id)}/{names.runner_image()}:{RUNNER_IMAGE_TAG}"


def _resources_table() -> Table:
    sizes = ("cpu_request", "memory_request", "memory_limit", "ephemeral_storage_request", "ephemeral_storage_limit")
    containers = ("", "helper_", "service_")
    return {
        **{f"{container}{size}": QUANTITY for container in containers for size in sizes},
        **{f"{container}cpu_limit": optional(QUANTITY) for container in containers},
    }


def _security_table(runner_class: KubernetesClassSettings) -> Table:
    restricted = runner_class.runner.pod_security == "restricted"
    user = {
        "run_as_non_root": exact(True),
        **dict.fromkeys(("run_as_user", "run_as_group", "fs_group"), whole(1, 65535)),
    }
    return {
        "cap_drop": exact(["ALL"]) if restricted else one_of(["NET_RAW"], ["ALL"]),
        "pod_security_context": {
            "seccomp_profile": {"type": exact("RuntimeDefault")},
            **(user if restricted else {key: optional(expected) for key, expected in user.items()}),
        },
    }


def deviations(actual: Field, table: Table, reviewed: Container[str] = ()) -> Iterator[str]:
    """Yield a sentence for each key that is not in the table, is missing, or has a value that it may not have.

    Args:
        actual: the object; its unknown members are recorded.
        table: what it may hold.
        reviewed: paths that may hold anything.
    """
    if actual.unknown:
        return
    if not actual.absent and not isinstance(actual.value, Mapping):
        yield f"{actual.path} is not an object"
        return
    for key, member in actual.entries():
        # The engine and its providers mark their own keys with two underscores.
        if key not in table and not key.startswith("__") and member.path not in reviewed:
            yield f"{member.path} is set; the platform sets no such key"
    for key, expected in table.items():
        member = actual[key]
        if isinstance(expected, Mapping):
            yield from deviations(member, expected, reviewed)
        elif member.path not in reviewed:
            yield from _deviation(member, expected)


def _deviation(actual: Field, expected: Expected) -> Iterator[str]:
    if actual.absent:
        if expected.required:
            yield f"{actual.path} is missing; it must be {expected.text}"
    elif contains_unknown(actual.value):
        if expected.decides:
            actual.undecide()
    elif not expected.allows(actual.value):
        value = json.dumps(actual.value, default=str)
        yield f"{actual.path} is {value[:LONGEST_SHOWN]}, not {expected.text}"
