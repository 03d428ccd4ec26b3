"""Rules between stack files: all stacks share the same accounts and GitLab groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.capabilities import WITHOUT_LEVEL_PREFIX, Level
from config.errors import Problem

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


def runner_tags(stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Check that no two stacks of one GitLab instance use the same tag: a job would run on either."""
    owners: dict[tuple[str, str], str] = {}
    for stack, settings in stacks.items():
        for name in settings.runners:
            tag = settings.runner_tag(name)
            owner = owners.setdefault((settings.gitlab.url, tag), f"{stack}: runners.{name}")
            if owner != f"{stack}: runners.{name}":
                yield Problem(
                    path=f"{stack}: runners.{name}.tag",
                    message=f"{tag!r} is also the tag of {owner}, so that a job would run on either; choose another tag",
                )


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
