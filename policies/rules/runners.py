"""Rules of runners: what a manager may do with the pods of jobs, what a release installs, and the runner object in GitLab.

R01 to R09 and S02 judge the keys that decide most, each with its own words. R10 refuses every other key and value that is not in the table of
`policies/release_table.py`. GitLab's runner object is what binds a class to protected branches.
Source: https://docs.gitlab.com/runner/security/ and https://docs.gitlab.com/runner/executors/kubernetes/
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import yaml
from pulumi_policy import Severity

from components.documents import job_identity
from components.documents.runner_object import runner_attributes
from config.capabilities import Level
from config.names import JOB_SERVICE_ACCOUNT, MANAGER_SERVICE_ACCOUNT, namespace_jobs
from policies.fields import ABSENT
from policies.release_table import OVERWRITES, POD_PATCH, config_table, deviations, release_table, runner_image
from policies.rule import Option, resource_rule, stack_rule
from policies.runner_config import CONFIG, RunnerConfig
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
    demands="job pods and the manager are not privileged, and cannot escalate",
    stops="A05: a job leaves its container, and takes the node and every pod's token on it",
    remedy="Leave [runners.kubernetes] as components/documents/config_toml.py writes it; build images with the plain builder.",
    settings=("runners.{runner}.builder", "runners.{runner}"),
    source=f"{SECURITY}; CKV_K8S_2, CKV_K8S_16, CIS EKS 4.2.1, 4.2.5",
    severity=Severity.CRITICAL,
)
def not_privileged(release: CheckedResource) -> Iterator[str]:
    """Neither the containers of a job nor the manager."""
    config = RunnerConfig(release)
    for key in ("privileged", "allow_privilege_escalation"):
        if config.setting(key).flag(default=False):
            yield f"{config.setting(key).path} is on"
    if config.setting("allow_privilege_escalation").absent and not config.problem and not config.entry.absent:
        yield f"{CONFIG} does not set allow_privilege_escalation, so the container's default applies, which allows it"
    context = config.values["securityContext"]
    for key, default in (("privileged", False), ("allowPrivilegeEscalation", True)):
        if context[key].flag(default=default):
            yield f"{context[key].path} is on"


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
        field = config.setting(f"{key}_overwrite_allowed")
        if field.value not in (ABSENT, None, "", False) and field.get() is not None:
            yield f"{field.path} is {'on' if field.value is True else 'not empty'}: jobs may choose the value"


@resource_rule(
    "R03",
    "helm-release-touches-no-host",
    [RELEASE],
    demands="the one patch of the specification of job pods is the platform's own",
    stops="A02: a patch gives a job the node's network, disk or processes, or another service account's token",
    remedy="Keep the patch that components/documents/job_identity.py makes.",
    settings=("runners.{runner}",),
    source=f"{EXECUTOR}#overwrite-generated-pod-specifications; CKV_K8S_17 to 19, CKV_K8S_27",
    severity=Severity.CRITICAL,
)
def no_host(release: CheckedResource) -> Iterator[str]:
    """No patch but the platform's, and that one in force."""
    config = RunnerConfig(release)
    if config.problem and config.entry.absent:
        release.undecide(CONFIG)
        return
    yield from _patches(config)


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


_PATCH = yaml.safe_dump(POD_PATCH, sort_keys=False)
"""The text decides: two readers of YAML may take a key that is there twice in two ways."""


def _is_platform_patch(patch: Field) -> bool:
    text = patch["patch"].text()
    if text is None:
        return True
    kind = patch["patch_type"].text("strategic")
    return text == _PATCH and kind in {"strategic", None} and patch["patch_path"].absent


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
        field = config.setting(key)
        if config.entry.absent or field.unknown:
            continue
        if not (policies := field.texts()):
            yield f"{field.path} lists nothing: a node's images would do without a pull"
        if other_policies := sorted(set(policies) - {"always"}):
            yield f"{field.path} allows {other_policies[0]!r}, not only always"
    runner_class = config.runner_class
    if settings is None or runner_class is None or settings.runners[runner_class].level is not Level.PROTECTED:
        return
    registry = settings.names.registry_host(settings.platform_account.id)
    if not config.entry.absent:
        yield from _protected_images(config, f"{registry}/{settings.names.repository_prefix(Level.PROTECTED)}")
        helper, expected = config.setting("helper_image"), f"{runner_image(settings.runner_class(runner_class))}-helper"
        if helper.text() not in {expected, None}:
            yield f"{helper.path} is {helper.text() or 'missing'}, not {expected}: the helper has the job's credentials"


def _protected_images(config: RunnerConfig, repositories: str) -> Iterator[str]:
    for key in ("allowed_images", "allowed_services"):
        field = config.setting(key)
        if field.unknown:
            continue
        # The runner takes an empty list for no limit.
        if not (images := field.texts()):
            yield f"{field.path} lists nothing: a protected class would run any image"
        if foreign := [image for image in images if not image.startswith(repositories)]:
            yield f"{field.path} allows {foreign[0]}, which is not below {repositories}"


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
    mount = config.setting("automount_service_account_token")
    if not config.entry.absent and not mount.unknown and mount.value is not False:
        yield f"{mount.path} is not off: job pods would hold a token of the cluster"


