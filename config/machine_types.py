"""EC2 instance types that a runner's machine can be, and the regions that offer them.

`machine_types.json` is generated from what EC2 answered to DescribeInstanceTypes and DescribeInstanceTypeOfferings, as the package moto
distributes it. Left out are bare metal, Macs, and types with a GPU or another accelerator: no runner here uses them, and they cost most.
EC2 adds types and regions all the time, so a type that is missing here may exist: `exists_in_ec2` asks the SDK's model of the API.
`python -m tests.config.machine_type_data --write` renews the file.
Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstanceTypes.html
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE: Final = Path(__file__).with_name("machine_types.json")
SUGGESTIONS: Final = 3
"""Most names that `nearest` returns."""

Arch = Literal["amd64", "arm64"]


@dataclass(frozen=True, kw_only=True)
class MachineType:
    """An instance type."""

    name: str
    """Such as `m7i.large`."""
    vcpus: int
    memory_mib: int
    """Nominal memory, MiB; the kernel takes a part of it."""
    arch: Arch
    burstable: bool = False
    """Whether its CPU is limited by credits, as in the families t2, t3, t3a and t4g."""
    spot: bool = True
    """Whether EC2 sells it as spot capacity."""

    @property
    def family(self) -> str:
        """Such as `m7i`."""
        return self.name.partition(".")[0]


@cache
def _data() -> Any:
    return json.loads(FILE.read_text())


def source() -> str:
    """Return the origin of the data for messages, such as `moto 5.2.5`."""
    return str(_data()["from"])


@cache
def machine_types() -> Mapping[str, MachineType]:
    """Return every type of the catalogue by name, smallest first."""
    types = [
        MachineType(
            name=f"{family}.{size}",
            vcpus=vcpus,
            memory_mib=memory_mib,
            arch=entry["arch"],
            burstable=entry.get("burstable", False),
            spot=size not in entry.get("on_demand_only", ()),
        )
        for families, entry in _data()["families"].items()
        for family in families.split()
        for size, (vcpus, memory_mib) in entry["sizes"].items()
    ]
    return {machine.name: machine for machine in sorted(types, key=lambda type_: (type_.vcpus, type_.memory_mib))}


def machine_type(name: str) -> MachineType | None:
    """Return a type of the catalogue; None if EC2 has none of this name, or none that a runner's machine can be."""
    return machine_types().get(name)


def offered_in(name: str, region: str) -> bool | None:
    """Whether a region offers a type of the catalogue; None if the region or the type is not in the data."""
    offers = _data()["regions"].get(region)
    if offers is None or name not in machine_types():
        return None
    return name.partition(".")[0] in offers["families"].split() or name in offers.get("types", "").split()


def nearest(name: str) -> list[str]:
    """Return the types of the catalogue whose names are most like a name, the most similar first; empty if none is similar."""
    return difflib.get_close_matches(name.strip().lower(), machine_types(), n=SUGGESTIONS)


def exists_in_ec2(name: str) -> bool:
    """Whether EC2 has a type of this name, in the catalogue or in the SDK's model of the API, which is loaded on demand only."""
    return name in machine_types() or name in _names_of_the_sdk()


@cache
def _names_of_the_sdk() -> frozenset[str]:
    from botocore.loaders import Loader  # noqa: PLC0415  # the command line starts without the SDK

    return frozenset(Loader().load_service_model("ec2", "service-2")["shapes"]["InstanceType"]["enum"])
