"""How two policy documents differ: statement by statement, whatever their order and spelling.

IAM reads `"s3:GetObject"` and `["s3:GetObject"]` as one, and no order of statements, actions, resources, principals or values has
a meaning; so none of it is a difference. What a difference means for access is `access`'s business.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from runner_platform.reports.change import Property
from runner_platform.reports.markdown import cut

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SETS = ("Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition")
LONGEST_STATEMENT = 1000
"""Characters of a whole statement that are shown: a reviewer must see what it lets through."""

Statement = dict[str, frozenset[str]]
"""Values by dotted place, such as `Condition.StringEquals.aws:PrincipalOrgID`."""


def statements(document: Any) -> list[dict[str, Any]] | None:
    """The statements of a policy document; None where the document is none."""
    if not isinstance(document, dict) or "Statement" not in document:
        return None
    found = document["Statement"]
    listed = found if isinstance(found, list) else [found]
    return listed if all(isinstance(each, dict) for each in listed) else None


def as_statements(path: str, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> Iterator[Property]:
    """Differences of the statements of two documents."""
    before, after = list(old), list(new)
    for each in old:  # equal ones first, so that none of them is taken for a changed one
        same = next((other for other in after if normalised(other) == normalised(each)), None)
        if same is not None:
            before.remove(each)
            after.remove(same)
    for each in list(after):
        pair = _counterpart(each, before)
        if pair is not None:
            before.remove(pair)
            after.remove(each)
            yield from _changed(f"{path}.Statement[{_called(each, new)}]", normalised(pair), normalised(each))
    yield from (Property(path=f"{path}.Statement[{_called(each, old)}]", old=_whole(each)) for each in before)
    yield from (Property(path=f"{path}.Statement[{_called(each, new)}]", new=_whole(each)) for each in after)


def normalised(statement: Mapping[str, Any]) -> Statement:
    """A statement's values as sets, by place."""
    found: Statement = {}
    for key, value in statement.items():
        _collect(key, value, found)
    return found


def _collect(place: str, value: Any, found: Statement) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            _collect(f"{place}.{key}", inner, found)
    else:
        listed = value if isinstance(value, list) else [value]
        found[place] = frozenset(each if isinstance(each, str) else json.dumps(each) for each in listed)


def _counterpart(statement: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    named = [each for each in others if each.get("Sid") and each.get("Sid") == statement.get("Sid")]
    if len(named) == 1:
        return named[0]
    unnamed = [
        each for each in others if each.get("Effect") == statement.get("Effect") and not _both_named(each, statement)
    ]
    best = max(unnamed, key=lambda each: _likeness(each, statement), default=None)
    return best if best is not None and _likeness(best, statement) > 0 else None


def _both_named(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return bool(one.get("Sid")) and bool(other.get("Sid"))


def _likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> int:
    first, second = normalised(one), normalised(other)
    places = [place for place in first if place.split(".")[0] in SETS and place in second]
    return sum(len(first[place] & second[place]) for place in places)


def _changed(path: str, old: Statement, new: Statement) -> Iterator[Property]:
    for place in [*new, *(each for each in old if each not in new)]:
        if old.get(place) == new.get(place):
            continue
        before, after = old.get(place, frozenset()), new.get(place, frozenset())
        yield from (Property(path=f"{path}.{place}", old=cut(gone)) for gone in sorted(before - after))
        yield from (Property(path=f"{path}.{place}", new=cut(added)) for added in sorted(after - before))
        if before == after:  # an empty list on one side: IAM tells it from no list at all
            empty = "[]"
            yield Property(
                path=f"{path}.{place}", old=empty if place in old else None, new=empty if place in new else None
            )


def _called(statement: Mapping[str, Any], among: Sequence[Mapping[str, Any]]) -> str:
    return str(statement.get("Sid") or f"#{[id(each) for each in among].index(id(statement)) + 1}")


def _whole(statement: Mapping[str, Any]) -> str:
    return cut(json.dumps(statement, separators=(", ", ": ")), LONGEST_STATEMENT)
