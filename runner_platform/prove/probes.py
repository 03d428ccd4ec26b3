"""Runs probes: one process for each attempt, with exactly the environment that it is given.

The programs are those of `image/probes`. JavaScript's and Go's are built once by `make tools`, and found on PATH.
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
from typing import TYPE_CHECKING, Any, Self

from config import load
from runner_platform.errors import FailedError
from runner_platform.prove import forks
from runner_platform.prove.model import Answer, Sdk, Way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from runner_platform.prove.model import Attempt

SECONDS = 180.0
"""What an attempt may take: SDKs give up on a silent STS much sooner, and a busy machine is no reason for a red cell."""
PROGRAMS = {Sdk.JAVASCRIPT: "probe-javascript", Sdk.GO: "probe-go"}
CLI_PROBE = load.ROOT / "image" / "probes" / "cli" / "probe.py"


@dataclass(frozen=True, kw_only=True)
class _Program:
    """How a probe is started."""

    command: list[str]
    variables: Mapping[str, str] = field(default_factory=dict)
    """What it needs to start at all."""


class Probes:
    """The probes of some SDK families, ready to run.

    Args:
        sdks: Which ones.
        workers: How many run side by side.

    Raises:
        FailedError: one is not installed.
    """

    def __init__(self, sdks: Iterable[Sdk], workers: int) -> None:
        self._programs = {sdk: _program(sdk) for sdk in sdks if sdk is not Sdk.BOTO3}
        self._workers = workers
        self._forks: queue.SimpleQueue[subprocess.Popen[str]] = queue.SimpleQueue()
        self._open = ExitStack()

    def __enter__(self) -> Self:
        for _ in range(self._workers):
            self._forks.put(self._open.enter_context(_fork_server()))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def run(
        self, attempts: Iterable[Attempt], environment: Callable[[Attempt], Mapping[str, str]]
    ) -> Iterator[tuple[Attempt, Answer]]:
        """Run attempts side by side; yields each with its answer, in order."""
        attempts = list(attempts)
        with ThreadPoolExecutor(self._workers) as pool:
            yield from zip(attempts, pool.map(lambda each: self._one(each, environment(each)), attempts), strict=True)

    def _one(self, attempt: Attempt, environment: Mapping[str, str]) -> Answer:
        argument = attempt.profile if attempt.way is Way.NAMED else ""
        if attempt.sdk is Sdk.BOTO3:
            line = self._forked(argument, environment)
        else:
            program = self._programs[attempt.sdk]
            line = _started([*program.command, argument], {**program.variables, **environment})
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            return Answer(error=line.strip() or "the probe said nothing", kind="Crashed")
        return Answer(arn=said.get("arn", ""), error=said.get("error", ""), kind=said.get("kind", ""))

    def _forked(self, argument: str, environment: Mapping[str, str]) -> str:
        server = self._forks.get()
        try:
            assert server.stdin is not None  # noqa: S101  # it is a pipe, see `_fork_server`
            assert server.stdout is not None  # noqa: S101  # same
            server.stdin.write(json.dumps({"environment": dict(environment), "argument": argument}) + "\n")
            server.stdin.flush()
            return server.stdout.readline()
        except OSError as error:
            return f"the process that starts boto3 is gone: {error}"
        finally:
            self._forks.put(server)


@contextmanager
def _fork_server() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-I", forks.__file__]
    # In a session of its own: Ctrl-C is for us, and it ends with its standard input whatever becomes of us.
    server = subprocess.Popen(
        command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        yield server
    finally:
        server.communicate()


def _started(command: list[str], environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
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
    return done.stdout or done.stderr


def _program(sdk: Sdk) -> _Program:
    if sdk is Sdk.CLI:
        # The locked one: the sandbox puts a wrapper on PATH that gives every call the same HOME, and with it the same cached sessions.
        program = shutil.which("aws", path=str(Path(sys.executable).parent)) or shutil.which("aws")
        if program is None:
            raise FailedError("the AWS CLI is not installed; install it (version 2, or `pip install awscli`)")
        return _Program(
            command=[sys.executable, "-I", str(CLI_PROBE)], variables={"PATH": f"{Path(program).parent}:{os.defpath}"}
        )
    program = shutil.which(PROGRAMS[sdk])
    if program is None:
        raise FailedError(
            f"{PROGRAMS[sdk]} is not on PATH: `make tools` builds it, and `runner-platform sandbox env` then finds it"
        )
    return _Program(command=[program])
