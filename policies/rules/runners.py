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
from components.documents.config_toml import OVERWRITES, registry_host
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


@resource_rule(
    "R01",
    "helm-release-runs-no-privileged-pods",
    [RELEASE],
    demands="job pods and the manager are not privileged, cannot escalate, and add no capabilities",
    stops="A02, A05: a job leaves its container, and takes the node and every pod's token on it",
    remedy="Leave [runners.kubernetes] as components/documents/config_toml.py writes it; images are built by the plain builder.",
    settings=("runners.{runner}.builder", "runners.{runner}"),
    source=f"{SECURITY}; CKV_K8S_2, CKV_K8S_16, CIS EKS 4.2.1, 4.2.5",
    severity=Severity.CRITICAL,
)
def not_privileged(release: CheckedResource) -> Iterator[str]:
    """Neither in the pod, nor in one of its containers, nor in the manager."""
    config = RunnerConfig(release)
    for key in ("privileged", "allow_privilege_escalation", "services_privileged"):
        for field in config.everywhere(key):
            if field.flag(default=False):
                yield f"{field.path} is on"
    escalation = list(config.everywhere("allow_privilege_escalation"))
    if not escalation and not config.problem and not config.entry.absent:
        yield f"{CONFIG} does not set allow_privilege_escalation, so the container's default holds, which allows it"
    for field in config.everywhere("cap_add"):
        if field.get([]):
            yield f"{field.path} adds capabilities"
    contexts = [config.kubernetes[each] for each in SECURITY_CONTEXTS]
    yield from (
        text for each in contexts for text in _context(each, ("privileged", "allow_privilege_escalation"), "add")
    )
    for name in ("securityContext", "podSecurityContext"):
        yield from _context(config.values[name], ("privileged", "allowPrivilegeEscalation"), "add")


def _context(context: Field, flags: tuple[str, ...], added: str) -> Iterator[str]:
    for key in flags:
        if context[key].flag(default=False):
            yield f"{context[key].path} is on"
    if context["capabilities"][added].get([]):
        yield f"{context['capabilities'][added].path} adds capabilities"
    for key in ("proc_mount", "procMount"):
        if context[key].text("Default") not in {"Default", "", None}:
            yield f"{context[key].path} unmasks /proc"


@resource_rule(
    "R02",
    "helm-release-lets-jobs-overwrite-nothing",
    [RELEASE],
    demands="jobs may overwrite neither service account nor namespace, node, labels, annotations or token",
    stops="A03, A04, A23: a job picks a stronger service account, another namespace, or the managers' nodes",
    remedy="Keep every *_overwrite_allowed empty: GitLab does not anchor these regular expressions.",
    settings=("runners.{runner}",),
    source=f"{EXECUTOR}#overwrite-kubernetes-service-account; executors/kubernetes/overwrites.go",
    severity=Severity.CRITICAL,
)
def nothing_is_overwritten(release: CheckedResource) -> Iterator[str]:
    """All expressions are empty; the bearer token's switch is off."""
    config = RunnerConfig(release)
    for key in OVERWRITES:
        for field in config.everywhere(key):
            if field.text():
                yield f"{field.path} lets jobs choose"
    for field in config.everywhere("bearer_token_overwrite_allowed"):
        if field.flag(default=False):
            yield f"{field.path} lets jobs bring a token for the cluster"


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
    """No volumes, no host's names, no patch but our own."""
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
    for each in config.values["volumes"].items():
        if not each["hostPath"].absent:
            yield f"{each.path} mounts a path of the node into the manager"


def _patches(config: RunnerConfig) -> Iterator[str]:
    patches = config.patches()
    for patch in patches:
        if not _is_ours(patch):
            yield f"{patch.path} is not the patch {job_identity.PATCH_NAME} of components/documents/job_identity.py"
    if not patches:
        yield f"{CONFIG} has no patch {job_identity.PATCH_NAME}: jobs have no AWS identity"
    elif len(patches) > 1:
        yield f"{config.kubernetes['pod_spec'].path} has {len(patches)} patches; a later one may undo the first"
    elif config.patches_apply is False:
        yield f"{CONFIG} does not switch {job_identity.FEATURE_FLAG} on: the patch is passed over"


def _is_ours(patch: Field) -> bool:
    text = patch["patch"].text()
    if text is None:
        return True
    kind = patch["patch_type"].text("strategic")
    return _is_identity(text) and kind in {"strategic", None} and patch["patch_path"].absent


@lru_cache(maxsize=64)
def _is_identity(text: str) -> bool:
    try:
        return bool(yaml.safe_load(text) == job_identity.pod_patch())
    except yaml.YAMLError:
        return False


