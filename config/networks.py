"""IPv4 networks in settings: which ones a VPC, EKS or a job's network policy can use.

Sources: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html (what a VPC cannot have),
https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html (public access: no reserved addresses, at most 40 networks) and
https://docs.aws.amazon.com/eks/latest/APIReference/API_KubernetesNetworkConfigRequest.html (services: private, /12 to /24)
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

from config.errors import LONGEST_VALUE, FieldError, quoted
from config.values import Allowed

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERYWHERE: Final = "0.0.0.0/0"
MOST_PUBLIC_NETWORKS: Final = 40
PRIVATE: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""RFC 1918: the ranges that EKS takes for services."""
NEVER_USED: Final = {
    "0.0.0.0/8": "this host",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local, with the instances' metadata",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
"""Ranges that no VPC, subnet or client has."""


def parse_network(value: str) -> str:
    """Return a network in its canonical form.

    Raises:
        FieldError: not an IPv4 network, or one of `NEVER_USED`.
    """
    if not value.isascii():
        raise FieldError(f"{quoted(value)} has characters outside of ASCII; write a network such as 10.40.0.0/16")
    try:
        network = IPv4Network(value)
    except ValueError as error:
        reason = str(error).replace(repr(value), "it")[:LONGEST_VALUE]
        raise FieldError(f"{quoted(value)} is not an IPv4 network ({reason}); write one such as 10.40.0.0/16") from None
    for text, use in NEVER_USED.items():
        if str(network) != EVERYWHERE and network.overlaps(IPv4Network(text)):
            raise FieldError(f"{network} overlaps {text} ({use}), which AWS refuses; write one such as 10.40.0.0/16")
    return str(network)


def parse_public_network(value: str) -> str:
    """Return a network of clients on the internet, which may be everywhere.

    Raises:
        FieldError: not an IPv4 network, or private addresses, which EKS refuses.
    """
    network = IPv4Network(parse_network(value))
    if str(network) != EVERYWHERE and any(network.overlaps(IPv4Network(text)) for text in (*PRIVATE, "100.64.0.0/10")):
        raise FieldError(
            f"{network} has private addresses, which EKS refuses here: clients arrive with public addresses; "
            "write those of your company's exits, such as 203.0.113.0/24, or use access: {private: …}"
        )
    return str(network)


def parse_own_network(value: str) -> str:
    """Return a network of our own: every network except everywhere.

    Raises:
        FieldError: not an IPv4 network, or every address.
    """
    network = parse_network(value)
    if network == EVERYWHERE:
        raise FieldError(f"{network} is every address; write one network, such as 10.40.0.0/16")
    return network


def is_private(network: str) -> bool:
    """Return whether a network lies within one of the private ranges."""
    return any(IPv4Network(network).subnet_of(IPv4Network(text)) for text in PRIVATE)


def overlap(network: str, networks: Iterable[str]) -> str | None:
    """Return the first of the networks that overlaps a network, else None."""
    return next((text for text in networks if IPv4Network(text).overlaps(IPv4Network(network))), None)


Cidr = Annotated[str, AfterValidator(parse_own_network), Allowed("an IPv4 network, such as `10.40.0.0/16`")]
"""An IPv4 network in CIDR notation that a VPC can have."""
PublicCidr = Annotated[
    str,
    AfterValidator(parse_public_network),
    Allowed(f"at most {MOST_PUBLIC_NETWORKS} public IPv4 networks, such as `203.0.113.0/24`"),
]
"""An IPv4 network of clients on the internet."""
