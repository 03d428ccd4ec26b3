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
"""Where trying gives up: far above what real documents need."""
MOST_SUBSETS = 6
"""Of how many values every subset is tried, for keys that take several."""
TAGS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")
"""Keys that only a request with session tags has; it needs `sts:TagSession` too."""


@dataclass(frozen=True)
class Choice:
    """A key whose value the caller chooses."""

    within: str = "*"
    """Pattern of all values that there can be."""
    outside: tuple[str, ...] = ()
    """Patterns of values that there are not: what others than this caller have."""
    optional: bool = True
    """Whether the caller may leave the key out."""
    several: bool = False
    """Whether the key takes several values."""
    unnamed: bool = False
    """Whether the value is none that a document names whole: somebody that nobody thought of."""


@dataclass(frozen=True)
class Request:
    """One request; `values` is what `conditions.holds` asks for."""

    given: Mapping[str, Values]
    """Values, or their absence, by key in small letters."""
    patterns: Mapping[str, Values] = field(default_factory=dict)
    """The same for all keys that match a pattern."""

    def values(self, key: str) -> Values:
        """What the request has under a key; undecided where nothing is known of it."""
        if key in self.given:
            return self.given[key]
        for pattern, values in self.patterns.items():
            if globs.matches(pattern, key):
                return values
        return Undecided(f"the condition key {key} is not known for this caller")

    @property
    def tagged(self) -> bool:
        """Whether it brings session tags."""
        return any(key.startswith(TAGS) and isinstance(values, tuple) for key, values in self.given.items())


@dataclass(frozen=True)
class PossibleRequests:
    """All requests that a caller can make."""

    given: Mapping[str, Values]
    free: Mapping[str, Choice]
    """Keys that the caller chooses; one that ends in `/` stands for all that begin so."""
    patterns: Mapping[str, Values] = field(default_factory=dict)

    def any_request(self, conditions: Iterable[Condition], allowed: Callable[[Request], Truth]) -> Truth:
        """Whether there is a request for which `allowed` says yes.

        Args:
            conditions: all conditions that `allowed` looks at.
            allowed: the question.
        """
        by_key: dict[str, list[Condition]] = {}
        for condition in conditions:
            if condition.key not in self.given and self._free(condition.key) is not None:
                by_key.setdefault(condition.key, []).append(condition)
        choices: list[list[tuple[str, Values]]] = []
        count = 1
        for key, its in by_key.items():
            found = self._choices(key, its)
            if isinstance(found, Undecided):
                return found
            choices.append([(key, values) for values in found])
            count *= len(found)
        if count > MOST_REQUESTS:
            return Undecided(f"there are too many ways to choose {', '.join(sorted(by_key))}")
        return some(
            allowed(Request({**self.given, **dict(chosen)} if chosen else self.given, self.patterns))
            for chosen in itertools.product(*choices)
        )

    def _free(self, key: str) -> Choice | None:
        if key in self.free:
            return self.free[key]
        return next((free for start, free in self.free.items() if start.endswith("/") and key.startswith(start)), None)

    def _choices(self, key: str, conditions: Sequence[Condition]) -> list[Values] | Undecided:
        free = self._free(key)
        assert free is not None  # noqa: S101  # the caller has asked
        single = _texts(free, conditions)
        if single is None:
            return Undecided(f"there are too many ways to choose {key}")
        absent: list[Values] = [None] if free.optional else []
        if not free.several:
            return [*absent, *((text,) for text in single)]
        if len(single) > MOST_SUBSETS:
            return Undecided(f"there are too many ways to choose {key}")
        sizes = range(1, len(single) + 1)
        return [*absent, *(chosen for size in sizes for chosen in itertools.combinations(single, size))]


def _texts(free: Choice, conditions: Sequence[Condition]) -> list[str] | None:
    """Texts that show every way in which conditions on one key can turn out; None where there are too many."""
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
    plain = {each for each in literals if not globs.is_pattern(each)}
    shown = _shown(patterns | plain, free) if textual or not literals else ()
    if shown is None:
        return None
    never = (*free.outside, *(plain if free.unnamed else ()))
    candidates = dict.fromkeys([*shown, *(near for each in sorted(literals) for near in _near(each))])
    return [
        each
        for each in candidates
        if globs.matches(free.within, each) and not any(globs.matches(pattern, each) for pattern in never)
    ]


