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
    """How names of one type are made."""

    field: str = "name"
    """The property that holds the name."""
    longest: int = 255
    """Characters; the logical part is cut to fit."""
    lower: bool = False
    """Only lower case is allowed."""
    prefix: str = ""
    """What every such name starts with, such as `alias/`."""

    @property
    def prefix_field(self) -> str:
        """The property with which a program gives only the start of a name."""
        return f"{self.field}Prefix"


def physical_name(rule: AutoName, logical: str, olds: dict[str, Any], naming: Naming) -> str | None:
    """Return the name for a resource whose program gives none, or None if its configuration forbids making one up.

    A name that was made up before is kept, or every preview would replace the resource.
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
    """Return a new name that starts with `prefix`, for programs that give only that."""
    return (prefix + secrets.token_hex(13))[: rule.longest]


def name_required(rule: AutoName) -> InvalidInputsError:
    """Return the error for a missing name that nobody may make up."""
    return InvalidInputsError([Failure(rule.field, "is required, because pulumi:autonaming is disabled")])


def _start(rule: AutoName, logical: str) -> str:
    return logical[: rule.longest - len(rule.prefix) - _RANDOM_DIGITS - 1]


def _digits(seed: bytes, logical: str) -> str:
    if not seed:
        return secrets.token_hex(_RANDOM_DIGITS)[:_RANDOM_DIGITS]
    return hashlib.sha256(seed + logical.encode()).hexdigest()[:_RANDOM_DIGITS]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One operation on one resource: where to send requests, how to wait."""

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
        """Run `action`, again while AWS answers with one of `codes`."""
        return retrying(action, codes, self.stand_in.wait, seconds)

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float, pause: float = 0.5) -> None:
        """Wait until `ready()`, for the program's timeout or else `seconds`, showing progress.

        Raises:
            ProviderError: when the time is up.
            CancelledError: when the deployment is interrupted.
        """
        limit = self.target.timeout or seconds
        waited = 0.0
        while not ready():
            if waited >= limit:
                raise ProviderError(
                    f"{what} did not happen within {limit:.0f} s; run the command again to go on waiting"
                )
            self.stand_in.report(self.target.urn, f"waiting for {what} ({waited:.0f} s)")
            self.stand_in.wait(pause)
            waited += pause


class Handler(ABC):
    """One resource type. Properties are wire names; outputs include the inputs as AWS has them."""

    token: ClassVar[str]
    """Such as `aws:iam/role:Role`."""
    modelled: ClassVar[frozenset[str] | None] = None
    """Inputs that the handler honours; None means all that the SDK has."""
    immutable: ClassVar[frozenset[str]] = _NONE
    """Paths whose change needs a new resource; `region` always does."""
    defaults: ClassVar[Mapping[str, Any]] = {}
    """Inputs that the real plugin fills in."""
    nested_defaults: ClassVar[Mapping[str, Any]] = {}
    """Values inside objects, by path, that stand for "not given"."""
    computed: ClassVar[frozenset[str]] = _NONE
    """Inputs (paths) that AWS fills in when they are not given; output-only properties of the SDK are known anyway."""
    documents: ClassVar[frozenset[str]] = _NONE
    """Inputs that hold JSON in a string."""
    sets: ClassVar[frozenset[str]] = _NONE
    """Lists (paths) whose order means nothing."""
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {}
    """Comparisons (by path) of values that have several forms for one meaning."""
    kept: ClassVar[frozenset[str]] = _NONE
    """Inputs that AWS does not know: what was given is what the state keeps."""
    naming: ClassVar[AutoName | None] = None
    """How a name is made up when the program gives none."""
    delete_before_replace: ClassVar[bool] = False
    """A second one cannot exist beside the first."""

    @cached_property
    def type(self) -> schema.ResourceType:
        """What the SDK says about the type."""
        return schema.package("aws").resource(self.token)

    @cached_property
    def regional(self) -> bool:
        """Whether the type takes a `region`."""
        return "region" in self.type.inputs

    @cached_property
    def taggable(self) -> bool:
        """Whether the type takes tags."""
        return "tags" in self.type.inputs

    @cached_property
    def rules(self) -> Rules:
        """How its values compare."""
        names = {self.naming.field, self.naming.prefix_field} if self.naming else set()
        return Rules(
            documents=self.documents,
            sets=self.sets,
            computed=self.computed | self.type.computed | names | {"region"},
            defaults={**self.defaults, **self.nested_defaults},
            equal=self.equal,
        )

    def check(self, inputs: Properties) -> list[Failure]:
        """Return what is wrong with inputs whose types are right, such as properties that exclude each other."""
        del inputs
        return []

    def name_of(self, inputs: Properties) -> str:
        """Return the physical name to create the resource with."""
        rule = self.naming
        if rule is None:
            raise ProviderError(f"{self.token} has no name of its own")
        return str(inputs.get(rule.field) or prefixed_name(rule, str(inputs.get(rule.prefix_field, ""))))

    @abstractmethod
    def create(self, call: Call, inputs: Properties) -> str:
        """Make the resource and return its id as soon as it exists."""

    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        """Bring a resource that exists to what `inputs` say, where `create` cannot, and wait until it can be used.

        Runs after `create` and after `update`, so it must do nothing when there is nothing to do.
        """
        del call, identifier, inputs

    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        """Return the id, and what `read` needs to know, for the id that a person gives to an import."""
        del call
        return identifier, {}

    @abstractmethod
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        """Return the outputs, None if the resource is gone. `known` holds outputs or inputs of before, or nothing."""

    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        """Change what can be changed. `changed` holds top-level names; the result must not depend on what was before."""
        del call, identifier, news, changed

    @abstractmethod
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        """Remove the resource; one that is gone is no error."""


def one_of(inputs: Properties, *names: str) -> list[Failure]:
    """Return a failure unless exactly one of `names` is given."""
    given = [name for name in names if inputs.get(name) is not None]
    if len(given) == 1:
        return []
    found = f"got {' and '.join(given)}" if given else "none was given"
    return [Failure(given[0] if given else names[0], f"exactly one of {', '.join(names)} must be given; {found}")]


def at_most_one_of(inputs: Properties, *names: str) -> list[Failure]:
    """Return a failure if more than one of `names` is given."""
    return one_of(inputs, *names) if any(inputs.get(name) is not None for name in names) else []
