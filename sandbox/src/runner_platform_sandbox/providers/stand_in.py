"""What a stand-in provider is: the operations that a subclass answers, and the vocabulary they share.

Owns the class `StandIn` and its arguments, results and errors, in plain Python values. Leaves out the protocol
(`server` turns it into gRPC), where the properties come from (`schema`), and every cloud.

The meaning of each operation is that of https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto.
`pulumi.provider.experimental` was not used: it imports the whole SDK (26 MB a process) and offers no partial failure.
"""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar

from runner_platform_sandbox.providers import schema, validation, wire

Properties = dict[str, Any]
"""Wire names to values; may hold `wire.UNKNOWN` in previews and `wire.Secret`."""


ENGINE_KEYS = frozenset({"version", "pluginDownloadURL"})
"""What the engine itself puts among a provider's inputs."""


class ProviderError(Exception):
    """Anything that a person must read: what failed, where, and how to mend it. Shown without a traceback."""


class CancelledError(ProviderError):
    """The engine asked to stop (Ctrl-C) while an operation was waiting."""


class InvalidInputsError(ProviderError):
    """Inputs or configuration that the provider refuses; each failure is shown beside its property."""

    def __init__(self, failures: Sequence[validation.Failure]) -> None:
        """Keep the failures; the message lists them all."""
        self.failures = tuple(failures)
        super().__init__("; ".join(f"{failure.path} {failure.reason}" for failure in self.failures))


class PartialFailureError(ProviderError):
    """The resource exists, but not as asked.

    It goes into the state, so that the next run mends it and doubles nothing.
    """

    def __init__(self, identifier: str, outputs: Properties, inputs: Properties, reason: str) -> None:
        """Keep what exists: id, outputs, and the inputs that it was made from."""
        self.identifier = identifier
        self.outputs = outputs
        self.inputs = inputs
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The resource that an operation is about."""

    urn: str
    token: str
    """Type, such as `aws:iam/role:Role`."""
    name: str
    """Logical name in the program."""
    id: str = ""
    """Physical id; empty before creation."""
    preview: bool = False
    """Nothing may be changed; inputs may hold `wire.UNKNOWN`."""
    timeout: float = 0
    """Seconds that the program allows (`custom_timeouts`); 0 means the provider's own default."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How the engine wants a physical name to be made, for `check`."""

    seed: bytes
    """Random, and the same whenever the engine repeats the same plan."""
    proposed: str | None = None
    """A name made from the `pulumi:autonaming` configuration, or None."""
    enforced: bool = False
    """`proposed` must be taken as it is."""
    disabled: bool = False
    """No name may be made up."""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """What separates the state from what the program wants. Property names are top-level or dotted paths."""

    changes: list[str] = field(default_factory=list)
    replaces: list[str] = field(default_factory=list)
    """Those among `changes` that only a new resource can have."""
    delete_before_replace: bool = False


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A resource as it is now, for `read`."""

    id: str
    inputs: Properties
    """In the shape in which the program gave them, as far as they still hold."""
    outputs: Properties


class StandIn(ABC):
    """A provider: one process, one configuration. Subclasses answer the operations, which run in parallel threads."""

    name: ClassVar[str]
    """Package name, such as `aws`."""
    accept_secrets: ClassVar[bool] = False
    """False: inputs are plain, and the engine itself marks outputs of the same name as secret. True: `wire.Secret`."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        """Set once the engine asks to stop."""
        self.report: Callable[[str, str], None] = lambda _urn, _message: None
        """Shows a passing message beside a resource (URN, text); the server sets it when the engine listens."""
        self.announce: Callable[[str, str], None] = lambda _urn, _message: None
        """Leaves a message about a resource (URN, text) in the engine's log; set as `report` is."""

    @property
    def sdk(self) -> schema.Package:
        """The provider's Python SDK, which says what its types look like."""
        return schema.package(self.name)

    @property
    def version(self) -> str:
        """The version that this process stands in for: that of the Python SDK."""
        return version(f"pulumi-{self.name}")

    def check_config(self, news: Properties) -> Properties:
        """Return the provider's own inputs, checked. Raises `InvalidInputsError`."""
        own = {key: value for key, value in news.items() if key not in ENGINE_KEYS}
        _, failures = validation.validate(
            self.sdk.provider(), schema.decode_config(wire.reveal(own), self.sdk.provider())
        )
        if failures:
            raise InvalidInputsError(failures)
        return news

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        """Compare two configurations. By default no change replaces the provider, so none replaces its resources."""
        return Diff(changes=sorted(key for key in olds.keys() | news.keys() if olds.get(key) != news.get(key)))

    @abstractmethod
    def configure(self, config: Properties) -> None:
        """Take the configuration, with nested values decoded. Raises `ProviderError` if it leads nowhere."""

    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        """Return the inputs with defaults filled in. `olds` are the last checked inputs, empty for a new resource.

        Raises `InvalidInputsError`. By default the types are checked and nothing is filled in.
        """
        del olds, naming
        checked, failures = self.sdk.check_resource(target.token, news)
        if failures:
            raise InvalidInputsError(failures)
        return checked

    @abstractmethod
    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        """Compare state (`olds` are outputs) and checked inputs. `ignored` are property paths of `ignore_changes`."""

    @abstractmethod
    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        """Make the resource; return id and outputs. In a preview: empty id, and `wire.UNKNOWN` for what is not known.

        Raises `PartialFailureError` if something exists already when it fails.
        """

    @abstractmethod
    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Return the resource as it is, None if it is gone. `inputs` and `outputs` are empty for an import."""

    @abstractmethod
    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        """Change the resource in place (not in a preview) and return its outputs."""

    @abstractmethod
    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Remove the resource and wait until it is gone. One that is gone already is no error."""

    def invoke(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        """Answer a function (data source). Raises `ProviderError`."""
        del arguments
        raise ProviderError(f"function {token} cannot be called: the {self.name} stand-in does not model it")

    def cancel(self) -> None:
        """Stop waiting, everywhere, as soon as possible."""
        self.cancelled.set()

    def wait(self, seconds: float) -> None:
        """Sleep, unless the engine asks to stop. Raises `CancelledError`."""
        if self.cancelled.wait(seconds):
            raise CancelledError(
                "stopped waiting because the deployment was interrupted; run the command again to go on"
            )
