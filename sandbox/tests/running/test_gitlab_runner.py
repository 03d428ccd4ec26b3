"""The real GitLab Runner with the platform's configuration: what it reads, and the pods that it makes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from components.documents import job_identity, pods
from components.documents.config_toml import FEATURE_FLAGS, config_toml, runner_image
from config.capabilities import Level
from config.names import JOB_SERVICE_ACCOUNT, helm_release, namespace_jobs, namespace_manager
from config.quantities import memory_text
from runner_platform.prove.deployed import TEMPLATE_KEY
from runner_platform.prove.job_pod import job_pod, runner_section
from runner_platform_sandbox import lifecycle
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.runner_managers import RunnerManager, RunnerManagerError, running
from runner_platform_sandbox.tools.catalogue import GITLAB_RUNNER
from runner_platform_sandbox.tools.discovery import Tools
from sandbox.tests.support import job_server
from sandbox.tests.support.runner_cluster import STACK, RunnerCluster, runner_cluster, token
from tests.support.class_settings import CLASSES, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox

DEV_CLASSES = [name for stack, name in CLASSES if stack == STACK]
OVERWRITES = {
    "KUBERNETES_NAMESPACE_OVERWRITE": "default",
    "KUBERNETES_SERVICE_ACCOUNT_OVERWRITE": "default",
    "KUBERNETES_POD_LABELS_1": "runner-platform/class=deploy",
    "KUBERNETES_POD_ANNOTATIONS_1": "karpenter.sh/do-not-disrupt=false",
    "KUBERNETES_NODE_SELECTOR_1": "runner-platform/class=deploy",
    "KUBERNETES_NODE_TOLERATIONS_1": "runner-platform/class=deploy:NoSchedule",
    "KUBERNETES_BEARER_TOKEN": "stolen",
    "KUBERNETES_CPU_REQUEST": "3",
    "KUBERNETES_CPU_LIMIT": "3",
    "KUBERNETES_MEMORY_REQUEST": "7Gi",
    "KUBERNETES_MEMORY_LIMIT": "7Gi",
    "KUBERNETES_EPHEMERAL_STORAGE_LIMIT": "70Gi",
    "KUBERNETES_HELPER_MEMORY_LIMIT": "7Gi",
    "KUBERNETES_SERVICE_MEMORY_LIMIT": "7Gi",
    **{flag: str(not value).lower() for flag, value in FEATURE_FLAGS.items()},
}
"""Every way to ask for another pod by variables that GitLab documents, and each flag of the configuration turned round."""


HELPER_IMAGE = r"spec\.(initContainers\.init-permissions|containers\.helper)\.image"
ALLOWED_DIFFERENCES = {
    r"metadata\.(labels|annotations)\.((job|project|manager)\.runner\.gitlab\.com/.*|pod)": "they describe a job, and a proof has none",
    r"spec\.(initContainers|containers)\.[a-z-]+\.command": "the runner's waits for scripts; a proof sets its own",
    r"spec\.containers\.build\.env\.(?!AWS_).*": "variables of the job",
    HELPER_IMAGE: "in an open class its tag is the runner's version, which no text in the cluster has",
    r"spec\.(initContainers|containers)\.[a-z-]+\.volumeMounts\.(scripts|logs)\.mountPath": "the runner adds project and job",
}
"""Differences between the pod of `prove` and the real runner's, and their reasons."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerCluster]:
    with runner_cluster(tmp_path_factory.mktemp("runners")) as running_cluster:
        yield running_cluster


def program() -> Path:
    return Tools.find(Paths.from_environment()).gitlab_runner


def gitlab_runner(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(program()), *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL
    )


def flat(values: Any, path: str = "") -> dict[str, Any]:
    """Leaves of nested tables and lists by their path."""
    if isinstance(values, dict) and values:
        return {key: leaf for name, value in values.items() for key, leaf in flat(value, f"{path}.{name}").items()}
    if isinstance(values, list) and values and isinstance(values[0], dict):
        return flat({str(index): value for index, value in enumerate(values)}, path)
    return {path: values}