@resource_rule(
    "R04",
    "helm-release-pulls-listed-images",
    [RELEASE],
    demands="images are pulled always; a protected class runs images of the protected repositories only",
    stops="A16, A24: a job runs another project's private image, or a protected job an image that an open one made",
    remedy="Keep pull_policy at always; push the image to a protected repository first.",
    settings=("runners.{runner}",),
    source=f"{SECURITY}#usage-of-private-docker-images-with-if-not-present-pull-policy; CIS EKS 5.1.4",
)
def images_are_listed(release: CheckedResource) -> Iterator[str]:
    """Pull policies, and for protected classes the lists of images."""
    config, settings = RunnerConfig(release), release.surroundings.runners
    for key in ("pull_policy", "allowed_pull_policies"):
        found = list(config.everywhere(key))
        if not found and not config.entry.absent:
            yield f"{CONFIG} does not set {key}"
        for field in found:
            if set(field.texts()) - {"always"}:
                yield f"{field.path} allows more than always"
    runner_class = config.runner_class
    if settings is None or runner_class is None or settings.runners[runner_class].level is not Level.PROTECTED:
        return
    own = f"{registry_host(settings)}/{settings.names.repository_prefix(Level.PROTECTED)}"
    for key in ("allowed_images", "allowed_services"):
        found = list(config.everywhere(key))
        if not found and not config.entry.absent:
            yield f"{CONFIG} does not set {key}: a protected class would run any image"
        for field in found:
            if foreign := [each for each in field.texts() if not each.startswith(own)]:
                yield f"{field.path} allows {foreign[0]}, which is not below {own}"


@resource_rule(
    "R05",
    "helm-release-splits-manager-and-jobs",
    [RELEASE],
    demands="the manager acts with its own account and with no rights of the chart's; jobs run with theirs, in their namespace",
    stops="A04, A20: a job acts as its manager, or a stolen manager's token rules the cluster",
    remedy="Keep rbac.create and serviceAccount.create off: components/runner_class.py makes accounts and rights.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/; CIS EKS 4.1.4, 4.1.5",
    severity=Severity.CRITICAL,
)
def accounts_are_split(release: CheckedResource) -> Iterator[str]:
    """No rights by the chart, the manager's account, the jobs' account and namespace."""
    config = RunnerConfig(release)
    if config.runner_class is None:
        yield "the release is in no manager's namespace of the settings' classes"
        return
    yield from _manager(config.values)
    yield from _jobs(config, {"service_account": JOB_SERVICE_ACCOUNT, "namespace": namespace_jobs(config.runner_class)})
    for key in ("namespace_per_job", "automount_service_account_token"):
        yield from (f"{field.path} is on" for field in config.everywhere(key) if field.flag(default=False))
    for key in ("bearer_token", "host", "context"):
        for field in config.everywhere(key):
            if field.text():
                yield f"{field.path} is set: the manager would act as somebody else, or elsewhere"


def _manager(values: Field) -> Iterator[str]:
    account = values["serviceAccount"]
    # The chart makes an account unless it is told not to.
    switches = (
        (values["rbac"]["create"], False),
        (values["rbac"]["clusterWideAccess"], False),
        (account["create"], True),
    )
    for field, default in switches:
        if field.flag(default=default):
            yield f"{field.path} is on: the chart makes accounts and rights of its own"
    if account["name"].text("") not in {MANAGER_SERVICE_ACCOUNT, None}:
        yield f"{account['name'].path} is not {MANAGER_SERVICE_ACCOUNT}"


def _jobs(config: RunnerConfig, wanted: Mapping[str, str]) -> Iterator[str]:
    for key, expected in wanted.items():
        found = list(config.everywhere(key))
        if not found and not config.entry.absent:
            yield f"{CONFIG} does not set {key}, so jobs run with the default"
        for field in found:
            if field.text() not in {expected, None}:
                yield f"{field.path} is not {expected}"


KNOWN_VALUES = [
    *("gitlabUrl", "fullnameOverride", "replicas", "concurrent", "checkInterval", "unregisterRunners", "metrics"),
    *("terminationGracePeriodSeconds", "runners", "rbac", "serviceAccount", "livenessProbe", "readinessProbe"),
    *("probeTimeoutSeconds", "podLabels", "podAnnotations", "podSecurityContext", "securityContext", "resources"),
    *("nodeSelector", "tolerations", "certsSecretName"),
]
KNOWN_RUNNER_VALUES = ("name", "executor", "secret", "config")


