"""Record what iam-simulate answers: `python -m tests.access.oracle.iam_simulate`."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.access.oracle.iam_simulate.recording import (
    ALLOWED,
    DENIED,
    FOLDER,
    NOT_ASKED,
    RECORD,
    REFUSED,
    asked_worlds,
    digest,
)

LETTERS = {"allowed": ALLOWED, "denied": DENIED}


def main() -> None:
    """Ask one Node.js process about every world, and write the answers."""
    worlds = list(asked_worlds())
    lines = [json.dumps(simulation) for world in worlds for question in world for simulation in question]
    done = subprocess.run(
        ["node", str(FOLDER / "judge.mjs")], input="\n".join(lines), capture_output=True, text=True, check=True
    )
    verdicts = iter(done.stdout.splitlines())
    answers = ["".join(_letter([next(verdicts) for _ in question]) for question in world) for world in worlds]
    lock = json.loads((FOLDER / "package-lock.json").read_text())
    version = lock["packages"]["node_modules/@cloud-copilot/iam-simulate"]["version"]
    record = {"iam-simulate": version, "digest": digest(), "answers": answers}
    RECORD.write_text(json.dumps(record, indent=0) + "\n")


def _letter(verdicts: list[str]) -> str:
    """Return one letter for the simulations of a question."""
    refusals = [verdict for verdict in verdicts if verdict not in LETTERS]
    for refusal in refusals:
        sys.stderr.write(f"{refusal}\n")
    if refusals:
        return REFUSED
    if not verdicts:
        return NOT_ASKED
    return ALLOWED if set(verdicts) == {"allowed"} else DENIED


if __name__ == "__main__":
    main()
