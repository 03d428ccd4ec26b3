"""Mutations of runner releases: rights of job pods, and settings that a job may choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulumi_gitlab import UserRunner
from pulumi_kubernetes.helm.v3 import Release

from components.documents import config_toml, helm_values, job_admission, job_identity
from tests.attacks.change import GONE, put, with_inputs, with_result
from tests.attacks.mutation import seen_by

if TYPE_CHECKING:
    from tests.attacks.change import Change, Edit


def toml(key: str, value: Any, runner_class: str = "small") -> Change:
    """Change a setting of `[runners.kubernetes]`."""
    edit = put(value, "runners", 0, "kubernetes", key)
    return with_result(
        config_toml.config_template, edit, lambda arguments: arguments["runner_class"].name == runner_class
    )


def values(edit: Edit, runner_class: str = "small") -> Change:
    """Change the values of the chart."""
    return with_result(helm_values.helm_values, edit, lambda arguments: arguments["runner_class"].name == runner_class)


def from_environment(name: str, value: str) -> Change:
    """Set an environment variable of the manager, which overrides the TOML."""
    return values(put([{"name": name, "value": value}], "envVars"))


def patch(**spec: Any) -> Change:
    """Add fields to the patch of the pod specification."""
    return with_result(job_identity.pod_patch, lambda patch: {**patch, **spec})


def admission(edit: Edit, runner_class: str = "deploy") -> Change:
    """Change the admission policy of a class."""
    return with_result(
        job_admission.job_admission, edit, lambda arguments: arguments["runner_class"].name == runner_class
    )


SOCKET = {"host_path": [{"name": "docker", "mount_path": "/var/run/docker.sock", "host_path": "/var/run/docker.sock"}]}
MUTATIONS = [
    seen_by(
        "R10",
        "A02",
        "helper containers are privileged",
        toml("helper_container_security_context", {"privileged": True}),
    ),
    seen_by("R03", "A02", "the patch puts jobs into the node's network", patch(hostNetwork=True)),
    seen_by(
        "R03",
        "A02",
        "a second patch puts jobs among the node's processes",
        toml("pod_spec", lambda patches: [*patches, {"name": "more", "patch": "hostPID: true"}]),
    ),
    seen_by(
        "R02",
        "A03",
        "jobs choose their service account, by a regular expression with an alternative",
        toml("service_account_overwrite_allowed", "^job$|manager"),
    ),
    seen_by(
        "R10",
        "A03",
        "jobs choose their service account, by a variable of the manager",
        from_environment("KUBERNETES_SERVICE_ACCOUNT_OVERWRITE_ALLOWED", ".*"),
    ),
    seen_by("I01 I02 R02 T10", "A04", "jobs choose their namespace", toml("namespace_overwrite_allowed", ".*")),
    seen_by("R02", "A04", "jobs bring a token for the cluster", toml("bearer_token_overwrite_allowed", True)),
    seen_by(
        "I01 I02 R05 R06 T10",
        "A03",
        "jobs of the open class run beside those of the protected one",
        toml("namespace", "jobs-deploy"),
    ),
    seen_by("R05 T10", "A04", "jobs run with their manager's account", toml("service_account", "manager")),
    seen_by("R01", "A05", "jobs are privileged", toml("privileged", True)),
    seen_by(
        "R10",
        "A05",
        "jobs are privileged, by a legacy value of the chart",
        values(put(True, "runners", "privileged")),
    ),
    seen_by(
        "R10",
        "A05",
        "jobs are privileged, by a variable beside the TOML",
        from_environment("KUBERNETES_PRIVILEGED", "true"),
    ),
    seen_by("R10", "A05", "jobs mount the container socket of their node", toml("volumes", SOCKET)),
    seen_by(
        "R01 R02 R03 R04 R05 R06 R09 S02",
        "A05",
        "a second `[[runners]]`, privileged",
        with_result(
            config_toml.config_template,
            lambda config: {"runners": [*config["runners"], {"kubernetes": {"privileged": True}}]},
            lambda arguments: arguments["runner_class"].name == "small",
        ),
    ),
    seen_by(
        "R04 I01", "A16", "the protected class runs any image, by a wildcard", toml("allowed_images", ["**"], "deploy")
    ),
    seen_by(
        "S02 I02",
        "A17",
        "the open class's cache is the protected class's",
        with_result(
            config_toml.config_template,
            put("deploy", "runners", 0, "cache", "Path"),
            lambda arguments: arguments["runner_class"].name == "small",
        ),
    ),
    seen_by(
        "S02",
        "A17",
        "the cache is in another bucket",
        with_result(
            config_toml.config_template,
            put("a-bucket-of-somebody", "runners", 0, "cache", "s3", "BucketName"),
            lambda arguments: arguments["runner_class"].name == "small",
        ),
    ),
    seen_by(
        "R08",
        "A18",
        "the protected class's runner takes every branch",
        with_inputs(UserRunner, "deploy-object-1-runner", access_level="not_protected"),
    ),
    seen_by(
        "R08",
        "A18",
        "the protected class's runner can be shared with further projects",
        with_inputs(UserRunner, "deploy-object-1-runner", locked=False),
    ),
    seen_by(
        "R08",
        "A18",
        "the protected class's runner takes jobs without a tag",
        with_inputs(UserRunner, "deploy-object-1-runner", untagged=True),
    ),
    seen_by(
        "R05",
        "A20",
        "the chart makes rights for the whole cluster",
        values(put({"create": True, "clusterWideAccess": True}, "rbac")),
    ),
    seen_by("R10", "A22", "the runner's token among the values", values(put("glrt-fabricated", "runnerToken"))),
    seen_by(
        "R07",
        "A22",
        "the chart from somewhere else",
        with_inputs(Release, "small-runner-release", repository_opts={"repo": "https://charts.evil.example"}),
    ),
    seen_by(
        "R04",
        "A16",
        "a foreign registry brings the protected class's helper",
        toml("helper_image", "registry.example.com/helper:1", "deploy"),
    ),
    seen_by(
        "R04", "A16", "GitLab's registry brings the protected class's helper", toml("helper_image", GONE, "deploy")
    ),
    seen_by(
        "E10",
        "A16",
        "the API server only warns about job pods of the protected class",
        with_result(
            job_admission.job_admission_binding,
            put(["Warn"], "validationActions"),
            lambda arguments: arguments["runner_class"] == "deploy",
        ),
    ),
    seen_by(
        "E10",
        "A16",
        "the API server admits every image in the protected class",
        admission(put({"expression": "true"}, "validations", 1)),
    ),
    seen_by(
        "E10",
        "A24",
        "the API server admits job pods while it cannot evaluate the policy",
        admission(put("Ignore", "failurePolicy"), "small"),
    ),
    seen_by(
        "E10",
        "A24",
        "the API server admits containers that pull no image",
        admission(put(lambda validations: validations[1:], "validations"), "small"),
    ),
    seen_by(
        "E10",
        "A28",
        "the API server checks no job pod of the protected class",
        with_result(
            job_admission.admission_name,
            lambda name: f"{name}-unused",
            lambda arguments: arguments["runner_class"] == "deploy",
        ),
    ),
    seen_by("R02", "A23", "jobs choose what they tolerate", toml("node_tolerations_overwrite_allowed", ".*")),
    seen_by("R02", "A23", "jobs choose their nodes", toml("node_selector_overwrite_allowed", "^.*$")),
    seen_by("R04", "A24", "images that are there already are not pulled", toml("pull_policy", ["if-not-present"])),
    seen_by(
        "R04",
        "A24",
        "jobs may ask for images that are there already",
        toml("allowed_pull_policies", ["always", "if-not-present"]),
    ),
    seen_by(
        "R04 I01",
        "A28",
        "the protected class runs images that open classes push",
        toml("allowed_images", lambda images: [image.replace("protected/", "open/") for image in images], "deploy"),
    ),
    seen_by(
        "R04 I01", "A28", "the protected class runs whatever image it is told", toml("allowed_images", GONE, "deploy")
    ),
    seen_by(
        "R09 T10 I01 I02",
        "",
        "a block of a template in the TOML",
        values(put(lambda text: f'{text}\n# {{{{ include "more" . }}}}\n', "runners", "config")),
    ),
    seen_by(
        "R10",
        "",
        "a values file beside the values",
        with_inputs(Release, "small-runner-release", value_yaml_files=["more.yaml"]),
    ),
]
