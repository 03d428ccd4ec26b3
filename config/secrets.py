"""Secrets of the platform's program, read as outputs, never as text."""

from __future__ import annotations

import os
from typing import Any

import pulumi

from config.errors import Problem
from config.load import ProgramSettingsError
from config.settings import PROJECT


def runner_token(runner_class: str, stack: str) -> pulumi.Output[str]:
    """Return the token of a class with `runners: external`: from the environment, else from the stack's secret.

    Raises:
        ProgramSettingsError: there is no token; the message holds the command that sets it.
    """
    variable = f"RUNNER_TOKEN_{runner_class.upper()}"
    # Files and command substitutions leave a newline at the end, and GitLab refuses a header with one.
    environment_token = os.environ.get(variable, "").strip()
    if environment_token:
        return pulumi.Output.secret(environment_token)
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
