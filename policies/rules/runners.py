"""Rules of runners: what a manager may do with the pods of jobs, what a release installs, and the runner object in GitLab.

A setting of the runner can be given in several places: TOML, legacy chart values, the manager's environment variables, patches.
`policies/runner_config.py` finds them all. GitLab's runner object is what binds a class to protected branches.
Source: https://docs.gitlab.com/runner/security/ and https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import yaml
from pulumi_policy import Severity

from components.documents import job_identity
from components.documents.config_toml import OVERWRITES
from components.documents.runner_object import runner_attributes
from config.capabilities import Level
from config.names import JOB_SERVICE_ACCOUNT, MANAGER_SERVICE_ACCOUNT, namespace_jobs
from policies.rule import Option, resource_rule, stack_rule
from policies.runner_config import CONFIG, SECURITY_CONTEXTS, RunnerConfig
from policies.type_tokens import RELEASE, RUNNER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.settings import Settings
    from policies.fields import Field
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

EXECUTOR = "https://docs.gitlab.com/runner/executors/kubernetes/"
SECURITY = "https://docs.gitlab.com/runner/security/"
CHART_VALUES = [
    *("gitlabUrl", "fullnameOverride", "replicas", "concurrent", "checkInterval", "unregisterRunners", "metrics"),
    *("terminationGracePeriodSeconds", "runners", "rbac", "serviceAccount", "livenessProbe", "readinessProbe"),
    *("probeTimeoutSeconds", "podLabels", "podAnnotations", "podSecurityContext", "securityContext", "resources"),
    *("nodeSelector", "tolerations", "certsSecretName"),
]
"""Values of the chart that a release of the platform sets."""
RUNNER_VALUES = ("name", "executor", "secret", "config")
"""Values below `runners` that a release of the platform sets."""


@resource_rule(
    "R01",
    "helm-release-runs-no-privileged-pods",
    [RELEASE],
    demands="job pods and the manager are not privileged, cannot escalate, and add no capabilities",
    stops="A02, A05: a job leaves its container, and takes the node and every pod's token on it",
    remedy="Leave [runners.kubernetes] as components/documents/config_toml.py writes it; build images with the plain builder.",
    settings=("runners.{runner}.builder", "runners.{runner}"),
    source=f"{SECURITY}; CKV_K8S_2, CKV_K8S_16, CIS EKS 4.2.1, 4.2.5",
    severity=Severity.CRITICAL,
)
def not_privileged(release: CheckedResource) -> Iterator[str]:
    """Neither the pod, nor one of its containers, nor the manager."""
    config = RunnerConfig(release)
    for key in ("privileged", "allow_privilege_escalation", "services_privileged"):
        for field in config.everywhere(key):
            if field.flag(default=False):
                yield f"{field.path} is on"
    escalation = list(config.everywhere("allow_privilege_escalation"))
    if not escalation and not config.problem and not config.entry.absent:
        yield f"{CONFIG} does not set allow_privilege_escalation, so the container's default applies, which allows it"
    for field in config.everywhere("cap_add"):
        if field.get([]):
            yield f"{field.path} adds capabilities"
    for key in SECURITY_CONTEXTS:
        yield from _context(config.kubernetes[key], ("privileged", "allow_privilege_escalation"))
    for key in ("securityContext", "podSecurityContext"):
        yield from _context(config.values[key], ("privileged", "allowPrivilegeEscalation"))


def _context(context: Field, flags: tuple[str, ...]) -> Iterator[str]:
    for key in flags:
        if context[key].flag(default=False):
            yield f"{context[key].path} is on"
    if context["capabilities"]["add"].get([]):
        yield f"{context['capabilities']['add'].path} adds capabilities"
    for key in ("proc_mount", "procMount"):
        if context[key].text("Default") not in {"Default", "", None}:
            yield f"{context[key].path} unmasks /proc"


@resource_rule(
    "R02",
    "helm-release-lets-jobs-overwrite-nothing",
    [RELEASE],
    demands="jobs may overwrite neither service account nor namespace, node, labels, annotations or token",
    stops="A03, A04, A23: a job chooses a stronger service account, another namespace, or the managers' nodes",
    remedy="Keep every *_overwrite_allowed empty: GitLab does not anchor these regular expressions.",
    settings=("runners.{runner}",),
    source=f"{EXECUTOR}#overwrite-kubernetes-service-account; executors/kubernetes/overwrites.go",
    severity=Severity.CRITICAL,
)
def nothing_is_overwritten(release: CheckedResource) -> Iterator[str]:
    """All expressions are empty; the switch for bearer tokens is off."""
    config = RunnerConfig(release)
    for key in OVERWRITES:
        for field in config.everywhere(key):
            if field.text():
                yield f"{field.path} is not empty: jobs may choose the value"
    for field in config.everywhere("bearer_token_overwrite_allowed"):
        if field.flag(default=False):
            yield f"{field.path} is on: jobs may bring a token for the cluster"


@resource_rule(
    "R03",
    "helm-release-touches-no-host",
    [RELEASE],
    demands="job pods mount nothing, and the one patch of their specification is the platform's own",
    stops="A02, A05: a job reads the node's disk or container socket, or another service account's token",
    remedy="Keep the patch that components/documents/job_identity.py makes, and no volumes.",
    settings=("runners.{runner}",),
    source=f"{EXECUTOR}#overwrite-generated-pod-specifications; CKV_K8S_17 to 19, CKV_K8S_27",
    severity=Severity.CRITICAL,
)
def no_host(release: CheckedResource) -> Iterator[str]:
    """No volumes, no namespaces of the host, no patch but the platform's."""
    config = RunnerConfig(release)
    if config.problem and config.entry.absent:
        release.undecide(CONFIG)
        return
    for kind, volumes in config.kubernetes["volumes"].entries():
        if list(volumes.items()):
            yield f"{volumes.path} mounts {kind} volumes into every job pod"
    yield from _patches(config)
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if config.values[key].flag(default=False):
            yield f"{config.values[key].path} is on"
    for volume in config.values["volumes"].items():
        if not volume["hostPath"].absent:
            yield f"{volume.path} mounts a path of the node into the manager"


