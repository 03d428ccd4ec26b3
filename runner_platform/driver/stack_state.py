"""The state of a stack in a self-managed backend: reading it, and explaining what is wrong with it.

The shape is the engine's (`apitype.VersionedCheckpoint`, `CheckpointV3`). Only the engine changes a state. A missing state never counts as
an empty one, since the next `up` would then create every resource a second time.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs

from runner_platform.driver.backend import ATTRIBUTES, FolderStore
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

StateEntry = dict[str, Any]
"""One resource as the state holds it (`apitype.ResourceV3`)."""
CREATING: Final = "creating"
"""Type of a pending operation whose creation was not written down."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The last state of a stack."""

    resources: list[StateEntry]
    pending: list[dict[str, Any]]
    """Operations that began and did not end: `{"type": …, "resource": …}`."""
    digest: str
    """SHA-256 of the object. Every write of the engine changes it."""

    def of_type(self, token: str) -> list[StateEntry]:
        """Return the resources of a type."""
        return [entry for entry in self.resources if entry["type"] == token]

    @property
    def accounts(self) -> list[str]:
        """Ids of the AWS accounts to which the stack's providers are bound."""
        ids: set[str] = set()
        for provider in self.of_type("pulumi:providers:aws"):
            allowed = provider["inputs"].get("allowedAccountIds", [])
            ids.update(json.loads(allowed) if isinstance(allowed, str) else allowed)
        return sorted(ids)

    @property
    def empty(self) -> bool:
        """Whether the state holds only the stack itself and providers."""
        return all(
            entry["type"] == "pulumi:pulumi:Stack" or entry["type"].startswith("pulumi:providers:")
            for entry in self.resources
        )


def key_of(project: Project) -> str:
    """Return the key of the state's object."""
    return f".pulumi/stacks/{project.name}/{project.stack}.json"


def read(project: Project) -> Checkpoint | None:
    """Read the state of a stack; return None if the backend has no such object.

    Raises:
        FailedError: the object exists and cannot be read; the message says how to restore it.
    """
    key = key_of(project)
    content = project.store.read(key)
    packed = None if content is not None else project.store.read(f"{key}.gz")
    try:
        raw = content if packed is None else gzip.decompress(packed)
        if raw is None:
            return None
        latest = latest_deployment(json.loads(raw))
        return Checkpoint(
            resources=latest.get("resources") or [],
            pending=latest.get("pending_operations") or [],
            digest=hashlib.sha256(raw).hexdigest(),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        raise FailedError(describe_damaged(project)) from None


def latest_deployment(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the deployment within a checkpoint file.

    `pulumi stack import` and `change-secrets-provider` write the key with a capital; the engine reads both.
    """
    checkpoint = raw["checkpoint"]
    deployment: dict[str, Any] = checkpoint.get("latest") or checkpoint.get("Latest") or {}
    return deployment


def require(project: Project) -> Checkpoint:
    """Read the state of a stack that must exist.

    Raises:
        FailedError: the state is missing or damaged.
    """
    checkpoint = read(project)
    if checkpoint is None:
        raise FailedError(describe_missing(project))
    return checkpoint


def has_history(project: Project) -> bool:
    """Whether the backend remembers runs of the stack. `pulumi stack rm` removes the history, an accident does not."""
    return bool(project.store.keys(f".pulumi/history/{project.name}/{project.stack}/"))


def describe_missing(project: Project) -> str:
    """Explain a missing state, and the remedy."""
    problem = f"stack {project.stack} has no state in {project.store.url}"
    if has_history(project):
        return (
            f"{problem}, although it was deployed from there: the state object was lost. Nothing was created, since every resource would "
            f"be created a second time. Restore the object:\n{_restore_commands(project)}"
        )
    return (
        f"{problem}. If it was deployed before, this is another backend: compare PULUMI_BACKEND_URL. "
        f"If this is its first deployment: `runner-platform up --stack {project.stack} --create`"
    )


def describe_damaged(project: Project) -> str:
    """Explain an unreadable state, and the remedy."""
    return (
        f"the state of stack {project.stack} in {project.store.url} is cut short or is no JSON; nothing was touched. "
        f"Put a whole one back:\n{_restore_commands(project)}"
    )


def _restore_commands(project: Project) -> str:
    """Return shell commands that restore the newest copy, with older copies as comments."""
    folder = isinstance(project.store, FolderStore)
    lines = _restore_folder(project) if folder else _restore_bucket(project)
    refresh = f"runner-platform refresh --stack {project.stack}   # finds changes that are newer than the copy"
    return "\n".join(f"  {line}" for line in [*(lines or ["(the backend holds no copy)"]), refresh])


def _copies(project: Project) -> list[str]:
    """Keys of the copy by the last completed run, and of the copy before the last write."""
    previous = f"{key_of(project)}.bak"
    completed = project.store.keys(f".pulumi/backups/{project.name}/{project.stack}/")[-1:]
    return [*completed, *([previous] if project.store.read(previous) else [])]


def _restore_folder(project: Project) -> list[str]:
    folder, key = cast("FolderStore", project.store).folder, key_of(project)
    # A killed run has written states, and so `.bak`, after the last completed one.
    copies = sorted(_copies(project), key=lambda copy: (folder / copy).stat().st_mtime_ns, reverse=True)
    lines = [f"{'# or ' if number else ''}cp {folder}/{copy} {folder}/{key}" for number, copy in enumerate(copies)]
    return [*lines, *([f"rm -f {folder}/{key}{ATTRIBUTES}"] if lines else [])]


def _restore_bucket(project: Project) -> list[str]:
    """Versions of the object hold every write. The copies exist in a bucket without versions too."""
    base, _, query = project.store.url.partition("?")
    base = base.rstrip("/")
    bucket, _, prefix = base.removeprefix("s3://").partition("/")
    key = f"{prefix}/{key_of(project)}".lstrip("/")
    profile = f" --profile {profiles[0]}" if (profiles := parse_qs(query).get("profile")) else ""
    versions = f"--prefix {key} --query \"Versions[?Key=='{key}']|[:5].[VersionId,LastModified,Size]\" --output text"
    return [
        f"aws s3api list-object-versions{profile} --bucket {bucket} {versions}   # the newest first",
        f"aws s3api get-object{profile} --bucket {bucket} --key {key} --version-id <the newest that is whole> state.json",
        f"aws s3 cp{profile} state.json s3://{bucket}/{key}",
        *(f"# or aws s3 cp{profile} {base}/{copy} s3://{bucket}/{key}" for copy in _copies(project)),
    ]


def remove_half_written_attributes(project: Project) -> list[str]:
    """Remove attribute files that a killed engine left half written beside a state in a folder; return a sentence for each.

    The file backend (`fileblob` of the Go CDK) renames a finished state into place, but writes its attributes in place. Cut short, they
    make the engine refuse the whole state with `EOF`; without them it works.
    """
    if not isinstance(project.store, FolderStore):
        return []
    sentences = []
    for file in sorted((project.store.folder / key_of(project)).parent.glob(f"{project.stack}.json*{ATTRIBUTES}")):
        try:
            json.loads(file.read_text())
        except ValueError:
            file.unlink()
            sentences.append(
                f"{file.name} was half written when the last run was killed; it is removed, the state is whole"
            )
    return sentences
