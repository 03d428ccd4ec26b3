"""Runs a program under mocks: no engine, no cloud, no credentials.

A recording monitor takes the engine's place: it notes every registration with its options, and answers with outputs that the programs
use, all known, so that every document can be evaluated. An unlisted type or function is an error.
Leans on `MockMonitor` of `pulumi.runtime.mocks`, which the SDK's own tests use; only this file does, so that a change breaks one place.
"""

from __future__ import annotations

import asyncio
import gc
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

from access.resource import SECRET, STACK_TYPE, UNKNOWN, Resource
from config import foundation, load, settings
from runner_platform.check.mock_cloud import Mocks
from runner_platform.stacks import project_of, stack_file
from runner_platform.urns import urn

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TYPES_WITH_OUTPUTS = frozenset({"aws:eks/cluster:Cluster"})
"""Types whose outputs are kept: a rule compares the cluster's issuer with the one that the program uses."""


@dataclass
class MockRun:
    """The resources and outputs that a program registered under mocks."""

    resources: list[Resource] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)

    def of_type(self, token: str) -> list[Resource]:
        """Resources of a type, in order of registration."""
        return [resource for resource in self.resources if resource.type == token]

    def get(self, token: str, name: str) -> Resource:
        """The one resource of a type and logical name.

        Raises:
            LookupError: there is none, or more than one.
        """
        matches = [resource for resource in self.of_type(token) if resource.name == name]
        if len(matches) != 1:
            names = ", ".join(resource.name for resource in self.of_type(token))
            raise LookupError(f"{len(matches)} resources of {token} are named {name!r}; names of that type: {names}")
        return matches[0]


class Monitor(mocks.MockMonitor):
    """Notes every registration with its options."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.run = MockRun()
        self._inputs: dict[str, Mapping[str, Any]] = {}
        """Inputs by URN; a provider is registered before the resources that use it."""

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Make the engine's URN, by which policy exceptions name a resource; the SDK's mock would keep only the parent's type."""
        return urn(pulumi.get_stack(), pulumi.get_project(), parent, type_, name)

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # the protocol's name
        """Note the request, and let the SDK's own mock answer it."""
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]  # the SDK's mock is untyped
        if request.type != STACK_TYPE:
            self._inputs[response.urn] = _plain(rpc.deserialize_properties(request.object, keep_unknowns=True))
            self.run.resources.append(self._resource(request, response))
        return response

    def _resource(self, request: Any, response: Any) -> Resource:
        outputs = response.object if request.type in TYPES_WITH_OUTPUTS else None
        provider, _, provider_id = request.provider.rpartition("::")
        return Resource(
            urn=response.urn,
            type=request.type,
            name=request.name,
            inputs=self._inputs[response.urn],
            outputs=_plain(rpc.deserialize_properties(outputs, keep_unknowns=True)) if outputs is not None else {},
            parent="" if f"{STACK_TYPE}::" in request.parent else request.parent,
            provider=provider,
            provider_id=provider_id,
            provider_inputs=self._inputs.get(provider),
            custom=request.custom,
            protect=request.protect,
            retain_on_delete=request.retainOnDelete,
            depends_on=tuple(sorted(request.dependencies)),
            property_dependencies={
                key: tuple(sorted(dependencies.urns)) for key, dependencies in request.propertyDependencies.items()
            },
            ignore_changes=tuple(request.ignoreChanges),
            deleted_with=request.deletedWith,
            delete_timeout=request.customTimeouts.delete,
            aliases=tuple(alias.urn for alias in request.aliases),
            source=_source(request.sourcePosition),
        )


def _source(position: Any) -> str:
    path = unquote(urlsplit(position.uri).path)
    root = f"{load.ROOT}/"
    return f"{path.removeprefix(root)}:{position.line}" if path.startswith(root) else ""


def _plain(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return SECRET
    if isinstance(value, dict):
        return {key: _plain(member) for key, member in value.items()}
    if isinstance(value, list):
        return [_plain(member) for member in value]
    if contains_unknowns(value):
        return UNKNOWN
    return int(value) if isinstance(value, float) and value.is_integer() else value


def run_program(stack: str, configuration: Mapping[str, Any] | None = None) -> MockRun:
    """Run a stack's program under mocks.

    Args:
        stack: `foundation`, or a stack of the platform.
        configuration: values by key without the project's namespace, instead of the stack's file.

    Raises:
        SettingsError: the configuration cannot be used.
    """
    project = project_of(stack)
    folder = load.ROOT / "foundation" if stack == foundation.STACK else load.ROOT
    values = load.raw_of(load.ROOT / stack_file(stack), project) if configuration is None else configuration
    return run_file(folder / "__main__.py", project, stack, values)


def run_file(program: Path, project: str, stack: str, values: Mapping[str, Any]) -> MockRun:
    """Run a program's file under mocks with this configuration."""
    with _no_garbage_collection(), _event_loop() as loop:
        network = values.get("network")
        answers = Mocks(network.get("existing") if isinstance(network, dict) else None)
        monitor = Monitor(answers)
        runtime_settings.reset_options()
        readable = {**values, **_tokens(values)}
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in readable.items()}
        runtime_config.set_all_config(
            {f"{project}:{key}": text for key, text in texts.items()},
            secret_keys=[f"{project}:{key}" for key in settings.SECRET_KEYS],
        )
        mocks.set_mocks(answers, project=project, stack=stack, preview=False, monitor=monitor)
        loop.run_until_complete(run_pulumi_func(lambda: _execute(program)))
        monitor.run.exports = loop.run_until_complete(_exports())
    return monitor.run


def _tokens(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Put a stand-in for each encrypted token, which only the engine can read."""
    tokens, runners = values.get("tokens"), values.get("runners")
    if not isinstance(tokens, dict):
        return {}
    if settings.is_encrypted(tokens):
        tokens = dict.fromkeys(runners if isinstance(runners, dict) else (), tokens)
    return {"tokens": {name: SECRET if settings.is_encrypted(token) else token for name, token in tokens.items()}}


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Stop the search for cycles: the SDKs' thousands of classes and the program's outputs stay, and searching them takes a third of a run."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    # The SDK makes a loop in every thread that lacks one, also in those that answer registrations, and closes none.
    loops: list[asyncio.AbstractEventLoop] = []

    def own_loop() -> None:
        loops.append(asyncio.new_event_loop())
        asyncio.set_event_loop(loops[-1])

    own_loop()
    threads = ThreadPoolExecutor(initializer=own_loop)
    loops[0].set_default_executor(threads)
    try:
        yield loops[0]
    finally:
        threads.shutdown()
        asyncio.set_event_loop(None)
        for loop in loops:
            loop.close()


def _execute(program: Path) -> None:
    runpy.run_path(str(program), run_name="__main__")


async def _exports() -> dict[str, Any]:
    outputs = getattr(runtime_settings.get_root_resource(), "outputs", {})
    return {key: await pulumi.Output.from_input(value).future() for key, value in outputs.items()}
