"""The base class of all resource types, and the `Call` through which they reach AWS.

Owns what a type declares, and the physical names that the provider makes up: `<logical name>-<7 hex digits>`.
Leaves out what is the same for all types: tags, defaults, comparison, previews (`crud`).
Names: https://www.pulumi.com/docs/iac/concepts/resources/names/#autonaming.
"""

import hashlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

from runner_platform_sandbox.providers import schema
from runner_platform_sandbox.providers.aws.compare import Rules
from runner_platform_sandbox.providers.aws.conversion import own_tags, tag_changes, tag_list, tag_map
from runner_platform_sandbox.providers.aws.session import Client, Session, retrying
from runner_platform_sandbox.providers.stand_in import (
    InvalidInputsError,
    Naming,
    Properties,
    ProviderError,
    StandIn,
    Target,
)
from runner_platform_sandbox.providers.validation import DEFAULTS_KEY, Failure

_RANDOM_DIGITS: Final = 7


_NONE: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, kw_only=True)
class AutoName:
    """The rule for automatic names of one type."""

    field: str = "name"
    """Property with the name."""
    longest: int = 255
    """Maximum number of characters; the logical part is cut."""
    lower: bool = False
    """True: only lower case is allowed."""
    prefix: str = ""
    """Start of every name, such as `alias/`."""

    @property
    def prefix_field(self) -> str:
        """Property with only the start of a name."""
        return f"{self.field}Prefix"


def physical_name(rule: AutoName, logical: str, olds: dict[str, Any], naming: Naming) -> str | None:
    """Return an automatic name, or None if the stack's configuration disables autonaming.

    A previous automatic name is kept, because another one would replace the resource.
    """
    if rule.field in olds.get(DEFAULTS_KEY, ()) and olds.get(rule.field):
        return str(olds[rule.field])
    if naming.disabled:
        return None
    if naming.proposed and naming.enforced:
        return naming.proposed
    name = naming.proposed or f"{_start(rule, logical)}-{_digits(naming.seed, logical)}"
    return rule.prefix + (name.lower() if rule.lower else name)


def prefixed_name(rule: AutoName, prefix: str) -> str:
    """Return a new name that starts with the program's `prefix`."""
    return (prefix + secrets.token_hex(13))[: rule.longest]


def name_required(rule: AutoName) -> InvalidInputsError:
    """Return the error for a missing name while autonaming is disabled."""
    return InvalidInputsError([Failure(rule.field, "is required, because pulumi:autonaming is disabled")])


def _start(rule: AutoName, logical: str) -> str:
    return logical[: rule.longest - len(rule.prefix) - _RANDOM_DIGITS - 1]


def _digits(seed: bytes, logical: str) -> str:
    if not seed:
        return secrets.token_hex(_RANDOM_DIGITS)[:_RANDOM_DIGITS]
    return hashlib.sha256(seed + logical.encode()).hexdigest()[:_RANDOM_DIGITS]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation on one resource: its AWS clients, and waiting."""

    session: Session
    stand_in: StandIn
    target: Target
    region: str

    def client(self, service: str) -> Client:
        """Return the client of `service` in the resource's region."""
        return self.session.client(service, self.region)

    @property
    def account(self) -> str:
        """The 12-digit account id."""
        return self.session.account

    def arn(self, service: str, resource: str) -> str:
        """Compose an ARN of a regional resource of this account."""
        return f"arn:{self.session.partition}:{service}:{self.region}:{self.account}:{resource}"

    def retry(self, action: Callable[[], Any], codes: set[str], seconds: float = 5) -> Any:
        """Run `action`, and repeat it while AWS returns one of `codes`."""
        return retrying(action, codes, self.stand_in.wait, seconds)

    def wait_until(self, ready: Callable[[], bool], event: str, seconds: float, pause: float = 0.5) -> None:
        """Wait until `ready()` and show progress, for the program's timeout or `seconds`.

        Raises:
            ProviderError: The time is over.
            CancelledError: The deployment was interrupted.
        """
        limit = self.target.timeout or seconds
        waited = 0.0
        while not ready():
            if waited >= limit:
                raise ProviderError(
                    f"{event} did not happen within {limit:.0f} s; run the command again to wait longer"
                )
            self.stand_in.report(self.target.urn, f"waiting for {event} ({waited:.0f} s)")
            self.stand_in.wait(pause)
            waited += pause


