"""`python -m tests.attacks`: try mutations on the real program and print what the pack says; `--write` renews docs/understand/attacks.md instead."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from tests.attacks import bench, report
from tests.attacks.catalog import BY_NAME, MUTATIONS


def main() -> int:
    """Try the mutations of the named attacks, all without a name; 1 where the pack does not say what is expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", help="ids such as A07; all mutations without one")
    parser.add_argument(
        "--write", action="store_true", help="renew the tables of docs/understand/attacks.md, and try nothing"
    )
    asked = parser.parse_args()
    if asked.write:
        report.PAGE.write_text(report.page(report.PAGE.read_text()))
        return 0
    names = [each.name for each in MUTATIONS if not asked.attacks or each.attack in asked.attacks]
    table = Table("attack", "seeded change", "red", "expected and not red", "red and not expected")
    wrong = 0
    for outcome in bench.outcomes(names):
        mutation = BY_NAME[outcome.mutation]
        missing, extra = mutation.rules - outcome.rules, outcome.rules - mutation.rules
        wrong += bool(missing or extra)
        cells = (" ".join(sorted(each)) for each in (outcome.rules, missing, extra))
        table.add_row(mutation.attack or "mistake", mutation.name, *cells)
    Console().print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
