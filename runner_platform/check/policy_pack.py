"""The policy pack in a process of its own: started as the language host starts it, called as the engine calls it.

Turns resources into the protocol's requests, and the pack's diagnostics into findings. The pack may come from another folder than the
program, for example from a checkout of the target branch.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2_grpc

from access.resource import ENGINE_UNKNOWN, UNKNOWN
from config import load
from runner_platform.check.diagnostics import SETTING_TAG, Places, findings
from runner_platform.errors import FailedError
from runner_platform.stacks import project_of, stack_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from access.resource import Resource
    from runner_platform.reports.findings import Finding

POLICIES = load.ROOT / "policies"
"""The pack of this checkout."""
CONFIGURATION = "config.json"
"""File of a pack with its thresholds; without the file the defaults hold."""
BOOT_SECONDS = 60
STOP_SECONDS = 5
MESSAGE_SIZE = 400 * 1024 * 1024
"""Longest message in bytes, as the SDK's own server has it: a whole stack is one message."""
INHERITED = ("HOME", "LANG", "PATH", "TMPDIR", "VIRTUAL_ENV")
"""Environment variables that the pack's process gets."""
LEVELS = {
    "advisory": proto.ADVISORY,
    "mandatory": proto.MANDATORY,
    "remediate": proto.REMEDIATE,
    "disabled": proto.DISABLED,
}


