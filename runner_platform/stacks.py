"""Stacks by name: their files and settings, and the engine's answers about a deployed stack.

Reads only. Questions to the engine need the engine, a backend and its credentials; each is one short command, because the SDK would first
select the stack and so change what a person has selected.
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any, Final

from components.documents import checks
from config import between_stacks, foundation, load
from config import settings as platform
from config.errors import SettingsError, unknown_key
from runner_platform.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings

MISSING_CLI: Final = (
    'the Pulumi CLI is not on PATH; install it, or use the sandbox\'s: eval "$(runner-platform sandbox env)"'
)


def names() -> list[str]:
    """Every stack that has a file, the foundation first."""
    return [foundation.STACK, *load.stacks()]


def known(stack: str) -> str:
    """Return the stack's name.

    Raises:
        WrongUseError: the stack has no file.
    """
    if stack not in names():
        raise WrongUseError(f"{stack!r} {unknown_key(stack, names()).replace('is not a setting', 'is not a stack')}")
    return stack


def stack_file(stack: str) -> str:
    """The file with a stack's settings, relative to the project."""
    return "foundation/Pulumi.foundation.yaml" if stack == foundation.STACK else f"Pulumi.{stack}.yaml"


def project_of(stack: str) -> str:
    """Name of the Pulumi project that a stack belongs to."""
    return foundation.PROJECT if stack == foundation.STACK else platform.PROJECT


def settings_of(stack: str) -> Settings:
    """Settings of a stack of the platform.

    Raises:
        WrongUseError: the stack has no file, or is the foundation.
        SettingsError: its file cannot be used.
    """
    if stack == foundation.STACK:
        raise WrongUseError("the foundation has no runner classes; name a stack of the platform")
    return load.of_stack(known(stack), *checks.CHECKS)


def agree(stacks: Sequence[str]) -> None:
    """Check that the settings of these stacks are valid, and contradict neither each other nor the foundation's.

    Raises:
        SettingsError: with every problem of the first invalid stack, or with every contradiction.
    """
    settings = {stack: load.of_stack(stack, *checks.CHECKS) for stack in stacks if stack != foundation.STACK}
    base = load.of_foundation()
    problems = [*between_stacks.organizations(base, settings), *between_stacks.account_ids(base, settings)]
    problems += [*between_stacks.runner_tags(settings), *between_stacks.levels(settings)]
    problems += between_stacks.boundaries(base, settings)
    if problems:
        raise SettingsError("The stack files", problems)


def outputs(stack: str) -> dict[str, Any]:
    """Outputs of a deployed stack, secrets in clear text.

    Raises:
        FailedError: the backend has no such stack, or the engine cannot be run.
    """
    values: dict[str, Any] = json.loads(_ask_engine(stack, "stack", "output", "--json", "--show-secrets"))
    return values


def deployment(stack: str) -> dict[str, Any]:
    """State of a deployed stack: member `deployment` of `pulumi stack export`; secrets stay encrypted.

    Raises:
        FailedError: the backend has no such stack, or the engine cannot be run.
    """
    return dict(json.loads(_ask_engine(stack, "stack", "export")).get("deployment") or {})


def external_tokens(settings: Settings) -> dict[str, str]:
    """Tokens of runners that were created outside of the program, by class: from the environment, else from the stack's secret.

    Raises:
        FailedError: the stack's secrets cannot be read.
    """
    tokens = {name: os.environ.get(f"RUNNER_TOKEN_{name.upper()}", "").strip() for name in settings.runners}
    if not all(tokens.values()):
        values = json.loads(_ask_engine(settings.stack, "config", "--json", "--show-secrets"))
        secret = values.get(f"{platform.PROJECT}:tokens")
        stored = json.loads(secret["value"]) if secret is not None else {}
        tokens = {name: token or stored.get(name, "").strip() for name, token in tokens.items()}
    return {name: token for name, token in tokens.items() if token}


def _ask_engine(stack: str, *arguments: str) -> str:
    folder = load.ROOT / "foundation" if stack == foundation.STACK else load.ROOT
    command = ["pulumi", *arguments, "--stack", stack, "--non-interactive", "--color", "never"]
    environment = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true"}
    try:
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise FailedError(MISSING_CLI) from None
    if process.returncode == 0:
        return process.stdout
    if "no stack named" in process.stderr:
        raise FailedError(f"the backend has no stack {stack}; `pulumi stack ls` lists the stacks of the backend")
    errors = [line for line in process.stderr.splitlines() if "error:" in line] or [
        "the engine failed without a message"
    ]
    raise FailedError(errors[0].strip())
