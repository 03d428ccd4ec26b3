"""For each value that the official chart's templates read: values that must change what our own chart renders.

The keys come from `tests/data/chart-values.json`; a key without a case here fails `test_chart.py`.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.providers.kubernetes.charts import app_version
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from pathlib import Path

MONITORS = "monitoring.coreos.com/v1"
METRICS = {"metrics": {"enabled": True}}
SESSION = {"sessionServer": {"enabled": True, "publicIP": "192.0.2.1"}}
INGRESS = {"sessionServer": {"enabled": True, "publicIP": "192.0.2.1", "ingress": {"enabled": True}}}
RELABELINGS = [{"action": "drop", "regex": "x"}]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A key set to `value` on top of `context` must change the rendering of `context`."""

    value: Any
    context: dict[str, Any] = field(default_factory=dict)


def _monitor(kind: str, value: Any) -> Case:
    context = {"metrics": {"enabled": True, kind: {"enabled": True}}, "service": {"enabled": True}}
    return Case(value=value, context=context)


def _monitor_cases(kind: str) -> dict[str, Case]:
    values: dict[str, Any] = {
        "annotations": {"note": "x"},
        "interval": "15s",
        "jobLabel": "app",
        "labels": {"team": "x"},
        "metricRelabelings": RELABELINGS,
        "namespace": "monitoring",
        "path": "/other",
        "relabelings": RELABELINGS,
        "scheme": "https",
        "tlsConfig": {"insecureSkipVerify": True},
    }
    cases = {f"metrics.{kind}.{key}": _monitor(kind, value) for key, value in values.items()}
    cases[f"metrics.{kind}.enabled"] = Case(value=True, context={**METRICS, "service": {"enabled": True}})
    return cases


def _with(context: dict[str, Any], cases: dict[str, Any]) -> dict[str, Case]:
    return {key: Case(value=value, context=context) for key, value in cases.items()}


POD = _with(
    {},
    {
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
        "automountServiceAccountToken": True,
        "certsSecretName": "ca",
        "envVars": [{"name": "A", "value": "b"}],
        "extraContainers": [{"name": "side", "image": "x"}],
        "extraEnv": {"A": "b"},
        "extraEnvFrom": {"A": {"secretKeyRef": {"name": "s", "key": "k"}}},
        "extraEnvFromRefs": [{"secretRef": {"name": "s"}}],
        "hostAliases": [{"ip": "192.0.2.2", "hostnames": ["x"]}],
        "hostname": "runner",
        "image.image": "mirror/runner",
        "image.registry": "registry.example.com",
        "image.tag": "alpine-v18.9.1",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{"name": "pull"}],
        "livenessProbe.failureThreshold": 5,
        "livenessProbe.initialDelaySeconds": 5,
        "livenessProbe.periodSeconds": 5,
        "livenessProbe.successThreshold": 2,
        "livenessProbe.terminationGracePeriodSeconds": 5,
        "nodeSelector": {"pool": "managers"},
        "podAnnotations": {"note": "x"},
        "podLabels": {"team": "x"},
        "podSecurityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "podSecurityContext.runAsUser": 999,
        "priorityClassName": "high",
        "probeTimeoutSeconds": 9,
        "readinessProbe.failureThreshold": 5,
        "readinessProbe.initialDelaySeconds": 5,
        "readinessProbe.periodSeconds": 5,
        "readinessProbe.successThreshold": 2,
        "resources": {"requests": {"cpu": "100m"}},
        "runtimeClassName": "gvisor",
        "schedulerName": "other",
        "secrets": [{"secret": {"name": "more"}}],
        "securityContext": {"readOnlyRootFilesystem": True},
        "terminationGracePeriodSeconds": 15000,
        "tolerations": [{"key": "x", "operator": "Exists"}],
        "topologySpreadConstraints": [{"maxSkew": 1}],
        "useTini": True,
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 - a path inside the pod
        "volumes": [{"name": "tmp", "emptyDir": {}}],
    },
)

DEPLOYMENT = _with(
    {},
    {
        "deploymentAnnotations": {"note": "x"},
        "deploymentLabels": {"team": "x"},
        "deploymentLifecycle": {"preStop": {"exec": {"command": ["true"]}}},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-x"}}],
        "fullnameOverride": "other",
        "hpa": {"minReplicas": 1, "maxReplicas": 2},
        "nameOverride": "other",
        "namespace": "elsewhere",
        "replicas": 0,
        "revisionHistoryLimit": 3,
        "strategy": {"type": "Recreate"},
        "unregisterRunners": False,
    },
) | _with(
    {"hpa": {"minReplicas": 1, "maxReplicas": 3}},
    {"hpa.maxReplicas": 4, "hpa.metrics": [{"type": "Pods"}], "hpa.minReplicas": 2},
)

