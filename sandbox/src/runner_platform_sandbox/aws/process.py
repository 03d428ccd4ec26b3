"""The AWS server as a child process: its command line and its readiness."""

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
    """The AWS server did not start; the message has the end of its log."""


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
            paths: The sandbox; state goes to `paths.aws`, the log to `paths.logs`.
            python: Interpreter of MiniStack's environment.
            aws_port: Port of the deployer's listener.
            jobs_port: Port of the jobs' listener.
            region: Default region of requests.

        Raises:
            AwsServerError: The server ended, or did not answer within 30 s.
        """
        command = [str(python), "-m", "sandbox_aws", "--state", str(paths.aws), "--region", region]
        command += ["--port", str(aws_port), "--jobs-port", str(jobs_port)]
        admin = AwsAdmin(f"http://127.0.0.1:{aws_port}")
        self._launch(paths, command, paths.aws, {"PYTHONPATH": str(_SERVER)}, lambda: admin.ready(self.pid))
