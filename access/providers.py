"""Issuers that accounts take tokens of: OpenID Connect providers, each in one account, with the audiences that it takes.

Owns which provider of an account a token belongs to; a trust in a provider that is not there, or is another account's, admits nobody. Leaves
out the trusts. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_create_oidc.html
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from access import globs
from access.answers import Truth, Undecided
from access.resources import at, listed
from access.universe import Free

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from access.facts import Facts
    from access.resources import Resource

PROVIDER = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
CLUSTER_HOSTS = "oidc.eks."


class Provider(NamedTuple):
    """A provider in an account."""

    arn: str
    clients: tuple[str, ...]
    """Audiences that it takes."""
    more: bool
    """Whether it takes others that are not known yet."""


@dataclass(kw_only=True)
class Providers:
    """All providers."""

    by_place: dict[tuple[str, str], Provider] = field(default_factory=dict)
    """By account and host of the issuer."""
    of_clusters: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Hosts of the clusters' issuers by stack."""

    def arn(self, account: str, issuer: str) -> str:
        """ARN of the provider of an issuer in an account; empty where there is none."""
        found = self.by_place.get((account, issuer))
        return found.arn if found else ""

    def takes(self, account: str, issuer: str, audience: str | Free) -> Iterator[tuple[str, Truth]]:
        """Audiences that an account takes of an issuer, of those that a token may be made for."""
        found = self.by_place.get((account, issuer))
        for client in found.clients if found else ():
            if isinstance(audience, Free):
                if not any(globs.matches(each, client) for each in audience.outside):
                    yield client, True
            elif client == audience:
                yield client, True
        if found and found.more:
            unknown = Undecided("the audiences of a provider are not known yet")
            yield (audience if isinstance(audience, str) else "not-known-yet"), unknown

    @property
    def hosts(self) -> set[str]:
        """All issuers."""
        return {host for _, host in self.by_place}


def providers_of(resources: Iterable[Resource], facts: Facts) -> Providers:
    """The providers of some resources; without any of GitLab, those that the foundation has in each account."""
    found = Providers()

    def add(account: str, host: str, listed_clients: list[Any]) -> None:
        arn = f"arn:{facts.partition}:iam::{account}:oidc-provider/{host}"
        clients = tuple(client for client in listed_clients if isinstance(client, str))
        known = found.by_place.get((account, host), Provider(arn, (), more=False))
        more = known.more or len(clients) < len(listed_clients)
        found.by_place[account, host] = Provider(arn, (*known.clients, *clients), more)

    for each in resources:
        if each.type == PROVIDER:
            url = at(each.inputs, "url")
            host = url.removeprefix("https://") if isinstance(url, str) else unknown_issuer(each.stack)
            add(each.account, host, listed(at(each.inputs, "clientIdLists")))
            if CLUSTER_HOSTS in host or not isinstance(url, str):
                found.of_clusters[each.stack].add(host)
    if facts.gitlab and facts.gitlab_host not in found.hosts:
        for account in facts.accounts.values():
            add(account, facts.gitlab_host, [facts.gitlab])
    return found


def unknown_issuer(stack: str) -> str:
    """Stands for the host of a cluster that is being created."""
    return f"issuer-of-{stack}.not-known-yet"
