"""The admission policy of job pods as a document; sandbox/tests/running/test_kubernetes_job_admission.py tries it in an API server."""

from __future__ import annotations

import re

import pytest

from components.documents import pods
from components.documents.config_toml import helper_image, runner_image
from components.documents.job_admission import job_admission, job_admission_binding, protected_images
from components.documents.node_pool import fitting_types, whole_pods
from tests.support.class_settings import CLASSES, settings_of

REGISTRY = "222222222222.dkr.ecr.eu-central-1.amazonaws.com"


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_platform_s_own_images_are_in_protected_repositories(stack: str) -> None:
    settings = settings_of(stack)
    for image in (runner_image, helper_image):
        name = image(settings.names, settings.platform_account.id)
        assert re.search(protected_images(settings.runner_class("deploy")), name)


@pytest.mark.parametrize(
    ("image", "accepted"),
    [
        ("protected/apps", True),
        ("protected/shop/web-1_a.b:1.0_x-y", True),
        (f"protected/apps@sha256:{'a' * 64}", True),
        ("protected/../open/apps:1", False),
        ("protected/a/../../open/apps:1", False),
        ("protected/..", False),
        ("protected//apps", False),
        ("protected/", False),
        ("protected", False),
        ("dev/protected/apps", False),
        ("open/protected/apps", False),
        ("protected/apps:1\nx", False),
        (f"protected/apps@sha256:{'a' * 63}", False),
    ],
)
def test_only_exact_names_of_protected_images_are_accepted(image: str, accepted: bool) -> None:
    pattern = protected_images(settings_of("prod").runner_class("deploy"))
    assert bool(re.search(pattern, f"{REGISTRY}/{image}")) is accepted


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_pod_that_cannot_be_checked_is_refused(stack: str, runner_class: str) -> None:
    assert job_admission(settings_of(stack).runner_class(runner_class))["failurePolicy"] == "Fail"
    binding = job_admission_binding(runner_class)
    assert binding["validationActions"] == ["Deny"]
    assert binding["matchResources"]["objectSelector"] == {}, "every pod, whatever its labels"
    assert binding["matchResources"]["namespaceSelector"] == {
        "matchLabels": {"kubernetes.io/metadata.name": f"jobs-{runner_class}"}
    }, "a label that the API server sets: no change of labels takes a namespace out of the policy"


@pytest.mark.parametrize(("stack", "runner_class"), CLASSES)
def test_a_job_with_all_services_that_are_admitted_finds_a_node(stack: str, runner_class: str) -> None:
    runner = settings_of(stack).runners[runner_class]
    types = fitting_types(pods.pod(runner), runner.arch)
    assert any(whole_pods(instance, pods.largest_pod(runner)) for instance in types)
