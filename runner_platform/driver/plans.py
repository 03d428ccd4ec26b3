"""Plans that hold: an update plan of the engine, bound to what it was made from.

The engine's plan names no commit, no state and no expiry, and is not checked against the state: a plan made before
somebody else's change still applies. So a second file beside it (`<plan>.binding.json`) says what it was made from, and `up` refuses
where anything of that has moved. What the engine itself checks, it checks in a preview first: on its own it would stop half way.

A first deployment and a replacement of the cluster cannot be held to a plan: resources in the cluster are unknown until there is one.
Then source, settings and state are still compared, and the run says that it is not held to the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from runner_platform.driver import source, state
from runner_platform.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from runner_platform.driver.project import Project

OLDEST: Final = timedelta(days=7)
CLUSTER: Final = "aws:eks/cluster:Cluster"
FIRST: Final = "a first deployment"
REPLACED: Final = "a replacement of the cluster"
SDKS: Final = ("pulumi", "pulumi-aws", "pulumi-gitlab", "pulumi-kubernetes")
"""Whose versions decide which plugins the engine takes."""
_MEANING: Final = {
    "plan": "the plan file itself was changed",
    "stack": "it was made for another stack",
    "tree": "the program is another one",
    "settings": "the settings were changed",
    "state": "the stack was changed since, by another run",
    "cli": "the Pulumi CLI has another version",
    "plugins": "a provider has another version",
}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """What a plan was made from."""

    stack: str
    """`<project>/<stack>`."""
    plan: str
    """SHA-256 of the plan file."""
    tree: str
    commit: str
    settings: str
    """SHA-256 of the project's and the stack's file."""
    state: str
    """SHA-256 of the state object."""
    cli: str
    plugins: dict[str, str]
    made: str
    """RFC 3339."""
    exempt: str | None
    """Why the engine is not held to the plan; None where it is."""
    job_url: str | None


def bind(project: Project, plan: Path, *, cli: str, steps: Sequence[dict[str, Any]]) -> Binding:
    """Write the binding of a plan that was just saved.

    Args:
        project: the stack.
        plan: the engine's plan file.
        cli: version of the Pulumi CLI.
        steps: what the plan changes.
    """
    found = Binding(
        **_now(project, plan, cli),
        commit=source.of(project.folder).commit,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        exempt=_exemption(project, steps),
        job_url=os.environ.get("CI_JOB_URL"),
    )
    file_of(plan).write_text(json.dumps(asdict(found), indent=1) + "\n")
    return found


def file_of(plan: Path) -> Path:
    """Where a plan's binding is."""
    return plan.with_name(f"{plan.name}.binding.json")


def read(plan: Path) -> Binding:
    """The binding of a plan.

    Raises:
        WrongUseError: the plan or its binding is missing, or cannot be understood.
    """
    if not plan.is_file():
        raise WrongUseError(f"there is no plan {plan}; make one: `runner-platform preview --plan {plan}`")
    try:
        raw = json.loads(file_of(plan).read_text())
        return Binding(**{field.name: raw[field.name] for field in fields(Binding)})
    except (OSError, ValueError, KeyError, TypeError):
        raise WrongUseError(
            f"{file_of(plan)} is missing or cannot be understood; a plan is bound to its source by it: make the plan anew"
        ) from None


def require(project: Project, plan: Path, *, cli: str) -> Binding:
    """The binding of a plan that still holds.

    Raises:
        FailedError: something that it was made from has moved; says what.
        WrongUseError: the plan cannot be read.
    """
    binding = read(plan)
    moved = list(_moved(binding, _now(project, plan, cli)))
    if moved:
        lines = "\n".join(f"  {text}" for text in moved)
        raise FailedError(
            f"the plan {plan.name} does not hold any more, nothing was touched:\n{lines}\n"
            f"make it anew: `runner-platform preview --stack {project.stack} --plan {plan}`"
        )
    return binding


def _moved(binding: Binding, now: dict[str, Any]) -> Iterator[str]:
    for key, meaning in _MEANING.items():
        was = getattr(binding, key)
        if was != now[key]:
            yield f"{meaning}: {_short(was)} when it was planned, {_short(now[key])} now"
    age = datetime.now(UTC) - datetime.fromisoformat(binding.made)
    if age > OLDEST:
        yield f"it is {age.days} days old; plans live {OLDEST.days} days"


def _now(project: Project, plan: Path, cli: str) -> dict[str, Any]:
    settings = b"".join(file.read_bytes() for file in (project.folder / "Pulumi.yaml", project.settings_file))
    return {
        "stack": f"{project.name}/{project.stack}",
        "plan": hashlib.sha256(plan.read_bytes()).hexdigest(),
        "tree": source.of(project.folder).tree,
        "settings": hashlib.sha256(settings).hexdigest(),
        "state": state.require(project).digest,
        "cli": cli,
        "plugins": {name: metadata.version(name) for name in SDKS},
    }


def _exemption(project: Project, steps: Sequence[dict[str, Any]]) -> str | None:
    if state.require(project).empty:
        return FIRST
    replaced = any(each["type"] == CLUSTER and "replace" in each["operation"] for each in steps)
    return REPLACED if replaced else None


def _short(value: Any) -> str:
    text = ", ".join(f"{name} {version}" for name, version in value.items()) if isinstance(value, dict) else str(value)
    return text[:12] if len(text) >= 40 and " " not in text else text  # noqa: PLR2004  # a hash
