"""A stack's state as a self-managed backend keeps it: for reading, and for saying what is wrong with it.

Owns the place and the shape of a checkpoint (`apitype.VersionedCheckpoint` and `CheckpointV3` of the engine) and the words for a state
that is missing or damaged. Whatever is changed goes through the engine. A missing state is never taken for an empty one: the next `up`
would make everything a second time.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import parse_qs

from runner_platform.driver.store import ATTRIBUTES, FolderStore
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from runner_platform.driver.project import Project

Resource = dict[str, Any]
CREATING: Final = "creating"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The last state of a stack."""

    resources: list[Resource]
    pending: list[dict[str, Any]]
    """Operations that were begun and not ended: `{"type": …, "resource": …}`."""
    digest: str
    """SHA-256 of the object: any write of the engine changes it."""

    def of_type(self, token: str) -> list[Resource]:
        """Resources of a type."""
        return [each for each in self.resources if each["type"] == token]

    @property
    def accounts(self) -> list[str]:
        """Ids of the AWS accounts that its providers are bound to."""
        found: set[str] = set()
        for each in self.of_type("pulumi:providers:aws"):
            allowed = each["inputs"].get("allowedAccountIds", [])
            found.update(json.loads(allowed) if isinstance(allowed, str) else allowed)
        return sorted(found)

    @property
    def empty(self) -> bool:
        """Whether nothing but the stack itself and providers is in it."""
        return all(
            each["type"] == "pulumi:pulumi:Stack" or each["type"].startswith("pulumi:providers:")
            for each in self.resources
        )


def key_of(project: Project) -> str:
    """Key of the state's object."""
    return f".pulumi/stacks/{project.name}/{project.stack}.json"


def read(project: Project) -> Checkpoint | None:
    """The state of a stack, None where the backend has none.

    Raises:
        FailedError: the object is there and cannot be understood; says how to restore it.
    """
    key = key_of(project)
    content = project.store.read(key)
    packed = None if content is not None else project.store.read(f"{key}.gz")
    try:
        raw = content if packed is None else gzip.decompress(packed)
        if raw is None:
            return None
        checkpoint = json.loads(raw)["checkpoint"]
        # `pulumi stack import` and `change-secrets-provider` write these keys with capitals; the engine reads both.
        latest = checkpoint.get("latest") or checkpoint.get("Latest") or {}
        return Checkpoint(
            resources=latest.get("resources") or [],
            pending=latest.get("pending_operations") or [],
            digest=hashlib.sha256(raw).hexdigest(),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        raise FailedError(damaged(project)) from None


def require(project: Project) -> Checkpoint:
    """The state of a stack that must exist.

    Raises:
        FailedError: it is missing or damaged.
    """
    found = read(project)
    if found is None:
        raise FailedError(missing(project))
    return found


def existed(project: Project) -> bool:
    """Whether the backend remembers runs of the stack: `pulumi stack rm` removes its history too, an accident does not."""
    return bool(project.store.keys(f".pulumi/history/{project.name}/{project.stack}/"))


def missing(project: Project) -> str:
    """What to say where there is no state."""
    where = f"stack {project.stack} has no state in {project.store.url}"
    if existed(project):
        return (
            f"{where}, although it has been deployed from there: the state object was lost. Nothing is created: everything would be "
            f"made a second time. Restore the object:\n{_restoring(project)}"
        )
    return (
        f"{where}. If it was deployed before, the backend is another one: compare PULUMI_BACKEND_URL. "
        f"If this is its first deployment: `runner-platform up --stack {project.stack} --create`"
    )


def damaged(project: Project) -> str:
    """What to say where the state cannot be read."""
    return (
        f"the state of stack {project.stack} in {project.store.url} is cut short or is no JSON; nothing was touched. "
        f"Put a whole one back:\n{_restoring(project)}"
    )


def _restoring(project: Project) -> str:
    """Commands that bring a state back, as they can be pasted: the newest copy's, the others as comments."""
    folder = isinstance(project.store, FolderStore)
    lines = _from_folder(project) if folder else _from_bucket(project)
    then = f"runner-platform refresh --stack {project.stack}   # what is newer than the copy is found again"
    return "\n".join(f"  {line}" for line in [*(lines or ["(the backend holds no copy)"]), then])


def _copies(project: Project) -> list[str]:
    """Keys of the copy that the last completed run left, and of what stood there before the last write."""
    before = f"{key_of(project)}.bak"
    completed = project.store.keys(f".pulumi/backups/{project.name}/{project.stack}/")[-1:]
    return [*completed, *([before] if project.store.read(before) else [])]


def _from_folder(project: Project) -> list[str]:
    folder, key = cast("FolderStore", project.store).folder, key_of(project)
    # A run that was killed has written states, and so `.bak`, after the last completed one.
    sources = sorted(_copies(project), key=lambda source: (folder / source).stat().st_mtime_ns, reverse=True)
    lines = [f"{'# or ' if number else ''}cp {folder}/{source} {folder}/{key}" for number, source in enumerate(sources)]
    return [*lines, *([f"rm -f {folder}/{key}{ATTRIBUTES}"] if lines else [])]


def _from_bucket(project: Project) -> list[str]:
    """Versions hold every write; copies are there even where somebody's own bucket keeps none."""
    base, _, query = project.store.url.partition("?")
    base = base.rstrip("/")
    bucket, _, prefix = base.removeprefix("s3://").partition("/")
    key = f"{prefix}/{key_of(project)}".lstrip("/")
    profile = f" --profile {given[0]}" if (given := parse_qs(query).get("profile")) else ""
    listed = f"--prefix {key} --query \"Versions[?Key=='{key}']|[:5].[VersionId,LastModified,Size]\" --output text"
    return [
        f"aws s3api list-object-versions{profile} --bucket {bucket} {listed}   # the newest first",
        f"aws s3api get-object{profile} --bucket {bucket} --key {key} --version-id <the newest that is whole> state.json",
        f"aws s3 cp{profile} state.json s3://{bucket}/{key}",
        *(f"# or aws s3 cp{profile} {base}/{source} s3://{bucket}/{key}" for source in _copies(project)),
    ]


def drop_half_written(project: Project) -> list[str]:
    """Remove attribute files that a killed engine left half written beside a state in a folder; returns sentences.

    The file backend (`fileblob` of the Go CDK) writes a state to another file and renames it, but its attributes in place; cut short,
    they make the engine refuse the whole state with `EOF`. It does without them when they are not there.
    """
    if not isinstance(project.store, FolderStore):
        return []
    said = []
    for file in sorted((project.store.folder / key_of(project)).parent.glob(f"{project.stack}.json*{ATTRIBUTES}")):
        try:
            json.loads(file.read_text())
        except ValueError:
            file.unlink()
            said.append(f"{file.name} was half written when the last run was killed; it is removed, the state is whole")
    return said
