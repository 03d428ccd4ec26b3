"""Runs probes: one process for each attempt, with exactly the given environment.

The programs are in `image/probes`. `make tools` builds those of JavaScript and Go; they must be on PATH.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from config import load
from runner_platform.errors import FailedError
from runner_platform.prove import fork_server
from runner_platform.prove.attempts import Sdk, Way
from runner_platform.prove.results import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from runner_platform.prove.attempts import Attempt

SECONDS = 180.0
"""Time limit of an attempt. SDKs give up on a silent STS much sooner; a busy machine must not make a result wrong."""
PROGRAMS = {Sdk.JAVASCRIPT: "probe-javascript", Sdk.GO: "probe-go"}
CLI_PROBE = load.ROOT / "image" / "probes" / "cli" / "probe.py"


@dataclass(frozen=True, kw_only=True)
class _Program:
    """Command of a probe."""

    command: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    """Variables without which it does not start."""


class Probes:
    """The probes of some SDK families, ready to run.

    Args:
        sdks: SDK families to run.
        workers: number of attempts at the same time.

    Raises:
        FailedError: a probe is not installed.
    """

    def __init__(self, sdks: Iterable[Sdk], workers: int) -> None:
        self._programs = {sdk: _program(sdk) for sdk in sdks if sdk is not Sdk.BOTO3}
        self._workers = workers
        self._fork_servers: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for _ in range(self._workers):
            self._fork_servers.put(self._open.enter_context(_server_process()))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(
        self, attempts: Iterable[Attempt], environment: Callable[[Attempt], Mapping[str, str]]
    ) -> Iterator[tuple[Attempt, Answer]]:
        """Run attempts side by side and yield them in order, with their answers."""
        attempts = list(attempts)
        with ThreadPoolExecutor(self._workers) as pool:
            yield from zip(
                attempts, pool.map(lambda attempt: self._run(attempt, environment(attempt)), attempts), strict=True
            )

    def _run(self, attempt: Attempt, environment: Mapping[str, str]) -> Answer:
        argument = attempt.profile if attempt.way is Way.NAMED else ""
        if attempt.sdk is Sdk.BOTO3:
            line = self._forked(argument, environment)
        else:
            program = self._programs[attempt.sdk]
            line = _executed([*program.command, argument], {**environment, **program.variables})
        try:
            return Answer.of(json.loads(line))
        except ValueError:
            return Answer(error=line.strip() or "the probe printed nothing", kind="Crashed")

    def _forked(self, argument: str, environment: Mapping[str, str]) -> str:
        server = self._fork_servers.get()
        try:
            assert server.stdin is not None  # noqa: S101  # it is a pipe, see `_server_process`
            assert server.stdout is not None  # noqa: S101  # same
            server.stdin.write(json.dumps({"environment": dict(environment), "argument": argument}) + "\n")
            server.stdin.flush()
            return server.stdout.readline()
        except OSError as error:
            return f"the process that runs boto3 probes has ended: {error}"
        finally:
            self._fork_servers.put(server)


@contextmanager
def _server_process() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-I", fork_server.__file__]
    # A session of its own, so that Ctrl-C reaches this process alone. The server ends when its standard input closes.
    server = subprocess.Popen(
        command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield server
    finally:
        server.communicate()


def _executed(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        process = subprocess.run(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return f"the probe did not end within {SECONDS:.0f} s"
    return process.stdout or process.stderr


def _program(sdk: Sdk) -> _Program:
    if sdk is Sdk.CLI:
        # The CLI of this environment. The sandbox's wrapper on PATH gives all calls the same HOME, and so the same cached sessions.
        program = shutil.which("aws", path=str(Path(sys.executable).parent)) or shutil.which("aws")
        if program is None:
            raise FailedError("the AWS CLI is not installed; install it (version 2, or `pip install awscli`)")
        return _Program(
            command=[sys.executable, "-I", str(CLI_PROBE)], variables={"PATH": f"{Path(program).parent}:{os.defpath}"}
        )
    program = shutil.which(PROGRAMS[sdk])
    if program is None:
        raise FailedError(
            f"{PROGRAMS[sdk]} is not on PATH: `make tools` builds it, and `runner-platform sandbox env` then puts it on PATH"
        )
    return _Program(command=[program])
