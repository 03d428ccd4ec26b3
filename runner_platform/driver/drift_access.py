"""Who may become which role in a stack as it is now, and who has gained or lost by what was changed behind the program's back.

The live stack takes the place of its own mock run; the other stacks and the foundation stay as their programs register them, since they
share accounts with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runner_platform.check.mock_run import Registration, Rehearsal
from runner_platform.check.shown import deployed
from runner_platform.review import access_diff, access_files, access_matrix

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runner_platform.check.shown import Shown


def write(stack: str, live: Mapping[str, Any], folder: Path | None) -> list[str]:
    """Write `access.json` and `access.md` of the live stack; returns who gains, as sentences.

    Args:
        stack: its name.
        live: the deployment with live values.
        folder: None for the project's `reports/`.

    Raises:
        SettingsError: a stack file cannot be used.
        FailedError: the folder cannot be written.
    """
    program = access_matrix.of_stack(stack)
    now = access_matrix.of_stack(stack, access_matrix.here({stack: of_deployment(live)}))
    found = access_diff.changes(program.cells, now.cells)
    access_files.write(now, folder, found, "the program")
    return [f"{each.principal} may become {each.role}" for each in found if each.gains]


def of_deployment(live: Mapping[str, Any]) -> Rehearsal:
    """A deployed stack as if its program had registered exactly what is there."""
    return Rehearsal(registrations=[_registration(each) for each in deployed(live)])


def _registration(shown: Shown) -> Registration:
    return Registration(
        urn=shown.urn,
        type=shown.type,
        name=shown.name,
        parent=shown.parent,
        provider=f"{shown.provider}::" if shown.provider else "",
        custom=True,
        protect=shown.protect,
        retain_on_delete=False,
        depends_on=shown.depends_on,
        deleted_with="",
        delete_timeout="",
        aliases=(),
        inputs=shown.inputs,
        outputs=shown.outputs,
    )