def test_the_runner_says_the_version_that_go_mod_pins() -> None:
    said = gitlab_runner("--version").stdout
    assert f"Version:      {GITLAB_RUNNER.version}\n" in said
    release = program().parents[1] / "share" / "VERSION"
    assert release.read_text().strip() == str(GITLAB_RUNNER.version), "correct `// release` in go.mod"


def test_register_keeps_every_key_of_every_class_and_knows_each(tmp_path: Path) -> None:
    with job_server.serving() as gitlab:
        for stack, name in CLASSES:
            template, config = tmp_path / f"{stack}-{name}.toml", tmp_path / f"{stack}-{name}-config.toml"
            template.write_text(config_toml(settings_of(stack).runner_class(name)))
            known = lint(template.read_text(), tmp_path)
            assert known.returncode == 0, f"{stack}/{name}: {known.stderr}"
            done = gitlab_runner(
                *("register", "--non-interactive", "--config", str(config), "--template-config", str(template)),
                CI_SERVER_URL=gitlab.url,
                CI_SERVER_TOKEN=token(name),
                RUNNER_EXECUTOR="kubernetes",
            )
            assert done.returncode == 0, done.stderr
            template_leaves = flat(tomllib.loads(template.read_text()))
            registered = flat(tomllib.loads(config.read_text()))
            # GitLab Runner leaves out texts that are empty, and an empty text is its default.
            lost = {key for key, value in template_leaves.items() if value != registered.get(key, "")}
            assert lost == set()


def lint(template: str, folder: Path, executor: str = "kubernetes") -> subprocess.CompletedProcess[str]:
    """Let the runner check a template, with what `register` adds."""
    config = folder / "lint.toml"
    own = f'url = "https://gitlab.example.com"\ntoken = "glrt-x"\nexecutor = "{executor}"'
    config.write_text(template.replace("[[runners]]", f"[[runners]]\n{own}"))
    return gitlab_runner("lint", "--config", str(config))


def test_lint_refuses_a_key_that_the_runner_does_not_know(tmp_path: Path) -> None:
    template = config_toml(settings_of(STACK).runner_class("small"))
    refused = lint(template.replace("poll_timeout", "pol_timeout"), tmp_path)
    assert refused.returncode != 0
    assert "unknown key: runners.kubernetes.pol_timeout" in refused.stderr


@pytest.mark.parametrize(
    ("executor", "sections"),
    {
        "docker": '[runners.docker]\nimage = "registry.example/job:1"\nvolumes = ["/run/x:/etc/x:ro"]\n',
        "docker-autoscaler": (
            '[runners.docker]\nimage = "registry.example/job:1"\n'
            '[runners.autoscaler]\nplugin = "aws:1.0.0"\nmax_instances = 2\n'
            '[runners.autoscaler.connector_config]\ntimeout = "2m"\n'
        ),
        "custom": '[runners.custom]\nrun_exec = "/usr/local/bin/driver"\n',
    }.items(),
)
def test_the_runner_knows_the_executors_of_instances(executor: str, sections: str, tmp_path: Path) -> None:
    known = lint(f"[[runners]]\n{sections}", tmp_path, executor)
    assert known.returncode == 0, known.stderr
    refused = lint(f"[[runners]]\n{sections}unheard_of = 1\n", tmp_path, executor)
    assert "unknown key: runners." in refused.stderr


def test_a_manager_registers_with_the_charts_configuration(cluster: RunnerCluster) -> None:
    for name, manager in cluster.managers.items():
        config = tomllib.loads(manager.config_file.read_text())
        assert config["concurrent"] == settings_of(STACK).runners[name].concurrent
        (runner,) = config["runners"]
        assert runner["name"] == f"{name}-{STACK}"
        assert runner["kubernetes"]["namespace"] == namespace_jobs(name)
        assert runner["cache"]["s3"]["ServerAddress"] == "127.0.0.1:1"


