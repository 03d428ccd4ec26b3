"""What one command acts on: a stack, its program's folder, its state backend; and the words that say so first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from config import foundation, load
from config import settings as platform
from runner_platform.check import inspect
from runner_platform.driver import store
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
    """Where its Pulumi.yaml is."""
    url: str = ""
    """Of the state backend; empty for the one that `pulumi` would use."""

    @cached_property
    def name(self) -> str:
        """The project's name.

        Raises:
            WrongUseError: the folder holds no project.
        """
        try:
            return str(yaml.safe_load((self.folder / "Pulumi.yaml").read_text())["name"])
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            raise WrongUseError(f"{self.folder} holds no Pulumi.yaml with a name") from None

    @cached_property
    def store(self) -> store.Store:
        """The state backend."""
        return store.open_store(self.url or store.backend_url(self.folder))

    @property
    def settings_file(self) -> Path:
        """The stack's own file."""
        return self.folder / f"Pulumi.{self.stack}.yaml"

    @property
    def ours(self) -> bool:
        """Whether it is one of the platform's own projects, and not another one, such as a test's."""
        return self.name in {platform.PROJECT, foundation.PROJECT}

    @property
    def here(self) -> bool:
        """Whether its program is the one of this checkout, which mock runs run, and not a copy of it."""
        return self.ours and self.folder in {load.ROOT, load.ROOT / "foundation"}

    @property
    def policies(self) -> list[str]:
        """Folders of the packs that judge it: in a preview what is planned, in an update what is made, and the whole at its end."""
        return [os.environ.get("RUNNER_PLATFORM_POLICIES") or str(load.ROOT / "policies")] if self.ours else []

    @cached_property
    def settings(self) -> Settings | FoundationSettings:
        """Its settings, as the program will read them.

        Raises:
            SettingsError: they cannot be used.
        """
        return load.of_foundation() if self.stack == foundation.STACK else inspect.settings_of(self.stack)

    def target(self) -> str:
        """The sentence that every command prints before it touches anything."""
        where = [f"{_cloud()}"]
        if self.ours:
            accounts = ", ".join(f"{name} {account.id}" for name, account in self.settings.accounts.items())
            where += [f"region {self.settings.organization.region}", f"accounts {accounts}"]
        return f"target: {', '.join(where)}; state in {self.store.url}"


def of(stack: str, folder: Path | None = None) -> Project:
    """The stack by name.

    Args:
        stack: its name.
        folder: folder of another project than the platform's.

    Raises:
        WrongUseError: the platform has no such stack.
    """
    if folder is not None:
        return Project(stack=stack, folder=folder.resolve())
    known = inspect.known(stack)
    return Project(stack=known, folder=load.ROOT / "foundation" if known == foundation.STACK else load.ROOT)


def in_sandbox() -> bool:
    """Whether AWS's endpoint is on this machine, as after `sandbox env`."""
    return urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname in LOOPBACK


def _cloud() -> str:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if in_sandbox():
        return f"the sandbox (AWS at {endpoint})"
    return f"AWS at {endpoint}" if endpoint else "AWS"
