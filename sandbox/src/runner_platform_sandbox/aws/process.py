"""The AWS server as a child process.

Owns its command line and when it is ready. Which ports it gets, and what its accounts are, is the supervisor's business.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform_sandbox.aws.client import AwsAdmin
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.processes import ServerProcess

if TYPE_CHECKING:
    from runner_platform_sandbox.paths import Paths

_SERVER = Path(__file__).parents[3] / "aws_server"


class AwsServerError(SandboxError):
    """The AWS server did not start; the message names its log file and shows its end."""


class AwsServer(ServerProcess):
    """The AWS server of one sandbox."""

    name = "the AWS server"
    log_name = "aws.log"
    ready_seconds = 30.0
    stop_seconds = 10.0
    error = AwsServerError

    def start(self, paths: Paths, python: Path, aws_port: int, jobs_port: int, region: str = "eu-central-1") -> None:
        """Start the server and wait until it answers.

        Args:
            paths: the sandbox; state goes to `paths.aws`, the log to `paths.logs`.
            python: interpreter of MiniStack's environment.
            aws_port: port of the deployer's listener.
            jobs_port: port of the jobs' listener.
            region: region of requests that name none.

        Raises:
            AwsServerError: when it ends, or does not answer within 30 s.
        """
        command = [str(python), "-m", "sandbox_aws", "--state", str(paths.aws), "--region", region]
        command += ["--port", str(aws_port), "--jobs-port", str(jobs_port)]
        admin = AwsAdmin(f"http://127.0.0.1:{aws_port}")
        self._launch(paths, command, paths.aws, {"PYTHONPATH": str(_SERVER)}, lambda: admin.ready(self.pid))
