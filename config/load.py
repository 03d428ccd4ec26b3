"""Where settings come from: the configuration of the running program, or a stack file that is read without the engine."""

from __future__ import annotations

import json
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime import config as runtime_config

from config import boundary_document, chart_archive, foundation, settings, stack_file
from config.errors import Problem, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from config.checks import Check
    from config.foundation import FoundationPlatform
    from config.sections import Chart, Platform

ROOT = Path(__file__).resolve().parent.parent
FOUNDATION_FILE = f"foundation/Pulumi.{foundation.STACK}.yaml"


class ProgramSettingsError(SettingsError, pulumi.RunError):
    """Settings of the running program cannot be used. The language host prints the message without a traceback."""


def current(*more_checks: Check) -> settings.Settings:
    """Return the settings of the running platform program.

    Args:
        more_checks: rules beside those of `config.checks`.

    Raises:
        ProgramSettingsError: with every problem.
    """
    stack = pulumi.get_stack()
    with _without_traceback():
        return settings.parse(
            _running_config(settings.PROJECT), stack, f"Pulumi.{stack}.yaml", *FILE_CHECKS, *more_checks
        )


def current_foundation(*more_checks: Check) -> foundation.FoundationSettings:
    """Return the settings of the running foundation program.

    Args:
        more_checks: rules beside those of `config.checks`.

    Raises:
        ProgramSettingsError: with every problem.
    """
    with _without_traceback():
        return foundation.parse(_running_config(foundation.PROJECT), FOUNDATION_FILE, _boundary_document, *more_checks)


@contextmanager
def _without_traceback() -> Iterator[None]:
    try:
        yield
    except SettingsError as error:
        raise ProgramSettingsError(error.source, error.problems) from None


def _running_config(project: str) -> dict[str, Any]:
    # The engine hands over every key as text, in one environment variable; tests set CONFIG. Secrets are not read.
    config = {**runtime_config.get_config_env(), **runtime_config.CONFIG.get()}
    secret_keys = {*runtime_config.get_config_secret_keys_env(), *filter(runtime_config.is_config_secret, config)}
    values: dict[str, Any] = {}
    for key, text in config.items():
        namespace, _, name = key.partition(":")
        if namespace == project and key not in secret_keys:
            values[name] = _decoded(text)
    return values


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _chart_archive(chart: Chart) -> Iterable[Problem]:
    return chart_archive.problems(chart, ROOT)


def _boundary_document(platform: Platform | FoundationPlatform) -> Iterable[Problem]:
    return boundary_document.problems(platform, ROOT)


FILE_CHECKS: tuple[Check, ...] = (_chart_archive, _boundary_document)
"""Rules on files that a stack file names."""


@cache
def of_stack(stack: str, *more_checks: Check) -> settings.Settings:
    """Read the settings of a stack of the platform from its file.

    Args:
        stack: the stack's name.
        more_checks: rules beside those of `config.checks`.

    Raises:
        SettingsError: the file is missing or has problems.
    """
    name = f"Pulumi.{stack}.yaml"
    file = stack_file.read(ROOT / name, settings.PROJECT)
    return settings.parse(file.values, stack, name, *FILE_CHECKS, *more_checks, problems=file.problems)


@cache
def of_foundation() -> foundation.FoundationSettings:
    """Read the settings of the foundation from its file.

    Raises:
        SettingsError: the file is missing or has problems.
    """
    file = stack_file.read(ROOT / FOUNDATION_FILE, foundation.PROJECT)
    return foundation.parse(file.values, FOUNDATION_FILE, _boundary_document, problems=file.problems)


def raw_of(path: Path, project: str) -> dict[str, Any]:
    """Read a stack file's values by key, without the project's namespace; secrets stay encrypted.

    Raises:
        SettingsError: the file is missing, or the engine would read it differently.
    """
    file = stack_file.read(path, project)
    if file.problems:
        raise SettingsError(path.name, file.problems)
    return dict(file.values)


def stacks() -> list[str]:
    """Return the names of the platform's stacks that have a stack file."""
    return sorted(stack_file.stack_of(path.name) for path in ROOT.glob("Pulumi.*.yaml"))
