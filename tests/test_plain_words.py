"""Names of variables and arguments in the source say what the value is: `role`, `statement`, `findings`; not `each`, `found`, `its`."""

from __future__ import annotations

import ast
import subprocess
import symtable
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

from config import load

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTING = frozenset(
    [
        "each",
        "its",
        "found",
        "made",
        "known",
        "told",
        "said",
        "shown",
        "given",
        "wanted",
        "one",
        "left",
        "taken",
        "tried",
        "whose",
        "rest",
        "here",
        "there",
        "other",
        "others",
        "those",
        "these",
        "it",
        "them",
        "that",
        "this",
    ]
)
ALLOWED: dict[str, int] = {"components": 1}
"""Pointing names by top-level folder: `other` of `__add__` is Python's own word. Never raise a number."""


def source_files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=load.ROOT, capture_output=True, text=True, check=True)
    return [file for file in listed.stdout.splitlines() if "tests" not in PurePath(file).parts]


def names_in(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield every name of a scope and of the scopes in it; the compiler lists them four times as fast as a tree can be walked."""
    yield from table.get_identifiers()
    for inner in table.get_children():
        yield from names_in(inner)


def pointing_names(text: str) -> list[tuple[int, str]]:
    """Line and name of every variable or argument that is bound under a pointing name."""
    if POINTING.isdisjoint(name.lstrip("_") for name in names_in(symtable.symtable(text, "file", "exec"))):
        return []
    bound = [
        (node.lineno, node.id if isinstance(node, ast.Name) else node.arg)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.arg) or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
    ]
    return [(line, name) for line, name in sorted(bound) if name.lstrip("_") in POINTING]


def test_pointing_names_are_recognised_in_every_place_that_binds_a_name() -> None:
    text = "found = 1\ndef f(its, *, _given): return [each for each in its]\nfor other, name in (): pass\nmade: int = 2\nrole = each"
    assert [name for _, name in pointing_names(text)] == ["found", "_given", "each", "its", "other", "made"]


def test_no_folder_gains_a_name_that_points_instead_of_naming() -> None:
    places = {file: pointing_names((load.ROOT / file).read_text()) for file in source_files()}
    assert len(places) > 100, "the source was read"
    counts: Counter[str] = Counter()
    for file, names in places.items():
        counts[PurePath(file).parts[0]] += len(names)
    grown = {folder for folder, count in counts.items() if count > ALLOWED.get(folder, 0)}
    listed = [
        f"{file}:{line} {name}"
        for file, names in places.items()
        if PurePath(file).parts[0] in grown
        for line, name in names
    ]
    assert not grown, f"name the value instead: {listed}"
