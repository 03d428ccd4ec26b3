"""The engine's steps as changes: the shape that every report is made from. Names of properties only; values stay with the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner_platform.reports.change import Change, Kind, Property

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS: Final = {
    "create": Kind.CREATE,
    "update": Kind.UPDATE,
    "delete": Kind.DELETE,
    "replace": Kind.REPLACE,
    "create-replacement": Kind.REPLACE,
    "delete-replaced": Kind.REPLACE,
    "import": Kind.UPDATE,
    "import-replacement": Kind.REPLACE,
}
"""By the engine's word; a replacement comes in up to three steps and is one change."""


def of_steps(steps: Iterable[Mapping[str, Any]]) -> list[Change]:
    """One change per resource, in the engine's order.

    Args:
        steps: `Progress.steps`.
    """
    found: dict[str, Change] = {}
    for step in steps:
        kind = KINDS.get(step["operation"])
        known = found.get(step["urn"])
        if kind is None or (known is not None and known.properties):
            continue
        found[step["urn"]] = Change(
            kind=kind,
            urn=step["urn"],
            type=step["type"],
            name=step["urn"].rpartition("::")[2],
            account=step["account"],
            properties=tuple(
                Property(path=path, forces_replacement=path in step["reasons"])
                for path in sorted({*step["properties"], *step["reasons"]})
            ),
        )
    return list(found.values())
