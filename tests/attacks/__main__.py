"""`python -m tests.attacks`: apply mutations to the real program and print the findings of the pack; `--write` renews docs/understand/attacks.md instead."""

from __future__ import annotations

import argparse

from rich.console import Console
from rich.table import Table

from tests.attacks import bench, report
from tests.attacks.catalog import BY_NAME, MUTATIONS


def main() -> int:
    """Apply the mutations of the named attacks, or all. Return 1 if the pack reports other rules than expected."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("attacks", nargs="*", help="ids such as A07; all mutations without one")
    parser.add_argument(
        "--write", action="store_true", help="renew the tables of docs/understand/attacks.md, and apply no mutation"
    )
    arguments = parser.parse_args()
    if arguments.write:
        report.PAGE.write_text(report.page(report.PAGE.read_text()))
        return 0
    names = [mutation.name for mutation in MUTATIONS if not arguments.attacks or mutation.attack in arguments.attacks]
    table = Table("attack", "seeded change", "red", "expected and not red", "red and not expected")
    wrong = 0
    for outcome in bench.outcomes(names):
        mutation = BY_NAME[outcome.mutation]
        missing, extra = mutation.rules - outcome.rules, outcome.rules - mutation.rules
        wrong += bool(missing or extra)
        cells = (" ".join(sorted(rules)) for rules in (outcome.rules, missing, extra))
        table.add_row(mutation.attack or "mistake", mutation.name, *cells)
    Console().print(table)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
