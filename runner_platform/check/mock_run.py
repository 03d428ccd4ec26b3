"""Running a program under mocks: no engine, no cloud, no credentials.

A recording monitor stands where the engine would: it notes every registration with its options, and answers with outputs that the
programs use, all known, so that every document can be read and judged. A type or call that it was not told about is an error.
Leans on `MockMonitor` of `pulumi.runtime.mocks`, which the SDK's own tests use; kept in this one file, so that a change breaks one place.
"""

from __future__ import annotations

import asyncio
import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pulumi
from pulumi.output import contains_unknowns
from pulumi.runtime import config as runtime_config
from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.stack import run_pulumi_func

from config import foundation, load
from config import settings as platform
from runner_platform.check.mock_cloud import Mocks
from runner_platform.urns import STACK_TYPE, urn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ANSWERS_MORE = frozenset({"aws:eks/cluster:Cluster"})
"""Types whose answers are noted: a rule compares the issuer that the cluster answered with the one that the program uses."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One resource as the program registers it."""

    urn: str
    type: str
    name: str
    parent: str
    """URN of the parent; empty for the stack's own."""
    provider: str
    """Reference to the provider, `<urn>::<id>`; empty for components."""
    custom: bool
    protect: bool
    retain_on_delete: bool
    depends_on: tuple[str, ...]
    """URNs, sorted."""
    deleted_with: str
    """URN of what takes it along when it is deleted; empty for what is deleted by itself."""
    delete_timeout: str
    aliases: tuple[str, ...]
    inputs: Mapping[str, Any]
    """Wire names; secrets are `[secret]`."""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What the mocks answered, in the same shape; only of types whose answer rules compare with."""
    source: str = ""
    """Where the program makes it, `file:line`, relative to the project; empty where the SDK did not say."""


@dataclass
class Rehearsal:
    """What a program registered and exported."""

    registrations: list[Registration] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)

    def of_type(self, token: str) -> list[Registration]:
        """Registrations of a type, in order."""
        return [each for each in self.registrations if each.type == token]

    def one(self, token: str, name: str) -> Registration:
        """The registration of a type and logical name.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = [each for each in self.of_type(token) if each.name == name]
        if len(found) != 1:
            known = ", ".join(each.name for each in self.of_type(token))
            raise LookupError(f"{len(found)} registrations of {token} named {name!r}; there are: {known}")
        return found[0]


class Monitor(mocks.MockMonitor):
    """Notes every registration with its options."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.rehearsal = Rehearsal()

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The engine's URN: the SDK's mock keeps no type but the parent's. Exceptions name resources by it, in a check and a preview alike."""
        return urn(pulumi.get_stack(), pulumi.get_project(), parent, type_, name)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # the protocol's name
        """Note the request, then let the SDK's own mock answer it."""
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]  # the SDK's mock is untyped
        if request.type != STACK_TYPE:
            self.rehearsal.registrations.append(_registration(request, response))
        return response


def _registration(request: Any, response: Any) -> Registration:
    answered = response.object if request.type in ANSWERS_MORE else None
    return Registration(
        urn=response.urn,
        type=request.type,
        name=request.name,
        parent="" if f"{STACK_TYPE}::" in request.parent else request.parent,
        provider=request.provider,
        custom=request.custom,
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        depends_on=tuple(sorted(request.dependencies)),
        deleted_with=request.deletedWith,
        delete_timeout=request.customTimeouts.delete,
        aliases=tuple(alias.urn for alias in request.aliases),
        inputs=_shown(rpc.deserialize_properties(request.object, keep_unknowns=True)),
        outputs=_shown(rpc.deserialize_properties(answered, keep_unknowns=True)) if answered is not None else {},
        source=_source(request.sourcePosition),
    )


def _source(position: Any) -> str:
    path = unquote(urlsplit(position.uri).path)
    root = f"{load.ROOT}/"
    return f"{path.removeprefix(root)}:{position.line}" if path.startswith(root) else ""


def _shown(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return "[secret]"
    if isinstance(value, dict):
        return {key: _shown(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if contains_unknowns(value):
        return "[unknown]"
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rehearse(stack: str, configuration: Mapping[str, Any] | None = None) -> Rehearsal:
    """Run a stack's program under mocks.

    Args:
        stack: `foundation`, or a stack of the platform.
        configuration: values by key without the project's namespace, instead of the stack's file.

    Raises:
        SettingsError: the configuration cannot be used.
    """
    if stack == foundation.STACK:
        project, program, file = (
            foundation.PROJECT,
            load.ROOT / "foundation",
            load.ROOT / "foundation" / "Pulumi.foundation.yaml",
        )
    else:
        project, program, file = platform.PROJECT, load.ROOT, load.ROOT / f"Pulumi.{stack}.yaml"
    values = load.raw_of(file, project) if configuration is None else configuration
    return run(program / "__main__.py", project, stack, values)


def run(program: Path, project: str, stack: str, values: Mapping[str, Any]) -> Rehearsal:
    """Run a program file under mocks with this configuration."""
    with _event_loop() as loop:
        network = values.get("network")
        answers = Mocks(network.get("existing") if isinstance(network, dict) else None)
        monitor = Monitor(answers)
        runtime_settings.reset_options()
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
        runtime_config.set_all_config({f"{project}:{key}": text for key, text in texts.items()})
        mocks.set_mocks(answers, project=project, stack=stack, preview=False, monitor=monitor)
        loop.run_until_complete(run_pulumi_func(lambda: _execute(program)))
        monitor.rehearsal.exports = loop.run_until_complete(_exports())
    return monitor.rehearsal


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    # The SDK makes a loop wherever there is none, in the threads that answer registrations too, and closes none of them.
    made: list[asyncio.AbstractEventLoop] = []

    def own_loop() -> None:
        made.append(asyncio.new_event_loop())
        asyncio.set_event_loop(made[-1])

    own_loop()
    threads = ThreadPoolExecutor(initializer=own_loop)
    made[0].set_default_executor(threads)
    try:
        yield made[0]
    finally:
        threads.shutdown()
        asyncio.set_event_loop(None)
        for loop in made:
            loop.close()


def _execute(program: Path) -> None:
    runpy.run_path(str(program), run_name="__main__")


async def _exports() -> dict[str, Any]:
    outputs = getattr(runtime_settings.get_root_resource(), "outputs", {})
    return {key: await pulumi.Output.from_input(value).future() for key, value in outputs.items()}
