"""Integrity: what a class can write and another class takes in. An open job that writes what a protected one reads speaks through it.

Owns the edges "can write, is consumed by" for images, state and cache. A class writes with every role that it reaches, and its cache through
its manager's signed addresses. Leaves out who becomes which role (`world`), and keys, which only narrow.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.chains import Node
from access.decision import Decision, Undecided, decision_of, every, some
from access.evaluation import may, places
from access.graph import ROLE_KINDS
from access.policy_documents import without_variables
from config.capabilities import Level

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.chains import Chain
    from access.clusters import RunnerConfig, RunnerEntry
    from access.decision import Truth
    from access.graph import AccessGraph
    from access.inventory import InventoryClass

IMAGE, STATE, CACHE = "image", "state", "cache"
WRITES = {
    IMAGE: ("ecr:PutImage", "ecr:SetRepositoryPolicy"),
    STATE: ("s3:PutObject", "s3:DeleteObject", "s3:ReplicateObject"),
    CACHE: ("s3:PutObject", "s3:ReplicateObject"),
}
"""Actions that change what somebody else takes in, or give the right to."""
ECR_HOST = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(.+)", re.ASCII)


class Consumed(NamedTuple):
    """Something that a class takes in."""

    kind: str
    pattern: str
    """Pattern of ARNs."""


@dataclass(frozen=True)
class Flow:
    """A way from what one class writes into another class."""

    writer: str
    """`job:<stack>/<class>`."""
    consumer: str
    kind: str
    """`image`, `state` or `cache`."""
    pattern: str
    """Pattern of the ARNs that the consumer takes in and the writer can write some of."""
    decision: Decision
    """ALLOWED, or UNDECIDED where that could not be told."""
    chain: tuple[str, ...] = ()
    """Roles, from the writer's first to the one that writes; empty for a cache that both share."""
    reason: str = ""


def flows(world: AccessGraph) -> list[Flow]:
    """All flows from an open class into a protected one; there should be none."""
    facts = world.facts.classes
    ways = {each: world.reach({_start(each): True}) for each in facts}
    consumed = {each: _all_taken(world, each, ways[each]) for each in facts if each.level is Level.PROTECTED}
    found: dict[Flow, None] = {}
    for writer in (each for each in facts if each.level is Level.OPEN):
        for consumer, its in consumed.items():
            for taken, truth in its.items():
                found |= dict.fromkeys(_into(world, writer, ways[writer], consumer, taken, truth))
    return list(found)


def _start(facts: InventoryClass) -> Node:
    return Node("class", f"{facts.stack}/{facts.name}")


def _name(facts: InventoryClass) -> str:
    return f"job:{facts.stack}/{facts.name}"


def _into(
    world: AccessGraph,
    writer: InventoryClass,
    ways: dict[Node, Chain],
    consumer: InventoryClass,
    taken: Consumed,
    truth: Truth,
) -> Iterator[Flow]:
    """Flows into something that a consumer takes in, as far as that is true of the consumer."""
    names = (_name(writer), _name(consumer), *taken)

    def flow(written: Truth, chain: tuple[str, ...] = ()) -> Iterator[Flow]:
        both = every((written, truth))
        if both is not False:
            yield Flow(*names, decision_of(both), chain, both.reason if isinstance(both, Undecided) else "")

    if taken.kind == CACHE:
        if (config := _config(world, writer)) and config.undecided is not None:
            yield from flow(config.undecided)
        for runner in _runners(world, writer):
            yield from flow(bool(runner.cache) and _overlap(_objects(world, runner.cache), taken.pattern))
    for node, way in _sessions(world, ways):
        chain = tuple(dict.fromkeys(each.whose for each in way.nodes if each.kind in ROLE_KINDS))
        yield from flow(every((_may_write(world, node, taken), _way(way))), chain)


def _sessions(world: AccessGraph, ways: dict[Node, Chain]) -> Iterator[tuple[Node, Chain]]:
    """Sessions of roles that can be reached; of those that no document tells apart the one with the best way."""
    found: dict[Node, tuple[Node, Chain]] = {}
    for node, way in ways.items():
        if node.kind in ROLE_KINDS:
            found.setdefault(world.alike(node) or node, (node, way))
    return iter(found.values())


