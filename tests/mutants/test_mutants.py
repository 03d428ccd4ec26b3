"""The names and the accepted survivors of a mutation run."""

from __future__ import annotations

import importlib

import pytest

from tests.mutants import __main__ as mutants


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
