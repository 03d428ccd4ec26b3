"""The names and the accepted survivors of a mutation run."""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from tests.mutants import __main__ as mutants
from tests.support.case_names import case_name, refuse_escaped_names


@pytest.mark.parametrize(
    ("mutant", "function"),
    [
        ("access.globs.x__next_characters__mutmut_7", "access.globs._next_characters"),
        ("access.roles.xǁRolesǁ_give__mutmut_12", "access.roles.Roles._give"),
        ("config.checks.x_stack_name__mutmut_1", "config.checks.stack_name"),
    ],
)
def test_a_mutant_is_named_by_its_function(mutant: str, function: str) -> None:
    assert mutants.function(mutant) == function


def test_an_accepted_survivor_has_a_reason_and_a_function_that_exists() -> None:
    for (function, change), reason in mutants.accepted().items():
        module, _, name = function.rpartition(".")
        assert hasattr(importlib.import_module(module), name), function
        assert change.startswith("-")
        assert len(reason) > 20


@pytest.mark.parametrize(
    ("text", "name"),
    [("accounts.l\u00f6schen", "accounts.l?schen"), ("a\nb\x00", "a?b?"), (r"'[x]\n~'", "'[x]/n~'")],
    ids=["letters", "control characters", "escapes"],
)
def test_a_name_of_a_case_has_nothing_that_pytest_escapes(text: str, name: str) -> None:
    assert case_name(text) == name


@pytest.mark.parametrize(
    ("name", "marks", "refused"),
    [
        (r"test_x[l\xf6schen]", [pytest.mark.parametrize("x", ["l\u00f6schen"], ids=str)], True),
        (r"test_x[l\xf6schen]", [pytest.mark.parametrize("x", ["l\u00f6schen"])], False),
        ("test_x[gone]", [pytest.mark.parametrize("x", ["gone"], ids=str)], False),
        (r"test_x[l\xf6schen]", [], False),
    ],
)
def test_a_name_that_changes_with_the_next_collection_is_refused(name: str, marks: list[Any], refused: bool) -> None:
    item: Any = SimpleNamespace(name=name, nodeid=name, iter_markers=lambda _: (mark.mark for mark in marks))
    with pytest.raises(pytest.UsageError, match="case_name") if refused else nullcontext():
        refuse_escaped_names([item])