def _patches(config: RunnerConfig) -> Iterator[str]:
    patches = config.patches()
    for patch in patches:
        if not _is_platform_patch(patch):
            yield f"{patch.path} is not the patch {job_identity.PATCH_NAME} of components/documents/job_identity.py"
    if not patches:
        yield f"{CONFIG} has no patch {job_identity.PATCH_NAME}, so jobs have no AWS identity"
    elif len(patches) > 1:
        yield f"{config.kubernetes['pod_spec'].path} has {len(patches)} patches; a later one may undo the first"
    elif config.patches_apply is False:
        yield f"{CONFIG} does not switch {job_identity.FEATURE_FLAG} on, so the runner ignores the patch"


def _is_platform_patch(patch: Field) -> bool:
    text = patch["patch"].text()
    if text is None:
        return True
    kind = patch["patch_type"].text("strategic")
    return _is_identity_patch(text) and kind in {"strategic", None} and patch["patch_path"].absent


@lru_cache(maxsize=64)
def _is_identity_patch(text: str) -> bool:
    try:
        return bool(yaml.safe_load(text) == job_identity.pod_patch())
    except yaml.YAMLError:
        return False


@resource_rule(
    "R04",
    "helm-release-pulls-listed-images",
    [RELEASE],
    demands="images are pulled always; a protected class runs only images of the protected repositories, helper included",
    stops="A16, A24: a job runs another project's private image, or a protected job runs an image that an open job made",
    remedy="Keep pull_policy at always; push the image to a protected repository first.",
    settings=("runners.{runner}",),
    source=f"{SECURITY}#usage-of-private-docker-images-with-if-not-present-pull-policy; CIS EKS 5.1.4",
)
def images_are_listed(release: CheckedResource) -> Iterator[str]:
    """Pull policies, and for protected classes the lists of images."""
    config, settings = RunnerConfig(release), release.run.platform_settings
    for key in ("pull_policy", "allowed_pull_policies"):
        fields = list(config.everywhere(key))
        if not fields and not config.entry.absent:
            yield f"{CONFIG} does not set {key}"
        for field in fields:
            if policies := sorted(set(field.texts()) - {"always"}):
                yield f"{field.path} allows {policies[0]!r}, not only always"
    runner_class = config.runner_class
    if settings is None or runner_class is None or settings.runners[runner_class].level is not Level.PROTECTED:
        return
    repositories = f"{settings.names.registry_host(settings.platform_account.id)}/{settings.names.repository_prefix(Level.PROTECTED)}"
    yield from _protected_images(config, repositories)