def _shown(patterns: set[str], free: Choice) -> tuple[str, ...] | None:
    """Witnesses of patterns, among them one that nobody else has for each way in which there is one; None where there are too many.

    What others have is walked only where a witness met it: of a thousand service accounts a trust names one.
    """
    met: set[str] = set()
    while True:
        shown = globs.witnesses(patterns | met, free.within)
        new = [each for each in shown or () if not any(globs.matches(pattern, each) for pattern in met)]
        further = {pattern for pattern in free.outside if any(globs.matches(pattern, each) for each in new)}
        if not further:
            return shown
        met |= further


def _near(literal: str) -> list[str]:
    """A literal and its neighbours: other numbers, earlier and later dates, the other truth value."""
    if literal.lower() in ("true", "false"):
        return ["true", "false"]
    if literal.removeprefix("-").isdecimal():
        return [str(int(literal) - 1), literal, str(int(literal) + 1)]
    try:
        datetime.fromisoformat(literal)
    except ValueError:
        return [literal]
    return ["1970-01-01T00:00:00Z", literal, "9999-12-31T00:00:00Z"]


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
"""Of every call that no AWS service makes."""
CHOSEN: Mapping[str, Choice] = {
    "sts:rolesessionname": Choice(optional=False),
    "aws:useragent": Choice(),
    "aws:referer": Choice(),
    "aws:requestedregion": Choice(optional=False),
    "aws:currenttime": Choice(optional=False),
    "aws:epochtime": Choice(optional=False),
}
"""What every caller chooses; the time too, because somebody may wait for it."""
TAGGED: Mapping[str, Choice] = {
    "sts:externalid": Choice(),
    "sts:sourceidentity": Choice(),
    "aws:requesttag/": Choice(),
    "aws:tagkeys": Choice(several=True),
    "sts:transitivetagkeys": Choice(several=True),
}
"""What a caller of AssumeRole chooses besides. An external id is chosen by the caller: it is no secret and narrows nobody."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody who calls STS or another API."""

    given: Mapping[str, Values] = field(hash=False)
    free: Mapping[str, Choice] = field(hash=False, default_factory=dict)
    patterns: Mapping[str, Values] = field(hash=False, default_factory=dict)
    account: str = ""
    """Account that it belongs to; empty for tokens and services."""
    arn: str = ""
    """ARN that principals may name; empty for what no principal names by ARN."""
    issuer: str = ""
    """Host of a token's issuer."""
    service: str = ""
    """Service principal."""


def session(arn: str, organization: str | None, tags: Mapping[str, str] | None = None) -> Caller:
    """A session of a role. Its tags may be more than the role's own, so only those that the role has are known."""
    account = arn.split(":")[4]
    return Caller(
        account=account,
        arn=arn,
        given={
            **DIRECT,
            "aws:principalarn": (arn,),
            "aws:principalaccount": (account,),
            "aws:principaltype": ("AssumedRole",),
            "aws:principalorgid": (organization,) if organization else None,
            "aws:username": None,
            **{f"aws:principaltag/{key.lower()}": (value,) for key, value in (tags or {}).items()},
        },
        free={**CHOSEN, **TAGGED},
    )


def somebody(account: str, partition: str, organization: str | None, own: str) -> Caller:
    """Somebody in an account whom no document names: its administrators make such roles and users at will.

    The account's root user itself cannot assume roles, so its ARN is none of theirs.

    Args:
        account: twelve digits.
        partition: of its ARNs.
        organization: the organisation that the account belongs to; None for a stranger, who has any other or none.
        own: our organisation.
    """
    head = f"arn:{partition}:iam::{account}:"
    foreign = {} if organization else {"aws:principalorgid": Choice(within="o-*", outside=(own,))}
    return Caller(
        account=account,
        given={
            **DIRECT,
            "aws:principalaccount": (account,),
            **({"aws:principalorgid": (organization,)} if organization else {}),
        },
        free={
            **CHOSEN,
            **TAGGED,
            **foreign,
            "aws:principalarn": Choice(within=f"{head}*", outside=(f"{head}root",), unnamed=True, optional=False),
            "aws:principaltag/": Choice(),
            "aws:principaltype": Choice(),
            "aws:username": Choice(),
        },
    )


