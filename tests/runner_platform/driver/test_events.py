"""What the engine's events say to people and machines, and what they never say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pulumi.automation.events import EngineEvent

from runner_platform.driver import display
from runner_platform.driver.events import Progress, account_of, label

if TYPE_CHECKING:
    from collections.abc import Callable

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
    return progress, [progress.add(event(**each)) for each in events]


def test_a_resource_is_named_by_the_last_part_of_its_type_and_its_name() -> None:
    assert label(ROLE) == "Role small-job"
    assert label("odd") == "odd"


def test_an_account_is_named_by_its_provider() -> None:
    assert account_of(CICD) == "cicd"
    assert account_of("urn:pulumi:dev::p::pulumi:providers:kubernetes::cluster::0a") == ""


def test_what_is_in_progress_is_named_with_its_account_and_what_is_done_is_counted() -> None:
    progress, _ = after(
        {"resourcePreEvent": metadata("create")},
        {"resourcePreEvent": metadata("same", "a::b::x:y:Z::other")},
        {"resOutputsEvent": metadata("same", "a::b::x:y:Z::other")},
    )
    assert display.described(progress).startswith("0 done, 1 unchanged: creating Role small-job in cicd (")
    progress.add(event(resOutputsEvent=metadata("create")))
    assert display.described(progress) == "1 done, 1 unchanged"


def test_many_at_once_are_shortened() -> None:
    progress, _ = after(*({"resourcePreEvent": metadata("create", f"a::b::x:y:Subnet::{n}")} for n in range(20)))
    assert display.described(progress).endswith("and 12 more")


def test_nothing_that_is_shown_or_kept_holds_a_value() -> None:
    diff = {"policy": {"diffKind": "update", "inputDiff": True}}
    progress, shown = after({"resourcePreEvent": metadata("update", detailedDiff=diff)})
    assert progress.steps[0]["properties"] == ["policy"]
    assert "hush" not in json.dumps([shown, progress.steps])


def test_errors_are_kept_with_their_resource_and_passing_messages_are_not() -> None:
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
def test_throttling_and_expired_credentials_are_told_from_other_errors(
    text: str, throttled: bool, expired: bool
) -> None:
    progress, _ = after({"diagnosticEvent": {"message": text, "color": "", "severity": "error"}})
    assert (progress.throttled, progress.expired) == (throttled, expired)


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    written: list[str] = []

    def so_far() -> str:
        written.append(capsys.readouterr().out)
        return "".join(written)

    return so_far


def test_the_document_is_one_array_and_each_line_can_be_read_alone(output: Callable[[], str]) -> None:
    screen = display.Screen(as_json=True)
    screen.emit({"event": "a"})
    screen.emit({"event": "b"})
    lines = output().splitlines()
    assert [json.loads(line.lstrip("[,"))["event"] for line in lines] == ["a", "b"], "before it is closed"
    screen.close()
    assert [each["event"] for each in json.loads(output())] == ["a", "b"]


def test_a_document_of_nothing_is_still_one(output: Callable[[], str]) -> None:
    display.Screen(as_json=True).close()
    assert json.loads(output()) == []


def test_a_log_has_the_time_of_day_in_each_line(output: Callable[[], str]) -> None:
    display.Screen(as_json=False).say("something [bold]plain[/]")
    written = output()
    assert written.endswith("Z something [bold]plain[/]\n")
    assert written[:2] == "20"


def test_a_refresh_tells_what_differs_and_what_is_gone() -> None:
    """As `preview --refresh` does: its own steps are all called refresh, whatever they found."""
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
    assert [(each["operation"], each["properties"]) for each in progress.steps] == [
        ("update", ["tags"]),
        ("delete", []),
    ]