def _protected_images(config: RunnerConfig, repositories: str) -> Iterator[str]:
    for key in ("allowed_images", "allowed_services"):
        fields = list(config.everywhere(key))
        if not fields and not config.entry.absent:
            yield f"{CONFIG} does not set {key}: a protected class would run any image"
        for field in fields:
            if foreign := [image for image in field.texts() if not image.startswith(repositories)]:
                yield f"{field.path} allows {foreign[0]}, which is not below {repositories}"
    helpers = list(config.everywhere("helper_image"))
    if not helpers and not config.entry.absent:
        yield f"{CONFIG} does not set helper_image: GitLab's registry would bring the helper of a protected class"
    for field in helpers:
        if not (field.text() or repositories).startswith(repositories):
            yield f"{field.path} is {field.text()}, which is not below {repositories}"


@resource_rule(
    "R05",
    "helm-release-splits-manager-and-jobs",
    [RELEASE],
    demands="the manager has its own service account and no rights from the chart; jobs have theirs, in their own namespace",
    stops="A04, A20: a job acts as its manager, or an attacker with a stolen manager's token administers the cluster",
    remedy="Keep rbac.create and serviceAccount.create off: components/runner_class.py makes service accounts and rights.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/; CIS EKS 4.1.4, 4.1.5",
    severity=Severity.CRITICAL,
)
def accounts_are_split(release: CheckedResource) -> Iterator[str]:
    """No rights from the chart, the manager's service account, the jobs' service account and namespace."""
    config = RunnerConfig(release)
    if config.runner_class is None:
        yield f"the release is in namespace {release['namespace'].text()!r}, which is not the manager's namespace of a class"
        return
    yield from _manager(config.values)
    yield from _jobs(config, {"service_account": JOB_SERVICE_ACCOUNT, "namespace": namespace_jobs(config.runner_class)})
    for key in ("namespace_per_job", "automount_service_account_token"):
        yield from (f"{field.path} is on" for field in config.everywhere(key) if field.flag(default=False))
    for key in ("bearer_token", "host", "context"):
        for field in config.everywhere(key):
            if field.text():
                yield f"{field.path} is set: the manager would use another identity or another cluster"


def _manager(values: Field) -> Iterator[str]:
    account = values["serviceAccount"]
    # The chart makes a service account unless serviceAccount.create is off.
    switches = (
        (values["rbac"]["create"], False),
        (values["rbac"]["clusterWideAccess"], False),
        (account["create"], True),
    )
    for field, default in switches:
        if field.flag(default=default):
            yield f"{field.path} is on: the chart makes service accounts and rights of its own"
    if (name := account["name"].text("")) not in {MANAGER_SERVICE_ACCOUNT, None}:
        yield f"{account['name'].path} is {name!r}, not {MANAGER_SERVICE_ACCOUNT}"


def _jobs(config: RunnerConfig, expected: Mapping[str, str]) -> Iterator[str]:
    for key, value in expected.items():
        fields = list(config.everywhere(key))
        if not fields and not config.entry.absent:
            yield f"{CONFIG} does not set {key}, so jobs run with the default"
        for field in fields:
            if (text := field.text()) not in {value, None}:
                yield f"{field.path} is {text!r}, not {value}"


@resource_rule(
    "R07",
    "helm-release-pins-what-it-installs",
    [RELEASE],
    demands="chart, image and token are those of the settings: pinned, and the token by reference",
    stops="A22: a changed chart or image runs as manager, or somebody copies a token from the values and takes jobs",
    remedy="Set chart.version in the stack file; components/runner_class.py makes the token's Secret.",
    settings=("chart.version", "chart"),
    source=f"{SECURITY}#cloning-a-runner",
)
def everything_is_pinned(release: CheckedResource) -> Iterator[str]:
    """Chart and repository of the settings, pinned images, no token among the values."""
    settings, values = release.run.platform_settings, release["values"]
    if settings is None:
        return
    for path, expected in _origin(settings).items():
        field = release.root
        for key in path.split("."):
            field = field[key]
        if (text := field.text()) not in {expected, None}:
            yield f"{path} is {text!r}, not {expected} as in the settings"
    tokens = (values["runnerToken"], values["runnerRegistrationToken"])
    for field in (*tokens, values["runners"]["registrationToken"], values["runners"]["token"]):
        if not field.absent:
            yield f"{field.path} is set: a token belongs into a Secret, not into the values"
    for key in ("image", "helper_image"):
        for field in RunnerConfig(release).everywhere(key):
            if not _pinned(field.text("")):
                yield f"{field.path} is {field.text('')!r}, an image without a fixed tag"


