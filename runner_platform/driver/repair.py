"""Resources whose creation was begun and never written down: they are looked for, not guessed about.

An engine that is killed while a provider makes something cannot write down the result: the state only says that a creation was begun.
Running on would make a second one (the engine only warns), and clearing the entry would lose the first. So each is looked for in its
cloud (`runner_platform.driver.finders`): what exists goes into the state under its id and is read back by its own provider, what does not is
crossed out and made again. So is a GitLab runner that exists: its token was shown once (`runner_platform.driver.lost_runners`).
"""

from __future__ import annotations

import json
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

from runner_platform.driver import finders, lost_runners, releases, state
from runner_platform.driver.events import label
from runner_platform.driver.state import CREATING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner_platform.driver.session import Session
    from runner_platform.driver.state import Resource


SETTLE_SECONDS: Final = 3.0
"""What a provider had sent before it died may take effect a moment later."""


def pending(session: Session) -> None:
    """Settle the pending operations of a stack whose turn the session has.

    Raises:
        FailedError: a cloud cannot be asked, or several resources fit one creation.
    """
    known = state.require(session.project)
    if not known.pending:
        return
    exported = json.loads(session.query("stack", "export"))
    operations = exported["deployment"].get("pending_operations") or []
    for each in operations:
        if each["type"] != CREATING:
            session.note(f"{label(each['resource']['urn'])} was in the middle of {each['type']}; it is read back")
    _settle(
        session,
        exported,
        begun=[each["resource"] for each in operations if each["type"] == CREATING],
        touched=[each["resource"]["urn"] for each in operations if each["type"] != CREATING],
    )


def unfinished(session: Session) -> None:
    """Look for what was being made when a provider's process ended or its request stayed without answer.

    The engine takes such a creation for one that never happened.

    Raises:
        FailedError: a cloud cannot be asked, or several resources fit one creation.
    """
    begun = session.progress.unfinished
    if session.progress.uncertain and begun:
        time.sleep(SETTLE_SECONDS)
        _settle(session, json.loads(session.query("stack", "export")), begun=begun, touched=[])


def _settle(session: Session, exported: dict[str, Any], *, begun: list[Resource], touched: list[str]) -> None:
    deployment = exported["deployment"]
    resources = deployment.get("resources") or []
    found = _looked_for(session, begun, resources)
    deployment["resources"] = settled(resources, begun, found)
    deployment["pending_operations"] = []
    _import(session, exported)
    kept = [resource["urn"] for resource, identifier in zip(begun, found, strict=True) if identifier]
    present = {each["urn"] for each in deployment["resources"]}
    targets = [urn for urn in (*kept, *touched) if urn in present]
    if targets:
        session.drive(lambda on_event: session.stack.refresh(on_event=on_event, target=targets))


def _looked_for(session: Session, begun: Sequence[Resource], resources: Sequence[Resource]) -> list[str | None]:
    """The id of each that is kept, None for those that are made again; says what was found."""
    answers = finders.assign([question(each, resources) for each in begun])
    for index, each in enumerate(begun):
        if each["type"] == releases.RELEASE:
            answers[index] = releases.find(session, each.get("inputs", {}))
    kept: list[str | None] = []
    for resource, identifier in zip(begun, answers, strict=True):
        lost = identifier is not None and resource["type"] == lost_runners.RUNNER
        if identifier and lost:
            lost_runners.delete(_provider(resource, resources).get("baseUrl"), identifier)
            ending = (
                f"it exists (runner {identifier}), but GitLab shows a token once only: it is deleted and made again"
            )
        else:
            ending = f"it exists ({identifier}) and is kept" if identifier else "it is made again"
        session.note(f"{label(resource['urn'])} was being made when {session.cause}; {ending}")
        kept.append(None if lost else identifier)
    return kept


def settled(resources: Sequence[Resource], begun: Sequence[Resource], found: Sequence[str | None]) -> list[Resource]:
    """The state's resources with those that were found added.

    A creation may have been the first half of a replacement: then the state still holds the old resource under the same URN, which the
    engine would have deleted next, so it is marked for deletion.
    """
    added = {
        resource["urn"]: {**resource, "id": identifier, "outputs": resource.get("inputs", {})}
        for resource, identifier in zip(begun, found, strict=True)
        if identifier
    }
    kept = [
        {**resource, "delete": True} if resource["urn"] in added and resource.get("custom") else resource
        for resource in resources
    ]
    return [*kept, *added.values()]


def question(resource: Resource, resources: Sequence[Resource]) -> finders.Wanted:
    """What to look for: whatever has its id in the state already is not what was being made.

    Not even under the same URN, since that is the one to be replaced. A name may exist in several accounts, so only resources of the same
    provider count.
    """
    provider = _provider(resource, resources)
    same = ("type", "provider")
    siblings = [entry for entry in resources if all(entry.get(key) == resource.get(key) for key in same)]
    return finders.Wanted(
        token=resource["type"],
        inputs=resource.get("inputs", {}),
        profile=provider.get("profile"),
        region=provider.get("region"),
        known=[entry["id"] for entry in siblings if entry.get("id")],
        url=provider.get("baseUrl"),
    )


def _provider(resource: Resource, resources: Sequence[Resource]) -> dict[str, Any]:
    """Inputs of the provider that makes a resource."""
    urn = str(resource.get("provider", "")).rpartition("::")[0]
    inputs: dict[str, Any] = next((entry for entry in resources if entry["urn"] == urn), {}).get("inputs", {})
    return inputs


def _import(session: Session, exported: dict[str, Any]) -> None:
    with tempfile.NamedTemporaryFile("w", prefix="runner-platform-", suffix=".json") as file:  # mode 0600
        json.dump(exported, file)
        file.flush()
        session.query("stack", "import", "--file", file.name)