def token(issuer: str, subject: str | Choice, audience: str | Choice) -> Caller:
    """Somebody with a token of an issuer: of the claims AWS sees `sub`, `aud` and, of Cognito, `amr`.

    No key about an AWS principal is there, and no session tag, since the tokens of clusters and of GitLab bring none.
    """
    host = issuer.lower()
    claims = {"sub": subject, "aud": audience}
    return Caller(
        issuer=issuer,
        given={
            **DIRECT,
            **{f"{host}:{key}": (value,) for key, value in claims.items() if isinstance(value, str)},
            **dict.fromkeys(("aws:tagkeys", "sts:sourceidentity", "sts:externalid")),
        },
        free={
            **CHOSEN,
            **{f"{host}:{key}": value for key, value in claims.items() if isinstance(value, Choice)},
        },
        patterns=dict.fromkeys(("aws:principal*", "aws:requesttag/*", "*:sub", "*:aud", "*:amr", "*:azp", "*:oaud")),
    )


def service(name: str, given: Mapping[str, Values] | None = None) -> Caller:
    """An AWS service that acts for a customer; about whom it acts for nothing is known beyond what is given."""
    return Caller(service=name, given=given or {}, free=CHOSEN)


def means(statement: Statement, caller: Caller, provider: str) -> tuple[Truth, Truth]:
    """Whether a statement's principals mean a caller: itself, and its whole account.

    Args:
        statement: of a trust.
        caller: who calls.
        provider: ARN of the token's provider in the role's account; empty where there is none.
    """
    if statement.not_principals:
        # Everybody but those; an exempt session must be listed together with its account.
        itself = some(_itself(each, caller, provider) for each in statement.not_principals)
        account = some(_account(each, caller) for each in statement.not_principals)
        spared = every((itself, account)) if statement.effect == "Deny" and caller.account else some((itself, account))
        return opposite(spared), False
    return (
        some(_itself(each, caller, provider) for each in statement.principals),
        some(_account(each, caller) for each in statement.principals),
    )


def _account(principal: Principal, caller: Caller) -> Truth:
    kind, value = principal
    if kind != "AWS" or not caller.account or isinstance(value, Unknown):
        return False
    found = ACCOUNT.fullmatch(value)
    return found is not None and found[1] == caller.account


def _itself(principal: Principal, caller: Caller, provider: str) -> Truth:
    kind, value = principal
    if isinstance(value, Unknown):
        return Undecided("a principal is not known yet")
    if value == "*":
        # Only the lone star is a wildcard; anybody with a token is anybody too.
        return (
            bool(caller.service) if kind == "Service" else not caller.service and (not caller.issuer or bool(provider))
        )
    if kind == "Service":
        return bool(caller.service) and value == caller.service
    if kind == "Federated":
        return bool(provider) and value == provider
    if kind != "AWS" or not caller.arn:
        return False
    return value == caller.arn or _its_session(value, caller.arn)


def _its_session(value: str, arn: str) -> Truth:
    # The name of a session is the caller's own choice.
    if UNIQUE_ID.fullmatch(value):
        return Undecided(f"the principal {value} is a unique id, whose role is not known")
    session_of, role = SESSION.fullmatch(value), ROLE_ARN.fullmatch(arn)
    return bool(session_of and role and session_of[1] == role[1] and session_of[2] == role[2].rpartition("/")[2])


def named_accounts(statements: Iterable[Statement]) -> set[str]:
    """Ids of all accounts that principals name, by themselves or in an ARN."""
    values = (each.value for statement in statements for each in statement.principals if each.kind == "AWS")
    return {
        found[1]
        for value in values
        if isinstance(value, str) and (found := re.match(r"(?:arn:[\w-]+:\w+::)?(\d{12})\b", value))
    }
