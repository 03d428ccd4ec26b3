"""What the stack files must agree on with each other: stacks stand side by side in the same accounts and GitLab groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from config.capabilities import WITHOUT_LEVEL_PREFIX, Level
from config.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from config.foundation import FoundationSettings
    from config.settings import Settings


def account_ids(foundation: FoundationSettings, stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Every account of a stack is one of the foundation's, under the same name and id."""
    expected = {name: account.id for name, account in foundation.accounts.items()}
    for stack, settings in stacks.items():
        for name, account in settings.accounts.items():
            if expected.get(name) != account.id:
                known = expected.get(name, "no such account")
                yield Problem(
                    path=f"{stack}: accounts.{name}.id",
                    message=f"{account.id} is not what foundation/Pulumi.foundation.yaml says ({known}); make them agree",
                )


def organizations(foundation: FoundationSettings, stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """Every stack is of the foundation's organisation: its documents let in whoever is of the organisation that it names."""
    for stack, settings in stacks.items():
        for key in ("id", "partition"):
            found, known = getattr(settings.organization, key), getattr(foundation.organization, key)
            if found != known:
                yield Problem(
                    path=f"{stack}: organization.{key}",
                    message=f"{found!r} is not what foundation/Pulumi.foundation.yaml says ({known!r}); make them agree",
                )


def runner_tags(stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """No two stacks of one GitLab instance use the same tag: a job would run on either."""
    seen: dict[tuple[str, str], str] = {}
    for stack, settings in stacks.items():
        for name, runner in settings.runners.items():
            tag = (settings.gitlab.url, runner.tag or settings.names.tag(name))
            if tag in seen:
                yield Problem(
                    path=f"{stack}: runners.{name}.tag",
                    message=f"{tag[1]!r} is also the tag of {seen[tag]}; a job would run on either: choose another",
                )
            seen.setdefault(tag, f"{stack}: runners.{name}")


def levels(stacks: Mapping[str, Settings]) -> Iterator[Problem]:
    """No stack gives one level what another stack gives the other, where neither level has a part of its own."""
    seen: dict[tuple[str, str], tuple[str, Level]] = {}
    for stack, settings in stacks.items():
        for name, account in settings.accounts.items():
            for level in Level:
                for capability in sorted(WITHOUT_LEVEL_PREFIX.intersection(account.capabilities(level))):
                    other, theirs = seen.setdefault((account.id, capability), (stack, level))
                    if theirs is not level:
                        yield Problem(
                            path=f"{stack}: accounts.{name}.{level.value}",
                            message=f"lists {capability.value!r}, which stack {other} gives to the level {theirs.value} of the same account: an open job "
                            "could change or use what a protected one made there; give it to one level, and the other an account of its own",
                        )
