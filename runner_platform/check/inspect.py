"""What can be said about a stack from its files alone: no engine, no cloud, no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from components.documents import checks
from components.documents import profiles as documents
from components.documents.helm_values import helm_values
from config import between_stacks, foundation, load
from config.errors import SettingsError, unknown_key
from runner_platform.errors import WrongUseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.settings import Settings
    from runner_platform.check.mock_run import Registration, Rehearsal

OPERATOR_PROFILE = "management"


def agree(names: Sequence[str]) -> None:
    """Settings of these stacks are valid, and do not contradict each other or the foundation's.

    Raises:
        SettingsError: with every problem of the first stack that has some, or of all of them together.
    """
    stacks = {stack: load.of_stack(stack, *checks.CHECKS) for stack in names if stack != foundation.STACK}
    base = load.of_foundation()
    problems = [*between_stacks.organizations(base, stacks), *between_stacks.account_ids(base, stacks)]
    problems += [*between_stacks.runner_tags(stacks), *between_stacks.levels(stacks)]
    if problems:
        raise SettingsError("The stack files", problems)


def resources(stack: str, *, options: bool = False) -> list[dict[str, Any]]:
    """What a stack's program registers: `{type, name, parent, provider, account, inputs}` each.

    `account` is the account's name, null outside AWS; secrets are `[secret]`, unknowns `[unknown]`. With `options`, `urn` and
    `options: {aliases, protect, retainOnDelete}` too.
    """
    from runner_platform.check.mock_run import rehearse  # noqa: PLC0415  # the SDKs take a second to import

    return listed(rehearse(known(stack)), options=options)


def listed(rehearsal: Rehearsal, *, options: bool = False) -> list[dict[str, Any]]:
    """What a program has registered, as `resources` tells it."""
    accounts = {each.urn: each.name for each in rehearsal.of_type("pulumi:providers:aws")}
    return [
        {
            "type": each.type,
            "name": each.name,
            "parent": each.parent or None,
            "provider": each.provider or None,
            "account": accounts.get(each.provider.rpartition("::")[0]) if each.type.startswith("aws:") else None,
            "inputs": dict(each.inputs),
            **(_options(each) if options else {}),
        }
        for each in rehearsal.registrations
    ]


def _options(registration: Registration) -> dict[str, Any]:
    kept = {"protect": registration.protect, "retainOnDelete": registration.retain_on_delete}
    return {"urn": registration.urn, "options": {"aliases": list(registration.aliases), **kept}}


def values(stack: str, runner_class: str) -> str:
    """A class's Helm values as YAML; no token in it.

    Raises:
        WrongUseError: the stack has no such class.
    """
    settings = _settings_with(stack, runner_class)
    return yaml.safe_dump(helm_values(settings.runner_class(runner_class)), sort_keys=False, width=120)


def class_profiles(stack: str, runner_class: str) -> str:
    """A class's AWS config.

    Raises:
        WrongUseError: the stack has no such class.
    """
    return documents.class_profiles(_settings_with(stack, runner_class).runner_class(runner_class))


def platform_profiles(role: str, source_profile: str | None, token_file: str | None = None) -> str:
    """The AWS config of those who deploy: `deployer`, `reader` or `foundation`.

    Raises:
        WrongUseError: no such role.
    """
    settings = load.of_foundation()
    if role == "foundation":
        return documents.foundation_profiles(
            settings.organization, settings.accounts, source_profile=source_profile or OPERATOR_PROFILE
        )
    if role not in documents.PLATFORM_ROLES:
        raise WrongUseError(
            f"--platform {role!r} {unknown_key(role, [*documents.PLATFORM_ROLES, 'foundation']).replace('is not a setting', 'is not a role')}"
        )
    return documents.platform_profiles(
        settings.organization, settings.accounts, role=role, source_profile=source_profile, token_file=token_file
    )


def known(stack: str) -> str:
    """The stack's name.

    Raises:
        WrongUseError: it has no stack file.
    """
    names = [foundation.STACK, *load.stacks()]
    if stack not in names:
        raise WrongUseError(f"{stack!r} {unknown_key(stack, names).replace('is not a setting', 'is not a stack')}")
    return stack


def settings_of(stack: str) -> Settings:
    """Settings of a stack of the platform.

    Raises:
        WrongUseError: it is none.
        SettingsError: its file cannot be used.
    """
    if stack == foundation.STACK:
        raise WrongUseError("the foundation has no runner classes; name a stack of the platform")
    return load.of_stack(known(stack), *checks.CHECKS)


def _settings_with(stack: str, runner_class: str) -> Settings:
    settings = settings_of(stack)
    if runner_class not in settings.runners:
        raise WrongUseError(
            f"{runner_class!r} is not a class of stack {stack}; its classes: {', '.join(settings.runners)}"
        )
    return settings
