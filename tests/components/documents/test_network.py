"""Subnets of a network, and the blocks of addresses that nodes take from them."""

from __future__ import annotations

import ipaddress
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.documents import network
from tests.support.generated_cases import QUICK

NETWORKS = st.builds(
    lambda prefix, number: str(ipaddress.IPv4Network(((10 << 24) + (number << 12), 20)).supernet(new_prefix=prefix)),
    st.integers(16, 20),
    st.integers(0, 4095),
)


@QUICK
@given(cidr=NETWORKS, zones=st.sampled_from([2, 3]))
def test_subnets_lie_within_the_network_and_do_not_overlap(cidr: str, zones: int) -> None:
    cut = network.cut_vpc(cidr, zones)
    assert len(cut.public) == len(cut.private) == zones, "each zone has one public and one private subnet"
    vpc, subnets = (
        ipaddress.IPv4Network(cidr),
        [ipaddress.IPv4Network(subnet) for subnet in (*cut.public, *cut.private)],
    )
    assert all(subnet.subnet_of(vpc) for subnet in subnets)
    assert not [pair for pair in combinations(subnets, 2) if pair[0].overlaps(pair[1])]
    assert {subnet.prefixlen for subnet in subnets[:zones]} == {26}, "public subnets hold gateways only"
    assert {subnet.prefixlen for subnet in subnets[zones:]} == {vpc.prefixlen + 2}


@pytest.mark.parametrize(
    ("cidr", "zones", "public", "private"),
    [
        ("10.40.0.0/16", 3, "10.40.192.0/26", ("10.40.0.0/18", "10.40.64.0/18", "10.40.128.0/18")),
        ("10.41.0.0/16", 2, "10.41.192.0/26", ("10.41.0.0/18", "10.41.64.0/18")),
        ("10.0.16.0/20", 3, "10.0.28.0/26", ("10.0.16.0/22", "10.0.20.0/22", "10.0.24.0/22")),
    ],
)
def test_a_network_is_cut_into_the_subnets_that_are_deployed(
    cidr: str, zones: int, public: str, private: tuple[str, ...]
) -> None:
    cut = network.cut_vpc(cidr, zones)
    assert (cut.public[0], cut.private) == (public, private), "another cut would replace every subnet"


def test_too_small_a_network_is_refused_with_its_range() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/24 is too small for 3 zones; use a /16 to a /20"):
        network.cut_vpc("10.0.0.0/24", 3)


@pytest.mark.parametrize(("cidr", "blocks"), [("10.0.0.0/18", 1022), ("10.0.0.0/22", 62), ("10.0.0.0/28", 0)])
def test_addresses_are_counted_in_whole_blocks_of_sixteen(cidr: str, blocks: int) -> None:
    assert network.blocks_of_subnet(cidr) == blocks, "AWS keeps addresses of the first and of the last block"


@pytest.mark.parametrize(("count", "blocks"), [(1, 2), (16, 2), (17, 3), (110, 8)])
def test_a_node_takes_one_block_more_than_its_pods_need(count: int, blocks: int) -> None:
    assert network.blocks_of_node(count) == blocks
    assert network.nodes_that_fit(("10.0.0.0/22", "10.0.4.0/22"), count) == 2 * (62 // blocks)
