"""One stack of a Pulumi project: its program's folder, its state backend, and the sentence that every command prints first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from config import foundation, load, stack_file
from config import settings as platform
from runner_platform import stacks
from runner_platform.driver import backend
from runner_platform.errors import WrongUseError

if TYPE_CHECKING:
    from pathlib import Path

    from config.foundation import FoundationSettings
    from config.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, kw_only=True)
class Project:
    """A stack of a Pulumi project."""

    stack: str
    folder: Path
    """The folder with the project's Pulumi.yaml."""
    url: str = ""
    """URL of the state backend; empty for the one that plain `pulumi` would use."""

    @cached_property
    def name(self) -> str:
        """The project's name.

        Raises:
            WrongUseError: the folder holds no project.
        """
        file = self.folder / "Pulumi.yaml"
        name = stack_file.document_of(file).get("name") if file.is_file() else None
        if not isinstance(name, str):
            raise WrongUseError(f"{self.folder} holds no Pulumi.yaml with a name")
        return name

    @cached_property
    def store(self) -> backend.Store:
        """The state backend."""
        return backend.open_store(self.url or backend.current_url(self.folder))

    @property
    def settings_file(self) -> Path:
        """The stack file."""
        return self.folder / f"Pulumi.{self.stack}.yaml"

    @property
    def is_platform(self) -> bool:
        """Whether the project is the platform or its foundation, and not, for instance, a test's."""
        return self.name in {platform.PROJECT, foundation.PROJECT}

    @property
    def is_this_checkout(self) -> bool:
        """Whether the stack's program is this checkout, so that a mock run shows it."""
        return self.is_platform and self.folder in {load.ROOT, load.ROOT / "foundation"}

    @property
    def policies(self) -> list[str]:
        """Folders of the policy packs that the engine runs; empty for other projects."""
        return [os.environ.get("RUNNER_PLATFORM_POLICIES") or str(load.ROOT / "policies")] if self.is_platform else []

    @cached_property
    def settings(self) -> Settings | FoundationSettings:
        """The stack's settings, as its program reads them.

        Raises:
            SettingsError: the stack file cannot be used.
        """
        return load.of_foundation() if self.stack == foundation.STACK else stacks.settings_of(self.stack)

    @property
    def runner_settings(self) -> Settings | None:
        """The settings of a stack with runners; None for the foundation and for other projects.

        Raises:
            SettingsError: the stack file cannot be used.
        """
        settings = self.settings if self.is_platform else None
        return settings if isinstance(settings, platform.Settings) else None

    def target(self) -> str:
        """Return the sentence that every command prints before it touches anything."""
        parts = [_cloud()]
        if self.is_platform:
            accounts = ", ".join(f"{name} {account.id}" for name, account in self.settings.accounts.items())
            parts += [f"region {self.settings.organization.region}", f"accounts {accounts}"]
        return f"target: {', '.join(parts)}; state in {self.store.url}"


def find(stack: str, folder: Path | None = None) -> Project:
    """Find a stack by its name.

    Args:
        stack: the stack's name.
        folder: folder of another project than the platform's.

    Raises:
        WrongUseError: the platform has no such stack.
    """
    if folder is not None:
        return Project(stack=stack, folder=folder.resolve())
    name = stacks.known(stack)
    return Project(stack=name, folder=load.ROOT / "foundation" if name == foundation.STACK else load.ROOT)


def in_sandbox() -> bool:
    """Whether AWS's endpoint is on this machine, as after `sandbox env`."""
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname in LOOPBACK


def _cloud() -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if in_sandbox():
        return f"the sandbox (AWS at {endpoint})"
    return f"AWS at {endpoint}" if endpoint else "AWS"
