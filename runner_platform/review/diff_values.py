"""How two values of one property differ: as documents where they are documents, never as text that was written another way.

A policy document is compared statement by statement, whatever its order and spelling; TOML, YAML, INI and JSON in a string by
their contents. Leaves out what a difference means.
"""

from __future__ import annotations

import configparser
import json
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any

import yaml

from runner_platform.reports.change import Property
from runner_platform.reports.markdown import cut
from runner_platform.review.diff_statements import as_statements, statements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SECRET = "[secret]"  # noqa: S105  # what a rehearsal writes for any secret
IDENTITY_KEYS = ("name", "key", "id", "topologyKey", "sid", "rulePriority")
"""Keys that tell the members of a list apart, first match wins."""
_ABSENT: Any = object()


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[Property]:
    """Properties that differ, by dotted path, in the order of the new value."""
    for key in [*new, *(each for each in old if each not in new)]:
        inner = f"{path}.{key}" if path else str(key)
        yield from _compared(inner, old.get(key, _ABSENT), new.get(key, _ABSENT))


def _compared(path: str, old: Any, new: Any) -> Iterator[Property]:
    if _same(old, new):
        return
    if old is _ABSENT or new is _ABSENT or type(old) is not type(new):
        yield Property(path=path, old=_shown(old), new=_shown(new))
    elif isinstance(new, dict):
        yield from differences(old, new, path)
    elif isinstance(new, list):
        yield from _lists(path, old, new)
    elif isinstance(new, str):
        yield from _texts(path, old, new)
    else:
        yield Property(path=path, old=_shown(old), new=_shown(new))


def _same(old: Any, new: Any) -> bool:
    if old is _ABSENT or new is _ABSENT:
        return old is new
    return _json(old) == _json(new)  # Python takes True for 1


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def _lists(path: str, old: list[Any], new: list[Any]) -> Iterator[Property]:
    for key in IDENTITY_KEYS:
        before, after = _by(key, old), _by(key, new)
        if before is not None and after is not None:
            for name in [*after, *(each for each in before if each not in after)]:
                yield from _compared(f"{path}[{name}]", before.get(name, _ABSENT), after.get(name, _ABSENT))
            return
    if any(isinstance(each, dict | list) for each in (*old, *new)):
        for index in range(max(len(old), len(new))):
            pair = (each[index] if index < len(each) else _ABSENT for each in (old, new))
            yield from _compared(f"{path}[{index}]", *pair)
        return
    yield from _members(path, old, new)


def _by(key: str, members: list[Any]) -> dict[str, Any] | None:
    if not all(isinstance(each, dict) and isinstance(each.get(key), str | int) for each in members):
        return None
    found = {str(each[key]): each for each in members}
    return found if len(found) == len(members) else None


def _members(path: str, old: list[Any], new: list[Any]) -> Iterator[Property]:
    before, after = Counter(map(_shown, old)), Counter(map(_shown, new))
    if before == after:
        yield Property(path=f"{path} (order)", old=_shown(old), new=_shown(new))
    yield from (Property(path=path, old=gone) for gone in (before - after).elements())
    yield from (Property(path=path, new=added) for added in (after - before).elements())


def _texts(path: str, old: str, new: str) -> Iterator[Property]:
    before, after = document(old), document(new)
    if before is None or after is None or type(before) is not type(after):
        yield from _lines(path, old, new)
    elif (was := statements(before)) is not None and (becomes := statements(after)) is not None:
        yield from as_statements(path, was, becomes)
        yield from differences(_without_statements(before), _without_statements(after), path)
    else:
        found = list(_compared(path, before, after))
        yield from found or [Property(path=f"{path} (spelling)", old=cut(old), new=cut(new))]


def _without_statements(document: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != "Statement"}


def document(text: str) -> Any:
    """The contents of a string that holds JSON, TOML, an INI file or YAML; None where it is plain text."""
    if text[:1] in {"{", "["} or text[:1].isspace():
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            pass
    if "\n" not in text.strip():
        return None
    for read in (tomllib.loads, _ini, yaml.safe_load):
        try:
            found = read(text)
        except (tomllib.TOMLDecodeError, configparser.Error, yaml.YAMLError):
            continue
        if isinstance(found, dict | list):
            return found
    return None


def _ini(text: str) -> dict[str, Any]:
    parser = configparser.ConfigParser(default_section="", interpolation=None)
    parser.read_string(text)
    return {name: dict(parser[name]) for name in parser.sections()}


def _lines(path: str, old: str, new: str) -> Iterator[Property]:
    if "\n" not in old.strip() and "\n" not in new.strip():
        yield Property(path=path, old=_shown(old), new=_shown(new))
        return
    before, after = Counter(old.splitlines()), Counter(new.splitlines())
    changed = [*((before - after).elements()), *((after - before).elements())]
    yield from (Property(path=f"{path} (line)", old=cut(line)) for line in changed if line in before - after)
    yield from (Property(path=f"{path} (line)", new=cut(line)) for line in changed if line in after - before)
    if not changed:
        yield Property(path=f"{path} (order of lines)", old=cut(old), new=cut(new))


def _shown(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    return cut(value if isinstance(value, str) else _json(value))
