"""The protocol, spoken to a small provider in this process: no engine, loopback only."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import empty_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2
from typing_extensions import override

from runner_platform_sandbox.providers import server, wire
from runner_platform_sandbox.providers.stand_in import (
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    PartialFailureError,
    Properties,
    ProviderError,
    StandIn,
    Target,
)
from runner_platform_sandbox.providers.validation import Failure

URN = "urn:pulumi:dev::project::parent:index:Parent$aws:kms/alias:Alias::key"


class Shelf(StandIn):
    """Keeps resources in a dictionary."""

    name = "aws"

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, Properties] = {}
        self.config: Properties = {}
        self.seen: dict[str, Any] = {}

    @override
    def configure(self, config: Properties) -> None:
        if config.get("profile") == "nobody":
            raise ProviderError("profile nobody does not exist")
        self.config = config

    @override
    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        self.seen = {"target": target, "naming": naming}
        return super().check(target, news, olds, naming)

    @override
    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        changes = [key for key in news if news[key] != olds.get(key)]
        return Diff(changes=changes, replaces=[key for key in changes if key == "name"], delete_before_replace=True)

    @override
    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        if target.preview:
            return "", {**inputs, "arn": wire.UNKNOWN}
        if inputs.get("targetKeyId") == "half":
            raise PartialFailureError("half-1", {**inputs, "arn": "a"}, inputs, "the alias points nowhere")
        if inputs.get("targetKeyId") == "wait":
            self.wait(30)
        self.kept["id-1"] = inputs
        return "id-1", {**inputs, "arn": "arn:1", "token": wire.Secret("s")}

    @override
    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        kept = self.kept.get(target.id)
        return None if kept is None else Existing(id=target.id, inputs=kept, outputs={**kept, "arn": "arn:1"})

    @override
    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        self.seen = {"target": target}
        self.kept[target.id] = news
        return {**olds, **news}

    @override
    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        raise ZeroDivisionError("a mistake of the handler")

    @override
    def invoke(self, token: str, arguments: Any) -> Properties:
        if not arguments:
            raise InvalidInputsError([Failure("id", "is required and was not given")])
        return {"echo": arguments["id"]}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def stub(shelf: Shelf) -> Iterator[Any]:
    running, port = server.start(shelf)
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    yield provider_pb2_grpc.ResourceProviderStub(channel)
    channel.close()
    running.stop(None)


def alias(**values: Any) -> Any:
    return wire.encode({"targetKeyId": "k", "name": "alias/a"} | values)


def test_a_resource_lives_through_every_operation(stub: Any, shelf: Shelf) -> None:
    checked = stub.Check(provider_pb2.CheckRequest(urn=URN, news=alias(), randomSeed=b"seed"))
    assert not checked.failures
    assert shelf.seen["target"].token == "aws:kms/alias:Alias", "the type comes from the URN without its parents"
    assert shelf.seen["target"].name == "key"
    assert shelf.seen["naming"] == Naming(seed=b"seed")
    preview = stub.Create(provider_pb2.CreateRequest(urn=URN, properties=checked.inputs, preview=True))
    assert wire.decode(preview.properties)["arn"] is wire.UNKNOWN
    assert not shelf.kept, "a preview changes nothing"
    created = stub.Create(provider_pb2.CreateRequest(urn=URN, properties=checked.inputs))
    assert created.id == "id-1"
    assert wire.decode(created.properties)["token"] == wire.Secret("s")
    read = stub.Read(provider_pb2.ReadRequest(urn=URN, id="id-1"))
    assert wire.decode(read.inputs) == {"targetKeyId": "k", "name": "alias/a"}
    same = stub.Diff(provider_pb2.DiffRequest(urn=URN, id="id-1", olds=read.properties, news=checked.inputs))
    assert same.changes == provider_pb2.DiffResponse.DIFF_NONE
    renamed = stub.Diff(provider_pb2.DiffRequest(urn=URN, id="id-1", olds=read.properties, news=alias(name="alias/b")))
    assert (list(renamed.replaces), renamed.deleteBeforeReplace) == (["name"], True)
    updated = stub.Update(
        provider_pb2.UpdateRequest(urn=URN, id="id-1", olds=read.properties, news=alias(targetKeyId="l"))
    )
    assert wire.decode(updated.properties)["targetKeyId"] == "l"


def test_an_update_knows_which_changes_the_program_ignores(stub: Any, shelf: Shelf) -> None:
    stub.Update(provider_pb2.UpdateRequest(urn=URN, id="id-1", news=alias(), ignoreChanges=["targetKeyId"]))
    assert shelf.seen["target"].ignored == ("targetKeyId",)


def test_reading_a_deleted_resource_returns_an_empty_id(stub: Any) -> None:
    assert stub.Read(provider_pb2.ReadRequest(urn=URN, id="gone")).id == ""


def test_check_reports_each_property(stub: Any) -> None:
    failures = stub.Check(provider_pb2.CheckRequest(urn=URN, news=wire.encode({"nam": "x"}))).failures
    assert {failure.property for failure in failures} == {"nam", "targetKeyId"}


def test_autonaming_wishes_reach_the_provider(stub: Any, shelf: Shelf) -> None:
    options = provider_pb2.CheckRequest.AutonamingOptions
    wish = options(proposed_name="mine", mode=options.ENFORCE)
    stub.Check(provider_pb2.CheckRequest(urn=URN, news=alias(), autonaming=wish))
    assert shelf.seen["naming"] == Naming(seed=b"", proposed="mine", enforced=True)


def test_configuration_is_decoded_and_its_errors_are_plain(stub: Any, shelf: Shelf) -> None:
    answer = stub.Configure(provider_pb2.ConfigureRequest(args=wire.encode({"allowedAccountIds": '["1"]'})))
    assert answer.supportsPreview
    assert not answer.acceptSecrets, "the engine then marks secrets by itself"
    assert shelf.config == {"allowedAccountIds": ["1"]}
    with pytest.raises(grpc.RpcError) as error:
        stub.Configure(provider_pb2.ConfigureRequest(args=wire.encode({"profile": "nobody"})))
    assert error.value.details() == "profile nobody does not exist"


def test_an_unknown_configuration_property_is_refused(stub: Any) -> None:
    news = wire.encode({"allowedAcountIds": '["1"]'})
    failures = stub.CheckConfig(provider_pb2.CheckRequest(urn=URN, news=news)).failures
    assert "allowedAccountIds" in failures[0].reason
    fine = stub.CheckConfig(provider_pb2.CheckRequest(urn=URN, news=wire.encode({"allowedAccountIds": '["1"]'})))
    assert wire.decode(fine.inputs) == {"allowedAccountIds": '["1"]'}, "the state keeps the text that the SDK sent"


def test_a_changed_configuration_replaces_nothing(stub: Any) -> None:
    request = provider_pb2.DiffRequest(urn=URN, olds=wire.encode({"profile": "a"}), news=wire.encode({"profile": "b"}))
    answer = stub.DiffConfig(request)
    assert (list(answer.diffs), list(answer.replaces)) == (["profile"], [])


def test_a_half_made_resource_is_handed_to_the_engine(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.Create(provider_pb2.CreateRequest(urn=URN, properties=alias(targetKeyId="half")))
    trailers = dict(error.value.trailing_metadata())
    status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
    detail = provider_pb2.ErrorResourceInitFailed()
    assert status.details[0].Unpack(detail)
    assert detail.id == "half-1"
    assert list(detail.reasons) == ["the alias points nowhere"]
    assert wire.decode(detail.properties)["arn"] == "a"


def test_a_mistake_in_a_handler_names_its_place_without_a_traceback(stub: Any) -> None:
    with pytest.raises(grpc.RpcError) as error:
        stub.Delete(provider_pb2.DeleteRequest(urn=URN, id="id-1"))
    text = error.value.details()
    assert f"{Path(__file__).name}:" in text
    assert "ZeroDivisionError: a mistake of the handler" in text
    assert "Traceback" not in text


def test_functions_answer_or_say_which_argument_is_wrong(stub: Any) -> None:
    good = stub.Invoke(provider_pb2.InvokeRequest(tok="aws:x:y", args=wire.encode({"id": "7"})))
    assert wire.decode(getattr(good, "return")) == {"echo": "7"}
    bad = stub.Invoke(provider_pb2.InvokeRequest(tok="aws:x:y", args=wire.encode({})))
    assert bad.failures[0].property == "id"


def test_cancel_ends_a_wait_at_once(stub: Any) -> None:
    engine = threading.Timer(0.1, lambda: stub.Cancel(empty_pb2.Empty()))
    engine.start()
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as error:
        stub.Create(provider_pb2.CreateRequest(urn=URN, properties=alias(targetKeyId="wait")))
    engine.join()
    assert time.monotonic() - started < 5
    assert "interrupted" in error.value.details()


def test_the_version_is_that_of_the_sdk(stub: Any) -> None:
    assert stub.GetPluginInfo(empty_pb2.Empty()).version == "7.51.1"
    assert '"name": "aws"' in stub.GetSchema(provider_pb2.GetSchemaRequest()).schema
    assert stub.Handshake(provider_pb2.ProviderHandshakeRequest()).supports_autonaming_configuration


@pytest.mark.processes
def test_a_provider_process_ends_when_its_engine_is_gone() -> None:
    plugin = [sys.executable, "-m", "runner_platform_sandbox.providers.aws"]
    parent = (
        "import subprocess, sys; "
        f"p = subprocess.Popen({plugin!r}, stdout=subprocess.PIPE, text=True); "
        "print(p.pid, p.stdout.readline().strip(), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", parent], capture_output=True, text=True, timeout=20, check=True)
    pid, port = done.stdout.split()
    assert int(port) > 0
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _alive(int(pid)):
        time.sleep(0.1)
    assert not _alive(int(pid)), "an orphaned provider holds memory for ever"


@pytest.mark.processes
def test_a_provider_process_that_starts_after_its_engines_end_does_not_stay() -> None:
    plugin = [sys.executable, "-m", "runner_platform_sandbox.providers.aws", "127.0.0.1:9"]
    done = subprocess.run(plugin, capture_output=True, text=True, timeout=20, check=True)
    assert not done.stdout


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
