"""Rules of where a release's parts come from: chart, images, token, and the one place of the runner's settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from policies.rule import Option, resource_rule
from policies.rules.runners import SECURITY
from policies.runner_config import CONFIG, RunnerConfig
from policies.tokens import RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.rule import Case

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
def everything_is_pinned(release: Case) -> Iterator[str]:
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
def one_place(release: Case) -> Iterator[str]:
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
