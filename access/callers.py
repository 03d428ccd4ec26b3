"""Callers, and the requests that they can make.

A caller has some condition keys, lacks others, and chooses the value of the rest; a key that is not listed here is unknown, so a condition
on it is undecided. "Is there any request that is allowed?" is answered by trying one value for every way in which the conditions can turn
out. A role session carries the ARN of its role, without a session name. Which actions are allowed: `evaluation`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import itertools
import math
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.conditions import operator_of, seconds
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
REQUEST_TAG, TAG_KEYS, TRANSITIVE_KEYS = TAGS = ("aws:requesttag/", "aws:tagkeys", "sts:transitivetagkeys")
"""Keys that only a request with session tags has; it needs `sts:TagSession`, too."""
CURRENT_TIME, EPOCH_TIME = TIMES = ("aws:currenttime", "aws:epochtime")
LAST_SECOND = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


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
    characters: str = ""
    """Expression of the characters that values consist of; empty for any."""
    usual: tuple[Values, ...] = ()
    """The one value that the key usually has; whether it can have another one is undecided. Empty if the caller chooses freely."""


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
    now: datetime | None = None
    """The caller can wait, but not go back; None if any time is possible."""

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
        options: list[list[dict[str, Values]]] = []
        if times := [condition for key in TIMES for condition in by_key.pop(key, ())]:
            options.append(_moments(times, self.now))
        tags = [key.removeprefix(REQUEST_TAG) for key in by_key if key.startswith(REQUEST_TAG)]
        for key, key_conditions in by_key.items():
            values = self._values(key, key_conditions, tags if key == TAG_KEYS else ())
            if isinstance(values, Undecided):
                return values
            options.append([{key: value} for value in values])
        if math.prod(map(len, options)) > MOST_REQUESTS:
            return Undecided(f"there are too many combinations of {', '.join(sorted(by_key))} to try")
        choices = (dict(itertools.chain.from_iterable(map(dict.items, parts))) for parts in itertools.product(*options))
        return some(
            allowed(Request({**self.keys, **chosen} if chosen else self.keys, self.patterns))
            for chosen in choices
            if _has_consistent_tags(chosen)
        )

    def fixed(self, key: str) -> Values:
        """Return the values under a key that all requests share; undecided without them."""
        if key not in self.keys and (key in TIMES or self._choice(key) is not None):
            return Undecided(f"the caller chooses the value of {key}")
        return Request(self.keys, self.patterns).values(key)

    def _choice(self, key: str) -> Choice | None:
        if key in self.choices:
            return self.choices[key]
        prefixes = ((prefix, choice) for prefix, choice in self.choices.items() if prefix.endswith("/"))
        return next((choice for prefix, choice in prefixes if key.startswith(prefix)), None)

    def _values(self, key: str, conditions: Sequence[Condition], names: Sequence[str] = ()) -> list[Values] | Undecided:
        choice = self._choice(key)
        assert choice is not None  # noqa: S101  # the caller has checked
        if choice.usual:
            return [choice.usual[0], Undecided(f"a session may have another value of {key}")]
        texts = _texts(choice, conditions)
        if texts is not None:
            lowered = {text.lower() for text in texts}
            texts += [name for name in names if name not in lowered]
        if texts is None or (choice.several and len(texts) > MOST_SUBSETS):
            return Undecided(f"there are too many values of {key} to try")
        absent: list[Values] = [None] if choice.optional else []
        if not choice.several:
            return [*absent, *((text,) for text in texts)]
        sizes = range(1, len(texts) + 1)
        return [*absent, *(chosen for size in sizes for chosen in itertools.combinations(texts, size))]


def _moments(conditions: Iterable[Condition], now: datetime | None) -> list[dict[str, Values]]:
    """Return the moments that conditions on the time tell apart, from now on."""
    start = 0 if now is None else int(now.timestamp())
    texts = (value for condition in conditions for value in condition.values if isinstance(value, str))
    dates = [date for text in texts if (date := seconds(text)) is not None]
    times = {start, LAST_SECOND, *(int(date) + step for date in dates for step in (-1, 0, 1))}
    return [
        {CURRENT_TIME: (datetime.fromtimestamp(time, UTC).isoformat(),), EPOCH_TIME: (str(time),)}
        for time in sorted(times)
        if start <= time <= LAST_SECOND
    ]


def _has_consistent_tags(chosen: Mapping[str, Values]) -> bool:
    """Whether a request's tags, their keys and the transitive keys fit together."""

    def names(key: str) -> set[str]:
        values = chosen.get(key)
        return {value.lower() for value in values} if isinstance(values, tuple) else set()

    tags = {key.removeprefix(REQUEST_TAG): values for key, values in chosen.items() if key.startswith(REQUEST_TAG)}
    absent = {name for name, values in tags.items() if values is None}
    if TAG_KEYS not in chosen:
        return not names(TRANSITIVE_KEYS) & absent
    return (
        not names(TAG_KEYS) & absent
        and names(TAG_KEYS) >= set(tags) - absent
        and names(TAG_KEYS) >= names(TRANSITIVE_KEYS)
    )


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
            if globs.matches(choice.within, text)
            and not any(globs.matches(pattern, text) for pattern in excluded)
            and (not choice.characters or re.fullmatch(f"(?:{choice.characters})*", text))
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
        texts = globs.witnesses(patterns | relevant, choice.within, choice.characters)
        new = [text for text in texts or () if not any(globs.matches(pattern, text) for pattern in relevant)]
        matched = {pattern for pattern in choice.outside if any(globs.matches(pattern, text) for text in new)}
        if not matched:
            return texts
        relevant |= matched


