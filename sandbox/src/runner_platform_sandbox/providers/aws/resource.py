"""What a handler of one resource type declares and does.

Owns the base class of all handlers and the `Call` through which they reach AWS. Leaves out everything that is the same for
all types: names, tags, defaults, comparison, previews (`lifecycle`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

from runner_platform_sandbox.providers import schema
from runner_platform_sandbox.providers.aws.compare import Rules
from runner_platform_sandbox.providers.aws.naming import AutoName, prefixed_name
from runner_platform_sandbox.providers.aws.session import Client, Session, retrying
from runner_platform_sandbox.providers.base import Properties, ProviderError, StandIn, Target
from runner_platform_sandbox.providers.validation import Failure

_NONE: Final[frozenset[str]] = frozenset()


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
