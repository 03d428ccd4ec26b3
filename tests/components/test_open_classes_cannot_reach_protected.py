"""Integrity: a protected class never reads what an open class of any stack can write.

Both sides come from registered resources: the images, state and cache that each role may write, and the images, services, state and
cache that each class may read.
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
    """A prefix that a class writes to or reads from."""

    level: Level
    runner_class: str
    prefix: str


def statements(stack: str, role_name: str) -> list[dict[str, Any]]:
    """Return the statements of all inline policies of roles with this name, in all accounts."""
    run = mock_run(stack)
    logical = {resource.name for resource in run.of_type("aws:iam/role:Role") if resource.inputs["name"] == role_name}
    parents = {resource.parent for resource in run.of_type("aws:iam/role:Role") if resource.name in logical}
    role_statements = []
    for resource in run.of_type("aws:iam/rolePolicy:RolePolicy"):
        if resource.parent in parents and resource.inputs["role"] == role_name:
            role_statements += json.loads(resource.inputs["policy"])["Statement"]
    return role_statements


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def resource_prefixes(stack: str, role_name: str, actions: set[str]) -> set[str]:
    """Return prefixes of the repositories and object keys on which a role may use one of the actions."""
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
    """Return the places that classes of all stacks can write, by delegated role or by manager role."""
    places = []
    for stack in STACKS:
        settings = load.of_stack(stack)
        for name, runner in settings.runners.items():
            roles = [settings.names.manager_role(name)]
            if settings.accounts_of(name):
                roles.append(settings.names.delegated_role(runner.level))
            for role in roles:
                places += [
                    Place(runner.level, f"{stack}/{name}", prefix) for prefix in resource_prefixes(stack, role, WRITES)
                ]
    return places


@cache
def consumed() -> list[Place]:
    """Return the places that classes read: allowed images, state, cache."""
    places = []
    for stack in STACKS:
        settings = load.of_stack(stack)
        for name, runner in settings.runners.items():
            runner_class = f"{stack}/{name}"
            release = mock_run(stack).get("kubernetes:helm.sh/v3:Release", f"{name}-runner-release")
            section = tomllib.loads(release.inputs["values"]["runners"]["config"])["runners"][0]
            images = {
                *section["kubernetes"].get("allowed_images", ["**"]),
                *section["kubernetes"].get("allowed_services", ["**"]),
            }
            places += [Place(runner.level, runner_class, image_place(image)) for image in images]
            role = settings.names.delegated_role(runner.level)
            if settings.accounts_of(name):
                places += [
                    Place(runner.level, runner_class, prefix)
                    for prefix in resource_prefixes(stack, role, {"s3:GetObject"})
                ]
            bucket = section["cache"]["s3"]["BucketName"]
            places.append(Place(runner.level, runner_class, f"s3::{bucket}/{section['cache']['Path']}/"))
    return places


def image_place(pattern: str) -> str:
    host, _, repository = pattern.partition("/")
    return f"ecr:{host.split('.')[0]}:{repository.partition('*')[0]}" if "." in host else "ecr:"


def overlap(first: str, second: str) -> bool:
    return first.startswith(second) or second.startswith(first)


def test_images_state_and_cache_of_both_levels_are_collected() -> None:
    for level in Level:
        assert {place.prefix[:3] for place in writes() if place.level is level} == {"ecr", "s3:"}, level
    assert {place.runner_class for place in consumed()} == {
        f"{stack}/{name}" for stack in STACKS for name in load.of_stack(stack).runners
    }


def test_no_open_class_can_write_what_a_protected_class_reads() -> None:
    open_writes = [place for place in writes() if place.level is Level.OPEN]
    for consumer in (place for place in consumed() if place.level is Level.PROTECTED):
        writers = [place for place in open_writes if overlap(place.prefix, consumer.prefix)]
        assert not writers, f"an open job could control {consumer.runner_class}, which reads {consumer.prefix}"


def test_no_class_reads_the_cache_of_another() -> None:
    caches = [place for place in consumed() if place.prefix.startswith("s3::") and "-cache-" in place.prefix]
    for place in caches:
        assert [reader.runner_class for reader in caches if overlap(place.prefix, reader.prefix)] == [
            place.runner_class
        ]


def test_an_open_class_that_pushes_an_image_of_a_protected_class_is_recognised() -> None:
    protected = next(
        place for place in consumed() if place.prefix.startswith("ecr:") and place.level is Level.PROTECTED
    )
    assert overlap(f"{protected.prefix}apps/", protected.prefix), "the overlap is what the other test asserts against"
    anything = Place(Level.PROTECTED, "x", image_place("**"))
    assert all(overlap(place.prefix, anything.prefix) for place in writes() if place.prefix.startswith("ecr:"))