def _near(literal: str) -> list[str]:
    """Return a literal and its neighbours: the next smaller and larger number, the other boolean."""
    if literal.lower() in ("true", "false"):
        return ["true", "false"]
    if literal.removeprefix("-").isdecimal():
        return [str(int(literal) - 1), literal, str(int(literal) + 1)]
    return [literal]


# Callers ----------------------------------------------------------------------------------------------------------------

PRINCIPAL_TAG, RESOURCE_TAG = "aws:principaltag/", "aws:resourcetag/"


@dataclass(frozen=True, kw_only=True)
class RoleTags:
    """Tags of a role, as condition keys."""

    values: Mapping[str, Values] = field(hash=False, default_factory=dict)
    """By key of the tag; undecided if the value is not known yet."""
    complete: bool = True
    """Whether the role has no further tags."""

    def keys(self, prefix: str) -> dict[str, Values]:
        """Return the condition keys of the tags below a prefix."""
        return {f"{prefix}{key.lower()}": values for key, values in self.values.items()}

    def others(self, prefix: str) -> dict[str, Values]:
        """Return the pattern of the condition keys of all tags that the role lacks."""
        return {f"{prefix}*": None} if self.complete else {}


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
NAME_CHARACTERS, TAG_CHARACTERS = r"[\w+=,.@-]", r"[\w\s.:/=+@-]"
"""What STS takes in names of sessions, and in tags. Source: https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html"""
CHOSEN: Mapping[str, Choice] = {
    "sts:rolesessionname": Choice(optional=False, characters=NAME_CHARACTERS),
    "aws:useragent": Choice(),
    "aws:referer": Choice(),
    "aws:requestedregion": Choice(optional=False),
    "aws:currenttime": Choice(optional=False),
    "aws:epochtime": Choice(optional=False),
}
"""Keys that every caller chooses; the time too, because a caller can wait for it."""
TAGGED: Mapping[str, Choice] = {
    "sts:externalid": Choice(characters=r"[\w+=,.@:/-]"),
    "sts:sourceidentity": Choice(characters=NAME_CHARACTERS),
    "aws:requesttag/": Choice(characters=TAG_CHARACTERS),
    "aws:tagkeys": Choice(several=True, characters=TAG_CHARACTERS),
    "sts:transitivetagkeys": Choice(several=True, characters=TAG_CHARACTERS),
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
    session: str = ""
    """Name of the session; empty if the caller chooses it."""
    now: datetime | None = None
    """Earliest time of a request; None if any time is possible."""
    issuer: str = ""
    """Host of a token's issuer."""
    service: str = ""
    """Service principal."""


def role_session(arn: str, organization: str | None, tags: RoleTags | None = None, *, tagged: bool = True) -> Caller:
    """Return a session of a role.

    Args:
        arn: ARN of the role.
        organization: of the role's account.
        tags: tags of the role; None if they are not known.
        tagged: whether a session can have further tags, which override those of the role.
    """
    account = arn.split(":")[4]
    principal_tags = tags.keys(PRINCIPAL_TAG) if tags else {}
    further = tags.others(PRINCIPAL_TAG) if tags else {}
    overridden = {key: Choice(usual=(values,)) for key, values in principal_tags.items()}
    if further:
        overridden[PRINCIPAL_TAG] = Choice(usual=(None,))
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
            **({} if tagged else principal_tags),
        },
        choices={**CHOSEN, **TAGGED, **(overridden if tagged else {})},
        patterns={} if tagged else further,
    )


