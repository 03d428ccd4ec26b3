"""The proof at the end of `make up`: `runner-platform prove` for each deployed stack, side by side.

Owns the processes and what they printed. Leaves out what is tried (`runner_platform.prove`, docs/operate/prove.md): the sandbox runs the command
that a person would.
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
class Proved:
    """One stack's proof."""

    stack: str
    text: str
    """The matrix, with the terminal's colours where there is one."""
    fine: bool
    """Whether every cell is as the settings say."""


def prove(stacks: Sequence[str], environment: Mapping[str, str], console: Console) -> list[Proved]:
    """Prove stacks.

    Args:
        stacks: Their names.
        environment: Of a person after `sandbox env`.
        console: Where the matrix will be shown; decides its width and colours.

    Raises:
        SandboxError: One could not be tried at all.
    """
    width = {"COLUMNS": str(console.width)}
    colours = {"FORCE_COLOR": "1"} if console.is_terminal else {"NO_COLOR": "1"}
    with _processes(stacks, {**environment, **width, **colours}) as running:
        return [_ended(stack, process) for stack, process in running.items()]


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
            process.terminate()  # does nothing to one that has ended
        for process in running.values():
            _close(process)


def _close(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
    with process:  # closes its pipes, and waits for the rest of it
        pass


def _ended(stack: str, process: subprocess.Popen[str]) -> Proved:
    text, said = process.communicate()
    if process.returncode not in {0, NOT_FINE} or not text:
        last = said.strip() or f"it ended with exit code {process.returncode}"
        raise SandboxError(f"access of {stack} could not be tried:\n{last}", f"`runner-platform prove --stack {stack}`")
    return Proved(stack=stack, text=text.rstrip("\n"), fine=process.returncode == 0)


def require_fine(proofs: Sequence[Proved]) -> None:
    """Turn a proof that is red into the end of `make up`.

    Raises:
        SandboxError: Names the stacks.
    """
    red = [proof.stack for proof in proofs if not proof.fine]
    if red:
        raise SandboxError(
            f"access is not as the settings of {' and '.join(red)} say: the lines that begin with WRONG name each cell",
            f"`runner-platform prove --stack {red[0]}` tries again; docs/operate/prove.md says what each means",
        )
