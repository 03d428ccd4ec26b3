"""A provider plugin as a process of its own, with the operations of a `StandIn`: calls it as the engine does."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, provider_pb2, provider_pb2_grpc, status_pb2

from runner_platform_sandbox.providers import wire
from runner_platform_sandbox.providers.stand_in import (
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    PartialFailureError,
    Properties,
    ProviderError,
    Target,
)
from runner_platform_sandbox.providers.validation import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
_SOME = provider_pb2.DiffResponse.DIFF_SOME


class _Engine(engine_pb2_grpc.EngineServicer):
    """The part of the engine that a plugin calls: it takes messages."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def Log(self, request: Any, _context: Any) -> Any:  # noqa: N802 - a name of the protocol
        """Keep a message."""
        self.messages.append(request.message)
        return empty_pb2.Empty()

    def GetRootResource(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - a name of the protocol
        """Return no resource: there is no stack."""
        return engine_pb2.GetRootResourceResponse()


class PluginProcess:
    """A running plugin. `stop` ends it.

    Args:
        program: The plugin.
        name: Its package, such as `kubernetes`.
        config: The provider's configuration.
        environment: Complete environment of the process.
        log: Takes what the process writes to standard error.
    """

    accept_secrets = True

    def __init__(self, program: Path, name: str, config: Properties, *, environment: dict[str, str], log: Path) -> None:
        self._engine = _Engine()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=8), options=_OPTIONS)
        engine_pb2_grpc.add_EngineServicer_to_server(self._engine, self._server)
        address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [str(program), address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
            )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port.isdigit(), f"{program} printed no port: {port!r}"
        self._channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS)
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._configure(name, config)

    def _configure(self, name: str, config: Properties) -> None:
        text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
        self._call(
            "Configure",
            provider_pb2.ConfigureRequest(
                variables={f"{name}:config:{key}": value for key, value in text.items()},
                args=wire.encode(text),
                acceptSecrets=True,
                acceptResources=True,
                sends_old_inputs=True,
                sends_old_inputs_to_delete=True,
            ),
        )

    @property
    def messages(self) -> list[str]:
        """The messages of the plugin so far."""
        return self._engine.messages

    def stop(self) -> None:
        """End the process."""
        self._channel.close()
        self._process.terminate()
        self._process.wait(timeout=30)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._server.stop(0).wait()

    def _call(self, method: str, request: Any) -> Any:
        try:
            return getattr(self._stub, method)(request)
        except grpc.RpcError as error:
            raise _error_of(error) from error

    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        """Return checked inputs."""
        request = provider_pb2.CheckRequest(
            **_identity(target), olds=wire.encode(olds), news=wire.encode(news), randomSeed=naming.seed.ljust(32)
        )
        answer = self._call("Check", request)
        if answer.failures:
            raise InvalidInputsError([Failure(failure.property, failure.reason) for failure in answer.failures])
        return wire.decode(answer.inputs)

    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        """Compare state and inputs."""
        request = provider_pb2.DiffRequest(
            **_identity(target),
            id=target.id,
            olds=wire.encode(olds),
            old_inputs=wire.encode(old_inputs),
            news=wire.encode(news),
            ignoreChanges=ignored,
        )
        answer = self._call("Diff", request)
        if answer.changes != _SOME:
            return Diff()
        changes = sorted(answer.detailedDiff) or sorted(answer.diffs) or sorted(answer.replaces) or ["?"]
        return Diff(changes=changes, replaces=sorted(answer.replaces), delete_before_replace=answer.deleteBeforeReplace)

    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        """Create the resource, or preview the creation."""
        request = provider_pb2.CreateRequest(
            **_identity(target), properties=wire.encode(inputs), timeout=target.timeout, preview=target.preview
        )
        answer = self._call("Create", request)
        return answer.id, wire.decode(answer.properties)

    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Read for a refresh or an import."""
        request = provider_pb2.ReadRequest(
            **_identity(target), id=target.id, properties=wire.encode(outputs), inputs=wire.encode(inputs)
        )
        answer = self._call("Read", request)
        if not answer.id:
            return None
        return Existing(id=answer.id, inputs=wire.decode(answer.inputs), outputs=wire.decode(answer.properties))

    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        """Update in place, or preview it."""
        request = provider_pb2.UpdateRequest(
            **_identity(target),
            id=target.id,
            olds=wire.encode(olds),
            old_inputs=wire.encode(old_inputs),
            news=wire.encode(news),
            timeout=target.timeout,
            preview=target.preview,
        )
        return wire.decode(self._call("Update", request).properties)

    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Delete the resource."""
        request = provider_pb2.DeleteRequest(
            **_identity(target),
            id=target.id,
            properties=wire.encode(outputs),
            old_inputs=wire.encode(inputs),
            timeout=target.timeout,
        )
        self._call("Delete", request)

    def cancel(self) -> None:
        """Interrupt all waiting operations."""
        self._call("Cancel", empty_pb2.Empty())


def _identity(target: Target) -> dict[str, str]:
    return {"urn": target.urn, "type": target.token, "name": target.name}


def _error_of(error: grpc.RpcError) -> ProviderError:
    """Return the error of an operation; a failed initialisation carries the state of the resource."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            for detail in status_pb2.Status.FromString(value).details:
                failed = provider_pb2.ErrorResourceInitFailed()
                if detail.Unpack(failed):
                    outputs, inputs = wire.decode(failed.properties), wire.decode(failed.inputs)
                    return PartialFailureError(failed.id, outputs, inputs, "; ".join(failed.reasons))
    return ProviderError(error.details())