CONFIG = _with(
    {},
    {
        "checkInterval": 9,
        "concurrent": 40,
        "configMaps": {"more": "text"},
        "connectionMaxAge": "5m",
        "gitlabUrl": "https://gitlab.com",
        "logFormat": "json",
        "logLevel": "debug",
        "preEntrypointScript": "echo hello",
        "runnerRegistrationToken": "GR-x",
        "runnerToken": "glrt-x",
        "runners": {"name": "x"},
        "runners.cache": {"secretName": "s3"},
        "runners.cache.secretName": "s3",
        "runners.config": '[[runners]]\n  [runners.kubernetes]\n    namespace = "{{ .Release.Namespace }}"\n',
        "runners.executor": "shell",
        "runners.jobNamespace": "jobs",
        "runners.locked": False,
        "runners.maximumTimeout": 3600,
        "runners.name": "small",
        "runners.protected": True,
        "runners.runUntagged": False,
        "runners.secret": "{{ .Release.Name }}-token",
        "runners.tags": "small",
        "sentryDsn": "https://sentry.example.com/1",
        "shutdown_timeout": 60,
    },
) | {
    "runners.configPath": Case(value="/configmaps/own", context={"runners": {"config": ""}}),
    "runners.namespace": Case(value="jobs", context={"runners": {"config": ""}}),
}

ACCESS = (
    _with(
        {},
        {
            "rbac": {"create": True},
            "rbac.create": True,
            "rbac.serviceAccountName": "own",
            "serviceAccount.create": True,
            "serviceAccount.name": "manager",
        },
    )
    | _with(
        {"rbac": {"create": True}},
        {
            "rbac.clusterWideAccess": True,
            "rbac.generatedServiceAccountName": "made",
            "rbac.imagePullSecrets": ["pull"],
            "rbac.podSecurityPolicy.enabled": True,
            "rbac.rules": [{"resources": ["pods"]}],
            "rbac.serviceAccountAnnotations": {"note": "x"},
            "serviceAccount.annotations": {"eks.amazonaws.com/role-arn": "{{ .Release.Name }}"},
            "serviceAccount.imagePullSecrets": ["pull"],
        },
    )
    | {
        "rbac.podSecurityPolicy.resourceNames": Case(
            value=["other"], context={"rbac": {"create": True, "podSecurityPolicy": {"enabled": True}}}
        )
    }
)

SERVICES = (
    _with({}, {"metrics.enabled": True, "service.enabled": True, "sessionServer": {"enabled": True}})
    | _with(METRICS, {"metrics.port": 9999, "metrics.portName": "other"})
    | _monitor_cases("podMonitor")
    | _monitor_cases("serviceMonitor")
    | _with(
        {"service": {"enabled": True}},
        {
            "service.additionalPorts": [{"name": "more", "port": 1}],
            "service.annotations": {"note": "x"},
            "service.clusterIP": "None",
            "service.externalIPs": ["192.0.2.3"],
            "service.externalTrafficPolicy": "Local",
            "service.internalTrafficPolicy": "Local",
            "service.labels": {"team": "x"},
            "service.loadBalancerIP": "192.0.2.3",
            "service.loadBalancerSourceRanges": ["192.0.2.0/24"],
            "service.metrics.nodePort": 30001,
            "service.type": "NodePort",
        },
    )
    | {"sessionServer.enabled": Case(value=True)}
    | _with(
        SESSION,
        {
            "sessionServer.annotations": {"note": "x"},
            "sessionServer.externalPort": 9001,
            "sessionServer.externalTrafficPolicy": "Local",
            "sessionServer.internalPort": 8094,
            "sessionServer.internalTrafficPolicy": "Local",
            "sessionServer.loadBalancerSourceRanges": ["192.0.2.0/24"],
            "sessionServer.nodePort": 30002,
            "sessionServer.publicIP": "192.0.2.9",
            "sessionServer.serviceType": "Headless",
            "sessionServer.timeout": 60,
        },
    )
    | _with(
        INGRESS,
        {
            "sessionServer.ingress.annotations": {"note": "x"},
            "sessionServer.ingress.className": "alb",
            "sessionServer.ingress.tls": [{"secretName": "other"}],
        },
    )
)

CASES: dict[str, Case] = POD | DEPLOYMENT | CONFIG | ACCESS | SERVICES


def packaged(chart: Path, folder: Path, version: str | None = None) -> Path:
    """Create the `.tgz` of a chart, as for a company's mirror; a version brings the runner's version along."""
    helm = str(Tools.find(Paths.from_environment()).helm)
    arguments = ["package", str(chart), "--destination", str(folder)]
    if version:
        _, minor, patch = map(int, version.split("."))
        arguments += ["--version", version, "--app-version", app_version(minor, patch)]
    subprocess.run([helm, *arguments], capture_output=True, check=True, timeout=60)
    (archive,) = folder.glob("*.tgz")
    return archive