@resource_rule(
    "R07",
    "helm-release-pins-what-it-installs",
    [RELEASE],
    demands="chart, image and token come from where the settings say: pinned, and the token by reference",
    stops="A22: a changed chart or image runs as manager, or a token in values is copied and takes jobs",
    remedy="Set chart.version in the stack file; the token's Secret is made by components/runner_class.py.",
    settings=("chart.version", "chart"),
    source=f"{SECURITY}#cloning-a-runner",
)
def everything_is_pinned(release: CheckedResource) -> Iterator[str]:
    """Chart and repository of the settings, pinned images, no token among the values."""
    settings, values = release.surroundings.runners, release["values"]
    if settings is None:
        return
    for path, expected in _origin(settings).items():
        field = release.root
        for key in path.split("."):
            field = field[key]
        if field.text() not in {expected, None}:
            yield f"{path} is not what the settings say: {expected}"
    tokens = (values["runnerToken"], values["runnerRegistrationToken"])
    for field in (*tokens, values["runners"]["registrationToken"], values["runners"]["token"]):
        if not field.absent:
            yield f"{field.path} is given: a token stands in a Secret, never among values"
    for key in ("image", "helper_image"):
        for field in RunnerConfig(release).everywhere(key):
            if not _pinned(field.text("")):
                yield f"{field.path} has no tag, or a moving one"


def _origin(settings: Settings) -> dict[str, str]:
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
    demands="the runner's settings stand in runners.config, one [[runners]], readable, and nowhere else",
    stops="A setting is smuggled in by a variable, a legacy value, a values file or a template, past the other rules",
    remedy="Write the setting in components/documents/config_toml.py, or add the value to the option `values` after review.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/",
    severity=Severity.CRITICAL,
    options={
        "values": Option.names(
            "values of the chart that a release may set",
            KNOWN_VALUES,
        )
    },
)
def one_place(release: CheckedResource) -> Iterator[str]:
    """The configuration can be read, and no other door is open."""
    config = RunnerConfig(release)
    if config.problem:
        yield f"{CONFIG} {config.problem}"
    for name, field in config.values.entries():
        if name not in release.option("values") and not name.startswith("__"):
            yield f"{field.path} is not a value that a release sets here"
    for name, field in config.values["runners"].entries():
        if name not in KNOWN_RUNNER_VALUES and not name.startswith("__"):
            yield f"{field.path} sets the runner beside runners.config"
    for key in ("valueYamlFiles", "postrender"):
        if release[key].get():
            yield f"{key} changes the release where no rule looks"


@stack_rule(
    "R08",
    "gitlab-runner-binds-its-class",
    demands="each class's runner in GitLab has its one tag, and a protected class's is locked, for protected refs, of its project",
    stops="A18: a merge request's pipeline runs on the runner that deploys to prod",
    remedy="Leave the runner to components/runner_object.py; level, project and tag stand in the stack file.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/ci/pipelines/merge_request_pipelines/; OWASP CICD-SEC-4",
    severity=Severity.CRITICAL,
)
def runners_are_bound(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Attributes of every runner, and a runner for every protected class."""
    settings = stack.surroundings.runners
    if settings is None or settings.gitlab.runners != "managed":
        return
    tags = {runner_attributes(settings, each).tag: each for each in settings.runners}
    served = set()
    for runner in stack.of(RUNNER):
        found = runner["tagLists"]
        named = found.texts()
        runner_class = tags.get(named[0]) if len(named) == 1 else None
        if found.unknown:
            continue
        if runner_class is None:
            yield runner.urn, "tagLists is not the tag of one class: jobs of others would run on it"
            continue
        served.add(runner_class)
        yield from ((runner.urn, text) for text in _differences(runner, settings, runner_class))
    for each, its in settings.runners.items():
        if its.level is Level.PROTECTED and each not in served:
            yield "", f"class {each} is protected and has no runner in GitLab that says so"


def _differences(runner: CheckedResource, settings: Settings, runner_class: str) -> Iterator[str]:
    wanted = runner_attributes(settings, runner_class)
    of_project = wanted.runner_type == "project_type"
    texts = {"runnerType": wanted.runner_type, "accessLevel": wanted.access_level}
    for key, expected in texts.items():
        if runner[key].text() not in {expected, None}:
            yield f"{key} is not {expected}"
    # GitLab's own defaults hold where nothing is said: untagged jobs run, and nothing is locked.
    for key, expected_flag, default in (("untagged", False, True), ("locked", wanted.locked, False)):
        if runner[key].flag(default=default) not in {expected_flag, None}:
            yield f"{key} is not {str(expected_flag).lower()}"
    numbers = {"projectId" if of_project else "groupId": wanted.owner, "maximumTimeout": wanted.maximum_timeout}
    for key, number in numbers.items():
        if runner[key].number(default=-1) not in {number, None}:
            yield f"{key} is not {number}"
