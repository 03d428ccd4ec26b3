"""Callers, and the requests that they can make.

A caller has some condition keys, lacks others, and chooses the value of the rest; a key that is not listed here is unknown, so a condition
on it is undecided. "Is there any request that is allowed?" is answered by trying one value for every way in which the conditions can turn
out. A role session carries the ARN of its role, without a session name. Which actions are allowed: `evaluation`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from access import globs
from access.conditions import operator_of
from access.decision import Truth, Undecided, every, opposite, some
from access.policy_documents import without_variables
from access.resource import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from access.conditions import Values
    from access.policy_documents import Condition, Principal, Statement

MOST_REQUESTS = 4096
"""Trying gives up above this number of requests, far above what real documents need."""
MOST_SUBSETS = 6
"""Keys with several values: every subset of at most this many values is tried."""
TAGS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")
"""Keys that only a request with session tags has; it needs `sts:TagSession`, too."""


# Requests ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choice:
    """The values among which a caller chooses for a condition key."""

    within: str = "*"
    """Pattern of all possible values."""
    outside: tuple[str, ...] = ()
    """Patterns of values that other callers have, and this one has not."""
    optional: bool = True
    """Whether the caller may leave the key out."""
    several: bool = False
    """Whether the key takes several values."""
    unnamed: bool = False
    """Whether the value is none that a document names whole: a principal that nobody thought of."""


@dataclass(frozen=True)
class Request:
    """One request; `conditions.holds` evaluates conditions on it."""

    keys: Mapping[str, Values]
    """Values, or None for absence, by key in small letters."""
    patterns: Mapping[str, Values] = field(default_factory=dict)
    """The same for all keys that match a pattern."""

    def values(self, key: str) -> Values:
        """Return the values under a key; undecided if the key is unknown for this caller."""
        if key in self.keys:
            return self.keys[key]
        for pattern, values in self.patterns.items():
            if globs.matches(pattern, key):
                return values
        return Undecided(f"the condition key {key} is not known for this caller")

    @property
    def tagged(self) -> bool:
        """Whether the request brings session tags."""
        return any(key.startswith(TAGS) and isinstance(values, tuple) for key, values in self.keys.items())


@dataclass(frozen=True)
class PossibleRequests:
    """All requests that a caller can make."""

    keys: Mapping[str, Values]
    """Keys with fixed values."""
    choices: Mapping[str, Choice]
    """Keys whose value the caller chooses; a key that ends in `/` stands for all keys with that beginning."""
    patterns: Mapping[str, Values] = field(default_factory=dict)

    def any_allowed(self, conditions: Iterable[Condition], allowed: Callable[[Request], Truth]) -> Truth:
        """Whether `allowed` returns True for some request.

        Args:
            conditions: all conditions that `allowed` evaluates.
            allowed: evaluates one request.
        """
        by_key: dict[str, list[Condition]] = {}
        for condition in conditions:
            if condition.key not in self.keys and self._choice(condition.key) is not None:
                by_key.setdefault(condition.key, []).append(condition)
        options: list[list[tuple[str, Values]]] = []
        count = 1
        for key, key_conditions in by_key.items():
            values = self._values(key, key_conditions)
            if isinstance(values, Undecided):
                return values
            options.append([(key, value) for value in values])
            count *= len(values)
        if count > MOST_REQUESTS:
            return Undecided(f"there are too many combinations of {', '.join(sorted(by_key))} to try")
        return some(
            allowed(Request({**self.keys, **dict(chosen)} if chosen else self.keys, self.patterns))
            for chosen in itertools.product(*options)
        )

    def _choice(self, key: str) -> Choice | None:
        if key in self.choices:
            return self.choices[key]
        prefixes = ((prefix, choice) for prefix, choice in self.choices.items() if prefix.endswith("/"))
        return next((choice for prefix, choice in prefixes if key.startswith(prefix)), None)

    def _values(self, key: str, conditions: Sequence[Condition]) -> list[Values] | Undecided:
        choice = self._choice(key)
        assert choice is not None  # noqa: S101  # the caller has checked
        texts = _texts(choice, conditions)
        if texts is None or (choice.several and len(texts) > MOST_SUBSETS):
            return Undecided(f"there are too many values of {key} to try")
        absent: list[Values] = [None] if choice.optional else []
        if not choice.several:
            return [*absent, *((text,) for text in texts)]
        sizes = range(1, len(texts) + 1)
        return [*absent, *(chosen for size in sizes for chosen in itertools.combinations(texts, size))]


def _texts(choice: Choice, conditions: Sequence[Condition]) -> list[str] | None:
    """Return one text for every combination of matching conditions on one key; None if there are too many."""
    patterns, literals, textual = set[str](), set[str](), False
    for condition in conditions:
        operator = operator_of(condition.operator)
        if isinstance(operator, Undecided):
            continue
        textual = textual or operator.textual
        for value in condition.values:
            if not isinstance(value, Unknown):
                text = without_variables(value)
                (patterns if operator.patterns and globs.is_pattern(text) else literals).add(text)
    plain = {literal for literal in literals if not globs.is_pattern(literal)}
    excluded = (*choice.outside, *(plain if choice.unnamed else ()))

    def possible(candidates: Iterable[str]) -> list[str]:
        return [
            text
            for text in dict.fromkeys(candidates)
            if globs.matches(choice.within, text) and not any(globs.matches(pattern, text) for pattern in excluded)
        ]

    near = [text for literal in sorted(literals) for text in _near(literal)]
    texts = [] if textual or not literals else possible(near)
    if texts:
        return texts
    # Also where no literal can be a value: the caller has some value, whatever `Null` or a number is compared with.
    witnesses = _witnesses(patterns | plain, choice)
    return None if witnesses is None else possible([*witnesses, *near])


def _witnesses(patterns: set[str], choice: Choice) -> tuple[str, ...] | None:
    """Return witnesses of patterns, including values of this caller alone; None if there are too many.

    Patterns of other callers are added only when a witness matches one: a trust names one of a thousand service accounts.
    """
    relevant: set[str] = set()
    while True:
        texts = globs.witnesses(patterns | relevant, choice.within)
        new = [text for text in texts or () if not any(globs.matches(pattern, text) for pattern in relevant)]
        matched = {pattern for pattern in choice.outside if any(globs.matches(pattern, text) for text in new)}
        if not matched:
            return texts
        relevant |= matched


def _near(literal: str) -> list[str]:
    """Return a literal and its neighbours: smaller and larger numbers, earlier and later dates, the other boolean."""
    if literal.lower() in ("true", "false"):
        return ["true", "false"]
    if literal.removeprefix("-").isdecimal():
        return [str(int(literal) - 1), literal, str(int(literal) + 1)]
    try:
        datetime.fromisoformat(literal)
    except ValueError:
        return [literal]
    return ["1970-01-01T00:00:00Z", literal, "9999-12-31T00:00:00Z"]


# Callers ----------------------------------------------------------------------------------------------------------------

ROLE_ARN = re.compile(r"arn:[\w-]+:iam::(\d{12}):role/(.+)", re.ASCII)
ACCOUNT = re.compile(r"(?:arn:[\w-]+:iam::)?(\d{12})(?::root)?", re.ASCII)
SESSION = re.compile(r"arn:[\w-]+:sts::(\d{12}):assumed-role/([^/]+)/.+", re.ASCII)
UNIQUE_ID = re.compile(r"A(ROA|IDA)[A-Z0-9]{12,}", re.ASCII)

DIRECT: Mapping[str, Values] = {
    "aws:securetransport": ("true",),
    "aws:viaawsservice": ("false",),
    "aws:calledvia": None,
    "aws:calledviafirst": None,
    "aws:calledvialast": None,
    "aws:principalisawsservice": ("false",),
    "aws:principalservicename": None,
    "aws:sourcearn": None,
    "aws:sourceaccount": None,
    "aws:sourceorgid": None,
}
"""Keys of every call that does not come from an AWS service."""
CHOSEN: Mapping[str, Choice] = {
    "sts:rolesessionname": Choice(optional=False),
    "aws:useragent": Choice(),
    "aws:referer": Choice(),
    "aws:requestedregion": Choice(optional=False),
    "aws:currenttime": Choice(optional=False),
    "aws:epochtime": Choice(optional=False),
}
"""Keys that every caller chooses; the time too, because a caller can wait for it."""
TAGGED: Mapping[str, Choice] = {
    "sts:externalid": Choice(),
    "sts:sourceidentity": Choice(),
    "aws:requesttag/": Choice(),
    "aws:tagkeys": Choice(several=True),
    "sts:transitivetagkeys": Choice(several=True),
}
"""Further keys that a caller of AssumeRole chooses. The external id is one of them: it is not a secret and narrows nothing."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """A caller of STS or another API."""

    keys: Mapping[str, Values] = field(hash=False)
    """Condition keys with fixed values."""
    choices: Mapping[str, Choice] = field(hash=False, default_factory=dict)
    """Condition keys that the caller chooses."""
    patterns: Mapping[str, Values] = field(hash=False, default_factory=dict)
    account: str = ""
    """Account of the caller; empty for tokens and services."""
    arn: str = ""
    """ARN that principals may name; empty if no principal can name the caller by ARN."""
    issuer: str = ""
    """Host of a token's issuer."""
    service: str = ""
    """Service principal."""


