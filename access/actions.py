"""Effects of AWS actions: what a permission changes or shows, whatever the action is called.

`actions.json` is generated from AWS's service authorization data: for each effect and service, the names of all actions. It holds the
services that keep the platform's images, state, caches, keys and secrets, and those that decide about access. So a rule asks what a
statement reaches, and needs no list of actions. `python -m tests.access.action_data --write` renews the file.
Source: https://docs.aws.amazon.com/service-authorization/latest/reference/
"""

from __future__ import annotations

import json
from collections import defaultdict
from enum import StrEnum
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from access import globs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from access.policy_documents import Statement

FILE = Path(__file__).with_name("actions.json")


class Effect(StrEnum):
    """What an action does."""

    READ = "read"
    """Shows content: objects, images, messages, secrets, decrypted data."""
    WRITE = "write"
    """Writes content, or encrypts it."""
    DELETE = "delete"
    """Deletes content, of which versions may stay."""
    ERASE = "erase"
    """Deletes versions of content, or lifts their protection."""
    SETTINGS = "settings"
    """Makes, changes or deletes a resource itself."""
    POLICY = "policy"
    """Changes who may do what."""
    TAG = "tag"
    """Changes tags, by which conditions may decide."""
    RUN = "run"
    """Runs code as a role that something has already."""


class Reach(NamedTuple):
    """An effect in a service."""

    service: str
    """Prefix of the actions, such as `s3`."""
    effect: Effect


@cache
def actions() -> Mapping[str, Reach]:
    """Return what each action reaches, by `service:name`."""
    effects = json.loads(FILE.read_text())["effects"]
    return {
        f"{service}:{name}": Reach(service, Effect(effect))
        for effect, services in effects.items()
        for service, names in services.items()
        for name in names
    }


@cache
def actions_with(service: str) -> Mapping[Effect, tuple[str, ...]]:
    """Return the actions of a service by effect."""
    by_effect: defaultdict[Effect, list[str]] = defaultdict(list)
    for action, reach in actions().items():
        if reach.service == service:
            by_effect[reach.effect].append(action)
    return {effect: tuple(names) for effect, names in by_effect.items()}


def reached_by(statement: Statement) -> Mapping[Reach, list[str]]:
    """Return what the actions of a statement reach, with the actions; an unknown action is left out."""
    if statement.not_actions:
        excluded = set(_matching_any(statement.not_actions))
        covered: Iterable[str] = (action for action in actions() if action not in excluded)
    else:
        covered = dict.fromkeys(_matching_any(statement.actions))
    reached: defaultdict[Reach, list[str]] = defaultdict(list)
    for action in covered:
        reached[actions()[action]].append(action)
    return reached


def _matching_any(patterns: Iterable[object]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, str):
            yield from _matching(pattern.lower())


@cache
def _by_lower_name() -> Mapping[str, str]:
    return {action.lower(): action for action in actions()}


@lru_cache(maxsize=4096)
def _matching(pattern: str) -> tuple[str, ...]:
    names = _by_lower_name()
    if not globs.is_pattern(pattern):
        return (names[pattern],) if pattern in names else ()
    return tuple(action for name, action in names.items() if globs.matches(pattern, name))