def _origin(settings: Settings) -> dict[str, str]:
    """Return the expected value of each input that says where the chart comes from."""
    chart = settings.chart
    if chart.path is not None:
        return {"chart": chart.path}
    repository, version = chart.repository or "", chart.version or ""
    if repository.startswith("oci://"):
        return {"chart": f"{repository}/gitlab-runner", "version": version}
    return {"chart": "gitlab-runner", "version": version, "repositoryOpts.repo": repository}


def _pinned(image: str | None) -> bool:
    if image is None:
        return True
    tag = image.rpartition("/")[2].partition(":")[2]
    return "@sha256:" in image or tag not in {"", "latest"}


@resource_rule(
    "R09",
    "helm-release-has-one-place-for-settings",
    [RELEASE],
    demands="the runner's settings are in runners.config only, readable, with one [[runners]]",
    stops="A setting gets past the other rules in a variable, a legacy value, a values file or a template",
    remedy="Write the setting in components/documents/config_toml.py, or add the value to the option `values` after review.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/",
    severity=Severity.CRITICAL,
    options={
        "values": Option.names(
            "values of the chart that a release may set",
            CHART_VALUES,
        )
    },
)
def one_place(release: CheckedResource) -> Iterator[str]:
    """The configuration can be read, and no other input changes the runner."""
    config = RunnerConfig(release)
    if config.problem:
        yield f"{CONFIG} {config.problem}"
    for name, field in config.values.entries():
        if name not in release.option("values") and not name.startswith("__"):
            yield f"{field.path} is set and is not in the option `values`"
    for name, field in config.values["runners"].entries():
        if name not in RUNNER_VALUES and not name.startswith("__"):
            yield f"{field.path} sets the runner outside of runners.config"
    for key in ("valueYamlFiles", "postrender"):
        if release[key].get():
            yield f"{key} changes the release where no rule can check it"


@stack_rule(
    "R08",
    "gitlab-runner-binds-its-class",
    demands="each class's runner in GitLab has its own tags, and a protected class's is locked, for protected refs, of its project",
    stops="A18: a merge request's pipeline runs on the runner that deploys to prod",
    remedy="Leave the runner to components/runner_object.py; set level, project and tag in the stack file.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/; OWASP CICD-SEC-4",
    severity=Severity.CRITICAL,
)
def runners_are_bound(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Attributes of every runner, and a runner for every protected class."""
    settings = stack.run.platform_settings
    if settings is None or settings.gitlab.runners != "managed":
        return
    classes = {frozenset(settings.runner_tags(name)): name for name in settings.runners}
    served = set()
    for runner in stack.of(RUNNER):
        tags = runner["tagLists"].texts()
        runner_class = classes.get(frozenset(tags))
        if runner["tagLists"].unknown:
            continue
        if runner_class is None:
            text = f"tagLists is {', '.join(tags) or 'empty'}, not the tags of one class: jobs of other classes would run on it"
            yield runner.urn, text
            continue
        served.add(runner_class)
        yield from ((runner.urn, text) for text in _differences(runner, settings, runner_class))
    for name, runner_of_class in settings.runners.items():
        if runner_of_class.level is Level.PROTECTED and name not in served:
            yield "", f"class {name} is protected and has no runner in GitLab with its tags"


def _differences(runner: CheckedResource, settings: Settings, runner_class: str) -> Iterator[str]:
    expected = runner_attributes(settings.runner_class(runner_class))
    for key, text in {"runnerType": expected.runner_type, "accessLevel": expected.access_level}.items():
        if (actual := runner[key].text()) not in {text, None}:
            yield f"{key} is {actual or 'missing'}, not {text}"
    # Without these inputs GitLab's defaults apply: untagged jobs run, and the runner is not locked.
    for key, flag, default in (("untagged", False, True), ("locked", expected.locked, False)):
        if runner[key].flag(default=default) not in {flag, None}:
            yield f"{key} is not {str(flag).lower()}"
    owner = "projectId" if expected.runner_type == "project_type" else "groupId"
    for key, number in {owner: expected.owner, "maximumTimeout": expected.maximum_timeout}.items():
        if (value := runner[key].number(default=-1)) not in {number, None}:
            yield f"{key} is {'missing' if value == -1 else value}, not {number}"
