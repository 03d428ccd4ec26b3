"""Files of a runner class as text, made from settings alone: Helm values and AWS configs. No engine, no cloud, no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from components.documents import profiles
from components.documents.helm_values import helm_values
from config import load
from config.errors import unknown_key
from runner_platform import stacks
from runner_platform.errors import WrongUseError

if TYPE_CHECKING:
    from config.settings import Settings

OPERATOR_PROFILE = "management"


def values(stack: str, runner_class: str) -> str:
    """A class's Helm values as YAML, without a token.

    Raises:
        WrongUseError: the stack has no such class, or the class has no release.
    """
    settings = _settings_with(stack, runner_class)
    class_settings = settings.kubernetes_classes.get(runner_class)
    if class_settings is None:
        raise WrongUseError(
            f"class {runner_class} of stack {stack} is of executor {settings.runners[runner_class].executor}, which has no Helm values; "
            f"name one of {', '.join(settings.kubernetes_classes) or 'another stack'}"
        )
    return yaml.safe_dump(helm_values(class_settings), sort_keys=False, width=120)


def class_profiles(stack: str, runner_class: str) -> str:
    """The AWS config of a class's jobs.

    Raises:
        WrongUseError: the stack has no such class.
    """
    return profiles.class_profiles(_settings_with(stack, runner_class).runner_class(runner_class))


def platform_profiles(role: str, source_profile: str | None, token_file: str | None = None) -> str:
    """The AWS config of the platform's own pipeline or operators.

    Args:
        role: `deployer`, `reader` or `foundation`.
        source_profile: a person's profile, whose credentials assume the roles.
        token_file: in a pipeline, the file with the job's GitLab ID token.

    Raises:
        WrongUseError: there is no such role.
    """
    settings = load.of_foundation()
    if role == "foundation":
        return profiles.foundation_profiles(
            settings.organization, settings.accounts, source_profile=source_profile or OPERATOR_PROFILE
        )
    if role not in profiles.PLATFORM_ROLES:
        problem = unknown_key(role, [*profiles.PLATFORM_ROLES, "foundation"])
        raise WrongUseError(f"--platform {role!r} {problem.replace('is not a setting', 'is not a role')}")
    return profiles.platform_profiles(
        settings.organization, settings.accounts, role=role, source_profile=source_profile, token_file=token_file
    )


def _settings_with(stack: str, runner_class: str) -> Settings:
    settings = stacks.settings_of(stack)
    if runner_class not in settings.runners:
        raise WrongUseError(
            f"{runner_class!r} is not a class of stack {stack}; its classes: {', '.join(settings.runners)}"
        )
    return settings
