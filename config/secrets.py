"""Secrets of the platform's program: read as outputs, never as text."""

from __future__ import annotations

import os
from typing import Any

import pulumi

from config.errors import Problem
from config.load import ProgramSettingsError
from config.settings import PROJECT


def runner_token(runner_class: str, stack: str) -> pulumi.Output[str]:
    """The token of a class with `runners: external`: environment first, then the stack's secret.

    Raises:
        ProgramSettingsError: there is neither; the message holds the command that sets one.
    """
    variable = f"RUNNER_TOKEN_{runner_class.upper()}"
    # A newline at its end, as files and command substitutions leave one, would make GitLab refuse it as a header.
    given = os.environ.get(variable, "").strip()
    if given:
        return pulumi.Output.secret(given)
    tokens = pulumi.Config(PROJECT).get_secret_object("tokens")
    command = f"pulumi config set --stack {stack} --secret --path '{PROJECT}:tokens.{runner_class}'"
    missing = ProgramSettingsError(
        f"Pulumi.{stack}.yaml",
        [
            Problem(
                path=f"tokens.{runner_class}",
                message=f"has no token; `{command}` asks for it, or set {variable} (masked and protected)",
            )
        ],
    )
    if tokens is None:
        raise missing

    def pick(values: Any) -> str:
        token = values.get(runner_class) if isinstance(values, dict) else None
        if not isinstance(token, str) or not token.strip():
            raise missing
        return token.strip()

    return tokens.apply(pick)
