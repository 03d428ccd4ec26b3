"""The process of the supervisor: `python -m runner_platform_sandbox.supervisor`. SIGTERM and SIGINT end it."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from runner_platform_sandbox import state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.supervisor.parts import assemble
from runner_platform_sandbox.supervisor.supervisor import Supervisor

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run the sandbox of RUNNER_PLATFORM_SANDBOX. Its `state.json` has the ports and the run id already."""
    paths = Paths.from_environment()
    current = state.read(paths)
    if current is None:
        print(f"{paths.state_file} is missing; start the sandbox: `runner-platform sandbox start`", file=sys.stderr)  # noqa: T201
        return 2
    try:
        assembly = assemble(paths, current)
    except SandboxError as error:
        current.failure = str(error)
        state.write(paths, current)
        return 1
    supervisor = Supervisor(paths, assembly, current)

    def stop(_number: int, _frame: FrameType | None) -> None:
        supervisor.request_stop()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main())