class PackProcess:
    """A running pack; a context manager that ends it."""

    def __init__(self, folder: Path, project: str, stack: str, values: Mapping[str, Any]) -> None:
        """Start the pack, and return before it listens.

        Args:
            folder: the pack's folder.
            project: the project to evaluate.
            stack: the stack to evaluate.
            values: the stack's configuration by key, without the project's namespace.

        Raises:
            FailedError: there is no pack in the folder.
        """
        if not (folder / "PulumiPolicy.yaml").is_file():
            raise FailedError(
                f"{folder} holds no policy pack: there is no PulumiPolicy.yaml; name the folder `policies` of a checkout"
            )
        texts = {
            f"{project}:{key}": value if isinstance(value, str) else json.dumps(value) for key, value in values.items()
        }
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", str(folder)],
            cwd=folder,
            env={
                **{name: os.environ[name] for name in INHERITED if name in os.environ},
                "PULUMI_PROJECT": project,
                "PULUMI_STACK": stack,
                # A mock run and a deployed state hold no unknown value, so no finding may be deferred.
                "PULUMI_DRY_RUN": "false",
                "PULUMI_CONFIG": json.dumps(texts),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stack = stack
        self.configuration: Mapping[str, Any] = {}
        """A level or an object of options by policy, `all` for every policy; sent before the first resource."""
        self._stub: Any = None
        self._channel: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._channel is not None:
            self._channel.close()
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def analyzer(self) -> Any:
        """The protocol's stub, once the pack listens.

        Raises:
            FailedError: the pack ended instead, or never listened.
        """
        if self._stub is None:
            options = [
                ("grpc.max_send_message_length", MESSAGE_SIZE),
                ("grpc.max_receive_message_length", MESSAGE_SIZE),
            ]
            self._channel = grpc.insecure_channel(f"127.0.0.1:{self._port()}", options=options)
            self._stub = analyzer_pb2_grpc.AnalyzerStub(self._channel)
        return self._stub

    def _port(self) -> int:
        stdout = self._process.stdout
        if stdout is None:
            raise RuntimeError("the pack's standard output is a pipe")
        with selectors.DefaultSelector() as waiting:
            waiting.register(stdout, selectors.EVENT_READ)
            line = stdout.readline().strip() if waiting.select(BOOT_SECONDS) else ""
        if line.isdigit():
            return int(line)
        self._process.terminate()
        _, stderr = self._process.communicate()
        messages = [text for text in stderr.splitlines() if text.strip()] or ["it wrote no message"]
        raise FailedError(f"the policy pack did not start: {messages[-1].strip()}")

    def info(self) -> Any:
        """Names, levels and configuration schemas of the policies."""
        return self._call(lambda: self.analyzer.GetAnalyzerInfo(empty_pb2.Empty()))

    def rules(self) -> list[tuple[str, str]]:
        """Id and name of every rule."""
        return [(policy.tags[0] if policy.tags else policy.name, policy.name) for policy in self.info().policies]

    def settings(self) -> dict[str, list[str]]:
        """Paths of the settings behind every policy (`Rule.settings`), by the policy's name."""
        return {
            policy.name: [tag.removeprefix(SETTING_TAG) for tag in policy.tags if tag.startswith(SETTING_TAG)]
            for policy in self.info().policies
        }

    def diagnostics(self, requests: Iterable[Any], stack_request: Any) -> list[Any]:
        """Diagnostics of single resources, then of the whole stack."""
        self._configure()
        responses = [self._analyze(request) for request in requests]
        responses.append(self._call(lambda: self.analyzer.AnalyzeStack(stack_request)))
        return [diagnostic for response in responses for diagnostic in response.diagnostics]

    def _configure(self) -> None:
        request = proto.ConfigureAnalyzerRequest()
        for policy in self.info().policies:
            value = self.configuration.get(policy.name, self.configuration.get("all", {}))
            options = dict(value) if isinstance(value, dict) else {"enforcementLevel": value}
            level = options.pop("enforcementLevel", None)
            entry = request.policyConfig[policy.name]
            entry.enforcementLevel = policy.enforcementLevel if level is None else LEVELS[level]
            entry.properties.update(options)
        self._call(lambda: self.analyzer.Configure(request))

    def _analyze(self, request: Any) -> Any:
        return self._call(lambda: self.analyzer.Analyze(request))

    def _call(self, method: Callable[[], Any]) -> Any:
        try:
            return method()
        except grpc.RpcError as error:
            details = str(error.details()) if isinstance(error, grpc.Call) else str(error)
            raise FailedError(f"the policy pack failed: {details.splitlines()[0]}") from None


@contextmanager
def pack_for(stack: str, values: Mapping[str, Any] | None = None, policies: Path = POLICIES) -> Iterator[PackProcess]:
    """A running pack for one stack; it boots while the caller does something else.

    Args:
        stack: `foundation`, or a stack of the platform.
        values: the stack's configuration, instead of its file.
        policies: folder of the pack.
    """
    project = project_of(stack)
    if values is None:
        values = load.raw_of(load.ROOT / stack_file(stack), project)
    with PackProcess(policies.resolve(), project, stack, values) as pack:
        pack.configuration = configuration(policies)
        yield pack


def configuration(policies: Path) -> Mapping[str, Any]:
    """Thresholds of a pack, from its `config.json`.

    Raises:
        FailedError: the file is no JSON object.
    """
    path = policies / CONFIGURATION
    if not path.is_file():
        return {}
    try:
        thresholds = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise FailedError(f"{path} is not JSON: {error}") from None
    if not isinstance(thresholds, dict):
        raise FailedError(f"{path} is not an object; write thresholds by policy, such as {{}}")
    return thresholds


def evaluate(pack: PackProcess, resources: Sequence[Resource]) -> list[Finding]:
    """Findings of a running pack on the resources of its stack.

    Raises:
        FailedError: the pack could not be run.
    """
    places = Places(pack.stack, resources, pack.settings())
    return findings(pack.diagnostics(*requests(resources)), places)


def requests(resources: Sequence[Resource]) -> tuple[list[Any], Any]:
    """A request for every resource, in order, and the request for the whole stack."""
    providers = {resource.urn: resource for resource in resources if resource.type.startswith("pulumi:providers:")}
    bodies = {resource.urn: _struct(resource.inputs) for resource in resources}
    single = [_fill(proto.AnalyzeRequest(), resource, bodies, providers) for resource in resources]
    stack_request = proto.AnalyzeStackRequest()
    for resource in resources:
        entry = _fill(stack_request.resources.add(), resource, bodies, providers)
        entry.properties.CopyFrom(_struct({**resource.inputs, **resource.outputs}))
        entry.parent = resource.parent
        entry.dependencies.extend(resource.depends_on)
        for key, urns in resource.property_dependencies.items():
            entry.propertyDependencies[key].urns.extend(urns)
    return single, stack_request


def _fill(request: Any, resource: Resource, bodies: Mapping[str, Any], providers: Mapping[str, Resource]) -> Any:
    request.type, request.urn, request.name = resource.type, resource.urn, resource.name
    request.properties.CopyFrom(bodies[resource.urn])
    request.options.protect = bool(resource.protect)
    request.options.ignoreChanges.extend(resource.ignore_changes)
    request.options.parent = resource.parent
    provider = providers.get(resource.provider)
    if provider is not None:
        request.provider.type, request.provider.urn, request.provider.name = provider.type, provider.urn, provider.name
        request.provider.properties.CopyFrom(bodies[provider.urn])
    return request


def _struct(values: Mapping[str, Any]) -> Any:
    return json_format.Parse(json.dumps(values, default=_engine_text), struct_pb2.Struct())


def _engine_text(value: Any) -> str:
    return ENGINE_UNKNOWN if value is UNKNOWN else str(value)