def role_session(arn: str, organization: str | None, tags: Mapping[str, str] | None = None) -> Caller:
    """Return a session of a role. It may have more tags than the role, so only keys of the role's tags are known."""
    account = arn.split(":")[4]
    return Caller(
        account=account,
        arn=arn,
        keys={
            **DIRECT,
            "aws:principalarn": (arn,),
            "aws:principalaccount": (account,),
            "aws:principaltype": ("AssumedRole",),
            "aws:principalorgid": (organization,) if organization else None,
            "aws:username": None,
            **{f"aws:principaltag/{key.lower()}": (value,) for key, value in (tags or {}).items()},
        },
        choices={**CHOSEN, **TAGGED},
    )


def unnamed_principal(account: str, partition: str, organization: str | None, own: str) -> Caller:
    """Return a principal of an account that no document names: the account's administrators make such roles and users.

    The account's root user cannot assume roles, so its ARN is excluded.

    Args:
        account: twelve digits.
        partition: of the account's ARNs.
        organization: the account's organisation; None for a foreign account, which has another one or none.
        own: our organisation.
    """
    prefix = f"arn:{partition}:iam::{account}:"
    foreign = {} if organization else {"aws:principalorgid": Choice(within="o-*", outside=(own,))}
    return Caller(
        account=account,
        keys={
            **DIRECT,
            "aws:principalaccount": (account,),
            **({"aws:principalorgid": (organization,)} if organization else {}),
        },
        choices={
            **CHOSEN,
            **TAGGED,
            **foreign,
            "aws:principalarn": Choice(within=f"{prefix}*", outside=(f"{prefix}root",), unnamed=True, optional=False),
            "aws:principaltag/": Choice(),
            "aws:principaltype": Choice(),
            "aws:username": Choice(),
        },
    )


