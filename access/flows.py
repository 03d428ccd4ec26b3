"""Flows: what one class can write and another class consumes.

If an open class can write what a protected class reads, it controls the protected job. Flows go through images, state and caches. A class
writes with every role that it reaches, and its cache also through its manager's signed URLs. Which class reaches which role: `graph`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.chains import Node
from access.decision import Decision, Undecided, decision_of, every, some
from access.evaluation import is_allowed, witness_resources
from access.graph import ROLE_KINDS
from access.policy_documents import without_variables
from config.capabilities import Level
from config.partitions import PARTITIONS, partition_domain

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
"""Actions that change what another class consumes, or give the right to change it."""
_DOMAINS = "|".join(re.escape(partition_domain(partition)) for partition in PARTITIONS)
ECR_HOST = re.compile(rf"(\d{{12}})\.dkr\.ecr\.([a-z0-9-]+)\.(?:{_DOMAINS})/(.+)", re.ASCII)


class Consumed(NamedTuple):
    """Images or objects that a class consumes."""

    kind: str
    pattern: str
    """Pattern of ARNs."""


@dataclass(frozen=True)
class Flow:
    """Images or objects that one class can write and another class consumes."""

    writer: str
    """`job:<stack>/<class>`."""
    consumer: str
    kind: str
    """`image`, `state` or `cache`."""
    pattern: str
    """Pattern of the ARNs that the consumer consumes; the writer can write some of them."""
    decision: Decision
    """ALLOWED, or UNDECIDED."""
    chain: tuple[str, ...] = ()
    """Roles, from the writer's first to the one that writes; empty for a shared cache."""
    reason: str = ""


def flows(graph: AccessGraph) -> list[Flow]:
    """Return all flows from an open class into a protected one; there should be none."""
    classes = graph.inventory.classes
    chains = {entry: graph.reach({_start(entry): True}) for entry in classes}
    consumed = {
        entry: _all_consumed(graph, entry, chains[entry]) for entry in classes if entry.level is Level.PROTECTED
    }
    result: dict[Flow, None] = {}
    for writer in (entry for entry in classes if entry.level is Level.OPEN):
        for consumer, consumed_by_class in consumed.items():
            for target, truth in consumed_by_class.items():
                result |= dict.fromkeys(_into(graph, writer, chains[writer], consumer, target, truth))
    return list(result)


def _start(entry: InventoryClass) -> Node:
    return Node("class", f"{entry.stack}/{entry.name}")


def _name(entry: InventoryClass) -> str:
    return f"job:{entry.stack}/{entry.name}"


def _into(
    graph: AccessGraph,
    writer: InventoryClass,
    chains: dict[Node, Chain],
    consumer: InventoryClass,
    target: Consumed,
    consumes: Truth,
) -> Iterator[Flow]:
    """Yield the flows from a writer into something that a consumer certainly or perhaps consumes."""

    def flow(writes: Truth, roles: tuple[str, ...] = ()) -> Iterator[Flow]:
        truth = every((writes, consumes))
        if truth is not False:
            reason = truth.reason if isinstance(truth, Undecided) else ""
            yield Flow(_name(writer), _name(consumer), *target, decision_of(truth), roles, reason)

    if target.kind == CACHE:
        if (config := _config(graph, writer)) and config.undecided is not None:
            yield from flow(config.undecided)
        for runner in _runners(graph, writer):
            yield from flow(bool(runner.cache) and _overlap(_objects(graph, runner.cache), target.pattern))
    for node, chain in _sessions(graph, chains):
        roles = tuple(dict.fromkeys(step.identity for step in chain.nodes if step.kind in ROLE_KINDS))
        yield from flow(every((_may_write(graph, node, target), _truth_of(chain))), roles)


def _sessions(graph: AccessGraph, chains: dict[Node, Chain]) -> Iterator[tuple[Node, Chain]]:
    """Yield the reached sessions with their chains; of sessions that every trust treats alike only the best chain."""
    best: dict[Node, tuple[Node, Chain]] = {}
    for node, chain in chains.items():
        if node.kind in ROLE_KINDS:
            best.setdefault(graph.group_of(node) or node, (node, chain))
    return iter(best.values())


def _truth_of(chain: Chain) -> Truth:
    return True if chain.undecided is None else chain.undecided


