"""Rules between stack files: all stacks share the same accounts and GitLab groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.capabilities import WITHOUT_LEVEL_PREFIX, Level
from config.errors import Problem
from config.runner_checks import TagSelection

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.foundation import FoundationSettings
    from config.settings import Settings


def account_ids(foundation: FoundationSettings, stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Check that every account of a stack has the same name and id in the foundation."""
    expected_ids = {name: account.id for name, account in foundation.accounts.items()}
    for stack, settings in stacks.items():
        for name, account in settings.accounts.items():
            expected = expected_ids.get(name, "no such account")
            if expected != account.id:
                yield Problem(
                    path=f"{stack}: accounts.{name}.id",
                    message=f"{account.id} differs from foundation/Pulumi.foundation.yaml ({expected}); correct one of the files",
                )


def organizations(foundation: FoundationSettings, stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Check that every stack names the foundation's organisation; policies admit all members of it."""
    for stack, settings in stacks.items():
        for key in ("id", "partition"):
            value, expected = getattr(settings.organization, key), getattr(foundation.organization, key)
            if value != expected:
                yield Problem(
                    path=f"{stack}: organization.{key}",
                    message=f"{value!r} differs from foundation/Pulumi.foundation.yaml ({expected!r}); correct one of the files",
                )


def boundaries(foundation: FoundationSettings, stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Check that the foundation and the stacks name the same boundary, if they name one."""
    expected = foundation.platform.boundary
    for stack, settings in stacks.items():
        value = settings.platform.boundary
        if None not in {value, expected} and value != expected:
            yield Problem(
                path=f"{stack}: platform.boundary",
                message=f"{value!r} differs from foundation/Pulumi.foundation.yaml ({expected!r}); correct one of the files",
            )


def runner_tags(stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Check that the tags of a job select a class of one stack only, of all stacks of one GitLab instance."""
    earlier: dict[str, list[TagSelection]] = {}
    for stack, settings in stacks.items():
        selections = [
            TagSelection.of(f"{stack}: runners.{name}", runner, settings.names.tag(name))
            for name, runner in settings.runners.items()
        ]
        for selection in selections:
            clash = next(filter(None, map(selection.clash_with, earlier.get(settings.gitlab.url, []))), None)
            if clash is not None:
                yield Problem(path=f"{selection.name}.{selection.key}", message=clash)
        earlier.setdefault(settings.gitlab.url, []).extend(selections)


def levels(stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Check that stacks give a capability without level prefix to the same level."""
    owners: dict[tuple[str, str], tuple[str, Level]] = {}
    for stack, settings in stacks.items():
        for name, account in settings.accounts.items():
            for level in Level:
                for capability in sorted(WITHOUT_LEVEL_PREFIX.intersection(account.capabilities(level))):
                    other_stack, other_level = owners.setdefault((account.id, capability), (stack, level))
                    if other_level is not level:
                        yield Problem(
                            path=f"{stack}: accounts.{name}.{level.value}",
                            message=f"lists {capability.value!r}, which stack {other_stack} gives to level {other_level.value} of the same "
                            "account: an open job could change or use what a protected job made there; "
                            "give it to one level only, and use another account for the other level",
                        )
