"""The engine's events as progress: names, counts, errors, and no values of resources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pulumi.automation.events import EngineEvent

from runner_platform.driver.engine_progress import Progress, account_of, describe_failure, label

ROLE = "urn:pulumi:dev::runner-platform::runnerplatform:index:RunnerClass$aws:iam/role:Role::small-job"
CICD = "urn:pulumi:dev::runner-platform::pulumi:providers:aws::cicd::0a"


def event(**content: Any) -> EngineEvent:
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, **content})


def metadata(operation: str, urn: str = ROLE, **more: Any) -> dict[str, Any]:
    state = {
        "type": "t",
        "urn": urn,
        "custom": True,
        "id": "",
        "parent": "",
        "inputs": {"secret": "hush"},
        "outputs": {},
    }
    return {"metadata": {"op": operation, "urn": urn, "type": "t", "provider": CICD, "new": state, **more}}


def after(*events: dict[str, Any]) -> tuple[Progress, list[dict[str, Any] | None]]:
    progress = Progress()
    return progress, [progress.add(event(**content)) for content in events]


def test_a_resource_is_named_by_the_last_part_of_its_type_and_its_name() -> None:
    assert label(ROLE) == "Role small-job"
    assert label("odd") == "odd"


def test_the_provider_names_the_account() -> None:
    assert account_of(CICD) == "cicd"
    assert account_of("urn:pulumi:dev::p::pulumi:providers:kubernetes::cluster::0a") == ""


def test_public_events_and_steps_hold_no_values() -> None:
    diff = {"policy": {"diffKind": "update", "inputDiff": True}}
    progress, public = after({"resourcePreEvent": metadata("update", detailedDiff=diff)})
    assert progress.steps[0]["properties"] == ["policy"]
    assert "hush" not in json.dumps([public, progress.steps])


def test_errors_are_kept_with_their_resource_and_ephemeral_messages_are_not() -> None:
    progress, _ = after(
        {"diagnosticEvent": {"urn": ROLE, "message": "AccessDenied: no\n", "color": "", "severity": "error"}},
        {"diagnosticEvent": {"message": "still waiting", "color": "", "severity": "error", "ephemeral": True}},
        {"diagnosticEvent": {"message": "noise", "color": "", "severity": "debug"}},
    )
    assert progress.errors == ["Role small-job: AccessDenied: no"]


@pytest.mark.parametrize(
    ("text", "throttled", "expired"),
    [
        ("ThrottlingException: Rate exceeded", True, False),
        ("GitLab refused POST user/runners: 429 Too Many Requests", True, False),
        ("api error RequestLimitExceeded", True, False),
        ("https response error StatusCode: 429, RequestID: 1", True, False),
        (
            "POST https://gitlab.com/api/v4/user/runners: 429 failed to parse unknown error format: Retry later",
            True,
            False,
        ),
        ("error reading from server: EOF (/builds/job-429/plugin)", False, False),
        ("ExpiredToken: The security token included in the request is expired", False, True),
        ("operation error IAM: GetRole, https response error StatusCode: 403, api error ExpiredToken: no", False, True),
        ("An error occurred (InvalidClientTokenId) when calling the GetCallerIdentity operation: no", False, True),
        ("AssumeRoleWithWebIdentity, https response error StatusCode: 400, ExpiredTokenException: no", False, True),
        ("api error RequestExpired: Request has expired.", False, True),
        ("api error AuthFailure: AWS was not able to validate the provided access credentials", False, True),
        ("api error UnrecognizedClientException: no", False, True),
        ("The SSO session associated with this profile has expired or is otherwise invalid", False, True),
        ("GET https://gitlab.com/api/v4/runners/1: 401 {message: 401 Unauthorized}", False, True),
        ('the server refused: {"error":"invalid_token"}', False, True),
        ("failed to create resource: Unauthorized", False, True),
        ("api error UnauthorizedOperation: You are not authorized to perform this operation", False, False),
        ("port 401 is closed", False, False),
        ("api error NotAuthorizedExpiredTokenExceptions: no such code", False, False),
        ("AccessDenied: role/4290 may not", False, False),
    ],
)
def test_throttling_and_expired_credentials_are_recognised(text: str, throttled: bool, expired: bool) -> None:
    progress, _ = after({"diagnosticEvent": {"message": text, "color": "", "severity": "error"}})
    assert (progress.throttled, progress.expired) == (throttled, expired)


def test_counts_are_by_operation() -> None:
    progress, _ = after(
        {"resourcePreEvent": metadata("create")},
        {"resOutputsEvent": metadata("create")},
        {"resOutputsEvent": metadata("same", "a::b::x:y:Z::other")},
    )
    assert (progress.changed, progress.done, progress.changes) == (1, {"create": 1, "same": 1}, {"create": 1})


def test_a_failure_lists_the_first_errors_and_the_next_command() -> None:
    errors = [
        {"diagnosticEvent": {"urn": ROLE, "message": f"no {number}", "color": "", "severity": "error"}}
        for number in range(12)
    ]
    progress, _ = after(*errors)
    lines = describe_failure("up", "dev", progress, RuntimeError("unused"), 255).splitlines()
    assert lines[:2] == ["up of dev failed:", "  Role small-job: no 0"]
    assert lines[-2:] == [
        "  and 2 more",
        "  what was made is in the state; `runner-platform up --stack dev` goes on from there",
    ]


def test_a_refresh_collects_changed_and_lost_resources() -> None:
    """As in `preview --refresh`, whose own steps are all called refresh."""
    gone = metadata("refresh", "a::b::x:y:Z::gone")
    gone["metadata"]["new"] = None
    progress, _ = after(
        *({"resourcePreEvent": metadata("refresh", f"a::b::x:y:Z::{name}")} for name in ("same", "other", "gone")),
        {"resOutputsEvent": metadata("refresh", "a::b::x:y:Z::same")},
        {"resOutputsEvent": metadata("refresh", "a::b::x:y:Z::other", diffs=["tags"])},
        {"resOutputsEvent": gone},
    )
    assert progress.live == {
        "a::b::x:y:Z::other": {"inputs": {"secret": "hush"}, "outputs": {}},
        "a::b::x:y:Z::gone": None,
    }
    assert [(step["operation"], step["properties"]) for step in progress.steps] == [
        ("update", ["tags"]),
        ("delete", []),
    ]
