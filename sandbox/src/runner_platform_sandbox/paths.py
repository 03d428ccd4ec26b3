"""Folders of the sandbox, all outside the repository.

The cache holds tools that were built once, for every clone. The root holds one sandbox: its AWS, its clusters, its
engine home, its stack states. Standard library only: the bootstrap runs before anything is installed.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Paths:
    """The cache and the root of one sandbox."""

    cache: Path
    """Can be shared and rebuilt; `make distclean` removes it."""
    root: Path
    """One sandbox; `sandbox reset` empties it."""

    @classmethod
    def from_environment(cls) -> Paths:
        """Read RUNNER_PLATFORM_CACHE and RUNNER_PLATFORM_SANDBOX; the defaults follow the XDG base directory specification."""
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        cache = Path(os.environ.get("RUNNER_PLATFORM_CACHE") or base / "runner-platform")
        root = Path(os.environ.get("RUNNER_PLATFORM_SANDBOX") or cache / "sandbox")
        return cls(cache=cache.absolute(), root=root.absolute())

    @property
    def tools(self) -> Path:
        """Built tools, one folder per tool and lock file."""
        return self.cache / "tools"

    @property
    def home(self) -> Path:
        """HOME of the sandbox's processes."""
        return self.root / "home"

    @property
    def bin(self) -> Path:
        """Shims that come first on PATH."""
        return self.root / "bin"

    @property
    def aws(self) -> Path:
        """State of the AWS server."""
        return self.root / "aws"

    @property
    def clusters(self) -> Path:
        """One folder per Kubernetes control plane."""
        return self.root / "clusters"

    @property
    def pulumi_home(self) -> Path:
        """PULUMI_HOME: plugins and workspaces of the engine."""
        return self.root / "pulumi"

    @property
    def backend(self) -> Path:
        """The file backend: stack states."""
        return self.root / "backend"

    @property
    def logs(self) -> Path:
        """One log file per process."""
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        """Ports and processes of the running sandbox."""
        return self.root / "state.json"

    @property
    def lock_file(self) -> Path:
        """Held by the one command that may change the sandbox."""
        return self.root / "lock"


PUBLIC_PASSPHRASE = "runner-platform-sandbox"  # noqa: S105  # see below
"""Public on purpose: the encryption salts in the committed stack files belong to it, and the values are not secret."""
