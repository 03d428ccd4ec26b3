"""Values of the official gitlab-runner chart for one class.

With a `glrt-` token, `register` refuses or the chart drops `runners.tags`, `locked`, `protected`, `runUntagged`, `maximumTimeout` and
any registration token, so these are never set. Service accounts, roles and the token's Secret are not part of the release, so that an
upgrade or an uninstall never takes permissions from a draining manager.
Source: https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.documents import pods
from components.documents.config_toml import config_toml
from components.documents.disruption import disruption
from config.names import MANAGER_SERVICE_ACCOUNT, MANAGERS_POOL, helm_release
from config.quantities import cpu_text, memory_text

if TYPE_CHECKING:
    from config.settings import KubernetesClassSettings

TOKEN_SECRET = "runner-token"  # noqa: S105  # the Secret's name, not a token
CA_SECRET = "gitlab-ca"  # noqa: S105  # the Secret's name
TOKEN_ANNOTATION = "runner-platform/token-sha256"  # noqa: S105  # an annotation's key
RUNNER_USER, RUNNER_GROUP = 100, 65533
"""User and group of the alpine runner image, the chart's default."""


def helm_values(runner_class: KubernetesClassSettings) -> dict[str, Any]:
    """Return the values of a class, without the token and its hash."""
    runner, gitlab = runner_class.runner, runner_class.gitlab
    return {
        "gitlabUrl": gitlab.url,
        "fullnameOverride": helm_release(runner_class.name),
        "replicas": 1,
        "concurrent": runner.concurrent,
        "checkInterval": 3,
        "unregisterRunners": True,
        "terminationGracePeriodSeconds": disruption(runner.longest_job).manager_grace,
        "runners": {
            "name": runner_class.names.tag(runner_class.name),
            "executor": "kubernetes",
            "secret": TOKEN_SECRET,
            "config": config_toml(runner_class),
        },
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": MANAGER_SERVICE_ACCOUNT},
        "metrics": {"enabled": True},
        # The default probe asks GitLab every ten seconds on older charts; a large fleet would hit its rate limit.
        "livenessProbe": {"initialDelaySeconds": 60, "periodSeconds": 60},
        "probeTimeoutSeconds": 8,
        **_pod(runner_class.name),
        **({"certsSecretName": CA_SECRET} if gitlab.ca_bundle else {}),
    }


def _pod(runner_class: str) -> dict[str, Any]:
    request = pods.MANAGER
    return {
        "podLabels": {pods.CLASS_LABEL: runner_class},
        "podAnnotations": {
            "karpenter.sh/do-not-disrupt": "true",
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        },
        "podSecurityContext": {
            "runAsUser": RUNNER_USER,
            "fsGroup": RUNNER_GROUP,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": False,
            "runAsNonRoot": True,
            "privileged": False,
            "capabilities": {"drop": ["ALL"]},
        },
        "resources": {
            "requests": {"cpu": cpu_text(request.cpu), "memory": memory_text(request.memory)},
            "limits": {"memory": memory_text(request.memory)},
        },
        "nodeSelector": {pods.CLASS_LABEL: MANAGERS_POOL},
        "tolerations": [{"key": pods.CLASS_LABEL, "operator": "Equal", "value": MANAGERS_POOL, "effect": "NoSchedule"}],
    }
