"""What the engine's events say to a person."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sandbox import display
from sandbox.engine_log import Follower, Progress, label

if TYPE_CHECKING:
    from pathlib import Path

ROLE = "urn:pulumi:dev::runner-platform::runnerplatform:index:RunnerClass$aws:iam/role:Role::small-job"


def pre(urn: str, operation: str) -> dict[str, Any]:
    return {"resourcePreEvent": {"metadata": {"urn": urn, "op": operation, "new": {"custom": True}}}}


def outputs(urn: str, operation: str) -> dict[str, Any]:
    return {"resOutputsEvent": {"metadata": {"urn": urn, "op": operation}}}


def test_a_resource_is_named_by_the_last_part_of_its_type_and_its_name() -> None:
    assert label(ROLE) == "Role small-job"


def test_what_is_in_progress_is_named_and_what_is_done_is_counted() -> None:
    progress = Progress()
    for event in (pre(ROLE, "create"), pre("a::b::x:y:Z::other", "same"), outputs("a::b::x:y:Z::other", "same")):
        progress.add(event)
    assert display.describe(progress) == "0 done, 1 unchanged: creating Role small-job"
    progress.add(outputs(ROLE, "create"))
    assert display.describe(progress) == "1 done, 1 unchanged"


def test_many_at_once_are_shortened() -> None:
    progress = Progress()
    for number in range(9):
        progress.add(pre(f"a::b::x:y:Subnet::{number}", "create"))
    assert display.describe(progress).endswith("creating Subnet 2 and 6 more")


def test_errors_are_kept_with_their_resource_and_passing_messages_are_not() -> None:
    progress = Progress()
    progress.add({"diagnosticEvent": {"urn": ROLE, "message": "AccessDenied: no\n", "severity": "error"}})
    progress.add({"diagnosticEvent": {"message": "still trying", "severity": "error", "ephemeral": True}})
    progress.add({"diagnosticEvent": {"message": "registering", "severity": "debug"}})
    progress.add({"resOpFailedEvent": {"metadata": {"urn": ROLE}}})
    assert progress.errors == ["Role small-job: AccessDenied: no"]
    assert progress.failed == [ROLE]


def test_a_line_that_is_half_written_is_read_once_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "log.events"
    progress, follower = Progress(), Follower(file)
    follower.read(progress)
    line = json.dumps(pre(ROLE, "create")).encode()
    file.write_bytes(line[:20])
    follower.read(progress)
    assert not progress.running
    with file.open("ab") as log:
        log.write(line[20:] + b"\n")
    follower.read(progress)
    assert list(progress.running) == [ROLE]


def test_components_are_not_shown_as_being_made_because_their_children_are() -> None:
    progress = Progress()
    progress.add({"resourcePreEvent": {"metadata": {"urn": "a::b::x:y:Runner::small", "op": "create", "new": {}}}})
    assert not progress.running
