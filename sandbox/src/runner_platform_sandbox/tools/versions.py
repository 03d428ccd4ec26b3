"""Versions of programs: reading them from a program's output, and comparing them."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ASK_SECONDS = 20
"""A program without an answer by then is not used; wrappers of version managers can take seconds."""

_PATTERN = re.compile(r"(?<![\d.])(\d+)\.(\d+)(?:\.(\d+))?")


class Version(NamedTuple):
    """Three numbers; a build, pre-release or vendor suffix is ignored."""

    major: int
    minor: int
    patch: int = 0

    def __str__(self) -> str:
        """Return the usual notation."""
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def series(self) -> str:
        """Major and minor, as Kubernetes versions are pinned: `1.35`."""
        return f"{self.major}.{self.minor}"


def parse(text: str) -> Version | None:
    """Read the first version number in a text such as `Kubernetes v1.35.4` or `go1.26.8`; None without a number."""
    match = _PATTERN.search(text)
    if match is None:
        return None
    return Version(int(match[1]), int(match[2]), int(match[3] or 0))


def ask(program: Path, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Version | None:
    """Ask a program for its version.

    Args:
        program: An executable file.
        arguments: Arguments that print the version, for example `["version", "--short"]`.
        environment: Complete environment; None passes on our own.

    Returns:
        The version, or None if the program fails, prints no version, or does not answer in time.
    """
    try:
        answer = subprocess.run(
            [str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=ASK_SECONDS,
            check=False,
            text=True,
            errors="replace",
            env=dict(environment) if environment is not None else None,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse(answer.stdout) if answer.returncode == 0 else None
