"""Traces as lines for a person."""

from __future__ import annotations

import pytest

from runner_platform_sandbox.run.traces import Trace, readable

# Lines as GitLab Runner 19.4.0 sends them.
STAMP = "2026-11-30T03:41:17.255504Z 00O "


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (
            f"{STAMP}\x1b[0KRunning with gitlab-runner 19.4.0 (HEAD)\x1b[0;m",
            "Running with gitlab-runner 19.4.0 (HEAD)\x1b[0;m",
        ),
        (f"{STAMP}section_start:1796010077:prepare_executor\r\x1b[0K", ""),
        ("2026-11-30T03:41:17.255552Z 00O+\x1b[0K\x1b[36;1mPreparing\x1b[0;m", "\x1b[36;1mPreparing\x1b[0;m"),
        (f"{STAMP}section_end:1796010082:step\r\x1b[0Ksection_start:1796010082:next\r\x1b[0KNext", "Next"),
        ("2026-11-30T03:41:17.1Z 01E an error\r", "an error"),
        ("10%\r50%\r100%", "100%"),
        ("a line of a job without time stamps", "a line of a job without time stamps"),
        (f"{STAMP}2026-11-30 is a date", "2026-11-30 is a date"),
    ],
)
def test_a_line_is_shown_without_the_runners_marks(raw: str, shown: str) -> None:
    assert readable(raw) == shown


def texts(trace: Trace, content: bytes, *, ended: bool = False) -> list[str]:
    return [line.text for line in trace.lines(content, ended=ended)]


def test_new_lines_come_once_and_an_unfinished_one_waits() -> None:
    trace = Trace()
    assert texts(trace, b"one\ntw") == ["one"]
    assert texts(trace, b"one\ntwo\n") == ["two"]
    assert texts(trace, b"one\ntwo\nend") == []
    assert texts(trace, b"one\ntwo\nend", ended=True) == ["end"]


def test_the_jobs_own_lines_are_told_from_the_runners() -> None:
    mark = "section_{}:1796010082:{}\r\x1b[0K"
    content = "\n".join(
        [
            "Preparing",
            mark.format("start", "step_script") + "Executing",
            mark.format("start", "mine[collapsed=true]") + "from the script",
            mark.format("end", "mine"),
            "still from the script",
            mark.format("end", "step_script"),
            "Cleaning up",
        ]
    )
    shown = Trace().lines(content.encode(), ended=True)
    assert [(line.text, line.from_script) for line in shown] == [
        ("Preparing", False),
        ("Executing", True),
        ("from the script", True),
        ("still from the script", True),
        ("Cleaning up", False),
    ]
