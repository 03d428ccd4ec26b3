"""What one [[runners]] section says about its jobs: namespace, service accounts, tokens, overwrites, images and cache."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from access import clusters
from access.clusters import RunnerEntry
from access.decision import Undecided

KUBERNETES = "https://kubernetes.default.svc"
PLAIN = RunnerEntry(namespace="runner-small", accounts=("default",), audiences=(KUBERNETES,))
"""The entry of a section that says nothing."""


def token(audience: str | None) -> dict[str, Any]:
    fields = {"path": "token"} if audience is None else {"path": "token", "audience": audience}
    return {"name": "aws", "projected": {"sources": [{"configMap": {}}, {"serviceAccountToken": fields}]}}


def patched(*patches: Any) -> dict[str, Any]:
    return {"pod_spec": [{"patch": repr(patch)} for patch in patches]}


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {}),
        ({"automount_service_account_token": False}, {"audiences": ()}),
        ({"namespace": "jobs"}, {"namespace": "jobs"}),
        ({"service_account": "job"}, {"accounts": ("job",)}),
        (
            {"service_account": "job", **patched({"serviceAccountName": "a"}, {"serviceAccount": "b"}, {})},
            {"accounts": ("job", "a", "b")},
        ),
        ({"service_account": "job", **patched({"serviceAccountName": "job"})}, {"accounts": ("job",)}),
        ({"pod_spec": [{}]}, {}),
        (patched({"volumes": [token("sts.amazonaws.com")]}), {"audiences": ("sts.amazonaws.com", KUBERNETES)}),
        (patched({"volumes": [token(None), token("x"), {"name": "y"}]}), {"audiences": (KUBERNETES, "x")}),
        (
            patched([{"op": "add", "path": "/volumes/-", "value": token("x")}, {"path": "/containers", "value": 1}]),
            {"audiences": ("x", KUBERNETES)},
        ),
        (
            patched([{"path": "/volumes", "value": [token("x")]}, {"path": "volumes/-", "value": token("y")}]),
            {"audiences": ("x", "y", KUBERNETES)},
        ),
        (
            patched([{"path": "/serviceAccountName", "value": "a"}, {"path": "serviceAccount", "value": "b"}]),
            {"accounts": ("a", "b")},
        ),
        ({"namespace_overwrite_allowed": "^a$"}, {"namespace_overwrite": "(?:^a$)"}),
        ({"service_account_overwrite_allowed": "b"}, {"account_overwrite": "(?:b)"}),
        (
            {"allowed_images": ["a", "b"], "allowed_services": ["b", "c"]},
            {"images": ("a", "b", "c")},
        ),
        ({"allowed_images": ["a"]}, {}),
        ({"allowed_services": ["a"], "allowed_images": []}, {}),
        ({"image": "a", "helper_image": "b"}, {"default_images": ("a", "b")}),
        ({"helper_image": "b"}, {"default_images": ("b",)}),
    ],
)
def test_a_setting_of_the_executor_decides_one_part_of_the_entry(
    settings: dict[str, Any], changes: dict[str, Any]
) -> None:
    assert clusters._runner_entry({"kubernetes": settings}, {}, "runner-small") == replace(PLAIN, **changes)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("KUBERNETES_NAMESPACE", {"namespace": "x"}),
        ("KUBERNETES_SERVICE_ACCOUNT", {"accounts": ("x", "job")}),
        ("KUBERNETES_NAMESPACE_OVERWRITE_ALLOWED", {"namespace_overwrite": "(?:n)|(?:x)"}),
        ("KUBERNETES_SERVICE_ACCOUNT_OVERWRITE_ALLOWED", {"account_overwrite": "(?:a)|(?:x)"}),
    ],
)
def test_a_variable_of_the_manager_counts_beside_the_setting(name: str, changes: dict[str, Any]) -> None:
    settings = {
        "namespace": "jobs",
        "service_account": "job",
        "namespace_overwrite_allowed": "n",
        "service_account_overwrite_allowed": "a",
    }
    written = {"namespace": "jobs", "accounts": ("job",), "namespace_overwrite": "(?:n)", "account_overwrite": "(?:a)"}
    entry = clusters._runner_entry({"kubernetes": settings}, {name: "x"}, "runner-small")
    assert entry == replace(PLAIN, **{**written, **changes})


def test_the_environment_holds_every_variable_as_text() -> None:
    variables = [{"name": "A", "value": 1}, {"name": "B"}]
    assert clusters._environment({"envVars": variables}) == {"A": "1", "B": ""}
    assert clusters._environment({}) == {}


@pytest.mark.parametrize(
    ("cache", "place"),
    [
        ({"Type": "s3", "Path": "/small/", "s3": {"BucketName": "b"}}, "b/small/"),
        ({"Type": "S3", "s3": {"BucketName": "b"}}, "b/"),
        ({"Type": "s3", "Path": "small", "s3": {}}, ""),
        ({"Type": "s3", "Path": "small"}, ""),
        ({"Type": "gcs", "Path": "small", "s3": {"BucketName": "b"}}, ""),
        ({"Path": "small", "s3": {"BucketName": "b"}}, ""),
        ({}, ""),
    ],
)
def test_the_cache_is_a_bucket_with_a_path(cache: dict[str, Any], place: str) -> None:
    assert clusters._runner_entry({"cache": cache}, {}, "runner-small") == replace(PLAIN, cache=place)


@pytest.mark.parametrize(
    ("expression", "value", "chosen"),
    [("", "job", True), ("", "a", False), ("^b", "ab", False), ("b", "abc", True), ("[", "job", True)],
)
def test_a_job_may_choose_what_the_expression_matches(expression: str, value: str, chosen: bool) -> None:
    assert clusters._may_choose("job", expression, value) is chosen


def test_an_expression_that_python_cannot_read_is_undecided() -> None:
    assert isinstance(clusters._may_choose("job", "[", "a"), Undecided)
