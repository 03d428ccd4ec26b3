"""`access.json` and `access.md` of a stack: who may become which role, for machines and for people.

The one place that writes them, whichever command asks. They tell what the programs amount to, all stacks side by side, from mock runs.
Leaves out the words (`runner_platform.review.access_report`) and the reasoning (`runner_platform.review.access_matrix`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from runner_platform.reports import files
from runner_platform.review import access_matrix, access_report, access_users

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from runner_platform.review.access_diff import Change
    from runner_platform.review.access_matrix import Matrix

JSON, MARKDOWN = "access.json", "access.md"


def write(
    of: str | Matrix,
    folder: Path | None,
    changes: Sequence[Change] | None = None,
    against: str = "",
    users: Mapping[str, str] | None = None,
) -> Path:
    """Write both files; returns the stack's folder of reports.

    Args:
        of: the matrix, or the name of a stack, whose matrix is then made: the programs of all stacks run under mocks, some seconds.
        folder: None for the project's `reports/`.
        changes: gains and losses; None where there is nothing to compare with.
        against: what it was compared with.
        users: who may use each class; None for what the settings say.

    Raises:
        WrongUseError: the stack has no file.
        SettingsError: a stack file cannot be used.
        FailedError: the folder cannot be written.
    """
    matrix = access_matrix.of_stack(of) if isinstance(of, str) else of
    settings = matrix.side.stacks.get(matrix.stack)
    if users is None:
        users = access_users.users(settings) if settings else {}
    contents = {
        JSON: json.dumps(access_report.document(matrix.cells), indent=2) + "\n",
        MARKDOWN: access_report.markdown(matrix, users, changes, against),
    }
    return files.write(folder, matrix.stack, contents)
