"""What a killed deployment left in a stack: its lock, and resources that were being made.

Owns the proof that a lock is dead and the mending of pending creates. An engine that is killed while a provider makes
something cannot write down the result: the state only says that a creation was begun. Running on would make a second
one, and forgetting it would lose the first. So each such resource is looked for in the cloud (`sandbox.finders`):
what exists goes into the state under its id and is read back by its provider, what does not is crossed out and made
again. So is a GitLab runner that exists: its token was shown once and is lost with the answer (`sandbox.lost_runners`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from sandbox import engine_locks, engine_state, lost_runners
from sandbox.engine_log import label
from sandbox.errors import SandboxError
from sandbox.providers.base import ProviderError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from sandbox.engine_run import Engine

CREATING: Final = "creating"
Resource = dict[str, Any]


def recover(engine: Engine, stack: str, folder: Path, say: Callable[[str], None]) -> None:
    """Make a stack usable after a run that was killed; does nothing to one that ended in order.

    Args:
        engine: How the engine is called.
        stack: Name of the stack; it exists.
        folder: Its project.
        say: Takes a sentence for each thing found.

    Raises:
        SandboxError: A live run holds the stack (exit code 4), or the state cannot be mended.
    """
    project = engine_state.project_name(folder)
    engine_locks.release_dead(engine.paths.backend, project, stack, say)
    drop_half_written(engine.paths.backend, project, stack, say)
    known = engine_state.read(engine.paths.backend, project, stack)
    if known is None or all(entry["type"] != CREATING for entry in known.pending):
        return
    exported = json.loads(engine.query(["stack", "export", "--stack", stack], folder))
    deployment = exported["deployment"]
    pending = [entry["resource"] for entry in deployment.get("pending_operations") or [] if entry["type"] == CREATING]
    resources = deployment.get("resources") or []
    found = [
        usable(engine, resource, identifier, resources, say)
        for resource, identifier in zip(pending, look(engine, pending, resources), strict=True)
    ]
    deployment["resources"] = settle(resources, pending, found)
    deployment["pending_operations"] = []
    engine.query(["stack", "import", "--stack", stack], folder, stdin=json.dumps(exported))
    targets = [resource["urn"] for resource, identifier in zip(pending, found, strict=True) if identifier]
    if targets:
        arguments = ["refresh", "--stack", stack, "--yes", "--skip-preview", "--suppress-progress"]
        engine.query([*arguments, *(f"--target={urn}" for urn in targets)], folder)


def drop_half_written(backend: Path, project: str, stack: str, say: Callable[[str], None]) -> None:
    """Remove attribute files that a killed engine left half written beside a stack's state.

    The file backend (`fileblob` of the Go CDK) writes a state to another file and renames it, but its attributes in place; cut short,
    they make the engine refuse the whole state with `EOF`. It does without them when they are not there.
    """
    for file in sorted((backend / ".pulumi" / "stacks" / project).glob(f"{stack}.json*.attrs")):
        try:
            json.loads(file.read_text())
        except ValueError:
            file.unlink()
            say(
                f"{stack}: {file.name} was half written when the last run was killed; it is removed, the state itself is whole"
            )


def usable(
    engine: Engine,
    resource: Resource,
    identifier: str | None,
    resources: Sequence[Resource],
    say: Callable[[str], None],
) -> str | None:
    """Say what was found of a resource; returns its id where it is kept, None where it is made again.

    Args:
        engine: How the engine is called; its environment leads to GitLab.
        resource: What was being made.
        identifier: Its id, None where it does not exist.
        resources: Everything that the state holds.
        say: Takes the sentence.

    Raises:
        SandboxError: A runner whose token is lost cannot be deleted.
    """
    lost = identifier is not None and resource["type"] == lost_runners.RUNNER
    if identifier and lost:
        try:
            lost_runners.delete(engine.environment, _provider(resource, resources).get("baseUrl"), identifier)
        except ProviderError as error:
            raise SandboxError(
                f"runner {identifier} was made by a killed run, its token is lost, and it cannot be deleted: {error}",
                "delete it in GitLab; the next run makes another",
            ) from error
        ending = f"it exists (runner {identifier}), but GitLab shows a token once only: it is deleted and made again"
    else:
        ending = f"it exists ({identifier}) and is kept" if identifier else "it is made again"
    say(f"{label(resource['urn'])} was being made when the last run was killed; {ending}")
    return None if lost else identifier


def settle(resources: Sequence[Resource], pending: Sequence[Resource], found: Sequence[str | None]) -> list[Resource]:
    """The state's resources with those that were found added.

    A creation may have been the first half of a replacement: then the state still holds the old resource under the same
    URN, which the engine would have deleted next, so it is marked for deletion.
    """
    added = {
        resource["urn"]: {**resource, "id": identifier, "outputs": resource.get("inputs", {})}
        for resource, identifier in zip(pending, found, strict=True)
        if identifier
    }
    kept = [
        {**resource, "delete": True} if resource["urn"] in added and resource.get("custom") else resource
        for resource in resources
    ]
    return [*kept, *added.values()]


def look(engine: Engine, pending: Sequence[Resource], resources: Sequence[Resource]) -> list[str | None]:
    """The id of each pending resource that exists, None for the others.

    Args:
        engine: How the engine is called; its environment leads to the cloud.
        pending: Resources as the state has them, whose ids are not known.
        resources: Everything that the state holds: whatever has its id there is not what was being made, not even
            under the same URN, since that is the one to be replaced.

    Raises:
        SandboxError: The cloud cannot be asked, or several resources fit one of them.
    """
    questions = [_question(resource, resources) for resource in pending]
    done = subprocess.run(
        [sys.executable, "-m", "sandbox.finders"],
        env=dict(engine.environment),
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SandboxError(
            f"cannot tell what the killed run has made: {done.stderr.strip()[-500:]}",
            "mend the state with `pulumi import`, or start clean with `runner-platform sandbox reset`",
        )
    found: list[str | None] = json.loads(done.stdout)
    return found


def _question(resource: Resource, resources: Sequence[Resource]) -> dict[str, Any]:
    provider = _provider(resource, resources)
    same = ("type", "provider")  # a name may exist in several accounts
    siblings = [entry for entry in resources if all(entry.get(key) == resource.get(key) for key in same)]
    return {
        "token": resource["type"],
        "inputs": resource.get("inputs", {}),
        "profile": provider.get("profile"),
        "region": provider.get("region"),
        "known": [entry["id"] for entry in siblings if entry.get("id")],
        "url": provider.get("baseUrl"),
    }


def _provider(resource: Resource, resources: Sequence[Resource]) -> dict[str, Any]:
    """Inputs of the provider that makes a resource."""
    urn = str(resource.get("provider", "")).rpartition("::")[0]
    inputs: dict[str, Any] = next((entry for entry in resources if entry["urn"] == urn), {}).get("inputs", {})
    return inputs