def token_bearer(issuer: str, subject: str | Choice, audience: str | Choice) -> Caller:
    """Return a caller with a token of an issuer. Of the claims AWS sees `sub`, `aud` and, of Cognito, `amr`.

    The caller has no key of an AWS principal and no session tag: tokens of clusters and of GitLab bring none.
    """
    host = issuer.lower()
    claims = {"sub": subject, "aud": audience}
    return Caller(
        issuer=issuer,
        keys={
            **DIRECT,
            **{f"{host}:{claim}": (value,) for claim, value in claims.items() if isinstance(value, str)},
            **dict.fromkeys(("aws:tagkeys", "sts:sourceidentity", "sts:externalid")),
        },
        choices={
            **CHOSEN,
            **{f"{host}:{claim}": value for claim, value in claims.items() if isinstance(value, Choice)},
        },
        patterns=dict.fromkeys(("aws:principal*", "aws:requesttag/*", "*:sub", "*:aud", "*:amr", "*:azp", "*:oaud")),
    )


def aws_service(name: str, keys: Mapping[str, Values] | None = None) -> Caller:
    """Return an AWS service that acts for a customer; further keys about the customer are unknown."""
    return Caller(service=name, keys=keys or {}, choices=CHOSEN)


# Principals of a statement ----------------------------------------------------------------------------------------------


def names_caller(statement: Statement, caller: Caller, provider: str) -> tuple[Truth, Truth]:
    """Whether a statement's principals name `(the caller itself, the caller's whole account)`.

    Args:
        statement: of a trust.
        caller: the caller.
        provider: ARN of the token's provider in the role's account; empty if the account has none.
    """
    if statement.not_principals:
        # Everybody else is named; to exempt a session from a denial, list it together with its account.
        itself = some(_names_itself(principal, caller, provider) for principal in statement.not_principals)
        account = some(_names_account(principal, caller) for principal in statement.not_principals)
        exempt = every((itself, account)) if statement.effect == "Deny" and caller.account else some((itself, account))
        return opposite(exempt), False
    return (
        some(_names_itself(principal, caller, provider) for principal in statement.principals),
        some(_names_account(principal, caller) for principal in statement.principals),
    )


def _names_account(principal: Principal, caller: Caller) -> Truth:
    kind, value = principal
    if kind != "AWS" or not caller.account or isinstance(value, Unknown):
        return False
    match = ACCOUNT.fullmatch(value)
    return match is not None and match[1] == caller.account


def _names_itself(principal: Principal, caller: Caller, provider: str) -> Truth:
    kind, value = principal
    if isinstance(value, Unknown):
        return Undecided("a principal is not known yet")
    if value == "*":
        # Only a single star is a wildcard. It includes callers with a token.
        return (
            bool(caller.service) if kind == "Service" else not caller.service and (not caller.issuer or bool(provider))
        )
    if kind == "Service":
        return bool(caller.service) and value == caller.service
    if kind == "Federated":
        return bool(provider) and value == provider
    if kind != "AWS" or not caller.arn:
        return False
    return value == caller.arn or _names_session(value, caller.arn)


def _names_session(value: str, arn: str) -> Truth:
    # The caller chooses the name of its session.
    if UNIQUE_ID.fullmatch(value):
        return Undecided(f"the principal {value} is a unique id, and the role that it belongs to is not known")
    session, role = SESSION.fullmatch(value), ROLE_ARN.fullmatch(arn)
    return bool(session and role and session[1] == role[1] and session[2] == role[2].rpartition("/")[2])


def named_accounts(statements: Iterable[Statement]) -> set[str]:
    """Return the ids of all accounts that principals name, alone or in an ARN."""
    values = (p.value for statement in statements for p in statement.principals if p.kind == "AWS")
    matches = (re.match(r"(?:arn:[\w-]+:\w+::)?(\d{12})\b", value) for value in values if isinstance(value, str))
    return {match[1] for match in matches if match is not None}
