"""Rules that follow all trusts and permissions together: who reaches which role, and what flows between classes.

The chains are computed in `access.matrix`, the flows of images, state and cache in `access.flows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.decision import Decision
from access.flows import CACHE, IMAGE, STATE
from access.matrix import declared, derived, differences
from config.settings import Settings
from policies.rule import ROLE_SETTINGS, stack_rule
from policies.statements import roles_by_arn
from policies.type_tokens import RELEASE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.flows import Flow
    from access.matrix import Difference
    from policies.stack import CheckedStack


@stack_rule(
    "T10",
    "iam-role-reach-matches-the-matrix",
    demands="who can become which role, by any chain, is exactly what accounts and runner classes in the settings declare",
    stops="A01, A03, A12, A18, A19: a chain of roles, accounts and pods leads to a role that nobody declared",
    remedy="Change accounts or runners in the stack file if you want this access; else narrow the trust of the last role of the chain.",
    settings=ROLE_SETTINGS,
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def matrix_is_as_declared(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Differences between the declared access matrix and the one that the documents give, with the shortest chain."""
    settings = stack.run.settings
    expected = declared([settings]) if isinstance(settings, Settings) else declared([], settings)
    urns = {arn: role.urn for arn, role in roles_by_arn(stack).items()}
    undecided: list[Difference] = []
    for difference in differences(expected, derived(stack.index.access_graph)):
        if difference.cell.decision is Decision.UNDECIDED:
            undecided.append(difference)
        else:
            yield urns.get(difference.cell.role, ""), str(difference)
    if undecided:
        cell = undecided[0].cell
        text = (
            f"the access matrix in {len(undecided)} cells, such as {cell.principal} to {cell.role.rpartition('/')[2]},"
        )
        stack.undecide("", text)


@stack_rule(
    "I01",
    "ecr-repository-of-open-classes-feeds-no-protected-one",
    demands="no image that an open class can push is run by a protected class",
    stops="A28: an open job pushes an image that a deploy job runs, and so acts with the deploy job's rights",
    remedy="Keep the repositories of the levels apart: ecr-push of level open pushes to open/, protected classes run images from protected/.",
    settings=("accounts.{account}.{level}", "runners.{runner}"),
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def images_are_apart(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Images that open classes can push, against images that protected classes run or allow."""
    yield from _flows(stack, IMAGE)


@stack_rule(
    "I02",
    "s3-bucket-of-open-classes-feeds-no-protected-one",
    demands="no state and no cache that an open class can write is read by a protected class",
    stops="A29: an open job writes state or a cache archive that a deploy job then trusts",
    remedy="Keep state and cache keys below the prefix of their level and class (config/names.py).",
    settings=("accounts.{account}.{level}", "runners.{runner}"),
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def objects_are_apart(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Objects that open classes can write, by a role or through their manager, against objects that protected classes read."""
    yield from _flows(stack, STATE, CACHE)


def _flows(stack: CheckedStack, *kinds: str) -> Iterator[tuple[str, str]]:
    if stack.run.platform_settings is None:
        return
    undecided = []
    for flow in stack.index.flows:
        if flow.kind not in kinds:
            continue
        if flow.decision is Decision.UNDECIDED:
            undecided.append(flow)
        else:
            chain = f" by {' -> '.join(flow.chain)}" if flow.chain else ""
            text = f"{flow.writer} can write {flow.kind} {flow.pattern}{chain}, and {flow.consumer} consumes it"
            yield _urn(stack, flow), text
    if undecided:
        flow = undecided[0]
        stack.undecide("", f"whether {flow.writer} can write {flow.kind} that {flow.consumer} consumes")


def _urn(stack: CheckedStack, flow: Flow) -> str:
    """Return the URN of the last role of the chain; without a chain, of the consuming class's release."""
    if flow.chain:
        return next((role.urn for arn, role in roles_by_arn(stack).items() if arn == flow.chain[-1]), "")
    consumer = flow.consumer.rpartition("/")[2]
    releases = (release for release in stack.of(RELEASE) if release.resource.name.startswith(f"{consumer}-"))
    return next((release.urn for release in releases), "")
