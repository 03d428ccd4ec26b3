"""Update plans that hold: a plan of the engine, bound to the source, settings and state from which it was made.

The engine's plan names no commit, state or expiry, and the engine does not compare it with the state: a plan that is older than somebody
else's change still applies. So a second file beside it (`<plan>.binding.json`) records all of this, and `up` refuses if anything differs.
The engine checks the rest, in a preview first, since without one it would stop half way.

A first deployment and a replacement of the cluster cannot be held to a plan: resources in the cluster are unknown until the cluster exists.
Then source, settings and state are still compared, and the run says that it is not held to the plan.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runner_platform.driver import stack_state
from runner_platform.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runner_platform.driver.project import Project

MOST_AGE: Final = timedelta(days=7)
CLUSTER: Final = "aws:eks/cluster:Cluster"
FIRST: Final = "a first deployment"
REPLACED: Final = "a replacement of the cluster"
SDKS: Final = ("pulumi", "pulumi-aws", "pulumi-gitlab", "pulumi-kubernetes")
"""Packages whose versions decide the plugins' versions."""
_DIFFERENCES: Final = {
    "plan": "the plan file itself was changed",
    "stack": "it was made for another stack",
    "tree": "the program is another one",
    "settings": "the settings were changed",
    "state": "the stack was changed since, by another run",
    "cli": "the Pulumi CLI has another version",
    "plugins": "a provider has another version",
}


@dataclass(frozen=True, kw_only=True)
class Source:
    """The program in a working folder."""

    tree: str
    """Git's hash of all files that git does not ignore."""
    commit: str
    changed: tuple[str, ...]
    """Files that differ from the commit."""

    @property
    def name(self) -> str:
        """The commit, and the number of uncommitted changes."""
        return f"{self.commit[:8]}" + (f" with {len(self.changed)} uncommitted changes" if self.changed else "")


def source_of(folder: Path) -> Source:
    """Return the program in a folder, uncommitted changes included.

    Raises:
        FailedError: the folder is in no git repository, or git is missing.
    """
    changed = _git(folder, "status", "--porcelain", "--untracked-files=all").splitlines()
    commit = _git(folder, "rev-parse", "HEAD").strip()
    tree = _tree_with_changes(folder) if changed else _git(folder, "rev-parse", "HEAD^{tree}").strip()
    return Source(tree=tree, commit=commit, changed=tuple(line[3:] for line in changed))


def _tree_with_changes(folder: Path) -> str:
    """Return the tree as if everything were committed, without touching the person's own index."""
    with tempfile.TemporaryDirectory(prefix="runner-platform-") as scratch:
        index = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
        _git(top, "read-tree", "HEAD", variables=index)
        _git(top, "add", "--all", variables=index)
        return _git(top, "write-tree", variables=index).strip()


def _git(folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "LC_ALL": "C", **(variables or {})},
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise FailedError(
            "git is not on PATH; install it, since plans and promotions are bound to a git tree"
        ) from None
    if done.returncode:
        raise FailedError(
            f"git cannot tell the program in {folder}: {done.stderr.strip()}; plans and promotions need a checkout with a commit"
        )
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Binding:
    """The source, settings, state and versions from which a plan was made."""

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
    created: str
    """Time of the preview, RFC 3339."""
    exempt: str | None
    """Why the engine is not held to the plan; None if it is."""
    job_url: str | None


def bind(project: Project, plan: Path, *, cli: str, steps: Sequence[dict[str, Any]]) -> Binding:
    """Write the binding of a plan that was just saved.

    Args:
        project: the stack.
        plan: the engine's plan file.
        cli: version of the Pulumi CLI.
        steps: changing steps of the preview, `Progress.steps`.
    """
    binding = Binding(
        **_current(project, plan, cli),
        commit=source_of(project.folder).commit,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        exempt=_exemption(project, steps),
        job_url=os.environ.get("CI_JOB_URL"),
    )
    binding_file(plan).write_text(json.dumps(asdict(binding), indent=1) + "\n")
    return binding


def binding_file(plan: Path) -> Path:
    """Return the file with a plan's binding."""
    return plan.with_name(f"{plan.name}.binding.json")


def read_binding(plan: Path) -> Binding:
    """Read the binding of a plan.

    Raises:
        WrongUseError: the plan or its binding is missing, or cannot be read.
    """
    if not plan.is_file():
        raise WrongUseError(f"there is no plan {plan}; make one: `runner-platform preview --plan {plan}`")
    try:
        raw = json.loads(binding_file(plan).read_text())
        return Binding(**{field.name: raw[field.name] for field in fields(Binding)})
    except (OSError, ValueError, KeyError, TypeError):
        raise WrongUseError(
            f"{binding_file(plan)} is missing or cannot be read, and the plan needs it: make the plan anew with "
            f"`runner-platform preview --plan {plan}`"
        ) from None


def require_current(project: Project, plan: Path, *, cli: str) -> Binding:
    """Return the binding of a plan that still holds.

    Raises:
        FailedError: the source, settings, state or a version differs; names all differences.
        WrongUseError: the plan cannot be read.
    """
    binding = read_binding(plan)
    differences = list(_differences(binding, _current(project, plan, cli)))
    if differences:
        lines = "\n".join(f"  {text}" for text in differences)
        raise FailedError(
            f"the plan {plan.name} does not hold any more, nothing was touched:\n{lines}\n"
            f"make it anew: `runner-platform preview --stack {project.stack} --plan {plan}`"
        )
    return binding


def _differences(binding: Binding, current: dict[str, Any]) -> Iterator[str]:
    for key, difference in _DIFFERENCES.items():
        planned = getattr(binding, key)
        if planned != current[key]:
            yield f"{difference}: {_short(planned)} when it was planned, {_short(current[key])} now"
    age = datetime.now(UTC) - datetime.fromisoformat(binding.created)
    if age > MOST_AGE:
        yield f"it is {age.days} days old; plans live {MOST_AGE.days} days"


def _current(project: Project, plan: Path, cli: str) -> dict[str, Any]:
    settings = b"".join(file.read_bytes() for file in (project.folder / "Pulumi.yaml", project.settings_file))
    return {
        "stack": f"{project.name}/{project.stack}",
        "plan": hashlib.sha256(plan.read_bytes()).hexdigest(),
        "tree": source_of(project.folder).tree,
        "settings": hashlib.sha256(settings).hexdigest(),
        "state": stack_state.require(project).digest,
        "cli": cli,
        "plugins": {name: metadata.version(name) for name in SDKS},
    }


def _exemption(project: Project, steps: Sequence[dict[str, Any]]) -> str | None:
    if stack_state.require(project).empty:
        return FIRST
    replaced = any(step["type"] == CLUSTER and "replace" in step["operation"] for step in steps)
    return REPLACED if replaced else None


def _short(value: Any) -> str:
    text = ", ".join(f"{name} {version}" for name, version in value.items()) if isinstance(value, dict) else str(value)
    return text[:12] if len(text) >= 40 and " " not in text else text  # noqa: PLR2004  # a hash
