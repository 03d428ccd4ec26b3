"""How long `make up` takes, as a ratio to the engine's own floor.

Measures in alternation, in a sandbox of its own: the yardstick (`pulumi preview` of a program that registers nothing, with the same
engine, SDKs imported), `make up` from nothing, and `make up` again. Tools must be built. Prints seconds and ratios as minimum, median,
maximum; never fails on a figure. Run: `python -m benchmarks.make_up [ROUNDS]`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox import environment
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EMPTY = "import pulumi, pulumi_aws, pulumi_kubernetes, pulumi_gitlab\n"
PROJECT_FILE = "name: yardstick\nruntime: {{name: python, options: {{virtualenv: {venv}}}}}\n"


def timed(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> float:
    """Seconds that a command takes.

    Raises:
        SystemExit: it failed; its output is shown.
    """
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=dict(variables), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return time.monotonic() - start


def rounds(count: int, folder: Path) -> dict[str, list[float]]:
    """Measure `count` rounds below `folder`."""
    paths = Paths(cache=Paths.from_environment().cache, root=folder / "sandbox")
    inherited = {
        **environment.inherited(),
        "RUNNER_PLATFORM_CACHE": str(paths.cache),
        "RUNNER_PLATFORM_SANDBOX": str(paths.root),
    }
    empty = folder / "empty"
    empty.mkdir()
    (empty / "__main__.py").write_text(EMPTY)
    (empty / "Pulumi.yaml").write_text(PROJECT_FILE.format(venv=PROJECT / ".venv"))
    up = [sys.executable, "-m", "runner_platform_sandbox.up"]
    command = [sys.executable, "-m", "runner_platform"]
    pulumi = str(Tools.find(paths).pulumi)
    seconds: dict[str, list[float]] = {"yardstick": [], "from nothing": [], "again": []}
    for number in range(count):
        seconds["from nothing"].append(timed(up, PROJECT, inherited))
        variables = {**inherited, **environment.variables(paths)}
        timed([pulumi, "stack", "select", "--create", f"round{number}"], empty, variables)
        seconds["yardstick"].append(timed([pulumi, "preview", "--non-interactive"], empty, variables))
        seconds["again"].append(timed(up, PROJECT, inherited))
        timed([*command, "sandbox", "reset", "--yes"], PROJECT, inherited)
    return seconds


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        seconds = rounds(count, Path(folder))
    for name, values in seconds.items():
        print(f"{name:14} {min(values):7.1f} {statistics.median(values):7.1f} {max(values):7.1f} s")  # noqa: T201  # its output
    for name in ("from nothing", "again"):
        ratios = [value / yard for value, yard in zip(seconds[name], seconds["yardstick"], strict=True)]
        print(f"{name:14} {min(ratios):7.1f} {statistics.median(ratios):7.1f} {max(ratios):7.1f} times the yardstick")  # noqa: T201  # its output


if __name__ == "__main__":
    main()