@pytest.mark.parametrize("name", DEV_CLASSES)
def test_a_job_pod_is_what_the_platform_promises(cluster: RunnerCluster, name: str) -> None:
    runner = settings_of(STACK).runners[name]
    pod = cluster.plain_pod(name)
    metadata, spec = pod["metadata"], pod["spec"]
    containers = {container["name"]: container for container in [*spec["initContainers"], *spec["containers"]]}

    assert set(containers) == {"init-permissions", "build", "helper"}
    assert metadata["namespace"] == namespace_jobs(name)
    assert metadata["labels"][pods.CLASS_LABEL] == name
    assert metadata["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
    assert metadata["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert spec["serviceAccountName"] == JOB_SERVICE_ACCOUNT
    assert spec["automountServiceAccountToken"] is False
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == job_server.TIMEOUT + 1
    assert spec["nodeSelector"] == {pods.CLASS_LABEL: name, "kubernetes.io/arch": runner.arch}
    toleration = {"key": pods.CLASS_LABEL, "operator": "Equal", "value": name, "effect": "NoSchedule"}
    assert toleration in spec["tolerations"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    build = pods.build(runner)
    assert containers["build"]["resources"]["limits"] == {
        "memory": memory_text(build.memory),
        "ephemeral-storage": memory_text(build.disk),
    }
    (identity,) = [volume for volume in spec["volumes"] if volume["name"] == "runner-platform-aws"]
    assert identity == job_identity.pod_patch()["volumes"][0]
    for container in containers.values():
        context = container["securityContext"]
        assert (context["privileged"], context["allowPrivilegeEscalation"]) == (False, False)
        assert context["capabilities"]["drop"] == (["ALL"] if runner.pod_security == "restricted" else ["NET_RAW"])
        assert container["imagePullPolicy"] == "Always"
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert ("runner-platform-aws" in mounted) == (container["name"] == "build")
    variables = [(variable["name"], variable.get("value")) for variable in containers["build"]["env"]]
    assert ("AWS_CONFIG_FILE", "/etc/runner-platform/aws/config") in variables


@pytest.mark.parametrize("name", DEV_CLASSES)
def test_the_pod_of_prove_is_the_real_runners_but_for_a_short_list(cluster: RunnerCluster, name: str) -> None:
    real = cluster.plain_pod(name)
    template = cluster.client.get("v1", "ConfigMap", helm_release(name), namespace_manager(name))["data"][TEMPLATE_KEY]
    imitation = job_pod(runner_section(template), "prove", job_server.TIMEOUT)
    path = f"/api/v1/namespaces/{namespace_jobs(name)}/pods"
    # The same API server adds its defaults to both.
    defaulted = cluster.client.request("POST", path, query={"dryRun": "All"}, body=imitation)
    ours, theirs = by_path(defaulted), by_path(real)
    different = {key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)}
    named = settings_of(STACK).runners[name].level is Level.PROTECTED  # the configuration names the helper's image
    allowed = [pattern for pattern in ALLOWED_DIFFERENCES if not (named and pattern == HELPER_IMAGE)]
    assert {key for key in different if not any(re.fullmatch(pattern, key) for pattern in allowed)} == set()
    unused = [pattern for pattern in allowed if not any(re.fullmatch(pattern, key) for key in different)]
    assert unused == [], "take it off the list"


def by_path(pod: dict[str, Any]) -> dict[str, Any]:
    """Leaves of a pod by their path, without empty objects; items of lists by their name or key."""
    metadata = {key: pod["metadata"].get(key) for key in ("namespace", "labels", "annotations")}
    return {path: leaf for path, leaf in leaves({"metadata": metadata, "spec": pod["spec"]}) if leaf not in ({}, [])}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = {str(item.get("name") or item.get("key") or index): item for index, item in enumerate(value)}
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else key)
    else:
        yield path, value


def test_a_job_cannot_ask_for_another_pod_by_its_variables(cluster: RunnerCluster) -> None:
    plain = cluster.pod("small", cluster.jobs.add(token("small")))
    attack = cluster.pod("small", cluster.jobs.add(token("small"), OVERWRITES))
    theirs, ours = by_path(attack), by_path(plain)
    different = {
        key for key in theirs.keys() | ours.keys() if renamed(theirs.get(key), attack) != renamed(ours.get(key), plain)
    }
    of_the_job = r"metadata\.(labels|annotations)\.(job\.runner.*|pod)|.*\.env\..*|.*\.(scripts|logs)\.mountPath|.*init-permissions\.command"
    assert {key for key in different if not re.fullmatch(of_the_job, key)} == set()


def renamed(value: Any, pod: dict[str, Any]) -> str:
    """A value as text without the pod's own name."""
    return repr(value).replace(pod["metadata"]["name"], "POD")


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"image": {"name": "docker.io/library/alpine:3"}}, "docker.io/library/alpine:3"),
        ({"image": {"name": "{registry}/dev/open/apps/x:1"}}, "dev/open/apps/x:1"),
        ({"image": {"name": "{registry}.example.com/dev/protected/x:1"}}, "dev/protected/x:1"),
        ({"services": [{"name": "docker.io/library/docker:dind"}]}, "docker:dind"),
        ({"image": {"name": "{registry}/dev/protected/x:1", "pull_policy": ["if-not-present"]}}, "IfNotPresent"),
        # The runner lets the next two through: `..` matches its patterns, and it counts no services.
        ({"image": {"name": "{registry}/dev/protected/../open/apps/x:1"}}, "write its own path, without `..`"),
        ({"services": [{"name": "{registry}/dev/protected/x:1"}] * 6}, "a job starts at most 5 services"),
    ],
    ids=[
        *("foreign image", "image of an open class", "host that looks alike", "foreign service", "pull policy"),
        *("way round by two dots", "six services"),
    ],
)
def test_a_protected_class_refuses_what_its_lists_do_not_name(
    cluster: RunnerCluster, changes: dict[str, Any], cause: str
) -> None:
    runner_class = settings_of(STACK).runner_class("deploy")
    registry = runner_class.names.registry_host(runner_class.platform_account_id)
    image = {"name": runner_image(runner_class.names, runner_class.platform_account_id)}
    job = cluster.jobs.add(token("deploy"), **{"image": image, **filled(changes, registry)}).wait()
    assert job.state == "failed"
    assert cause in job.text
    assert "Preparation failed" in job.text or "ERROR: Job failed" in job.text


