"""The Pulumi CLI as the bootstrap uses it: short commands on one stack of one backend, nothing of it in this process's environment."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PASSPHRASES = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
MISSING = 'the Pulumi CLI is not on PATH; install it, or use the sandbox\'s: eval "$(runner-platform sandbox env)"'


def require() -> None:
    """Know before the first deployment that there is an engine for it.

    Raises:
        FailedError: there is no Pulumi CLI.
    """
    if shutil.which("pulumi") is None:
        raise FailedError(MISSING)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A state backend with what opens its secrets."""

    url: str
    folder: Path
    """Folder of the project."""
    passphrase: Mapping[str, str] = field(default_factory=dict)
    """One of the two variables, or nothing where a key encrypts."""

    @property
    def variables(self) -> dict[str, str]:
        """What the engine needs in its environment."""
        return {"PULUMI_BACKEND_URL": self.url, "PULUMI_SKIP_UPDATE_CHECK": "true", **self.passphrase}

    def run(self, *arguments: str) -> str:
        """Run a command; returns its standard output.

        Raises:
            FailedError: it failed, or there is no Pulumi CLI.
        """
        inherited = {name: value for name, value in os.environ.items() if name not in PASSPHRASES}
        try:
            done = subprocess.run(
                ["pulumi", "--non-interactive", *arguments],
                cwd=self.folder,
                env={**inherited, **self.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise FailedError(MISSING) from None
        if done.returncode:
            said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise FailedError(f"pulumi {' '.join(arguments[:2])} on {self.url}: {' '.join(said[-3:])}")
        return done.stdout

    def exported(self, stack: str) -> dict[str, Any]:
        """The stack's deployment, secrets encrypted as they are."""
        found: dict[str, Any] = json.loads(self.run("stack", "export", "--stack", stack))
        return found

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Let whatever runs in this process act on this backend."""
        before = dict(os.environ)
        for name in PASSPHRASES:
            os.environ.pop(name, None)
        os.environ.update(self.variables)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
