"""The integrity rule: what an open class can write, a protected class never consumes, else an open job speaks through a protected one.

The flows themselves are followed in `access.integrity`, through every role that a class reaches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.answers import Answer
from access.integrity import CACHE, IMAGE, STATE
from policies.grants import roles_by_arn
from policies.rule import stack_rule
from policies.tokens import RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.integrity import Flow
    from policies.stack import Stack


@stack_rule(
    "I01",
    "ecr-repository-of-open-classes-feeds-no-protected-one",
    demands="no image that an open class can push is run by a protected class",
    stops="A28: an open job pushes an image that a deploy job runs, and acts with its rights",
    remedy="Keep the prefixes of the levels apart: ecr-push of open pushes to open/, protected classes run protected/.",
    settings=("accounts.{account}.{level}", "runners.{runner}"),
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def images_are_apart(stack: Stack) -> Iterator[tuple[str, str]]:
    """What open classes push, against the images that protected classes use or allow."""
    yield from _flows(stack, IMAGE)


@stack_rule(
    "I02",
    "s3-bucket-of-open-classes-feeds-no-protected-one",
    demands="no state and no cache that an open class can write is read by a protected class",
    stops="A29: an open job writes state or a cache archive that a deploy job then trusts",
    remedy="Keep state and cache keys below their level's and class's prefix (config/names.py).",
    settings=("accounts.{account}.{level}", "runners.{runner}"),
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def objects_are_apart(stack: Stack) -> Iterator[tuple[str, str]]:
    """What open classes write, by a role or through their manager, against what protected ones read."""
    yield from _flows(stack, STATE, CACHE)


def _flows(stack: Stack, *kinds: str) -> Iterator[tuple[str, str]]:
    if stack.surroundings.runners is None:
        return
    open_flows = []
    for flow in stack.index.flows:
        if flow.what not in kinds:
            continue
        if flow.answer is Answer.UNDECIDED:
            open_flows.append(flow)
        else:
            how = f" by {' -> '.join(flow.chain)}" if flow.chain else ""
            yield (
                _urn(stack, flow),
                f"{flow.writer} can write {flow.what} {flow.place}{how}, and {flow.consumer} takes it in",
            )
    if open_flows:
        stack.undecide("", f"whether {open_flows[0].writer} writes what {open_flows[0].consumer} takes in")


def _urn(stack: Stack, flow: Flow) -> str:
    """The role that writes at the end of the chain; where there is none, the release of the class that takes it in."""
    if flow.chain:
        return next((role.urn for arn, role in roles_by_arn(stack).items() if arn == flow.chain[-1]), "")
    consumer = flow.consumer.rpartition("/")[2]
    return next((each.urn for each in stack.of(RELEASE) if each.seen.name.startswith(f"{consumer}-")), "")