class Handler(ABC):
    """One resource type. Properties have wire names; outputs include the inputs with AWS's values."""

    token: ClassVar[str]
    """Such as `aws:iam/role:Role`."""
    modelled: ClassVar[frozenset[str] | None] = None
    """Inputs that the handler supports; None for all inputs of the SDK."""
    immutable: ClassVar[frozenset[str]] = _NONE
    """Paths of inputs that need a new resource when they change; `region` always does."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Default inputs of the real plugin."""
    nested_defaults: ClassVar[Mapping[str, Any]] = {}
    """Values inside objects, by path, that equal a missing value."""
    computed: ClassVar[frozenset[str]] = _NONE
    """Optional inputs (paths) that AWS fills in; output-only properties of the SDK need no entry."""
    documents: ClassVar[frozenset[str]] = _NONE
    """Inputs with JSON in a string."""
    sets: ClassVar[frozenset[str]] = _NONE
    """Lists (paths) without an order."""
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {}
    """Comparison functions (by path) for values with several equal forms."""
    kept: ClassVar[frozenset[str]] = _NONE
    """Inputs that AWS does not return; the state keeps the program's values."""
    naming: ClassVar[AutoName | None] = None
    """The rule for automatic names; None for a type without a name."""
    delete_before_replace: ClassVar[bool] = False
    """True: a second resource cannot exist beside the first."""

    @cached_property
    def type(self) -> schema.ResourceType:
        """The SDK's declaration of the type."""
        return schema.package("aws").resource(self.token)

    @cached_property
    def regional(self) -> bool:
        """Whether the type takes a `region`."""
        return "region" in self.type.inputs

    @cached_property
    def taggable(self) -> bool:
        """Whether the type takes default tags; `tags` of an Auto Scaling group is another property."""
        return "tagsAll" in self.type.outputs

    @cached_property
    def rules(self) -> Rules:
        """The rules for comparing its values."""
        names = {self.naming.field, self.naming.prefix_field} if self.naming else set()
        return Rules(
            documents=self.documents,
            sets=self.sets,
            computed=self.computed | self.type.computed | names | {"region"},
            defaults={**self.defaults, **self.nested_defaults},
            equal=self.equal,
        )

    def check(self, inputs: Properties) -> list[Failure]:
        """Return failures beyond wrong types, such as properties that exclude each other."""
        del inputs
        return []

    def name_of(self, inputs: Properties) -> str:
        """Return the physical name for a new resource."""
        rule = self.naming
        if rule is None:
            raise ProviderError(f"{self.token} has no name of its own")
        return str(inputs.get(rule.field) or prefixed_name(rule, str(inputs.get(rule.prefix_field, ""))))

    @abstractmethod
    def create(self, call: Call, inputs: Properties) -> str:
        """Create the resource and return its id as soon as it exists."""

    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        """Set inputs that `create` cannot set, and wait until the resource is usable.

        Runs after `create` and after `update`, so a second run must change nothing.
        """
        del call, identifier, inputs

    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        """Return id and previous values for `read`, from the id of an import command."""
        del call
        return identifier, {}

    @abstractmethod
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        """Return the outputs, or None if the resource was deleted. `previous` holds earlier outputs or inputs, if any."""

    def recomputed(self, news: Properties, changed: set[str]) -> frozenset[str]:
        """Return the outputs that get a new value when `changed` is updated; a preview calls them unknown."""
        del news, changed
        return _NONE

    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        """Update in place. `changed` holds top-level names; the result must not depend on the earlier state."""
        del call, identifier, news, changed

    @abstractmethod
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        """Delete the resource; a resource that is already deleted is no error."""


def update_tags(client: Client, arn: str, requested: Mapping[str, str] | None, *, pairs: bool = False) -> None:
    """Set the tags of a resource in a service that tags by `resourceArn`.

    Args:
        client: Client of the service.
        arn: ARN of the resource.
        requested: All tags of the program.
        pairs: True if the service has tags as a list of pairs, False if as a map.
    """
    present = client.call("list_tags_for_resource", resourceArn=arn).get("tags")
    put, remove = tag_changes(tag_map(present) if pairs else own_tags(present), requested)
    if remove:
        client.call("untag_resource", resourceArn=arn, tagKeys=remove)
    if put:
        client.call("tag_resource", resourceArn=arn, tags=tag_list(put) if pairs else put)


def one_of(inputs: Properties, *names: str) -> list[Failure]:
    """Return a failure unless exactly one of `names` is set."""
    present = [name for name in names if inputs.get(name) is not None]
    if len(present) == 1:
        return []
    problem = f"got {' and '.join(present)}" if present else "got none"
    return [Failure(present[0] if present else names[0], f"exactly one of {', '.join(names)} must be set; {problem}")]


def at_most_one_of(inputs: Properties, *names: str) -> list[Failure]:
    """Return a failure if more than one of `names` is set."""
    return one_of(inputs, *names) if any(inputs.get(name) is not None for name in names) else []
