"""What a proof is made of: attempts that are planned, and cells that say how they ended.

A cell's eight keys are the JSON of `runner-platform prove --json`. Nothing here touches a cluster or a cloud.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

REFUSED = "REFUSED"
TOKEN_FILE = "{token_file}"  # noqa: S105  # stands for a path, which is known once the files are laid out


class Sdk(StrEnum):
    """A family of AWS SDKs; each has a probe in `image/probes`."""

    BOTO3 = "boto3"
    CLI = "cli"
    JAVASCRIPT = "javascript"
    GO = "go"


class Way(StrEnum):
    """How a job says which profile it means."""

    NAMED = "named"
    """In code, or by `--profile`."""
    ENV = "env"
    """By `AWS_PROFILE`."""
    DEFAULT = "default"
    """Not at all."""


class Forgery(StrEnum):
    """How a token differs from the real one."""

    OTHER_AUDIENCE = "for another audience"
    EXPIRED = "expired"
    NOT_YET_VALID = "not yet valid"
    OTHER_KEY = "signed by another key"
    OTHER_CLUSTER = "of another cluster"
    UNSIGNED = "with alg none"


@dataclass(frozen=True, kw_only=True)
class Token:
    """A service account's token."""

    stack: str
    """Stack whose cluster signs it."""
    namespace: str
    account: str
    forgery: Forgery | None = None


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The files and variables of an attempt: those that container `build` of a class gets, and what is changed about them."""

    stack: str
    runner_class: str
    token: Token | None = None
    """Put in the place of the class's own token; None leaves that."""
    profiles: str = ""
    """AWS config text that a job might add to the class's file, with `TOKEN_FILE` for the token's path."""


Key = tuple[str, str, Sdk, Way]
"""Service account (in words), profile, SDK, way: names one attempt of a stack."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One process that asks STS who it is, and what should come of it."""

    runner_class: str | None
    """None for strangers."""
    service_account: str
    """`namespace/name`, and for a stranger what is strange about it."""
    identity: Identity
    profile: str
    """`default` where none is named."""
    sdk: Sdk
    way: Way
    expected: str
    """ARN of a role, or REFUSED."""
    reasons: frozenset[str] = frozenset()
    """Kinds of refusal that prove something, where a refusal is expected; any other is a broken set-up."""
    control: Key | None = None
    """The attempt beside it that must come through, so that this one's refusal means what it seems to."""
    group: str = ""
    """For strangers: what they have in common, in the plural."""

    @property
    def key(self) -> Key:
        """What names it."""
        return (self.service_account, self.profile, self.sdk, self.way)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a probe said: an ARN, or an error with its kind."""

    arn: str = ""
    error: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """How an attempt ended."""

    attempt: Attempt = field(repr=False)
    got: str
    """ARN of a role, REFUSED, or `BROKEN: ` and why the attempt proves nothing."""
    cause: str = ""
    """What the SDK said, where it was refused."""

    @property
    def ok(self) -> bool:
        """Whether it is as the settings say."""
        return self.got == self.attempt.expected

    def document(self) -> dict[str, object]:
        """The cell as JSON."""
        attempt = self.attempt
        return {
            "class": attempt.runner_class,
            "service_account": attempt.service_account,
            "profile": attempt.profile,
            "sdk": attempt.sdk.value,
            "way": attempt.way.value,
            "expected": attempt.expected,
            "got": self.got,
            "ok": self.ok,
        }
