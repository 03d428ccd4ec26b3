"""The EC2 instance types that a node pool may use: size, memory, architecture, pods.

An excerpt of `machine_types`: families c, m and r, generations 6 to 8, Intel, AMD and Graviton, sizes `large` to `16xlarge`. Leaves
out local disks, burstable types and regional availability: a class asks for vCPU and memory only, and these families have
every ratio of the two. A later generation joins by hand, because it changes the node pools of every stack.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from config.machine_types import Arch, machine_types

Manufacturer = Literal["intel", "amd", "aws"]

MAX_PODS: Final = 110
"""Auto Mode's ceiling of pods per node; every type here reaches it with /28 prefixes."""

_FAMILY: Final = re.compile(r"(?P<category>[cmr])(?P<generation>[678])(?P<maker>[iag])")
_SIZES: Final = ("large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge", "16xlarge")
_MANUFACTURERS: Final[dict[str, Manufacturer]] = {"i": "intel", "a": "amd", "g": "aws"}

_RESERVED_MILLICPU: Final = ((1, 60), (1, 10), (2, 5))
"""Kubelet's share of a core: 6 % of the first, 1 % of the second, 0.5 % of the next two, 0.25 % of further ones."""
_RESERVED_TENTHS_OF_FURTHER: Final = 25
_RESERVED_MIB: Final = 255 + 11 * MAX_PODS
_EVICTION_MIB: Final = 100
_HYPERVISOR_PERCENT: Final = 7.5


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """One type of the catalogue."""

    name: str
    """Such as `m7i.2xlarge`."""
    category: str
    """Letter of the family: c, m or r."""
    generation: int
    manufacturer: Manufacturer
    arch: Arch
    size: str
    """Such as `2xlarge`."""
    vcpus: int
    memory_mib: int
    """Nominal memory, MiB."""
    pods: int = MAX_PODS

    @property
    def family(self) -> str:
        """Such as `m7i`."""
        return self.name.partition(".")[0]

    @cached_property
    def allocatable_millicpu(self) -> int:
        """Thousandths of a core that pods may request.

        The kubelet's reservation is that of Amazon's images:
        https://github.com/awslabs/amazon-eks-ami (nodeadm, kubelet configuration).
        """
        reserved_tenths, remaining_cores = 0, self.vcpus
        for cores, millicpu in _RESERVED_MILLICPU:
            reserved_tenths += 10 * millicpu * min(cores, remaining_cores)
            remaining_cores -= min(cores, remaining_cores)
        reserved_tenths += _RESERVED_TENTHS_OF_FURTHER * remaining_cores
        return self.vcpus * 1000 - -(-reserved_tenths // 10)

    @cached_property
    def allocatable_mib(self) -> int:
        """MiB that pods may request.

        Nominal memory without the hypervisor's share (7.5 %, Karpenter's default estimate), the kubelet's reservation
        (255 MiB and 11 MiB per possible pod) and the eviction threshold (100 MiB).
        """
        return int(self.memory_mib * (100 - _HYPERVISOR_PERCENT) / 100) - _RESERVED_MIB - _EVICTION_MIB


def _catalogue() -> tuple[InstanceType, ...]:
    types = [
        InstanceType(
            name=machine.name,
            category=match["category"],
            generation=int(match["generation"]),
            manufacturer=_MANUFACTURERS[match["maker"]],
            arch=machine.arch,
            size=size,
            vcpus=machine.vcpus,
            memory_mib=machine.memory_mib,
        )
        for machine in machine_types().values()
        for family, _, size in [machine.name.partition(".")]
        if (match := _FAMILY.fullmatch(family)) and size in _SIZES
    ]
    return tuple(sorted(types, key=lambda instance: (instance.vcpus, instance.memory_mib, instance.name)))


INSTANCE_TYPES: Final = _catalogue()
"""The whole catalogue, smallest first."""

BY_NAME: Final = {instance.name: instance for instance in INSTANCE_TYPES}
