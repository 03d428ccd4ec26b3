"""The output of a run: one JSON array for machines, short timestamped lines in a log."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from runner_platform.driver import screen
from runner_platform.driver.engine_progress import Progress, Step
from runner_platform.driver.screen import Screen, progress_line

if TYPE_CHECKING:
    from collections.abc import Callable

URN = "urn:pulumi:dev::runner-platform::runnerplatform:index:RunnerClass$aws:iam/role:Role::"


def running(*names: str, account: str = "cicd") -> dict[str, Step]:
    now = time.monotonic()
    steps = [
        Step(urn=URN + name, operation="create", account=account, began=now - 100 + index)
        for index, name in enumerate(names)
    ]
    return {step.urn: step for step in steps}


def test_a_progress_line_names_type_name_and_account() -> None:
    progress = Progress(running=running("small-job"), done={"same": 1})
    assert progress_line(progress) == "0 done, 1 unchanged: creating Role small-job in cicd (100 s)"
    assert progress_line(Progress(done={"create": 1, "same": 1})) == "1 done, 1 unchanged"


@pytest.mark.parametrize("width", [72, 80, 99, 120])
def test_a_progress_line_names_the_longest_steps_that_fit_and_counts_the_others(width: int) -> None:
    progress = Progress(running=running(*(f"job-of-class-number-{number}" for number in range(20))))
    line = progress_line(progress, width)
    assert len(line) <= width
    named = line.count("creating ")
    assert named > 0
    assert "number-0 in cicd" in line, "the longest step comes first"
    assert line.endswith(f" and {20 - named} more")


def test_a_name_that_does_not_fit_is_counted_and_not_cut() -> None:
    assert progress_line(Progress(running=running("x" * 120)), 120) == "0 done: 1 in progress"


def test_every_progress_line_of_a_log_is_short(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "LOG_SECONDS", 0.01)
    progress = Progress(running=running(*(f"delegated-role-of-number-{number}" for number in range(30))))
    printed = threading.Event()
    log = Screen(as_json=False)
    say = log.say
    monkeypatch.setattr(log, "say", lambda text: (say(text), printed.set()))
    with log.following(progress):
        assert printed.wait(10)
    for line in capsys.readouterr().out.splitlines():
        assert len(line) <= 120
        assert "creating Role delegated-role-of-number-0 in cicd" in line
        assert "urn:" not in line


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    parts: list[str] = []

    def so_far() -> str:
        parts.append(capsys.readouterr().out)
        return "".join(parts)

    return so_far


def test_the_document_is_one_array_with_one_event_a_line(output: Callable[[], str]) -> None:
    document = Screen(as_json=True)
    document.emit({"event": "a"})
    document.emit({"event": "b"})
    lines = output().splitlines()
    assert [json.loads(line.lstrip("[,"))["event"] for line in lines] == ["a", "b"], "before it is closed"
    document.close()
    assert [event["event"] for event in json.loads(output())] == ["a", "b"]


def test_a_document_without_events_is_an_empty_array(output: Callable[[], str]) -> None:
    Screen(as_json=True).close()
    assert json.loads(output()) == []


def test_a_log_has_the_time_of_day_in_each_line(output: Callable[[], str]) -> None:
    Screen(as_json=False).say("something [bold]plain[/]")
    text = output()
    assert text.endswith("Z something [bold]plain[/]\n")
    assert text[:2] == "20"