def _may_write(graph: AccessGraph, node: Node, target: Consumed) -> Truth:
    caller, permissions = graph.caller(node), graph.permissions(node)

    def by_action() -> Iterator[Truth]:
        for action in WRITES[target.kind]:
            arns = witness_resources(permissions, action, target.pattern)
            if isinstance(arns, Undecided):
                yield arns
            else:
                yield from (is_allowed(caller, permissions, action, arn) for arn in arns)

    return some(by_action())


def _all_consumed(graph: AccessGraph, entry: InventoryClass, chains: dict[Node, Chain]) -> dict[Consumed, Truth]:
    """Return what a class consumes; true if it is certain in one way."""
    truths: defaultdict[Consumed, list[Truth]] = defaultdict(list)
    for target, truth in _consumed(graph, entry, chains):
        truths[target].append(truth)
    return {target: some(target_truths) for target, target_truths in truths.items()}


def _consumed(graph: AccessGraph, entry: InventoryClass, chains: dict[Node, Chain]) -> Iterator[tuple[Consumed, Truth]]:
    """Yield the images, state and cache of a class; every image and cache if the configuration cannot be read."""
    if (config := _config(graph, entry)) and config.undecided is not None:
        yield Consumed(IMAGE, _any_image(graph)), config.undecided
        yield Consumed(CACHE, _objects(graph, "")), config.undecided
    for runner in _runners(graph, entry):
        yield from ((Consumed(IMAGE, pattern), True) for pattern in _images(graph, runner))
        if runner.cache:
            yield Consumed(CACHE, _objects(graph, runner.cache)), True
    for node, chain in _sessions(graph, chains):
        for pattern, truth in _readable(graph, node).items():
            yield Consumed(STATE, pattern), every((truth, _truth_of(chain)))


def _config(graph: AccessGraph, entry: InventoryClass) -> RunnerConfig | None:
    cluster = graph.clusters.get(entry.stack)
    release = cluster.releases.get(entry.manager_namespace) if cluster else None
    return release or graph.machines.config(entry)


def _runners(graph: AccessGraph, entry: InventoryClass) -> tuple[RunnerEntry, ...]:
    config = _config(graph, entry)
    return config.runners if config else ()


def _any_image(graph: AccessGraph) -> str:
    return f"arn:{graph.inventory.partition}:ecr:*:*:repository/*"


def _images(graph: AccessGraph, runner: RunnerEntry) -> list[str]:
    """Return patterns of the ECR repositories whose images a runner's jobs may run."""
    if not runner.images:
        return [_any_image(graph)]
    patterns = []
    for image in (*runner.images, *runner.default_images):
        host = image.partition("/")[0]
        ecr = ECR_HOST.fullmatch(image.replace("**", "*"))
        if ecr:
            repository = re.split(r"[:@]", ecr[3])[0]
            patterns.append(f"arn:{graph.inventory.partition}:ecr:{ecr[2]}:{ecr[1]}:repository/{repository}")
        elif globs.is_pattern(host):
            patterns.append(_any_image(graph))
    return list(dict.fromkeys(patterns))


def _objects(graph: AccessGraph, prefix: str) -> str:
    return f"arn:{graph.inventory.partition}:s3:::{prefix}*"


def _readable(graph: AccessGraph, node: Node) -> dict[str, Truth]:
    """Return whether a session may read an object, by the patterns of objects in its role's own policies."""
    permissions = graph.permissions(node)
    anything = _objects(graph, "")
    patterns = {anything for document in permissions.policies if isinstance(document, Undecided)}
    for statement in permissions.statements(limits=False):
        if statement.effect == "Allow" and statement.covers_action("s3:GetObject") is not False:
            resources = [arn if isinstance(arn, str) else anything for arn in statement.resources] or [anything]
            patterns |= {without_variables(arn) for arn in resources if _is_object(arn)}
    return {pattern: _may_read(graph, node, pattern) for pattern in sorted(patterns)}


def _is_object(pattern: str) -> bool:
    """Whether a pattern can match an object in a bucket."""
    return pattern == "*" or pattern.split(":")[2:3] in (["s3"], ["*"])


def _may_read(graph: AccessGraph, node: Node, pattern: str) -> Truth:
    caller, permissions = graph.caller(node), graph.permissions(node)
    arns = witness_resources(permissions, "s3:GetObject", pattern)
    if isinstance(arns, Undecided):
        return arns
    return some(is_allowed(caller, permissions, "s3:GetObject", arn) for arn in arns)


def _overlap(pattern: str, other_pattern: str) -> bool:
    return any(globs.matches(pattern, text) for text in globs.witnesses([pattern], other_pattern) or ())
