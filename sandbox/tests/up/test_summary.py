"""The summary at the end of `make up`."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from runner_platform_sandbox import organization
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.state import Ports, State
from runner_platform_sandbox.up import summary

if TYPE_CHECKING:
    from pathlib import Path


def test_it_says_how_jobs_run_on_this_machine(tmp_path: Path) -> None:
    current = State(run_id="r", ports=Ports(aws=1, aws_jobs=2, gitlab=3))
    meter = summary.Meter(Paths(cache=tmp_path, root=tmp_path))
    console = Console(file=io.StringIO(), width=120)
    sentence = "jobs run as processes: no root"
    console.print(summary.render(current, organization.read(), [], meter, [], sentence))
    console.print(summary.render(current, organization.read(), [], meter))
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue().count(sentence) == 1
