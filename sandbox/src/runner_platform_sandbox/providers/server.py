"""The resource provider protocol over gRPC, for any `StandIn`.

Owns the server on loopback, the translation of requests, results and errors, messages to the engine, and the end of
the process: with its engine, never later. Leaves out the operations (`stand_in` and its subclasses). A provider's
`__main__` calls `stubs.use_bare_packages()` first, then `serve`.

Protocol: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto. An engine starts the plugin with its
own address as the argument and reads the port from the first line of standard output.
"""

import functools
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from runner_platform_sandbox.providers import schema, wire
from runner_platform_sandbox.providers.stand_in import (
    Diff,
    InvalidInputsError,
    Naming,
    PartialFailureError,
    Properties,
    ProviderError,
    StandIn,
    Target,
)

# The engine runs a few operations per core, and waits occupy a thread each; Cancel must always find one free.
_THREADS: Final = 48
_ORPHAN_CHECK_SECONDS: Final = 0.5
_LAST_CALLS_SECONDS: Final = 4.0
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
)
_AUTONAMING: Final = provider_pb2.CheckRequest.AutonamingOptions
Method = Callable[["Servicer", Any, grpc.ServicerContext], Any]


def is_gone(address: str) -> bool:
    """Tell whether the engine has ended: nothing listens at its address, such as `127.0.0.1:40123`."""
    name, _, port = address.rpartition(":")
    try:
        with socket.create_connection((name, int(port)), timeout=2):
            return False
    except ConnectionRefusedError:
        return True
    except (OSError, ValueError):
        return False  # no proof that the engine ended; the parent process decides


def reporter(address: str, *, passing: bool) -> Callable[[str, str], None]:
    """Return a function that sends a message about a resource to the engine, passing or for its log."""
    lock = threading.Lock()
    stubs: list[Any] = []

    def report(urn: str, message: str) -> None:
        with lock:
            if not stubs:
                stubs.append(engine_pb2_grpc.EngineStub(grpc.insecure_channel(address)))
        line = engine_pb2.LogRequest(severity=engine_pb2.INFO, message=message, urn=urn, ephemeral=passing)
        try:
            stubs[0].Log(line, timeout=2)
        except grpc.RpcError:
            return  # an engine that does not listen needs no progress

    return report


