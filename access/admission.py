"""Admission: who may do what by a resource policy, of a bucket, key, repository, registry, topic, queue or secret.

Every Allow statement is evaluated together with the denials, for callers that stand for all others: roles and accounts that we know or that
the document names, services, a stranger's account and anybody. Caution points one way: what cannot be evaluated does not narrow an Allow
and does not count as a Deny. Who may do something by an own policy is not the question here. Trusts: `evaluation`.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/access_policies_identity-vs-resource.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from access import globs
from access.actions import actions_with, reached_by
from access.callers import (
    ACCOUNT,
    CHOSEN,
    DIRECT,
    ROLE_ARN,
    Caller,
    Choice,
    PossibleRequests,
    names_caller,
    role_session,
    unnamed_principal,
)
from access.conditions import holds
from access.decision import every, some
from access.policy_documents import ALLOW, DENY, without_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from access.actions import Effect
    from access.callers import Request
    from access.decision import Truth
    from access.inventory import Inventory
    from access.policy_documents import Document, Statement

NUMBERS = re.compile(r"(?<!\d)\d{12}(?!\d)", re.ASCII)
ROLE_ARNS = re.compile(r"arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+", re.ASCII)
ANYBODY = "anybody"
STRANGER = "any account"
TLS, ORGANIZATION, BY_SERVICE = "aws:securetransport", "aws:principalorgid", "aws:principalisawsservice"


@dataclass(frozen=True, kw_only=True)
class Store:
    """A resource with a policy of its own."""

    service: str
    """Prefix of its actions, such as `s3`."""
    account: str
    arn: str
    """ARN of the resource; of a bucket, without its objects. A part that is not known is `~`."""


class Principal(NamedTuple):
    """A caller that stands for all callers of its kind."""

    name: str
    account: str
    """Account of the caller; empty for services and anybody."""
    caller: Caller

    @property
    def is_service(self) -> bool:
        """Whether this is an AWS service, by its name or by any."""
        return self.caller.keys.get(BY_SERVICE) == ("true",)


@dataclass(frozen=True)
class Admitted:
    """What a policy lets a principal do."""

    principal: str
    account: str
    """Account of the principal; empty for services and anybody."""
    whole_account: bool
    """Whether the policy leaves the decision to the policies in that account."""
    effects: Mapping[Effect, str] = field(hash=False)
    """For each effect one action."""


def admitted(
    document: Document,
    store: Store,
    principals: Iterable[Principal],
    declared: Callable[[Principal, bool], Collection[Effect]],
) -> Iterator[Admitted]:
    """Yield what a policy lets principals do beyond what is declared.

    Args:
        document: the policy; without its denials, what the Allow statements alone hand out.
        store: the resource.
        principals: callers to try, in the order of their weight.
        declared: returns the effects that a principal, or its whole account, may have.
    """
    allowing = [statement for statement in document if statement.effect == ALLOW]
    if not allowing:
        return
    for principal in principals:
        named = [names_caller(statement, principal.caller, "") for statement in allowing]
        if all(itself is False and account is False for itself, account in named):
            continue
        whole = all(itself is False for itself, _ in named)
        effects = _effects(document, store, principal.caller, declared(principal, whole))
        if effects:
            yield Admitted(principal.name, principal.account, whole, effects)


def _effects(document: Document, store: Store, caller: Caller, declared: Collection[Effect]) -> dict[Effect, str]:
    candidates = dict.fromkeys(
        (effect, action)
        for statement in document
        if statement.effect == ALLOW
        for effect, actions in _reached(statement, store.service).items()
        if effect not in declared
        for action in actions
    )
    effects: dict[Effect, str] = {}
    for effect, action in candidates:
        if effect not in effects and any(_allows(document, caller, action, arn) for arn in _resources(document, store)):
            effects[effect] = action
    return effects


def _reached(statement: Statement, service: str) -> Mapping[Effect, Sequence[str]]:
    """Return the actions on a service's resources by effect; an action that is not known yet may be any."""
    if not all(isinstance(action, str) for action in statement.actions):
        return actions_with(service)
    return {reach.effect: actions for reach, actions in reached_by(statement).items() if reach.service == service}


def _resources(document: Document, store: Store) -> list[str]:
    """Return the resource, and one of its parts for every way in which the statements cover parts."""
    within = f"{store.arn}/?*" if store.service == "s3" else f"{store.arn.rpartition(':')[0]}:*"
    patterns = {
        without_variables(pattern)
        for statement in document
        for pattern in (*statement.resources, *statement.not_resources)
        if isinstance(pattern, str)
    }
    return [store.arn, *(globs.witnesses(patterns, within) or ())]


def _allows(document: Document, caller: Caller, action: str, arn: str) -> bool:
    requests = PossibleRequests(caller.keys, caller.choices, caller.patterns)
    covering = [statement for statement in document if statement.covers_action(action) is not False]
    conditions = [condition for statement in covering for condition in statement.conditions]

    def allowed(request: Request) -> Truth:
        granted = any(
            _applies(statement, caller, action, arn, request) is not False
            for statement in covering
            if statement.effect == ALLOW
        )
        return granted and not _denied(covering, caller, action, arn, request)

    return requests.any_allowed(conditions, allowed) is not False


def _denied(statements: Iterable[Statement], caller: Caller, action: str, arn: str, request: Request) -> bool:
    denials = (statement for statement in statements if statement.effect == DENY)
    return any(_applies(statement, caller, action, arn, request) is True for statement in denials)


def _applies(statement: Statement, caller: Caller, action: str, arn: str, request: Request) -> Truth:
    named = some(names_caller(statement, caller, ""))
    covered = every((named, statement.covers_action(action), statement.covers_resource(arn)))
    if covered is False:
        return False
    return every((covered, *(holds(condition, request) for condition in statement.conditions)))


