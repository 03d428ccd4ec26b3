"""Promotion: a stack may only get the program that another stack runs, and whose access was proven there.

`.runner-platform/deployed/<project>/<stack>.json` records the program of a stack. A successful `up` writes it, `prove` completes it.
`up --promoted-from dev` refuses a program that dev does not run exactly like this, or whose access was not proven there since.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from runner_platform.driver.update_plans import source_of
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from runner_platform.driver.project import Project


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """The program that a stack was last deployed from."""

    tree: str
    commit: str
    changed: int
    """Number of uncommitted files; 0 in a pipeline."""
    at: str
    """Time of the deployment, RFC 3339."""
    job_url: str | None
    proven: bool | None = None
    """Whether `prove` found all access as declared since; None if it has not run."""
    proven_at: str | None = None


def record_deployment(project: Project) -> None:
    """Write down the program that the stack runs now. An earlier proof does not count for it."""
    try:
        source = source_of(project.folder)
    except FailedError:
        return  # no checkout: nothing can be promoted from here
    record = Deployed(
        tree=source.tree,
        commit=source.commit,
        changed=len(source.changed),
        at=_now(),
        job_url=os.environ.get("CI_JOB_URL"),
    )
    _write(project, record)


def record_proof(project: Project, *, passed: bool) -> None:
    """Write down the result of `prove` for the deployed program, if one is recorded."""
    record = read(project)
    if record is not None:
        _write(project, replace(record, proven=passed, proven_at=_now()))


def read(project: Project) -> Deployed | None:
    """Return the record of the last deployment, or None."""
    try:
        raw = json.loads(project.store.read(_key(project)) or b"null")
        return Deployed(**{field.name: raw[field.name] for field in fields(Deployed)}) if raw else None
    except (ValueError, KeyError, TypeError):
        return None


def require(target: Project, origin: Project) -> str:
    """Check a promotion; return a sentence about it.

    Args:
        target: the stack to deploy.
        origin: the stack that must run the same program already, proven.

    Raises:
        FailedError: the promotion is not allowed.
    """
    source, deployed = source_of(target.folder), read(origin)
    refusal = (
        f"stack {target.stack} is not deployed: {{why}}. Deploy and prove {origin.stack} first, from the same commit"
    )
    if source.changed:
        files = ", ".join(source.changed[:5])
        raise FailedError(refusal.format(why=f"this checkout has uncommitted changes ({files})"))
    if deployed is None:
        raise FailedError(refusal.format(why=f"nothing says what runs in {origin.stack}"))
    if deployed.tree != source.tree:
        why = (
            f"{origin.stack} runs {deployed.commit[:8]} (tree {deployed.tree[:8]}), "
            f"this is {source.commit[:8]} (tree {source.tree[:8]})"
        )
        raise FailedError(refusal.format(why=why))
    if deployed.proven is not True:
        why = "was found wrong by `prove`" if deployed.proven is False else "was not proven since it was deployed"
        raise FailedError(refusal.format(why=f"the access of {origin.stack} {why}"))
    return f"promoted from {origin.stack}: {deployed.commit[:8]}, deployed there {deployed.at}, proven {deployed.proven_at}"


def _write(project: Project, record: Deployed) -> None:
    project.store.write(_key(project), json.dumps(asdict(record), indent=1).encode())


def _key(project: Project) -> str:
    return f".runner-platform/deployed/{project.name}/{project.stack}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
