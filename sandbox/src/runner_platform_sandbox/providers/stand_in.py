"""The base class of stand-in providers: its operations, with their arguments, results and errors, in plain Python values.

Leaves out the protocol (`server` turns it into gRPC), the property types (`schema`), and every cloud.

The operations are those of https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto.
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
"""Inputs that the engine itself adds to a provider."""


class ProviderError(Exception):
    """An error for a person: what failed, where, and the remedy. Shown without a traceback."""


class CancelledError(ProviderError):
    """The engine asked to stop (Ctrl-C) while an operation was waiting."""


class InvalidInputsError(ProviderError):
    """Refused inputs or configuration; the engine shows each failure beside its property."""

    def __init__(self, failures: Sequence[validation.Failure]) -> None:
        """Keep the failures; the message lists them all."""
        self.failures = tuple(failures)
        super().__init__("; ".join(f"{failure.path} {failure.reason}" for failure in self.failures))


class PartialFailureError(ProviderError):
    """The resource exists, but not with the inputs of the program.

    It goes into the state, so that the next run repairs it and creates no second one.
    """

    def __init__(self, identifier: str, outputs: Properties, inputs: Properties, reason: str) -> None:
        """Keep id, outputs and inputs of the existing resource."""
        self.identifier = identifier
        self.outputs = outputs
        self.inputs = inputs
        super().__init__(reason)


@dataclass(frozen=True, kw_only=True)
class Target:
    """The resource of an operation."""

    urn: str
    token: str
    """Type, such as `aws:iam/role:Role`."""
    name: str
    """Logical name in the program."""
    id: str = ""
    """Physical id; empty before creation."""
    preview: bool = False
    """True: change nothing; inputs may hold `wire.UNKNOWN`."""
    ignored: tuple[str, ...] = ()
    """Property paths of `ignore_changes`."""
    timeout: float = 0
    """Seconds from `custom_timeouts` of the program; 0 for the provider's default."""


@dataclass(frozen=True, kw_only=True)
class Naming:
    """The engine's rules for a physical name, for `check`."""

    seed: bytes
    """Random bytes, the same whenever the engine repeats an operation."""
    proposed: str | None = None
    """A name from the `pulumi:autonaming` configuration, or None."""
    enforced: bool = False
    """True: use `proposed` unchanged."""
    disabled: bool = False
    """True: make up no name."""


@dataclass(frozen=True, kw_only=True)
class Diff:
    """The difference between state and inputs. Properties are top-level names or dotted paths."""

    changes: list[str] = field(default_factory=list)
    replaces: list[str] = field(default_factory=list)
    """The part of `changes` that needs a new resource."""
    delete_before_replace: bool = False


@dataclass(frozen=True, kw_only=True)
class Existing:
    """A resource as it is now, for `read`."""

    id: str
    inputs: Properties
    """In the program's form, as far as they still match the resource."""
    outputs: Properties


class StandIn(ABC):
    """A provider: one process, one configuration. Subclasses implement the operations, which run in parallel threads."""

    name: ClassVar[str]
    """Package name, such as `aws`."""
    accept_secrets: ClassVar[bool] = False
    """False: inputs are plain, and the engine itself marks outputs of the same name as secret. True: `wire.Secret`."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        """Set once the engine asks to stop."""
        self.report: Callable[[str, str], None] = lambda _urn, _message: None
        """Shows a passing message (URN, text) beside a resource; set by the server when the engine listens."""
        self.announce: Callable[[str, str], None] = lambda _urn, _message: None
        """Writes a message (URN, text) to the engine's log; set like `report`."""

    @property
    def sdk(self) -> schema.Package:
        """The provider's Python SDK, the source of its types."""
        return schema.package(self.name)

    @property
    def version(self) -> str:
        """Version of the plugin that this process replaces: the version of the Python SDK."""
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
        """Compare two configurations. By default no change replaces the provider and its resources."""
        return Diff(changes=sorted(key for key in olds.keys() | news.keys() if olds.get(key) != news.get(key)))

    @abstractmethod
    def configure(self, config: Properties) -> None:
        """Use the configuration, with nested values decoded. Raises `ProviderError` if it is unusable."""

    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        """Return the inputs with defaults filled in. `olds` are the last checked inputs, empty for a new resource.

        Raises `InvalidInputsError`. The default checks types and fills in nothing.
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
        """Create the resource; return id and outputs. In a preview: an empty id, and `wire.UNKNOWN` for unknown outputs.

        Raises `PartialFailureError` if the resource exists when a later step fails.
        """

    @abstractmethod
    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Return the current resource, or None if it was deleted. `inputs` and `outputs` are empty for an import."""

    @abstractmethod
    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        """Change the resource in place (not in a preview) and return its outputs."""

    @abstractmethod
    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Delete the resource and wait for the end; a resource that is already deleted is no error."""

    def invoke(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        """Run a function (data source). Raises `ProviderError`."""
        del arguments
        raise ProviderError(f"function {token} cannot be called: the sandbox's {self.name} stand-in does not model it")

    def cancel(self) -> None:
        """Stop waiting, everywhere, as soon as possible."""
        self.cancelled.set()

    def wait(self, seconds: float) -> None:
        """Sleep, unless the engine asks to stop. Raises `CancelledError`."""
        if self.cancelled.wait(seconds):
            raise CancelledError("the deployment was interrupted while it waited; run the command again to continue")
