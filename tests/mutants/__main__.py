"""A mutation run: change the core in a sample of places, one at a time, and see whether a test fails (`make mutants`).

mutmut (https://mutmut.readthedocs.io) makes the mutants, in `mutants/`, and runs the tests that reach each of them; `[tool.mutmut]` in
pyproject.toml says which files are the core. This command draws a sample by its seed, and fails if more than one mutant in twenty survives
without an entry in `accepted.yaml`.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ACCEPTED = Path(__file__).with_name("accepted.yaml")
FIRST = "config.checks.x_reserved__mutmut_1"
"""The mutant of the run that makes all the others; few tests reach it."""
KILLED = frozenset({"killed"})
"""Verdicts that a test has given. A run whose every mutant ended with code 255, which mutmut calls a timeout, was once counted as 100 % killed: a
mutant without the answer of a test is shown with the survivors."""
NEEDED = 0.95
"""Share of the sample that must be killed or accepted."""
RESULT = re.compile(r"^\s*(?P<name>\S+): (?P<verdict>[a-z ]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Survivor:
    """A mutant that no test noticed."""

    name: str
    verdict: str
    change: str
    """The lines that it removes and adds, as a diff shows them."""


def mutmut(*arguments: str) -> str:
    """Run mutmut; return its standard output."""
    program = str(Path(sys.executable).with_name("mutmut"))
    done = subprocess.run([program, *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"mutmut {arguments[0]} failed:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def verdicts() -> dict[str, str]:
    """Return the verdict on each mutant by its name."""
    return {match["name"]: match["verdict"] for match in RESULT.finditer(mutmut("results", "--all", "true"))}


def change(name: str) -> str:
    """Return the lines that a mutant removes and adds."""
    lines = mutmut("show", name).splitlines()
    return "\n".join(line for line in lines if re.match(r"[+-](?![+-])", line))


def function(name: str) -> str:
    """Return the function of a mutant: `access.roles.Roles.document`."""
    return re.sub(r"__mutmut_\d+$", "", name).replace("xǁ", "").replace("ǁ", ".").replace(".x_", ".")


def accepted() -> dict[tuple[str, str], str]:
    """Return why a mutant may survive, by function and change."""
    entries = yaml.safe_load(ACCEPTED.read_text()) or []
    return {(entry["function"], entry["change"].strip()): entry["reason"] for entry in entries}


def survivors(names: list[str]) -> list[Survivor]:
    """Return the mutants that no test noticed."""
    verdict_by_name = verdicts()
    return [
        Survivor(name, verdict_by_name[name], change(name)) for name in names if verdict_by_name[name] not in KILLED
    ]


def main() -> int:
    """Draw a sample, run it, and print what survived; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seed", default="0", help="draws the sample: the same seed, the same mutants of the same code"
    )
    parser.add_argument("--sample", type=int, default=150, help="number of mutants")
    options = parser.parse_args()
    mutmut("run", FIRST)
    names = sorted(verdicts())
    sample = random.Random(options.seed).sample(names, min(options.sample, len(names)))  # noqa: S311  # not for secrets
    mutmut("run", *sample)
    reasons = accepted()
    alive = survivors(sample)
    unexplained = [mutant for mutant in alive if (function(mutant.name), mutant.change.strip()) not in reasons]
    for mutant in unexplained:
        sys.stdout.write(f"{function(mutant.name)} ({mutant.verdict}), {mutant.name}\n{mutant.change}\n\n")
    noticed = 1 - len(unexplained) / len(sample)
    sys.stdout.write(
        f"seed {options.seed}: {len(sample)} of {len(names)} mutants; {len(sample) - len(alive)} killed, "
        f"{len(alive) - len(unexplained)} accepted with a reason, {len(unexplained)} survived: {noticed:.1%} (needed {NEEDED:.0%})\n"
    )
    return 0 if noticed >= NEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
