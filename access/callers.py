"""Callers: what each class of them brings to a request, and whether a statement's principals mean them.

Owns which condition keys a role session, somebody in an account, a token of an issuer and an AWS service have, lack, or choose. Keys that
are not named here are not known, so that a condition on one is undecided. A session carries the ARN of its role, without session name.
Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-keys.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from access.answers import Truth, Undecided, every, opposite, some
from access.resources import Unknown
from access.universe import Free

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from access.conditions import Values
    from access.documents import Principal, Statement

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
CHOSEN: Mapping[str, Free] = {
    "sts:rolesessionname": Free(optional=False),
    "aws:useragent": Free(),
    "aws:referer": Free(),
    "aws:requestedregion": Free(optional=False),
    "aws:currenttime": Free(optional=False),
    "aws:epochtime": Free(optional=False),
}
"""What every caller chooses; the time too, because somebody may wait for it."""
TAGGED: Mapping[str, Free] = {
    "sts:externalid": Free(),
    "sts:sourceidentity": Free(),
    "aws:requesttag/": Free(),
    "aws:tagkeys": Free(several=True),
    "sts:transitivetagkeys": Free(several=True),
}
"""What a caller of AssumeRole chooses besides. An external id is chosen by the caller: it is no secret and narrows nobody."""


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody who calls STS or another API."""

    given: Mapping[str, Values] = field(hash=False)
    free: Mapping[str, Free] = field(hash=False, default_factory=dict)
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
    foreign = {} if organization else {"aws:principalorgid": Free(within="o-*", outside=(own,))}
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
            "aws:principalarn": Free(within=f"{head}*", outside=(f"{head}root",), unnamed=True, optional=False),
            "aws:principaltag/": Free(),
            "aws:principaltype": Free(),
            "aws:username": Free(),
        },
    )


def token(issuer: str, subject: str | Free, audience: str | Free) -> Caller:
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
            **{f"{host}:{key}": value for key, value in claims.items() if isinstance(value, Free)},
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
