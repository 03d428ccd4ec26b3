"""The differences between stand-in and real plugin: the page and the tests name the same ones."""

from __future__ import annotations

import ast
from pathlib import Path

from sandbox.tests.support.provider_kubernetes_differences import DIFFERENCES

SANDBOX = Path(__file__).parents[3]
PAGE = SANDBOX / "docs" / "stand-ins.md"
HEADING = "### Held against the real plugin"


def test_the_page_lists_every_difference_that_tests_show() -> None:
    section = PAGE.read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("|")][2:]
    expected = [f"| {line.case} | {line.stand_in} | {line.plugin} | {line.reason} |" for line in DIFFERENCES]
    assert rows == expected


def test_every_difference_names_a_test_that_runs_with_both() -> None:
    with_both = {
        function.name
        for file in (SANDBOX / "tests" / "running").glob("test_provider_kubernetes*.py")
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef) and "stack" in {argument.arg for argument in function.args.args}
    }
    assert {line.test for line in DIFFERENCES} <= with_both
