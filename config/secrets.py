"""Secrets of the platform's program: read as outputs, never as text."""

from __future__ import annotations

import os

import pulumi

from config.errors import Problem, SettingsError
from config.settings import PROJECT


def runner_token(runner_class: str, stack: str) -> pulumi.Output[str]:
    """The token of a class with `runners: external`: environment first, then the stack's secret.

    Raises:
        SettingsError: there is neither; the message holds the command that sets one.
    """
    variable = f"RUNNER_TOKEN_{runner_class.upper()}"
    if os.environ.get(variable):
        return pulumi.Output.secret(os.environ[variable])
    tokens = pulumi.Config(PROJECT).get_secret_object("tokens")
    command = f"pulumi config set --stack {stack} --secret --path '{PROJECT}:tokens.{runner_class}'"
    missing = SettingsError(
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

    def pick(values: dict[str, str]) -> str:
        if not values.get(runner_class):
            raise missing
        return values[runner_class]

    return tokens.apply(pick)