def not_denied(document: Document, store: Store, principals: Iterable[Principal], *, tls: bool) -> str | None:
    """Return the name of a principal that no statement denies some request of, with TLS or without it; None if all are denied.

    Only denials for that purpose count, so that a statement that is narrowed shows although another one makes up for it today.
    """
    purpose = ORGANIZATION if tls else TLS
    denials = [
        statement
        for statement in document
        if statement.effect == DENY
        and not statement.not_principals
        and (not statement.conditions or any(condition.key == purpose for condition in statement.conditions))
    ]
    actions = [action for names in actions_with(store.service).values() for action in names]
    by_coverage = {tuple(s.covers_action(action) is True for s in denials): action for action in actions}
    for principal in principals:
        caller = principal.caller
        keys = {**caller.keys, TLS: (str(tls).lower(),)}
        requests = PossibleRequests(keys, caller.choices, caller.patterns)
        conditions = [condition for statement in denials for condition in statement.conditions]
        for action in by_coverage.values():
            for arn in _resources(tuple(denials), store):

                def passes(request: Request, action: str = action, arn: str = arn, caller: Caller = caller) -> Truth:
                    return not _denied(denials, caller, action, arn, request)

                if requests.any_allowed(conditions, passes) is not False:
                    return principal.name
    return None


def principals_for(document: Document, home: str, inventory: Inventory, roles: Iterable[str]) -> Iterator[Principal]:
    """Yield the callers that a document has to be tried with: anybody, a stranger, services, accounts and roles.

    Args:
        document: the policy; accounts, roles and services that it names are tried, too.
        home: account of the resource.
        inventory: accounts and organisation.
        roles: ARNs of our roles.
    """
    texts = [text for statement in document for text in _texts(statement)]
    ours = {account: name for name, account in inventory.accounts.items()}
    named = {number for text in texts for number in NUMBERS.findall(text)} - set(ours)
    stranger = next(text for digit in "9876543210" if (text := digit * 12) not in {*ours, *named})
    yield Principal(ANYBODY, "", Caller(keys={**DIRECT, **_NO_PRINCIPAL}, choices=CHOSEN, patterns=_NO_TAGS))
    keys = {**_SERVICE, **_NO_PRINCIPAL}
    yield Principal("a service for any account", "", Caller(keys=keys, choices=_confused(inventory), patterns=_NO_TAGS))
    yield _account(stranger, STRANGER, inventory)
    for account in sorted(named):
        yield _account(account, f"account {account}", inventory)
    for service in sorted({str(p.value) for s in document for p in s.principals if p.kind == "Service"}):
        yield Principal(
            f"{service} for any account", "", Caller(service=service, keys=_SERVICE, choices=_confused(inventory))
        )
        yield Principal(f"{service} for account {ours.get(home, home)}", "", _service(service, home, inventory))
    for account, name in ours.items():
        yield _account(account, f"account {name}", inventory)
    named_roles = {arn for text in texts for arn in ROLE_ARNS.findall(text)}
    for arn in sorted({*roles, *named_roles}):
        account = arn.split(":")[4]
        yield Principal(arn, account, role_session(arn, inventory.organization_of(account)))


def foreign_principals(statement: Statement, inventory: Inventory) -> Iterator[str]:
    """Yield the principals that a statement names and that no policy of ours should: of other accounts, or neither account, role nor service."""
    for kind, value in statement.principals:
        if not isinstance(value, str):
            yield "a principal that is not known yet"
        elif kind != "Service" and value != "*":
            match = ACCOUNT.fullmatch(value) or ROLE_ARN.fullmatch(value)
            if match is None or match[1] not in inventory.accounts.values():
                yield value


def _texts(statement: Statement) -> Iterator[str]:
    principals = (p.value for p in (*statement.principals, *statement.not_principals))
    values = (value for condition in statement.conditions for value in condition.values)
    yield from (text for text in (*principals, *values) if isinstance(text, str))


def _account(account: str, name: str, inventory: Inventory) -> Principal:
    organization = inventory.organization_of(account)
    caller = unnamed_principal(account, inventory.partition, organization, inventory.organization)
    return Principal(name, account, caller)


def _service(name: str, account: str, inventory: Inventory) -> Caller:
    """Return a service that acts for resources of one of our accounts."""
    return Caller(
        service=name,
        keys={
            **_SERVICE,
            "aws:sourceaccount": (account,),
            "aws:sourceorgid": (inventory.organization,),
        },
        choices={**CHOSEN, "aws:sourcearn": Choice(within=f"arn:*:*:*:{account}:*", optional=False)},
    )


def _confused(inventory: Inventory) -> Mapping[str, Choice]:
    """Return the keys of a service that acts for resources of an account that is not ours: a confused deputy."""
    ours = tuple(inventory.accounts.values())
    return {
        **CHOSEN,
        "aws:sourceaccount": Choice(outside=ours),
        "aws:sourcearn": Choice(outside=tuple(f"arn:*:*:*:{account}:*" for account in ours)),
        "aws:sourceorgid": Choice(outside=(inventory.organization,)),
    }


_SERVICE: Mapping[str, tuple[str, ...]] = {BY_SERVICE: ("true",), TLS: ("true",)}
_NO_PRINCIPAL = dict.fromkeys(
    (
        *("aws:principalarn", "aws:principalaccount", "aws:principalorgid", "aws:principaltype", "aws:username"),
        "aws:userid",
    )
)
_NO_TAGS: Mapping[str, None] = {"aws:principaltag/*": None, "aws:principalorgpaths": None}
