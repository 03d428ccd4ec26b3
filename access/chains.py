"""Chains: the best sequence of steps from a start to every node that it reaches.

A step is certain or undecided. A certain chain is better than an undecided one, a short chain better than a long one. The search visits each
node once, so it ends in spite of cycles. The nodes and steps themselves: `graph`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, NamedTuple, Protocol

from access.decision import Truth, Undecided

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet


GROUP = "group"
"""Kind of a node for a group of sessions with the same next steps; a chain does not count it as a step."""


class Node(NamedTuple):
    """What a caller can be."""

    kind: str
    """`role`, `escalated`, `unbounded`, `account`, `new`, `token`, `class`, `sa`, `pods` or `group`."""
    name: str
    """Of a session: the ARN of its role and, after a space, the limit of the session. Of other kinds: a name that is unique in the graph."""

    @property
    def identity(self) -> str:
        """ARN of the session's role, without the limit; of kind `account` and `new` the account's id."""
        return self.name.partition(" ")[0]


class Step(NamedTuple):
    """A step from one node to another."""

    to: Node
    truth: Truth
    """Whether the step is possible."""
    needs: Node | None = None
    """Another node that must be reached: permissions that a caller adds to a role help only if it can become the role."""


class Reached:
    """Nodes to which another step cannot lead a better chain. They only grow during a search."""

    def __init__(self) -> None:
        self._certain: set[Node] = set()
        self._any: set[Node] = set()
        self._remaining: dict[int, tuple[AbstractSet[Node], AbstractSet[Node]]] = {}
        self.uncertain = False
        """Whether the current chain is undecided: then every chain that was found before is at least as good."""

    def add(self, node: Node, *, uncertain: bool) -> None:
        """Record a chain to a node, also a chain that waits for another node."""
        self._any.add(node)
        if not uncertain:
            self._certain.add(node)

    def unreached(self, nodes: AbstractSet[Node]) -> AbstractSet[Node]:
        """Return the nodes that are not reached yet; remembers the result, because callers pass the same large sets many times."""
        _, remaining = self._remaining.get(id(nodes), (nodes, nodes))
        remaining = remaining - (self._any if self.uncertain else self._certain)
        self._remaining[id(nodes)] = nodes, remaining
        return remaining


class Steps(Protocol):
    """The steps of a graph."""

    def __call__(self, node: Node, reached: Reached) -> Iterable[Step]:
        """Yield the steps from a node, at least those to nodes that are not reached yet."""


@dataclass(frozen=True)
class Chain:
    """The nodes from a start to a node."""

    nodes: tuple[Node, ...]
    """Start first."""
    undecided: Undecided | None = None
    """Reason of the first undecided step; None if all steps are certain."""

    @property
    def rank(self) -> tuple[bool, int]:
        """Less is better: certain before undecided, short before long."""
        return self.undecided is not None, sum(node.kind != GROUP for node in self.nodes)


@dataclass
class _Search:
    steps: Steps
    chains: dict[Node, Chain] = field(default_factory=dict)
    queued: tuple[set[Node], set[Node]] = field(default_factory=lambda: (set(), set()))
    """Nodes that a certain chain leads to, and nodes that any chain leads to."""
    reached: Reached = field(default_factory=Reached)
    heap: list[tuple[tuple[bool, int], int, Node, Chain]] = field(default_factory=list)
    waiting: dict[Node, list[tuple[Node, Chain]]] = field(default_factory=dict)
    """Chains that need a node which is not reached yet, by that node."""
    order: count[int] = field(default_factory=count)

    def push(self, node: Node, chain: Chain) -> None:
        uncertain = chain.undecided is not None
        if node in self.queued[uncertain]:
            return
        self.queued[True].add(node)
        if not uncertain:
            self.queued[False].add(node)
        self.reached.add(node, uncertain=uncertain)
        heapq.heappush(self.heap, (chain.rank, next(self.order), node, chain))

    def run(self) -> None:
        while self.heap:
            _, _, node, chain = heapq.heappop(self.heap)
            if node in self.chains:
                continue
            self.chains[node] = chain
            self.reached.uncertain = chain.undecided is not None
            for target, waiting_chain in self.waiting.pop(node, ()):
                self.push(target, _joined(waiting_chain, chain, target))
            for step in self.steps(node, self.reached):
                self.follow(step, chain)

    def follow(self, step: Step, chain: Chain) -> None:
        if step.truth is False:
            return
        undecided = step.truth if chain.undecided is None and isinstance(step.truth, Undecided) else chain.undecided
        following = Chain((*chain.nodes, step.to), undecided)
        if step.needs is None:
            self.push(step.to, following)
        elif step.needs in self.chains:
            self.push(step.to, _joined(following, self.chains[step.needs], step.to))
        else:
            # Every other caller that could take this step waits for the same node, and reaches it no sooner.
            self.waiting.setdefault(step.needs, []).append((step.to, following))
            self.reached.add(step.to, uncertain=undecided is not None)


def _joined(chain: Chain, needed: Chain, to: Node) -> Chain:
    nodes = chain.nodes if chain.nodes[-1] == to else (*chain.nodes, to)
    return Chain(nodes, chain.undecided if chain.undecided is not None else needed.undecided)


def best_chains(starts: Mapping[Node, Truth], steps: Steps) -> dict[Node, Chain]:
    """Return the best chain to every node that can be reached.

    Args:
        starts: nodes that the caller is, certainly or perhaps.
        steps: the steps of the graph.
    """
    search = _Search(steps)
    for node, truth in starts.items():
        if truth is not False:
            search.push(node, Chain((node,), truth if isinstance(truth, Undecided) else None))
    search.run()
    return search.chains
