"""The admission policy of job pods, in a real API server: the pods of the platform pass, and attacks by jobs do not."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from components.documents.config_toml import config_template
from components.documents.job_admission import admission_name, job_admission, job_admission_binding
from components.documents.pods import MOST_SERVICES
from config.names import JOB_SERVICE_ACCOUNT, namespace_jobs
from runner_platform.prove.doctor_jobs import manifest
from runner_platform_sandbox.kubernetes.client import STRATEGIC_PATCH
from runner_platform_sandbox.kubernetes.errors import ApiError
from tests.support.class_settings import settings_of
from tests.support.job_pods import job_pod
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner_platform.prove.deployed import DeployedClass
    from sandbox.tests.support.kubernetes_cases import Trial

    Edit = Callable[[dict[str, Any]], object]

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.kubernetes_fixture",)

REGISTRY = "222222222222.dkr.ecr.eu-central-1.amazonaws.com"
OWN = f"{REGISTRY}/dev/protected"
DIGEST = f"@sha256:{'0' * 64}"
GITLABS_HELPER = "registry.gitlab.com/gitlab-org/gitlab-runner/gitlab-runner-helper:x86_64-v19.4.0"
CLASSES = ("small", "deploy")
ADMISSION = "admissionregistration.k8s.io/v1"


@pytest.fixture(scope="module")
def guarded(kubernetes: Trial) -> Trial:
    """Both classes' namespaces with their policies, as the program makes them."""
    for name in CLASSES:
        runner_class, metadata = settings_of("dev").runner_class(name), {"name": admission_name(name)}
        specs = {
            "ValidatingAdmissionPolicy": job_admission(runner_class),
            "ValidatingAdmissionPolicyBinding": job_admission_binding(name),
        }
        for kind, spec in specs.items():
            kubernetes.client.apply({"apiVersion": ADMISSION, "kind": kind, "metadata": metadata, "spec": spec})
        namespace = namespace_jobs(name)
        kubernetes.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
        account = {"name": JOB_SERVICE_ACCOUNT, "namespace": namespace}
        kubernetes.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        bad = edited(name, lambda pod: pod["spec"]["containers"][0].update(image="../x"))
        until(lambda bad=bad: refusal(kubernetes, bad) is not None, "the API server to know the policy")
    return kubernetes


def edited(runner_class: str, edit: Edit = lambda _: None) -> dict[str, Any]:
    """Compose a class's job pod with a change."""
    (runner,) = config_template(settings_of("dev").runner_class(runner_class))["runners"]
    pod = job_pod(runner, "job")
    edit(pod)
    return pod


def refusal(kubernetes: Trial, pod: dict[str, Any]) -> str | None:
    """Try to create a pod without keeping it; return the refusal, or None if it is admitted."""
    try:
        kubernetes.client.apply(pod, dry_run=True)
    except ApiError as error:
        return error.message
    return None


def image(container: int | str, name: str) -> Edit:
    """Give a container an image: by its index, or the first init container."""
    if container == "init":
        return lambda pod: pod["spec"]["initContainers"][0].update(image=name)
    return lambda pod: pod["spec"]["containers"][container].update(image=name)


def services(count: int, name: str = f"{OWN}/apps:1") -> Edit:
    """Add service containers, as the runner names them."""
    container = {"image": name, "imagePullPolicy": "Always"}
    return lambda pod: pod["spec"]["containers"].extend({**container, "name": f"svc-{n}"} for n in range(count))


def umask_container(pod: dict[str, Any]) -> None:
    """Add the init container of FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR, as runner 19.4.0 makes it."""
    build = pod["spec"]["containers"][0]
    collector = {"name": "init-build-uid-gid-collector", "image": build["image"], "imagePullPolicy": "IfNotPresent"}
    pod["spec"]["initContainers"].append(collector)