def _way(way: Chain) -> Truth:
    return True if way.undecided is None else way.undecided


def _may_write(world: AccessGraph, node: Node, taken: Consumed) -> Truth:
    caller, rights = world.caller(node), world.rights(node)

    def each_place() -> Iterator[Truth]:
        for action in WRITES[taken.kind]:
            shown = places(rights, action, taken.pattern)
            if isinstance(shown, Undecided):
                yield shown
            else:
                yield from (may(caller, rights, action, arn) for arn in shown)

    return some(each_place())


def _all_taken(world: AccessGraph, facts: InventoryClass, ways: dict[Node, Chain]) -> dict[Consumed, Truth]:
    """What a class takes in; certain where one way to it is."""
    found: defaultdict[Consumed, list[Truth]] = defaultdict(list)
    for taken, truth in _taken(world, facts, ways):
        found[taken].append(truth)
    return {taken: some(truths) for taken, truths in found.items()}


def _taken(world: AccessGraph, facts: InventoryClass, ways: dict[Node, Chain]) -> Iterator[tuple[Consumed, Truth]]:
    """Images that a class may run, state that it may read, its cache; whatever there is where that cannot be read."""
    if (config := _config(world, facts)) and config.undecided is not None:
        yield Consumed(IMAGE, _any_image(world)), config.undecided
        yield Consumed(CACHE, _objects(world, "")), config.undecided
    for runner in _runners(world, facts):
        yield from ((Consumed(IMAGE, each), True) for each in _images(world, runner))
        if runner.cache:
            yield Consumed(CACHE, _objects(world, runner.cache)), True
    for node, way in _sessions(world, ways):
        for pattern, truth in _read(world, node).items():
            yield Consumed(STATE, pattern), every((truth, _way(way)))


def _config(world: AccessGraph, facts: InventoryClass) -> RunnerConfig | None:
    cluster = world.clusters.get(facts.stack)
    return cluster.releases.get(facts.manager_namespace) if cluster else None


def _runners(world: AccessGraph, facts: InventoryClass) -> tuple[RunnerEntry, ...]:
    config = _config(world, facts)
    return config.runners if config else ()


def _any_image(world: AccessGraph) -> str:
    return f"arn:{world.facts.partition}:ecr:*:*:repository/*"


def _images(world: AccessGraph, runner: RunnerEntry) -> list[str]:
    if not runner.images:
        return [_any_image(world)]
    found = []
    for image in (*runner.images, *runner.default_images):
        host = image.partition("/")[0]
        named = ECR_HOST.fullmatch(image.replace("**", "*"))
        if named:
            repository = re.split(r"[:@]", named[3])[0]
            found.append(f"arn:{world.facts.partition}:ecr:{named[2]}:{named[1]}:repository/{repository}")
        elif globs.is_pattern(host):
            found.append(_any_image(world))
    return list(dict.fromkeys(found))


def _objects(world: AccessGraph, prefix: str) -> str:
    return f"arn:{world.facts.partition}:s3:::{prefix}*"


def _read(world: AccessGraph, node: Node) -> dict[str, Truth]:
    """Patterns of objects that a role's own policies speak of, and whether it may read one of them."""
    anything = _objects(world, "")
    found = {anything for each in world.rights(node).policies if isinstance(each, Undecided)}
    for statement in world.rights(node).statements(limits=False):
        if statement.effect == "Allow" and statement.covers_action("s3:GetObject") is not False:
            patterns = [each if isinstance(each, str) else anything for each in statement.resources] or [anything]
            found |= {without_variables(each) for each in patterns if _is_object(each)}
    return {each: _may_read(world, node, each) for each in sorted(found)}


def _is_object(pattern: str) -> bool:
    """Whether a pattern can mean an object in a bucket."""
    return pattern == "*" or pattern.split(":")[2:3] in (["s3"], ["*"])


def _may_read(world: AccessGraph, node: Node, pattern: str) -> Truth:
    caller, rights = world.caller(node), world.rights(node)
    shown = places(rights, "s3:GetObject", pattern)
    return shown if isinstance(shown, Undecided) else some(may(caller, rights, "s3:GetObject", arn) for arn in shown)


def _overlap(one: str, other: str) -> bool:
    return any(globs.matches(one, text) for text in globs.witnesses([one], other) or ())