def unnamed_principal(account: str, partition: str, organization: str | None, own: str, kind: str = "role") -> Caller:
    """Return a principal of an account that no document names: the account's administrators make such roles and users.

    The account's root user cannot assume roles.

    Args:
        account: twelve digits.
        partition: of the account's ARNs.
        organization: the account's organisation; None for a foreign account, which has another one or none.
        own: our organisation.
        kind: `role` for a session of a role, or `user`.
    """
    is_user = kind == "user"
    foreign = {} if organization else {"aws:principalorgid": Choice(within="o-*", outside=(own,))}
    return Caller(
        account=account,
        keys={
            **DIRECT,
            "aws:principalaccount": (account,),
            "aws:principaltype": ("User" if is_user else "AssumedRole",),
            **({} if is_user else {"aws:username": None}),
            **({"aws:principalorgid": (organization,)} if organization else {}),
        },
        choices={
            **CHOSEN,
            **TAGGED,
            **foreign,
            "aws:principalarn": Choice(
                within=f"arn:{partition}:iam::{account}:{kind}/?*", unnamed=True, optional=False
            ),
            PRINCIPAL_TAG: Choice(characters=TAG_CHARACTERS),
            **({"aws:username": Choice(optional=False)} if is_user else {}),
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


class Naming(NamedTuple):
    """The ways in which a statement's principals name a caller."""

    session: Truth
    """By the ARN of its session."""
    itself: Truth
    """By the ARN of its role, by its service, or by the provider of its token."""
    everybody: Truth
    """By a star."""
    account: Truth
    """By its account, which leaves the decision to the account's policies."""


def names_caller(statement: Statement, caller: Caller, provider: str) -> tuple[Truth, Truth]:
    """Whether a statement names `(the caller itself, the caller's whole account)`.

    Args:
        statement: of a policy of a resource. An Allow of one session names the caller, a Deny of one session does not.
        caller: the caller.
        provider: ARN of the token's provider in the resource's account; empty if the account has none.
    """
    names = session_names([statement], caller) if statement.effect == "Allow" else [caller.session]
    namings = [naming_of(statement, replace(caller, session=name), provider) for name in names]
    return some(way for naming in namings for way in naming[:3]), namings[0].account


def naming_of(statement: Statement, caller: Caller, provider: str) -> Naming:
    """Return the ways in which a statement's principals name a caller.

    Args:
        statement: of a trust.
        caller: the caller; without a session's name, no session is named.
        provider: ARN of the token's provider in the role's account; empty if the account has none.
    """

    def naming(principals: Iterable[Principal]) -> Naming:
        ways = [_naming(principal, caller, provider, denies=statement.effect == "Deny") for principal in principals]
        return Naming(*(some(truths) for truths in zip(*ways, strict=True)))

    if not statement.not_principals:
        return naming(statement.principals) if statement.principals else Naming(False, False, False, False)
    # Everybody else is named; to exempt a session from a denial, list it together with its account.
    exempt = naming(statement.not_principals)
    itself, account = some(exempt[:3]), exempt.account
    excepted = every((itself, account)) if statement.effect == "Deny" and caller.account else some((itself, account))
    return Naming(False, opposite(excepted), False, False)


def _naming(principal: Principal, caller: Caller, provider: str, *, denies: bool) -> Naming:
    kind, value = principal
    nobody = Naming(False, False, False, False)
    if isinstance(value, Unknown):
        return nobody._replace(itself=Undecided("a principal is not known yet"))
    if value == "*":
        return nobody._replace(everybody=_is_anybody(kind, caller, provider, denies=denies))
    if kind == "Service":
        return nobody._replace(itself=bool(caller.service) and value == caller.service)
    if kind == "Federated":
        return nobody._replace(itself=bool(provider) and value == provider)
    if kind != "AWS" or not caller.account:
        return nobody
    match = ACCOUNT.fullmatch(value)
    return Naming(
        session=bool(caller.session) and caller.session == session_name(value, caller.arn),
        itself=bool(caller.arn) and _names_role(value, caller.arn),
        everybody=False,
        account=match is not None and match[1] == caller.account,
    )


def _is_anybody(kind: str, caller: Caller, provider: str, *, denies: bool) -> Truth:
    """Whether a star includes a caller. Only a single star is a wildcard; it includes callers with a token."""
    if kind == "Service" or denies:
        return kind != "Service" or bool(caller.service)
    if caller.service:
        return Undecided("AWS does not say whether a trust of everybody admits a service")
    return not caller.issuer or bool(provider)


def _names_role(value: str, arn: str) -> Truth:
    if UNIQUE_ID.fullmatch(value):
        return Undecided(f"the principal {value} is a unique id, and the role that it belongs to is not known")
    return value == arn


def session_name(principal: str, arn: str) -> str:
    """Return the name of the session that a principal names, if it is one of a role; else an empty text."""
    session, role = SESSION.fullmatch(principal), ROLE_ARN.fullmatch(arn)
    matches = session and role and session[1] == role[1] and session[2] == role[2].rpartition("/")[2]
    return principal.rpartition("/")[2] if matches else ""


def session_names(statements: Iterable[Statement], caller: Caller) -> list[str]:
    """Return the names of sessions that statements tell apart: those that they name, and another one."""
    if caller.session or not caller.arn:
        return [caller.session]
    principals = (p.value for s in statements for p in (*s.principals, *s.not_principals) if isinstance(p.value, str))
    names = {name for principal in principals if (name := session_name(principal, caller.arn))}
    return [f"other-than-{'-'.join(sorted(names))}", *sorted(names)] if names else [""]


def named_accounts(statements: Iterable[Statement]) -> set[str]:
    """Return the ids of all accounts that principals name, alone or in an ARN."""
    values = (p.value for statement in statements for p in statement.principals if p.kind == "AWS")
    matches = (re.match(r"(?:arn:[\w-]+:\w+::)?(\d{12})\b", value) for value in values if isinstance(value, str))
    return {match[1] for match in matches if match is not None}