ADMITTED: dict[str, tuple[str, Edit]] = {
    "a job of an open class": ("small", lambda _: None),
    "a job of a protected class": ("deploy", lambda _: None),
    "any image in an open class": ("small", image(0, "docker.io/library/golang")),
    "an own image by digest": ("deploy", image(0, f"{OWN}/apps/api.v2-x:1.0{DIGEST}")),
    "as many services as allowed": ("deploy", services(MOST_SERVICES)),
}
REFUSED: dict[str, tuple[str, Edit, str]] = {
    "too many services": ("small", services(MOST_SERVICES + 1, "redis"), "starts at most 5 services"),
    "the umask flag": ("small", umask_container, "FF_DISABLE_UMASK_FOR_KUBERNETES_EXECUTOR"),
    "an image on the node": (
        "small",
        lambda pod: pod["spec"]["containers"][0].update(imagePullPolicy="Never"),
        "pulls its image with Always",
    ),
    "a way round in an open class": ("small", image(0, "example.com/a/../b"), "has no `..`"),
    "a way round to an open image": ("deploy", image(0, f"{OWN}/../open/apps/x:1"), "is not in a repository below"),
    "an open image": ("deploy", image(0, f"{REGISTRY}/dev/open/apps:1"), f"not in a repository below {OWN}/"),
    "another stack's image": ("deploy", image(0, f"{REGISTRY}/protected/apps:1"), "is not in a repository below"),
    "a look-alike host": ("deploy", image(0, f"{REGISTRY}.evil.example/dev/protected/x"), "class deploy is protected"),
    "a host with other dots": ("deploy", image(0, OWN.replace(".dkr.", "xdkr.") + "/x"), "class deploy is protected"),
    "GitLab's own helper": ("deploy", image(1, GITLABS_HELPER), f"image {re.escape(GITLABS_HELPER)} is not in"),
    "GitLab's own helper at the start": ("deploy", image("init", GITLABS_HELPER), "is not in a repository below"),
    "a foreign service": ("deploy", services(1, "postgres:17"), "image postgres:17 is not in a repository below"),
}


@pytest.mark.parametrize("name", ADMITTED)
def test_pods_that_follow_the_rules_are_admitted(guarded: Trial, name: str) -> None:
    assert refusal(guarded, edited(*ADMITTED[name])) is None


@pytest.mark.parametrize("name", REFUSED)
def test_pods_of_an_attack_are_refused_with_a_remedy(guarded: Trial, name: str) -> None:
    runner_class, edit, message = REFUSED[name]
    assert re.search(message, str(refusal(guarded, edited(runner_class, edit))))


def test_the_api_server_adds_nothing_to_the_documents(guarded: Trial) -> None:
    # Rule E10 compares the deployed objects with the documents.
    for name in CLASSES:
        policy = guarded.client.get(ADMISSION, "ValidatingAdmissionPolicy", admission_name(name))
        assert policy["spec"] == job_admission(settings_of("dev").runner_class(name))
        deployed_binding = guarded.client.get(ADMISSION, "ValidatingAdmissionPolicyBinding", admission_name(name))
        assert deployed_binding["spec"] == job_admission_binding(name)


def test_the_proof_s_own_pods_are_admitted(guarded: Trial) -> None:
    for name in CLASSES:
        deployed = cast("DeployedClass", SimpleNamespace(pod=edited(name), namespace=namespace_jobs(name)))
        template = manifest(deployed)["spec"]["template"]
        metadata = {**template["metadata"], "name": "proof", "namespace": deployed.namespace}
        assert refusal(guarded, {"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata}) is None


def test_an_admitted_pod_stays_within_the_rules(guarded: Trial) -> None:
    pod, namespace = edited("deploy"), namespace_jobs("deploy")
    guarded.client.create(pod)
    try:
        foreign = {"spec": {"containers": [{"name": "build", "image": "postgres:17"}]}}
        with pytest.raises(ApiError, match="postgres:17 is not in a repository"):
            guarded.client.patch("v1", "Pod", "job", namespace, foreign, content_type=STRATEGIC_PATCH)
        debugger = {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox"}]}}
        with pytest.raises(ApiError, match="busybox is not in a repository"):
            guarded.client.patch(
                "v1", "Pod", "job", namespace, debugger, content_type=STRATEGIC_PATCH, subresource="ephemeralcontainers"
            )
    finally:
        guarded.client.delete("v1", "Pod", "job", namespace, grace_seconds=0)


def test_pods_outside_of_the_jobs_namespaces_are_not_checked(guarded: Trial) -> None:
    pod = edited("deploy", image(0, "postgres:17"))
    pod["metadata"]["namespace"] = guarded.namespace("elsewhere")
    pod["spec"]["serviceAccountName"] = "default"
    assert refusal(guarded, pod) is None
