"""The proof at the end of `make up`: `runner-platform prove` for each deployed stack, side by side.

The sandbox runs the command that a person would run (docs/operate/prove.md) and prints its output.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.organization import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

COMMAND: Final = (sys.executable, "-m", "runner_platform", "prove", "--stack")
NOT_FINE: Final = 1
GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One stack's proof."""

    stack: str
    text: str
    """The matrix, with the terminal's colours."""
    fine: bool
    """Whether every cell is as the settings say."""


def prove(stacks: Sequence[str], environment: Mapping[str, str], console: Console) -> list[Proof]:
    """Prove the access of stacks.

    Args:
        stacks: Their names.
        environment: The environment of a person after `sandbox env`.
        console: Where the matrix will be shown; decides its width and colours.

    Raises:
        SandboxError: The access of a stack could not be tried at all.
    """
    width = {"COLUMNS": str(console.width)}
    colours = {"FORCE_COLOR": "1"} if console.is_terminal else {"NO_COLOR": "1"}
    with _processes(stacks, {**environment, **width, **colours}) as running:
        return [_result(stack, process) for stack, process in running.items()]


@contextlib.contextmanager
def _processes(stacks: Sequence[str], environment: Mapping[str, str]) -> Iterator[dict[str, subprocess.Popen[str]]]:
    running: dict[str, subprocess.Popen[str]] = {}
    try:
        for stack in stacks:
            running[stack] = subprocess.Popen(
                [*COMMAND, stack],
                cwd=PROJECT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        yield running
    finally:
        for process in running.values():
            process.terminate()  # does nothing to an ended process
        for process in running.values():
            _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    with process:  # closes its pipes and waits for its end
        pass


def _result(stack: str, process: subprocess.Popen[str]) -> Proof:
    text, errors = process.communicate()
    if process.returncode not in {0, NOT_FINE} or not text:
        reason = errors.strip() or f"it ended with exit code {process.returncode}"
        raise SandboxError(
            f"access of {stack} could not be tried:\n{reason}", f"try again: `runner-platform prove --stack {stack}`"
        )
    return Proof(stack=stack, text=text.rstrip("\n"), fine=process.returncode == 0)


def require_fine(proofs: Sequence[Proof]) -> None:
    """Fail `make up` if a proof failed.

    Raises:
        SandboxError: Names the stacks.
    """
    failed = [proof.stack for proof in proofs if not proof.fine]
    if failed:
        raise SandboxError(
            f"access is not as the settings of {' and '.join(failed)} say; see the lines that begin with WRONG",
            f"try again: `runner-platform prove --stack {failed[0]}`; docs/operate/prove.md explains each line",
        )
