"""Admission of a class's job pods: what the API server itself refuses, whatever the runner lets through.

The runner checks the image of a job and its services against patterns in which `..` matches, lets jobs switch features on that add
containers, and checks neither the helper's image nor how many services a job starts. So the API server checks each pod of the class's
namespace. A refused pod is a failed job: its log shows the message, which tells the job's author what to do.
Source: https://kubernetes.io/docs/reference/access-authn-authz/validating-admission-policy/ (stable since Kubernetes 1.30)
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from components.documents.pods import MOST_SERVICES
from config.capabilities import Level
from config.names import namespace_jobs

if TYPE_CHECKING:
    from config.settings import KubernetesClassSettings

RUNNER_CONTAINERS = 2
"""Containers that the runner itself puts into a job's pod: `build` and `helper`."""
COMPONENT = "[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
"""One part of a repository's name. It begins and ends with a letter or a digit, so that it is never `..`."""
TAG_OR_DIGEST = "(?::[A-Za-z0-9_][A-Za-z0-9_.-]*)?(?:@sha256:[0-9a-f]{64})?"
EVERY_OBJECT: dict[str, Any] = {"matchPolicy": "Equivalent", "objectSelector": {}}
"""Defaults of the API server, written down so that the deployed policy is exactly the document: rule E10 compares them."""
LISTS = ("containers", "initContainers", "ephemeralContainers")
"""Lists of containers in a pod; a pod may lack the last two."""


def admission_name(runner_class: str) -> str:
    """Return the name of a class's policy and of its binding; both belong to the whole cluster."""
    return f"job-pods-{runner_class}"


def protected_images(runner_class: KubernetesClassSettings) -> str:
    """Return the regular expression of the images in the protected repositories of the platform's registry."""
    names = runner_class.names
    registry = re.escape(names.registry_host(runner_class.platform_account_id))
    return f"^{registry}/{names.repository_prefix(Level.PROTECTED)}(?:{COMPONENT}/)*{COMPONENT}{TAG_OR_DIGEST}$"


def job_admission(runner_class: KubernetesClassSettings) -> dict[str, Any]:
    """Return the specification of the class's ValidatingAdmissionPolicy."""
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {
            **EVERY_OBJECT,
            "namespaceSelector": {},
            "resourceRules": [
                {
                    "apiGroups": [""],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["pods", "pods/ephemeralcontainers"],
                    "scope": "*",
                }
            ],
        },
        "variables": [
            {"name": "images", "expression": _every_container("image")},
            {"name": "pullPolicies", "expression": _every_container("imagePullPolicy")},
        ],
        "validations": [_pulled(), _listed(runner_class), _few()],
    }


def job_admission_binding(runner_class: str) -> dict[str, Any]:
    """Return the specification of the binding: the policy refuses pods in the class's jobs' namespace."""
    return {
        "policyName": admission_name(runner_class),
        "validationActions": ["Deny"],
        "matchResources": {
            **EVERY_OBJECT,
            # The API server sets this label, so that nobody moves a namespace out of the policy by changing labels.
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace_jobs(runner_class)}},
        },
    }


def _every_container(key: str) -> str:
    """Return an expression: the values of a key in all containers. The lists have different types, so only texts can be joined."""
    first, *optional = LISTS
    return f"object.spec.{first}.map(c, c.{key})" + "".join(
        f" + (has(object.spec.{name}) ? object.spec.{name}.map(c, c.{key}) : [])" for name in optional
    )


def _pulled() -> dict[str, str]:
    return {
        "expression": "variables.pullPolicies.all(p, p == 'Always')",
        "message": (
            "every container of a job pulls its image with Always; leave out pull_policy, and switch off feature flags that add "
            "containers, such as FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"
        ),
        "reason": "Forbidden",
    }


def _listed(runner_class: KubernetesClassSettings) -> dict[str, str]:
    if runner_class.runner.level is Level.OPEN:
        return {
            "expression": "variables.images.all(i, !i.contains('..'))",
            "message": "the name of an image has no `..`; write the repository's own path",
            "reason": "Forbidden",
        }
    names, pattern = runner_class.names, protected_images(runner_class)
    repositories = f"{names.registry_host(runner_class.platform_account_id)}/{names.repository_prefix(Level.PROTECTED)}"
    return {
        "expression": f"variables.images.all(i, i.matches(r'{pattern}'))",
        "messageExpression": (
            f"'image ' + variables.images.filter(i, !i.matches(r'{pattern}'))[0] + ' is not in a repository below {repositories}; "
            f"class {runner_class.name} is protected: push the image there first, and write its own path, without `..`'"
        ),
        "message": f"class {runner_class.name} is protected: all images of a job, helper included, are below {repositories}",
        "reason": "Forbidden",
    }


def _few() -> dict[str, str]:
    most = RUNNER_CONTAINERS + MOST_SERVICES
    return {
        "expression": f"size(object.spec.containers) <= {most}",
        "message": f"a job starts at most {MOST_SERVICES} services; put fewer under `services:`, or divide the job",
        "reason": "Forbidden",
    }