def filled(changes: dict[str, Any], registry: str) -> dict[str, Any]:
    """The changes with the registry's host."""
    text: dict[str, Any] = json.loads(json.dumps(changes).replace("{registry}", registry))
    return text


def test_the_managers_role_is_enough_for_every_request(cluster: RunnerCluster) -> None:
    """Runs after the others: they made pods, budgets and secrets with the manager's own token."""
    cluster.pod("small", cluster.jobs.add(token("small"), services=[{"name": "redis:7", "alias": "cache"}]))
    texts = [manager.log.read_text() for manager in cluster.managers.values()] + [job.text for job in cluster.jobs.jobs]
    # Kubernetes' words for a missing right; admission, too, says `is forbidden`.
    assert [line for text in texts for line in text.splitlines() if "is forbidden: User" in line] == []


def test_the_sandbox_ends_the_manager_of_a_killed_caller(cluster: RunnerCluster, tmp_path: Path) -> None:
    manager = RunnerManager(replace(cluster.surroundings, root=tmp_path), "small")
    manager.start(cluster.client)
    paths = Paths(cache=Paths.from_environment().cache, root=tmp_path)
    assert lifecycle.stop(paths) == 1, "what `make down` does"
    manager.wait(10)
    assert lifecycle.stop(paths) == 0


def test_a_class_without_a_release_is_named(cluster: RunnerCluster) -> None:
    with (
        pytest.raises(RunnerManagerError, match="class tiny has no Deployment gitlab-runner-tiny in runner-tiny"),
        running(cluster.surroundings, ["tiny"]),
    ):
        pass
