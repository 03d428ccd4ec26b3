"""Ways through a graph whose steps are certain or undecided: for each place the best way, certain before undecided, short before long.

Owns the closure, which ends whatever cycles there are because each place is settled once. Leaves out what places and steps are (`world`).
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


ALIKE = "alike"
"""Kind of a place that stands for several from which the same steps lead on; being there is no step of its own."""


class Node(NamedTuple):
    """A place: somebody that one can be."""

    kind: str
    """`role`, `escalated`, `unbounded`, `account`, `new`, `token`, `class`, `sa`, `pods` or `alike`."""
    name: str
    """ARN of a role, and behind a space what limits this session of it; what names the others within the world."""

    @property
    def whose(self) -> str:
        """ARN of the role that it is a session of, whatever limits the session; id of the account that it is somebody in."""
        return self.name.partition(" ")[0]


class Step(NamedTuple):
    """A step from one place to another."""

    to: Node
    truth: Truth
    """Whether it can be taken."""
    needs: Node | None = None
    """A place that must be reached as well: rights given to a role help only who can become it."""


class Reached:
    """Places to which no further step can lead a better way; of one search, which only ever learns more."""

    def __init__(self) -> None:
        self._certain: set[Node] = set()
        self._any: set[Node] = set()
        self._left: dict[int, tuple[AbstractSet[Node], AbstractSet[Node]]] = {}
        self.uncertain = False
        """Whether the search goes on from places that are uncertain: then any way that is known is as good."""

    def add(self, node: Node, *, uncertain: bool) -> None:
        """Learn that a way is known, or will be as soon as what it needs is there."""
        self._any.add(node)
        if not uncertain:
            self._certain.add(node)

    def beyond(self, places: AbstractSet[Node]) -> AbstractSet[Node]:
        """Those of some places that are not known; the same large set may be asked about again and again."""
        _, left = self._left.get(id(places), (places, places))
        left = left - (self._any if self.uncertain else self._certain)
        self._left[id(places)] = places, left
        return left


class Steps(Protocol):
    """Where one can go from a place."""

    def __call__(self, node: Node, known: Reached) -> Iterable[Step]:
        """Steps from a place, at least those to places that are not known."""


@dataclass(frozen=True)
class Chain:
    """How a place is reached."""

    nodes: tuple[Node, ...]
    """From the start to the place."""
    undecided: Undecided | None = None
    """The first step that is undecided."""

    @property
    def rank(self) -> tuple[bool, int]:
        """Less is better: certain before undecided, short before long."""
        return self.undecided is not None, sum(each.kind != ALIKE for each in self.nodes)


@dataclass
class _Search:
    steps: Steps
    ways: dict[Node, Chain] = field(default_factory=dict)
    queued: tuple[set[Node], set[Node]] = field(default_factory=lambda: (set(), set()))
    """Places that a certain way is known to, and those that any way is known to."""
    known: Reached = field(default_factory=Reached)
    heap: list[tuple[tuple[bool, int], int, Node, Chain]] = field(default_factory=list)
    waiting: dict[Node, list[tuple[Node, Chain]]] = field(default_factory=dict)
    order: count[int] = field(default_factory=count)

    def push(self, node: Node, way: Chain) -> None:
        uncertain = way.undecided is not None
        if node in self.queued[uncertain]:
            return
        self.queued[True].add(node)
        if not uncertain:
            self.queued[False].add(node)
        self.known.add(node, uncertain=uncertain)
        heapq.heappush(self.heap, (way.rank, next(self.order), node, way))

    def run(self) -> None:
        while self.heap:
            _, _, node, way = heapq.heappop(self.heap)
            if node in self.ways:
                continue
            self.ways[node] = way
            self.known.uncertain = way.undecided is not None
            for waiting, its in self.waiting.pop(node, ()):
                self.push(waiting, _both(its, way, waiting))
            for step in self.steps(node, self.known):
                self.follow(step, way)

    def follow(self, step: Step, way: Chain) -> None:
        if step.truth is False:
            return
        undecided = step.truth if way.undecided is None and isinstance(step.truth, Undecided) else way.undecided
        following = Chain((*way.nodes, step.to), undecided)
        if step.needs is None:
            self.push(step.to, following)
        elif step.needs in self.ways:
            self.push(step.to, _both(following, self.ways[step.needs], step.to))
        else:
            # Whoever else could take this step waits for the same, and comes no sooner.
            self.waiting.setdefault(step.needs, []).append((step.to, following))
            self.known.add(step.to, uncertain=undecided is not None)


def _both(one: Chain, other: Chain, to: Node) -> Chain:
    nodes = one.nodes if one.nodes[-1] == to else (*one.nodes, to)
    undecided = one.undecided if one.undecided is not None else other.undecided
    return Chain(nodes, undecided)


def ways(starts: Mapping[Node, Truth], steps: Steps) -> dict[Node, Chain]:
    """The best way to every place that can be reached.

    Args:
        starts: where one is already, or perhaps is.
        steps: where one can go.
    """
    search = _Search(steps)
    for node, truth in starts.items():
        if truth is not False:
            search.push(node, Chain((node,), truth if isinstance(truth, Undecided) else None))
    search.run()
    return search.ways
