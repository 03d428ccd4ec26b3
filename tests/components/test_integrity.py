"""Integrity: what an open class can write, a protected class never consumes; over both stacks, since they share accounts.

Reads the programs as they register: what each role may write (images, state, cache), and what each class takes in (images and services
it may run, state it may read, its cache).
"""

from __future__ import annotations

import json
import tomllib
from functools import cache
from typing import Any, NamedTuple

from config import load
from config.capabilities import Level
from tests.support.program import mock_run

STACKS = ("dev", "prod")
WRITES = {"ecr:PutImage", "s3:PutObject", "s3:DeleteObject"}


class Place(NamedTuple):
    """A prefix that somebody writes to or takes from."""

    level: Level
    who: str
    prefix: str


def statements(stack: str, role_name: str) -> list[dict[str, Any]]:
    """Statements of all inline policies of the roles of a name, in whatever account."""
    run = mock_run(stack)
    logical = {resource.name for resource in run.of_type("aws:iam/role:Role") if resource.inputs["name"] == role_name}
    parents = {resource.parent for resource in run.of_type("aws:iam/role:Role") if resource.name in logical}
    result = []
    for resource in run.of_type("aws:iam/rolePolicy:RolePolicy"):
        if resource.parent in parents and resource.inputs["role"] == role_name:
            result += json.loads(resource.inputs["policy"])["Statement"]
    return result


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def resource_prefixes(stack: str, role_name: str, actions: set[str]) -> set[str]:
    """Repositories and buckets with keys that a role may use with some of these actions, up to the wildcard."""
    prefixes = set()
    for statement in statements(stack, role_name):
        if actions & set(listed(statement["Action"])):
            for arn in listed(statement["Resource"]):
                service, resource = arn.split(":")[2], arn.split(":", 5)[5]
                if service in {"ecr", "s3"}:
                    account = arn.split(":")[4]
                    prefixes.add(f"{service}:{account}:{resource.removeprefix('repository/').partition('*')[0]}")
    return prefixes


@cache
def writes() -> list[Place]:
    """All that any class of any stack can write, by its delegated role or by its manager."""
    places = []
    for stack in STACKS:
        settings = load.of_stack(stack)
        for name, runner in settings.runners.items():
            roles = [settings.names.manager_role(name)]
            if settings.accounts_of(name):
                roles.append(settings.names.delegated_role(runner.level))
            for role in roles:
                places += [Place(runner.level, f"{stack}/{name}", p) for p in resource_prefixes(stack, role, WRITES)]
    return places


@cache
def consumed() -> list[Place]:
    """All that a class takes in: images it may run, state it may read, its cache."""
    places = []
    for stack in STACKS:
        settings = load.of_stack(stack)
        for name, runner in settings.runners.items():
            who = f"{stack}/{name}"
            release = mock_run(stack).get("kubernetes:helm.sh/v3:Release", f"{name}-runner-release")
            section = tomllib.loads(release.inputs["values"]["runners"]["config"])["runners"][0]
            images = {
                *section["kubernetes"].get("allowed_images", ["**"]),
                *section["kubernetes"].get("allowed_services", ["**"]),
            }
            places += [Place(runner.level, who, image_place(image)) for image in images]
            role = settings.names.delegated_role(runner.level)
            if settings.accounts_of(name):
                places += [Place(runner.level, who, p) for p in resource_prefixes(stack, role, {"s3:GetObject"})]
            bucket = section["cache"]["s3"]["BucketName"]
            places.append(Place(runner.level, who, f"s3::{bucket}/{section['cache']['Path']}/"))
    return places


def image_place(pattern: str) -> str:
    host, _, repository = pattern.partition("/")
    return f"ecr:{host.split('.')[0]}:{repository.partition('*')[0]}" if "." in host else "ecr:"


def overlap(first: str, second: str) -> bool:
    return first.startswith(second) or second.startswith(first)


def test_the_walk_sees_images_state_and_cache_of_both_levels() -> None:
    for level in Level:
        assert {place.prefix[:3] for place in writes() if place.level is level} == {"ecr", "s3:"}, level
    assert {place.who for place in consumed()} == {f"{s}/{c}" for s in STACKS for c in load.of_stack(s).runners}


"""In an order of its own, because sets differ from process to process and tests run in several."""


def test_nothing_that_a_protected_class_takes_in_can_be_written_by_an_open_class() -> None:
    open_writes = [place for place in writes() if place.level is Level.OPEN]
    for consumer in (place for place in consumed() if place.level is Level.PROTECTED):
        writers = [place for place in open_writes if overlap(place.prefix, consumer.prefix)]
        assert not writers, f"an open job could speak through {consumer.who}, which takes in {consumer.prefix}"


def test_no_class_reads_the_cache_of_another() -> None:
    caches = [place for place in consumed() if place.prefix.startswith("s3::") and "-cache-" in place.prefix]
    for place in caches:
        assert [other_place.who for other_place in caches if overlap(place.prefix, other_place.prefix)] == [place.who]


def test_the_walk_would_see_an_open_class_that_pushes_what_a_protected_one_runs() -> None:
    protected = next(
        place for place in consumed() if place.prefix.startswith("ecr:") and place.level is Level.PROTECTED
    )
    assert overlap(f"{protected.prefix}apps/", protected.prefix), "else the test above could not fail"
    anything = Place(Level.PROTECTED, "x", image_place("**"))
    assert all(overlap(place.prefix, anything.prefix) for place in writes() if place.prefix.startswith("ecr:"))
