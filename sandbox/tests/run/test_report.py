"""The output of a run, at the widths of a small terminal, a usual one and a log."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from runner_platform_sandbox.run.report import Prefix, conclusion, table


def job(name: str, status: str, **fields: Any) -> dict[str, Any]:
    defaults = {
        "name": name,
        "status": status,
        "tag_list": ["small-dev"],
        "allow_failure": False,
        "duration": 12.4,
        "runner": {"description": "small-dev of runner-platform-dev, generation 1"},
    }
    return {**defaults, **fields}


JOBS = [
    job("small", "success", exit_code=0),
    job("integration: [chrome, linux]", "failed", exit_code=137, failure_reason="script_failure"),
    job("lint", "failed", allow_failure=True, exit_code=1),
    job("deploy", "skipped", duration=None, runner=None, tag_list=["other"]),
]


def printed(*things: Any, width: int) -> list[str]:
    output = io.StringIO()
    console = Console(file=output, width=width)
    for thing in things:
        console.print(thing)
    return output.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_and_says_everything_about_each_job(width: int) -> None:
    lines = printed(table(JOBS, {"small-dev": "small"}), width=width)
    assert max(map(len, lines)) <= width
    assert lines[0].split() == ["job", "class", "runner", "state", "seconds", "exit", "code"]
    text = "\n".join(lines)
    assert all(word in text for word in ("small-dev", "success", "failed (allowed)", "137", "12", "skipped"))
    assert lines[-1].split() == ["deploy", "-", "-", "skipped", "-", "-"]


def test_a_line_has_its_job_in_front_and_is_plain_in_a_log() -> None:
    output = io.StringIO()
    prefix = Prefix(Console(file=output, width=80), ["small", "integration: [chrome, linux]"])
    prefix.show("small", "\x1b[31mred\x1b[0m")
    prefix.show("integration: [chrome, linux]", "[not markup] " + "x" * 100)
    assert output.getvalue().splitlines() == [
        "small            | red",
        f"integration: [c… | [not markup] {'x' * 100}",
    ]


@pytest.mark.parametrize(
    ("status", "jobs", "expected"),
    [
        ("success", JOBS[:1], "pipeline 3 succeeded"),
        (
            "failed",
            JOBS,
            "pipeline 3 failed: integration: [chrome, linux] (script_failure); the traces above say why",
        ),
        ("canceled", [job("a", "canceled")], "pipeline 3 canceled"),
        ("manual", [job("ask me", "manual")], "pipeline 3 waits for a person; start a manual job: `--job 'ask me'`"),
    ],
)
def test_the_last_sentence_says_the_outcome_and_the_next_step(
    status: str, jobs: list[dict[str, Any]], expected: str
) -> None:
    assert conclusion(3, status, jobs) == expected