def _answers(method: Method) -> Method:
    """Turn exceptions of `method` into errors of the protocol: one message, no traceback."""

    @functools.wraps(method)
    def answer(self: "Servicer", request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except PartialFailureError as error:
            context.set_trailing_metadata((("grpc-status-details-bin", _initialisation_failed(error)),))
            return context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except (ProviderError, schema.UnknownTokenError, wire.WireError) as error:
            return context.abort(grpc.StatusCode.UNKNOWN, str(error))
        except Exception as error:  # noqa: BLE001 - the engine must get a message, and the process must continue
            return context.abort(grpc.StatusCode.INTERNAL, _unexpected(self.stand_in.name, method.__name__, error))

    return answer


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """Passes the engine's calls to a `StandIn`."""

    def __init__(self, stand_in: StandIn) -> None:
        """Serve `stand_in`, not yet configured."""
        self.stand_in = stand_in

    @_answers
    def Handshake(self, _request: Any, _context: Any) -> Any:  # noqa: N802 - names of the protocol
        """Return the protocol features of the provider."""
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=self.stand_in.accept_secrets, supports_autonaming_configuration=True
        )

    @_answers
    def GetPluginInfo(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Return the plugin's version, which the engine compares with the program's."""
        return plugin_pb2.PluginInfo(version=self.stand_in.version)

    @_answers
    def GetSchema(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Return a schema without types, because programs bring their SDK."""
        return provider_pb2.GetSchemaResponse(
            schema=json.dumps({"name": self.stand_in.name, "version": self.stand_in.version, "resources": {}})
        )

    @_answers
    def CheckConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Check the provider's own inputs."""
        return _checked(lambda: self.stand_in.check_config(wire.decode(request.news)))

    @_answers
    def DiffConfig(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Compare the provider's own inputs, old and new."""
        olds = wire.decode(request.old_inputs if request.HasField("old_inputs") else request.olds)
        return _diff_response(self.stand_in.diff_config(olds, wire.decode(request.news)))

    @_answers
    def Configure(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Configure the provider."""
        self.stand_in.configure(
            schema.decode_config(wire.reveal(wire.decode(request.args)), self.stand_in.sdk.provider())
        )
        return provider_pb2.ConfigureResponse(
            acceptSecrets=self.stand_in.accept_secrets, supportsPreview=True, supports_autonaming_configuration=True
        )

    @_answers
    def Check(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Check the inputs of a resource and fill in defaults."""
        target = _target(request)
        news, olds = wire.decode(request.news), wire.decode(request.olds)
        return _checked(lambda: self.stand_in.check(target, news, olds, _naming(request)))

    @_answers
    def Diff(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Compare state and inputs."""
        olds, old_inputs, news = wire.decode(request.olds), wire.decode(request.old_inputs), wire.decode(request.news)
        return _diff_response(self.stand_in.diff(_target(request), olds, old_inputs, news, list(request.ignoreChanges)))

    @_answers
    def Create(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Create a resource, or preview the creation."""
        identifier, outputs = self.stand_in.create(_target(request), wire.decode(request.properties))
        return provider_pb2.CreateResponse(id=identifier, properties=wire.encode(outputs))

    @_answers
    def Read(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Read a resource for a refresh or an import."""
        resource = self.stand_in.read(_target(request), wire.decode(request.inputs), wire.decode(request.properties))
        if resource is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(
            id=resource.id, properties=wire.encode(resource.outputs), inputs=wire.encode(resource.inputs)
        )

    @_answers
    def Update(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Update a resource in place."""
        olds, old_inputs, news = wire.decode(request.olds), wire.decode(request.old_inputs), wire.decode(request.news)
        outputs = self.stand_in.update(_target(request), olds, old_inputs, news)
        return provider_pb2.UpdateResponse(properties=wire.encode(outputs))

    @_answers
    def Delete(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Delete a resource."""
        self.stand_in.delete(_target(request), wire.decode(request.properties), wire.decode(request.old_inputs))
        return empty_pb2.Empty()

    @_answers
    def Invoke(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Call a function."""
        try:
            result = self.stand_in.invoke(request.tok, wire.reveal(wire.decode(request.args)))
        except InvalidInputsError as error:
            return provider_pb2.InvokeResponse(failures=_failures(error))
        return provider_pb2.InvokeResponse(**{"return": wire.encode(result)})

    @_answers
    def Cancel(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Interrupt all waiting operations."""
        self.stand_in.cancel()
        return empty_pb2.Empty()


def start(stand_in: StandIn) -> tuple[grpc.Server, int]:
    """Serve `stand_in` on a free loopback port; return server and port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=_THREADS, thread_name_prefix="provider"), options=_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(stand_in), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port


def serve(stand_in: StandIn, arguments: list[str] | None = None) -> None:
    """Run the provider process until its engine ends. `arguments` replace the command line (the engine's address)."""
    parent = os.getppid()
    stop_requested = threading.Event()
    # An engine that is done sends SIGINT to the plugin's own process group, where Ctrl-C does not arrive, and waits
    # five seconds for its end.
    signal.signal(signal.SIGINT, lambda _number, _frame: stop_requested.set())
    addresses = [
        argument for argument in (sys.argv[1:] if arguments is None else arguments) if not argument.startswith("-")
    ]
    if addresses:
        if is_gone(addresses[0]):
            return  # the engine was killed while this process started, so the parent is another process already
        stand_in.report = reporter(addresses[0], passing=True)
        stand_in.announce = reporter(addresses[0], passing=False)
    server, port = start(stand_in)
    print(port, flush=True)  # noqa: T201 - the engine reads the port from standard output
    while os.getppid() == parent:
        if stop_requested.wait(_ORPHAN_CHECK_SECONDS):
            stand_in.cancel()
            server.stop(_LAST_CALLS_SECONDS).wait()
            os._exit(0)  # as below
    os._exit(1)  # the engine was killed; waiting threads would delay an orderly exit for minutes


def _target(request: Any) -> Target:
    type_and_name = request.urn.split("::", 3)[2:]
    return Target(
        urn=request.urn,
        token=getattr(request, "type", "") or type_and_name[0].rpartition("$")[2],
        name=getattr(request, "name", "") or type_and_name[1],
        id=getattr(request, "id", ""),
        preview=getattr(request, "preview", False),
        ignored=tuple(getattr(request, "ignoreChanges", ())),
        timeout=getattr(request, "timeout", 0.0),
    )


def _naming(request: Any) -> Naming:
    if not request.HasField("autonaming"):
        return Naming(seed=request.randomSeed)
    options = request.autonaming
    return Naming(
        seed=request.randomSeed,
        proposed=options.proposed_name or None,
        enforced=options.mode == _AUTONAMING.ENFORCE,
        disabled=options.mode == _AUTONAMING.DISABLE,
    )


def _checked(check: Callable[[], Properties]) -> Any:
    try:
        return provider_pb2.CheckResponse(inputs=wire.encode(check()))
    except InvalidInputsError as error:
        return provider_pb2.CheckResponse(failures=_failures(error))


def _failures(error: InvalidInputsError) -> list[Any]:
    return [
        provider_pb2.CheckFailure(property=failure.path, reason=f"{failure.path} {failure.reason}")
        for failure in error.failures
    ]


def _diff_response(diff: Diff) -> Any:
    kinds = provider_pb2.DiffResponse
    return kinds(
        changes=kinds.DIFF_SOME if diff.changes else kinds.DIFF_NONE,
        diffs=sorted({path.partition(".")[0].partition("[")[0] for path in diff.changes}),
        replaces=sorted({path.partition(".")[0].partition("[")[0] for path in diff.replaces}),
        deleteBeforeReplace=diff.delete_before_replace,
    )


def _initialisation_failed(error: PartialFailureError) -> bytes:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identifier,
        properties=wire.encode(error.outputs),
        inputs=wire.encode(error.inputs),
        reasons=[str(error)],
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(error))
    status.details.add().Pack(detail)
    return bytes(status.SerializeToString())


def _unexpected(provider: str, operation: str, error: Exception) -> str:
    """Describe an error in the stand-in itself with file and line, since the engine shows no traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
    return f"the {provider} stand-in failed in {operation} at {place}: {type(error).__name__}: {error}"
