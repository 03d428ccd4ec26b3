"""Integrity: what a class can write and another class takes in. An open job that writes what a protected one reads speaks through it.

Owns the edges "can write, is consumed by" for images, state and cache. A class writes with every role that it reaches, and its cache through
its manager's signed addresses. Leaves out who becomes which role (`world`), and keys, which only narrow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.answers import Answer, Undecided, answer, some
from access.documents import without_variables
from access.graph import Node
from access.judgement import may, places
from access.world import ROLE_KINDS
from config.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.answers import Truth
    from access.facts import ClassFacts
    from access.graph import Way
    from access.runner_config import Kubernetes
    from access.world import World

IMAGE, STATE, CACHE = "image", "state", "cache"
WRITES = {
    IMAGE: ("ecr:PutImage", "ecr:SetRepositoryPolicy"),
    STATE: ("s3:PutObject", "s3:DeleteObject", "s3:ReplicateObject"),
    CACHE: ("s3:PutObject", "s3:ReplicateObject"),
}
"""Actions that change what somebody else takes in, or give the right to."""
ECR_HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(.+)", re.ASCII)


class Taken(NamedTuple):
    """Something that a class takes in."""

    what: str
    pattern: str
    """Pattern of ARNs."""


@dataclass(frozen=True)
class Flow:
    """A way from what one class writes into another class."""

    writer: str
    """`job:<stack>/<class>`."""
    consumer: str
    what: str
    """`image`, `state` or `cache`."""
    place: str
    """Pattern of the ARNs that the consumer takes in and the writer can write some of."""
    answer: Answer
    """ALLOWED, or UNDECIDED where that could not be told."""
    chain: tuple[str, ...] = ()
    """Roles, from the writer's first to the one that writes; empty for a cache that both share."""
    reason: str = ""


def flows(world: World) -> list[Flow]:
    """All flows from an open class into a protected one; there should be none."""
    facts = world.facts.classes
    ways = {each: world.reach({_start(each): True}) for each in facts}
    consumed = {each: list(_taken(world, each, ways[each])) for each in facts if each.level is Level.PROTECTED}
    found: dict[Flow, None] = {}
    for writer in (each for each in facts if each.level is Level.OPEN):
        for consumer, its in consumed.items():
            for taken in its:
                found |= dict.fromkeys(_into(world, writer, ways[writer], consumer, taken))
    return list(found)


def _start(facts: ClassFacts) -> Node:
    return Node("class", f"{facts.stack}/{facts.name}")


def _name(facts: ClassFacts) -> str:
    return f"job:{facts.stack}/{facts.name}"


def _into(
    world: World, writer: ClassFacts, ways: dict[Node, Way], consumer: ClassFacts, taken: Taken
) -> Iterator[Flow]:
    names = (_name(writer), _name(consumer), *taken)
    if taken.what == CACHE:
        for runner in _runners(world, writer):
            own = _objects(world, runner.cache)
            if runner.cache and _overlap(own, taken.pattern):
                yield Flow(*names, Answer.ALLOWED)
    for node, way in ways.items():
        if node.kind in ROLE_KINDS:
            truth = _may_write(world, node, taken)
            if truth is not False:
                chain = tuple(dict.fromkeys(each.name for each in way.nodes if each.kind in ROLE_KINDS))
                undecided = truth if isinstance(truth, Undecided) else way.undecided
                found = answer(truth if undecided is None else undecided)
                yield Flow(*names, found, chain, undecided.reason if undecided is not None else "")


def _may_write(world: World, node: Node, taken: Taken) -> Truth:
    caller, rights = world.caller(node), world.rights(node)

    def each_place() -> Iterator[Truth]:
        for action in WRITES[taken.what]:
            shown = places(rights, action, taken.pattern)
            if isinstance(shown, Undecided):
                yield shown
            else:
                yield from (may(caller, rights, action, arn) for arn in shown)

    return some(each_place())


def _taken(world: World, facts: ClassFacts, ways: dict[Node, Way]) -> Iterator[Taken]:
    """What a class takes in: images that it may run, state that it may read, its cache."""
    for runner in _runners(world, facts):
        yield from (Taken(IMAGE, each) for each in _images(world, runner))
        if runner.cache:
            yield Taken(CACHE, _objects(world, runner.cache))
    for node in ways:
        if node.kind in ROLE_KINDS:
            yield from (Taken(STATE, each) for each in _read(world, node))


def _runners(world: World, facts: ClassFacts) -> tuple[Kubernetes, ...]:
    cluster = world.clusters.get(facts.stack)
    config = cluster.releases.get(facts.manager_namespace) if cluster else None
    return config.runners if config else ()


def _images(world: World, runner: Kubernetes) -> list[str]:
    anything = f"arn:{world.facts.partition}:ecr:*:*:repository/*"
    if not runner.images:
        return [anything]
    found = []
    for image in (*runner.images, *runner.default_images):
        host = image.partition("/")[0]
        named = ECR_HOST.fullmatch(image.replace("**", "*"))
        if named:
            repository = re.split(r"[:@]", named[3])[0]
            found.append(f"arn:{world.facts.partition}:ecr:{named[2]}:{named[1]}:repository/{repository}")
        elif globs.is_pattern(host):
            found.append(anything)
    return list(dict.fromkeys(found))


def _objects(world: World, prefix: str) -> str:
    return f"arn:{world.facts.partition}:s3:::{prefix}*"


def _read(world: World, node: Node) -> list[str]:
    rights = world.rights(node)
    return sorted(
        {
            without_variables(pattern)
            for statement in rights.statements(limits=False)
            if statement.effect == "Allow" and statement.covers_action("s3:GetObject") is not False
            for pattern in statement.resources
            if isinstance(pattern, str) and _is_object(pattern) and _allowed_somewhere(world, node, pattern)
        }
    )


def _is_object(pattern: str) -> bool:
    """Whether a pattern can mean an object in a bucket."""
    return pattern == "*" or pattern.split(":")[2:3] in (["s3"], ["*"])


def _allowed_somewhere(world: World, node: Node, pattern: str) -> bool:
    caller, rights = world.caller(node), world.rights(node)
    shown = places(rights, "s3:GetObject", without_variables(pattern))
    return isinstance(shown, Undecided) or any(may(caller, rights, "s3:GetObject", arn) is not False for arn in shown)


def _overlap(one: str, other: str) -> bool:
    return any(globs.matches(one, text) for text in globs.witnesses([one], other) or ())
