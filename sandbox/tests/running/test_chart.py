"""The sandbox's own gitlab-runner chart, rendered by the real Helm."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import load, names
from runner_platform import class_files
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support.chart_cases import CASES, Case, packaged

pytestmark = pytest.mark.sandbox

ROOT = Path(__file__).parents[3]
CHART = ROOT / "sandbox" / "chart" / "gitlab-runner"
FACTS = json.loads((ROOT / "tests" / "data" / "chart-values.json").read_text())
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def helm_template(
    values: dict[str, Any], chart: Path = CHART, release: str = "gitlab-runner-small"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            str(Tools.find(Paths.from_environment()).helm),
            "template",
            release,
            str(chart),
            "--namespace",
            "runner-small",
            "--values",
            "-",
        ],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def render(values: dict[str, Any], chart: Path = CHART, release: str = "gitlab-runner-small") -> str:
    done = helm_template(values, chart, release)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(values: dict[str, Any], chart: Path = CHART, release: str = "gitlab-runner-small") -> dict[str, Any]:
    documents = [item for item in yaml.safe_load_all(render(values, chart, release)) if item]
    return {item["kind"]: item for item in documents}


def overlay(context: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    result = copy.deepcopy(context)
    *folders, last = key.split(".")
    place = result
    for folder in folders:
        place = place.setdefault(folder, {})
    place[last] = value
    return result


def changes_rendering(key: str, case: Case) -> bool:
    return render(case.context) != render(overlay(case.context, key, case.value))


def pod(values: dict[str, Any]) -> dict[str, Any]:
    return dict(objects(values)["Deployment"]["spec"]["template"])


def test_every_value_of_the_official_chart_has_a_case() -> None:
    missing = set(FACTS["read_by_templates"]) - set(CASES)
    assert not missing, "a value that the official chart reads and ours does not would work in the sandbox only by luck"


def test_every_value_of_the_official_chart_changes_the_rendering() -> None:
    with ThreadPoolExecutor(2) as pool:
        changed = dict(zip(CASES, pool.map(lambda item: changes_rendering(*item), CASES.items()), strict=True))
    assert [key for key, value in changed.items() if not value] == []


def test_the_defaults_are_those_of_the_official_chart() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    values["runners"].pop("config")  # the facts leave it out; its own test is below
    assert values == FACTS["defaults"]


def test_the_defaults_render_one_deployment_and_one_config_map() -> None:
    assert set(objects({})) == {"Deployment", "ConfigMap"}


def test_the_default_configuration_puts_jobs_where_job_namespace_says() -> None:
    assert (
        'namespace = "jobs"'
        in objects({"runners": {"jobNamespace": "jobs"}})["ConfigMap"]["data"]["config.template.toml"]
    )
    assert 'namespace = "runner-small"' in objects({})["ConfigMap"]["data"]["config.template.toml"]


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("gitlab-runner-small", "gitlab-runner-small"),
        ("small", "small-gitlab-runner"),
        ("x" * 53, "x" * 53 + "-gitlab-ru"),
    ],
)
def test_the_full_name_follows_the_release(release: str, name: str) -> None:
    deployment = objects({}, release=release)["Deployment"]
    assert deployment["metadata"]["name"] == name
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": name}}


def test_both_token_keys_are_mounted_and_neither_is_optional() -> None:
    volumes = {volume["name"]: volume for volume in pod({"runners": {"secret": "token"}})["spec"]["volumes"]}
    (source,) = volumes["projected-secrets"]["projected"]["sources"]
    assert source["secret"]["name"] == "token"
    assert {item["key"] for item in source["secret"]["items"]} == {"runner-token", "runner-registration-token"}
    assert "optional" not in source["secret"]


def test_a_secret_of_the_user_leaves_the_checksum_of_an_empty_text() -> None:
    """So a changed token does not roll the manager: the trap that the program must avoid with an annotation."""
    annotations = pod({"runners": {"secret": "token"}})["metadata"]["annotations"]
    assert annotations["checksum/secrets"] == EMPTY_SHA256


def test_a_token_in_the_values_makes_a_secret_with_both_keys() -> None:
    secret = objects({"runnerToken": "glrt-x"})["Secret"]
    assert secret["data"] == {"runner-token": "Z2xydC14", "runner-registration-token": ""}


def test_a_maximum_timeout_beside_an_authentication_token_is_refused() -> None:
    done = helm_template({"runnerToken": "glrt-x", "runners": {"maximumTimeout": 3600}})
    assert done.returncode != 0
    assert "runners.maximumTimeout cannot be set with an authentication token" in done.stderr


def test_unknown_values_are_ignored_as_helm_does() -> None:
    assert render({"nonsense": {"a": 1}, "runners": {"nonsense": True}}) == render({})


def test_empty_rules_give_the_manager_the_whole_core_group() -> None:
    assert objects({"rbac": {"create": True}})["Role"]["rules"] == [
        {"apiGroups": [""], "resources": ["*"], "verbs": ["*"]}
    ]


def test_rules_have_all_defaults_of_the_official_chart() -> None:
    rules = objects({"rbac": {"create": True, "rules": [{"resources": ["pods"]}]}})["Role"]["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}]


def test_roles_are_made_in_the_job_namespace() -> None:
    rendered = objects({"rbac": {"create": True}, "runners": {"jobNamespace": "jobs-small"}})
    assert rendered["Role"]["metadata"]["namespace"] == "jobs-small"
    assert rendered["RoleBinding"]["subjects"][0]["namespace"] == "runner-small"


def test_an_own_lifecycle_replaces_the_unregistering_one() -> None:
    own = {"preStop": {"exec": {"command": ["true"]}}}
    assert pod({"deploymentLifecycle": own})["spec"]["containers"][0]["lifecycle"] == own
    default = pod({})["spec"]["containers"][0]["lifecycle"]
    assert default["preStop"]["exec"]["command"] == ["/entrypoint", "unregister", "--all-runners"]


def test_an_autoscaler_takes_the_replicas_away() -> None:
    rendered = objects({"replicas": 2, "hpa": {"minReplicas": 1, "maxReplicas": 3}})
    assert "replicas" not in rendered["Deployment"]["spec"]
    assert rendered["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] == 3


def test_newer_values_count_from_the_version_that_brought_them(tmp_path: Path) -> None:
    newer = tmp_path / "gitlab-runner"
    shutil.copytree(CHART, newer)
    text = (newer / "Chart.yaml").read_text().replace("version: 0.86.0", "version: 0.89.0")
    (newer / "Chart.yaml").write_text(text)
    values = {"runners": {"configOverride": "concurrent = 3\n"}, "configMapLabels": {"team": "x"}}
    assert "concurrent = 3" in objects(values, newer)["ConfigMap"]["data"]["config.toml"]
    assert objects(values, newer)["ConfigMap"]["metadata"]["labels"]["team"] == "x"
    assert objects(values)["ConfigMap"] == objects({})["ConfigMap"], "an older chart ignores both silently"


@pytest.mark.parametrize(
    ("stack", "runner_class"),
    [(stack, name) for stack in load.stacks() for name in load.of_stack(stack).kubernetes_classes],
)
def test_the_packaged_chart_takes_the_values_of_every_class(stack: str, runner_class: str, tmp_path: Path) -> None:
    settings = load.of_stack(stack)
    archive = packaged(CHART, tmp_path, settings.chart.version)
    values = yaml.safe_load(class_files.values(stack, runner_class))
    rendered = objects(values, archive, names.helm_release(runner_class))
    data = rendered["ConfigMap"]["data"]
    template = tomllib.loads(data["config.template.toml"])
    (runner,) = template["runners"]
    assert runner == tomllib.loads(values["runners"]["config"])["runners"][0], "the chart's templating changed the TOML"
    assert runner["kubernetes"]["namespace"] == names.namespace_jobs(runner_class)
    assert set(template) == {"runners"}, "only [[runners]] is merged at registration"
    assert tomllib.loads(data["config.toml"])["concurrent"] == values["concurrent"]
    manager = rendered["Deployment"]["spec"]["template"]["spec"]
    assert manager["serviceAccountName"] == values["serviceAccount"]["name"]
