"""Where settings come from: the running program's configuration, or a stack file read without an engine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import yaml
from pulumi.runtime import config as runtime_config

from config import chart_archive, foundation, settings
from config.errors import Problem, SettingsError

ROOT = Path(__file__).resolve().parent.parent


Check = Callable[[settings.Parsed], Iterable[Problem]]
"""A further check of settings, by whoever knows more than they do."""


class ProgramSettingsError(SettingsError, pulumi.RunError):
    """A running program's settings cannot be used; the language host prints the message alone, without a traceback."""


def current(*further: Check) -> settings.Settings:
    """Settings of the platform program that is running.

    Raises:
        ProgramSettingsError: with every problem that was found.
    """
    stack = pulumi.get_stack()
    with _said_plainly():
        return settings.parse(_running(settings.PROJECT), stack, f"Pulumi.{stack}.yaml", _archive, *further)


def current_foundation() -> foundation.FoundationSettings:
    """Settings of the foundation program that is running.

    Raises:
        ProgramSettingsError: with every problem that was found.
    """
    with _said_plainly():
        return foundation.parse(_running(foundation.PROJECT), "foundation/Pulumi.foundation.yaml")


@contextmanager
def _said_plainly() -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise ProgramSettingsError(error.source, error.problems) from None


def _running(project: str) -> dict[str, Any]:
    # The engine hands over every key as text, in one variable; a test sets it directly. Secrets are left unread.
    config = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    secret = {*runtime_config.get_config_secret_keys_env()}
    values: dict[str, Any] = {}
    for key, text in config.items():
        namespace, _, name = key.partition(":")
        if namespace == project and key not in secret:
            values[name] = _decoded(text)
    return values


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _archive(parsed: settings.Parsed) -> Iterable[Problem]:
    return chart_archive.problems(parsed, ROOT)


@cache
def of_stack(stack: str, *further: Check) -> settings.Settings:
    """Settings of a stack of the platform, read from its file.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds problems.
    """
    file = f"Pulumi.{stack}.yaml"
    return settings.parse(raw_of(ROOT / file, settings.PROJECT), stack, file, _archive, *further)


@cache
def of_foundation() -> foundation.FoundationSettings:
    """Settings of the foundation, read from its file.

    Raises:
        SettingsError: the file is missing, is not YAML, or holds problems.
    """
    path = ROOT / "foundation" / "Pulumi.foundation.yaml"
    return foundation.parse(raw_of(path, foundation.PROJECT), "foundation/Pulumi.foundation.yaml")


def raw_of(path: Path, project: str) -> dict[str, Any]:
    """Values of a stack file by key, without the project's namespace; secrets stay as they are written.

    Raises:
        SettingsError: the file is missing or is not YAML.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        known = ", ".join(sorted(p.name for p in path.parent.glob("Pulumi.*.yaml"))) or "none"
        raise SettingsError(
            path.name, [Problem(path="stack", message=f"there is no {path.name}; stack files here: {known}")]
        ) from None
    except yaml.YAMLError as error:
        raise SettingsError(path.name, [Problem(path="file", message=f"is not YAML: {error}")]) from None
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(
            path.name,
            [Problem(path="config", message=f"is missing; write config: with keys such as {project}:organization")],
        )
    prefix = f"{project}:"
    return {str(key).removeprefix(prefix): value for key, value in config.items() if str(key).startswith(prefix)}


def stacks() -> list[str]:
    """Names of the platform's stacks, from the stack files that are there."""
    return sorted(path.name.split(".")[1] for path in ROOT.glob("Pulumi.*.yaml"))
