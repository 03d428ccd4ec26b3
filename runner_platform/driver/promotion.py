"""What is deployed where, and whether it is proven: a record beside the state, and the promotion that it allows.

Owns `.runner-platform/deployed/<project>/<stack>.json`: written by a successful `up`, completed by `prove`. `up --promoted-from dev`
refuses a program that does not run in dev exactly as it is, or whose access was not proven there since.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner_platform.driver import source
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from runner_platform.driver.project import Project


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """What a stack was last deployed from."""

    tree: str
    commit: str
    changed: int
    """Number of uncommitted files; 0 in a pipeline."""
    at: str
    """RFC 3339."""
    job_url: str | None
    proven: bool | None = None
    """Whether `prove` found every cell right since; None where it has not run."""
    proven_at: str | None = None


def deployed(project: Project) -> None:
    """Write down what the stack runs now; an earlier proof does not count for it."""
    try:
        found = source.of(project.folder)
    except FailedError:
        return  # no checkout: nothing can be promoted from here, and that is all
    record = Deployed(
        tree=found.tree,
        commit=found.commit,
        changed=len(found.changed),
        at=_now(),
        job_url=os.environ.get("CI_JOB_URL"),
    )
    _write(project, record)


def proven(project: Project, *, fine: bool) -> None:
    """Write down how `prove` went for what is deployed; nothing where nothing is recorded."""
    record = read(project)
    if record is not None:
        _write(project, replace(record, proven=fine, proven_at=_now()))


def read(project: Project) -> Deployed | None:
    """What the stack was last deployed from; None where it is not known."""
    try:
        raw = json.loads(project.store.read(_key(project)) or b"null")
        return Deployed(**{field.name: raw[field.name] for field in fields(Deployed)}) if raw else None
    except (ValueError, KeyError, TypeError):
        return None


def require(promoted: Project, origin: Project) -> str:
    """Say what is promoted.

    Args:
        promoted: the stack that is to be deployed.
        origin: the stack where the same program must run already, proven.

    Raises:
        FailedError: it does not.
    """
    here, there = source.of(promoted.folder), read(origin)
    refusal = (
        f"stack {promoted.stack} is not deployed: {{why}}. Deploy and prove {origin.stack} first, from the same commit"
    )
    if here.changed:
        raise FailedError(refusal.format(why=f"this checkout has uncommitted changes ({', '.join(here.changed[:5])})"))
    if there is None:
        raise FailedError(refusal.format(why=f"nothing says what runs in {origin.stack}"))
    if there.tree != here.tree:
        why = f"{origin.stack} runs {there.commit[:8]} (tree {there.tree[:8]}), this is {here.commit[:8]} (tree {here.tree[:8]})"
        raise FailedError(refusal.format(why=why))
    if there.proven is not True:
        why = "was found wrong by `prove`" if there.proven is False else "was not proven since it was deployed"
        raise FailedError(refusal.format(why=f"the access of {origin.stack} {why}"))
    return f"promoted from {origin.stack}: {there.commit[:8]}, deployed there {there.at}, proven {there.proven_at}"


def _write(project: Project, record: Deployed) -> None:
    project.store.write(_key(project), json.dumps(asdict(record), indent=1).encode())


def _key(project: Project) -> str:
    return f".runner-platform/deployed/{project.name}/{project.stack}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
