"""From two lists of resources, what changes: matched by URN, or by an alias that says what a resource was called before.

Leaves out where the lists come from (`runner_platform.review.worktree`) and how changes are shown (`runner_platform.reports`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_platform.reports.change import Change, Kind, Property, ordered
from runner_platform.review.diff_replace import forces_replacement
from runner_platform.review.diff_values import SECRET, differences

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Resource = dict[str, Any]
SECRET_TYPES = {"kubernetes:core/v1:Secret": ("data", "stringData")}
"""Inputs that are secret whatever the program says."""
PROTECTED = "is protected: `up` refuses until `protect` is off"
UNPROTECTED = "loses its protection against deletion"
RETAINED = "stays in the cloud, out of the stack's hands (retainOnDelete)"
OTHER_PROVIDER = "gets another provider; whether that moves or replaces it, only a preview can tell"


def changes(old: Sequence[Resource], new: Sequence[Resource]) -> list[Change]:
    """What becomes of each resource, in the order of a report; those that stay as they are are left out.

    Args:
        old: resources as `worktree.rehearsed` gives them.
        new: the same of the other side.
    """
    before = {each["urn"]: each for each in old}
    after = {each["urn"]: each for each in new}
    found: list[Change] = []
    for urn, each in after.items():
        was = before.pop(urn, None)
        alias = None if was else next((name for name in _option(each, "aliases", ()) if name in before), None)
        if alias:
            was = before.pop(alias)
        change = _created(each) if was is None else _changed(was, each, moved=alias is not None)
        found += [change] if change else []
    found += [_deleted(each) for each in before.values()]
    return ordered(found)


def _created(resource: Resource) -> Change:
    return _change(Kind.CREATE, resource, differences({}, _inputs(resource)))


def _deleted(resource: Resource) -> Change:
    protected, retained = _option(resource, "protect", None), _option(resource, "retainOnDelete", None)
    warnings = [*([PROTECTED] if protected else []), *([RETAINED] if retained else [])]
    return _change(Kind.DELETE, resource, (), warnings)


def _changed(old: Resource, new: Resource, *, moved: bool) -> Change | None:
    properties = [
        Property(
            path=each.path,
            old=each.old,
            new=each.new,
            forces_replacement=forces_replacement(new["type"], each.path) or old["type"] != new["type"],
        )
        for each in differences(_inputs(old), _inputs(new))
    ]
    warnings, further = _of_options(old, new)
    properties += further
    replaced = any(each.forces_replacement for each in properties)
    if not properties:
        return _change(Kind.MOVE, new, (), [f"was {old['urn']}"]) if moved else None
    if replaced and _option(old, "protect", None):
        warnings.append(PROTECTED)
    return _change(Kind.REPLACE if replaced else Kind.UPDATE, new, properties, warnings)


def _of_options(old: Resource, new: Resource) -> tuple[list[str], list[Property]]:
    warnings: list[str] = []
    properties: list[Property] = []
    for name in ("protect", "retainOnDelete"):
        before, after = _option(old, name, None), _option(new, name, None)
        if before is not None and after is not None and before != after:
            properties.append(Property(path=f"({name})", old=str(before).lower(), new=str(after).lower()))
            warnings += [UNPROTECTED] if name == "protect" and before else []
    providers = [_provider(each) for each in (old, new)]
    if providers[0] != providers[1]:
        properties.append(Property(path="(provider)", old=providers[0], new=providers[1]))
        warnings.append(OTHER_PROVIDER)
    return warnings, properties


def _change(kind: Kind, resource: Resource, properties: Iterable[Property], warnings: Sequence[str] = ()) -> Change:
    return Change(
        kind=kind,
        urn=resource["urn"],
        type=resource["type"],
        name=resource["name"],
        account=resource["account"],
        properties=tuple(properties),
        warnings=tuple(warnings),
    )


def _inputs(resource: Resource) -> Mapping[str, Any]:
    hidden = SECRET_TYPES.get(resource["type"], ())
    return {key: _masked(value) if key in hidden else value for key, value in resource["inputs"].items()}


def _masked(value: Any) -> Any:
    return dict.fromkeys(value, SECRET) if isinstance(value, dict) else SECRET


def _option(resource: Resource, name: str, otherwise: Any) -> Any:
    return resource.get("options", {}).get(name, otherwise)


def _provider(resource: Resource) -> str | None:
    """The provider's URN; which id it has is decided by the engine."""
    return resource["provider"].rpartition("::")[0] if resource["provider"] else None