def _manager(values: Field) -> Iterator[str]:
    account = values["serviceAccount"]
    # Text counts as true in a template of Helm, "false" too, and the chart makes a service account unless create is off.
    switches = (values["rbac"]["create"], values["rbac"]["clusterWideAccess"], account["create"])
    for field in switches:
        if not field.unknown and field.value is not False and not (field.absent and field is not switches[-1]):
            yield f"{field.path} is not off: the chart makes service accounts and rights of its own"
    if (name := account["name"].text("")) not in {MANAGER_SERVICE_ACCOUNT, None}:
        yield f"{account['name'].path} is {name!r}, not {MANAGER_SERVICE_ACCOUNT}"


def _jobs(config: RunnerConfig, expected: Mapping[str, str]) -> Iterator[str]:
    for key, value in expected.items():
        field = config.setting(key)
        if field.absent and not config.entry.absent:
            yield f"{CONFIG} does not set {key}, so jobs run with the default"
        elif not field.absent and (text := field.text()) not in {value, None}:
            yield f"{field.path} is {text!r}, not {value}"


@resource_rule(
    "R07",
    "helm-release-pins-what-it-installs",
    [RELEASE],
    demands="chart, version and repository are those of the settings",
    stops="A22: a changed chart runs as manager, reads the runner's token and takes jobs",
    remedy="Set chart.version and chart.repository in the stack file.",
    settings=("chart.version", "chart"),
    source=f"{SECURITY}#cloning-a-runner",
)
def everything_is_pinned(release: CheckedResource) -> Iterator[str]:
    """Chart, version and repository of the settings."""
    settings = release.run.platform_settings
    if settings is None:
        return
    for path, expected in _origin(settings).items():
        field = release.root
        for key in path.split("."):
            field = field[key]
        if (text := field.text()) not in {expected, None}:
            yield f"{path} is {text!r}, not {expected} as in the settings"


def _origin(settings: Settings) -> dict[str, str]:
    """Return the expected value of each input that says where the chart comes from."""
    chart = settings.chart
    if chart is None:
        return {}
    if chart.path is not None:
        return {"chart": chart.path, "repositoryOpts.repo": ""}
    repository, version = chart.repository or "", chart.version or ""
    if repository.startswith("oci://"):
        return {"chart": f"{repository}/gitlab-runner", "version": version, "repositoryOpts.repo": ""}
    return {"chart": "gitlab-runner", "version": version, "repositoryOpts.repo": repository}


@resource_rule(
    "R09",
    "helm-release-has-a-readable-configuration",
    [RELEASE],
    demands="runners.config is readable: TOML without a template, with one [[runners]]",
    stops="A setting gets past the other rules in a template or in a second [[runners]]",
    remedy="Write the setting in components/documents/config_toml.py.",
    settings=("runners.{runner}",),
    source="https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/",
    severity=Severity.CRITICAL,
)
def config_is_readable(release: CheckedResource) -> Iterator[str]:
    """The configuration can be read."""
    config = RunnerConfig(release)
    if config.problem:
        yield f"{CONFIG} {config.problem}"


@resource_rule(
    "R10",
    "helm-release-has-listed-keys-only",
    [RELEASE],
    demands="a release, its values and its config.toml hold the keys of policies/release_table.py, each with a value it may have",
    stops="A02, A03, A05, A12, A16, A17, A20, A22, A23: a key that no other rule reads changes what runs, as whom, where, or for whom",
    remedy="Take it back, or add the key and its values to policies/release_table.py after review.",
    settings=("runners.{runner}",),
    source=f"{EXECUTOR}#configuration-settings; https://docs.gitlab.com/runner/install/kubernetes_helm_chart_configuration/",
    severity=Severity.CRITICAL,
    options={
        "keys": Option.names("paths of further keys that may hold anything, such as values.priorityClassName", []),
    },
)
def keys_are_listed(release: CheckedResource) -> Iterator[str]:
    """Inputs, chart values and TOML, against the one table of each."""
    config, settings, reviewed = RunnerConfig(release), release.run.platform_settings, release.option("keys")
    if settings is None or config.runner_class is None:
        return
    runner_class = settings.kubernetes_classes[config.runner_class]
    inputs = {
        key: _without_empty(value) if key == "repositoryOpts" and isinstance(value, dict) else value
        for key, value in _without_empty(release.resource.inputs).items()
    }
    yield from deviations(replace(release.root, value=inputs), release_table(runner_class), reviewed)
    for path in config.toml.respelled:
        yield f"{CONFIG} {path} is in another spelling than the runner's; the runner reads it all the same"
    for path in config.toml.twice:
        yield f"{CONFIG} {path} is there in another spelling too; the runner takes either"
    for key in config.toml.document:
        if key != "runners":
            yield f"{CONFIG} {key} is set; only [[runners]] belongs into it"
    if not config.entry.absent:
        yield from deviations(config.entry, config_table(runner_class), reviewed)


def _without_empty(inputs: Mapping[str, object]) -> dict[str, Any]:
    """Leave out switches that are off, and empty texts and lists: the provider writes them itself, for keys that are absent."""
    return {key: value for key, value in inputs.items() if value not in (None, False, "", [], {})}


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
