"""The classes of an imported configuration as part of a stack file, and its keys as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from runner_platform.import_config.answers import Kind
from runner_platform.import_config.classes import flow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform.import_config.imported import Imported, ImportedRunner, Row

FIRST: Final = ("executor", "level")
"""Settings that stand first in a class, and the last one: all executors have them."""
LAST: Final = "longest_job"
ORDER: Final = (Kind.NONE, Kind.SETTING, Kind.BUILT_IN, Kind.UNUSED)
"""Kinds of rows in the order of what you have to do."""


def stack_file(imported: Imported) -> str:
    """Return the classes as YAML for a stack file, each setting with the key that it comes from; empty without a class."""
    lines = [line for runner in imported.runners for line in _class_lines(runner)]
    return "\n".join(["runner-platform:runners:", *lines, ""]) if lines else ""


def _class_lines(runner: ImportedRunner) -> Iterator[str]:
    result = runner.runner_class
    if result is None:
        return
    yield f"  {result.name}: # {title(runner)}"
    middle = [key for key in result.settings if key not in (*FIRST, LAST)]
    for key in (*FIRST, *middle, LAST):
        source = result.sources.get(key, "").replace("machineoptions.", "").replace("runners.", "")
        note = f"assumed: {result.assumed[key]}" if key in result.assumed else f"from {source}"
        yield f"    {key}: {flow(result.settings[key])} # {' '.join(note.split())}"


def title(runner: ImportedRunner) -> str:
    """Return a runner's place, name and executor on one line."""
    name = f" {' '.join(runner.name.split())!r}" if runner.name else ""
    return f"[[runners]] {runner.position}{name}, {runner.executor or 'without executor'}"


def remaining(rows: tuple[Row, ...]) -> list[Row]:
    """Return the rows that no setting has taken, those without counterpart first."""
    return [row for kind in ORDER for row in rows if row.kind is kind]


def document(imported: Imported) -> dict[str, Any]:
    """Return everything for `--json`."""
    return {
        "runners": [
            {
                "position": runner.position,
                "name": runner.name,
                "executor": runner.executor,
                "class": result.name if (result := runner.runner_class) else None,
                "settings": result.settings if result else None,
                "assumed": result.assumed if result else {},
                "reason": runner.reason or None,
                "keys": _keys(runner.rows),
            }
            for runner in imported.runners
        ],
        "keys": _keys(imported.rows),
    }


def _keys(rows: tuple[Row, ...]) -> list[dict[str, str]]:
    return [{"key": row.key, "value": row.value, "kind": row.kind.value, "here": row.answer} for row in rows]
