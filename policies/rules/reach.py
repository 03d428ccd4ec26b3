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
from policies.rule import OWNER_SETTINGS, stack_rule
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
    demands="who becomes which role, by any chain, is exactly what accounts and classes in the settings say",
    stops="A01, A03, A12, A18, A19: a chain of roles, accounts and pods ends where nobody declared it",
    remedy="Change accounts or runners in the stack file if the access is meant; else mend the trust at the end of the chain.",
    settings=OWNER_SETTINGS,
    source="docs/operate/policies.md",
    severity=Severity.CRITICAL,
)
def matrix_is_as_declared(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Differences between the declared matrix and the one that the documents amount to, with the shortest chain."""
    settings = stack.surroundings.settings
    expected = declared([settings]) if isinstance(settings, Settings) else declared([], settings)
    urns = {arn: role.urn for arn, role in roles_by_arn(stack).items()}
    open_cells: list[Difference] = []
    for difference in differences(expected, derived(stack.index.world)):
        if difference.cell.decision is Decision.UNDECIDED:
            open_cells.append(difference)
        else:
            yield urns.get(difference.cell.role, ""), str(difference)
    if open_cells:
        stack.undecide("", f"the access matrix in {len(open_cells)} cells, such as {_cell(open_cells[0])}")


def _cell(difference: Difference) -> str:
    return f"{difference.cell.principal} to {difference.cell.role.rpartition('/')[2]}"


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
def images_are_apart(stack: CheckedStack) -> Iterator[tuple[str, str]]:
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
def objects_are_apart(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """What open classes write, by a role or through their manager, against what protected ones read."""
    yield from _flows(stack, STATE, CACHE)


def _flows(stack: CheckedStack, *kinds: str) -> Iterator[tuple[str, str]]:
    if stack.surroundings.runners is None:
        return
    open_flows = []
    for flow in stack.index.flows:
        if flow.what not in kinds:
            continue
        if flow.decision is Decision.UNDECIDED:
            open_flows.append(flow)
        else:
            how = f" by {' -> '.join(flow.chain)}" if flow.chain else ""
            yield (
                _urn(stack, flow),
                f"{flow.writer} can write {flow.what} {flow.place}{how}, and {flow.consumer} takes it in",
            )
    if open_flows:
        stack.undecide("", f"whether {open_flows[0].writer} writes what {open_flows[0].consumer} takes in")


def _urn(stack: CheckedStack, flow: Flow) -> str:
    """The role that writes at the end of the chain; where there is none, the release of the class that takes it in."""
    if flow.chain:
        return next((role.urn for arn, role in roles_by_arn(stack).items() if arn == flow.chain[-1]), "")
    consumer = flow.consumer.rpartition("/")[2]
    return next((each.urn for each in stack.of(RELEASE) if each.seen.name.startswith(f"{consumer}-")), "")
