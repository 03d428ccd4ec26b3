"""A manager and tasks as processes: the driver, the task's entry point, ssh and sshd are real; ECS is a server on loopback.

The machine's own sshd is used; without one, Debian's package is unpacked into a folder of the test. The entry point runs without root.
"""

from __future__ import annotations

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from config import load
from tests.support.fake_ecs import FakeEcs
from tests.support.loopback import listening

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.fake_ecs import Answer

PACKAGES = ("openssh-server", "libwrap0")
LIBRARIES = ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "usr/lib/aarch64-linux-gnu")
USER, USER_ID = "runner", 1000
SECONDS = 60
START_SECONDS = 20
SESSION = {"AccessKeyId": "ASIAJOB", "SecretAccessKey": "s", "Token": "t", "Expiration": "2099-01-01T00:00:00Z"}


@dataclass
class FargateManager:
    """A manager's files, and the tasks that it has started."""

    folder: Path
    settings: dict[str, Any]
    packages: Path
    """A folder that several tests share."""
    ecs: FakeEcs = field(default_factory=FakeEcs)
    processes: dict[str, subprocess.Popen[str]] = field(default_factory=dict)
    """Processes of tasks, by ARN."""
    job: int = 7

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.skip("a task gets namespaces and a user of its own, which needs root")
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self.ecs))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self._credentials = listening(body=json.dumps(SESSION).encode())
        self.credentials = self._credentials.__enter__()
        self.port = _free_port()
        self.ecs.address = "127.0.0.1"
        self.ecs.after = self._play
        (self.folder / "etc").mkdir()
        settings = {**self.settings, "port": self.port, "user": USER, "identity_folder": str(self.identity)}
        settings["start_seconds"] = START_SECONDS
        settings["state_folder"] = str(self.folder / "task/state")
        (self.folder / "etc/fargate.json").write_text(json.dumps(settings))
        (self.folder / "etc/aws-config").write_text(
            f"[default]\ncredential_process = cat {self.identity}/credentials.json\nregion = eu-central-1\n"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for arn, process in self.processes.items():
            self.end(arn, signal.SIGKILL)
            process.wait()
        self._credentials.__exit__(kind, error, trace)
        self._server.shutdown()
        self._server.server_close()

    @property
    def identity(self) -> Path:
        """Folder of the task's AWS files."""
        return self.folder / "task/aws"

    @cached_property
    def sshd(self) -> tuple[str, str]:
        """Path of sshd, and of the libraries that it needs beside the machine's; the test is skipped without one."""
        if Path("/usr/sbin/sshd").exists():
            return "/usr/sbin/sshd", ""
        if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
            pytest.skip("this machine has no sshd, and no apt-get to fetch one")
        root = self.packages / "unpacked-sshd"
        root.mkdir(exist_ok=True)
        if (root / "usr/sbin/sshd").exists():
            return str(root / "usr/sbin/sshd"), ":".join(str(root / library) for library in LIBRARIES)
        fetched = subprocess.run(["apt-get", "-q", "download", *PACKAGES], cwd=root, capture_output=True, check=False)
        if fetched.returncode:
            pytest.skip("this machine has no sshd, and its apt cannot fetch one")
        for package in root.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, root], check=True)
        return str(root / "usr/sbin/sshd"), ":".join(str(root / library) for library in LIBRARIES)

    def begin(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a stage of the driver."""
        response = self.folder / "response.json"
        response.write_text(json.dumps({"id": self.job, "image": None}))
        environment = {
            "PATH": os.environ["PATH"],
            "RUNNER_PLATFORM_ETC": str(self.folder / "etc"),
            "RUNNER_PLATFORM_STATE": str(self.folder / "state"),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_address[1]}",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "example",
            "JOB_RESPONSE_FILE": str(response),
            "BUILD_EXIT_CODE_FILE": str(self.folder / "build_exit_code"),
            "BUILD_FAILURE_EXIT_CODE": "1",
            "SYSTEM_FAILURE_EXIT_CODE": "2",
            **variables,
        }
        return subprocess.Popen(
            [sys.executable, str(load.ROOT / "machine/fargate.py"), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def stage(self, *arguments: str, **variables: str) -> tuple[int, str]:
        """Run a stage of the driver; return exit code and output."""
        process = self.begin(*arguments, **variables)
        output, _ = process.communicate(timeout=SECONDS)
        return process.returncode, output

    def script(self, text: str) -> str:
        """Write a script of the job, and return its path."""
        path = self.folder / "script"
        path.write_text(text)
        return str(path)

    def run(self, text: str) -> tuple[int, str]:
        """Run a script in the task."""
        return self.stage("run", self.script(text), "build_script")

    def in_task(self, command: str) -> str:
        """Run a command in the task beside the job's stages, and return its output."""
        key, known = self.folder / "state/jobs/7/key", self.folder / "state/jobs/7/known_hosts"
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=job-7", "-o", "BatchMode=yes"]
        place = ["-i", str(key), "-p", str(self.port), f"{USER}@127.0.0.1"]
        return subprocess.check_output(["ssh", "-F", "/dev/null", *options, *place, command], text=True)

    def end(self, arn: str, kind: signal.Signals) -> None:
        """Send a signal to a task's first process; nothing in the task outlives it."""
        parent = self.processes[arn].pid
        found = subprocess.run(["pgrep", "--parent", str(parent)], capture_output=True, text=True, check=False)
        for number in found.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(number), kind)

    def _play(self, operation: str) -> None:
        """Start and stop processes as ECS starts and stops tasks."""
        parameters = self.ecs.parameters(operation)[-1]
        if operation == "RunTask" and (new := set(self.ecs.tasks) - set(self.processes)):
            (variable,) = parameters["overrides"]["containerOverrides"][0]["environment"]
            self.processes[new.pop()] = self._start(variable["value"])
        if operation == "StopTask":
            self.end(parameters["task"], signal.SIGTERM)

    def _start(self, public_key: str) -> subprocess.Popen[str]:
        program, libraries = self.sshd
        (self.folder / "task").mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "task"),
            "LD_LIBRARY_PATH": libraries,
            "RUNNER_PLATFORM_STATE": str(self.folder / "task/state"),
            "RUNNER_PLATFORM_IDENTITY": str(self.identity),
            "RUNNER_PLATFORM_SSHD": program,
            "RUNNER_PLATFORM_CREDENTIALS": self.credentials,
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/id",
            "AWS_CONFIG_FILE": str(self.identity / "config"),
            "SSH_PUBLIC_KEY": public_key,
            "TASK_PORT": str(self.port),
            "TASK_SECONDS": "600",
        }
        # A copy, and Debian's own Python: a user without rights may not see the folders of the test's.
        program_copy = shutil.copy(load.ROOT / "machine/task.py", self.folder / "task.py")
        command = ["/usr/bin/python3", "-I", program_copy]
        with (self.folder / "task.log").open("w") as log:
            return subprocess.Popen(self._as_user(command), env=environment, stdout=log, stderr=log, text=True)

    def _as_user(self, command: list[str]) -> list[str]:
        """Return a command that runs a command without root and capabilities, in namespaces that end with it."""
        users = self.folder / "passwd"
        users.write_text(f"root:x:0:0::/root:/bin/sh\nrunner:x:{USER_ID}:{USER_ID}::{self.folder}/task:/bin/bash\n")
        os.chown(self.folder / "task", USER_ID, USER_ID)
        script = (
            f'mount --bind "$0" /etc/passwd && exec setpriv --reuid {USER_ID} --regid {USER_ID} --clear-groups '
            '--bounding-set=-all --inh-caps=-all --no-new-privs "$@"'
        )
        namespaces = ["unshare", "--mount", "--pid", "--mount-proc", "--fork"]
        return [*namespaces, "sh", "-c", script, str(users), *command]


def _handler(ecs: FakeEcs) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            parameters: Answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = ecs.answer(self.headers["X-Amz-Target"].rpartition(".")[2], parameters)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
            del format, args

    return Handler


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
