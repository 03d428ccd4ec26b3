"""The EC2 instance types that a node pool may use: size, memory, architecture, pods.

Owns a frozen excerpt of Amazon's catalogue: families c, m and r, generations 6 to 8, Intel, AMD and Graviton, sizes
`large` to `16xlarge`. Leaves out prices, local disks, accelerators, burstable types and regional availability: a class
asks for vCPU and memory only, and these families have every ratio of the two. The figures are exact because the families
are regular: `large` has 2 vCPU and each size multiplies it; c has 2 GiB per vCPU, m 4, r 8.
Source: https://docs.aws.amazon.com/ec2/latest/instancetypes/instance-types.html
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

Arch = Literal["amd64", "arm64"]
Manufacturer = Literal["intel", "amd", "aws"]

MAX_PODS: Final = 110
"""Auto Mode's ceiling of pods per node; every type here reaches it with /28 prefixes."""

_VCPUS: Final = {
    "large": 2,
    "xlarge": 4,
    "2xlarge": 8,
    "4xlarge": 16,
    "8xlarge": 32,
    "12xlarge": 48,
    "16xlarge": 64,
}
_GIB_PER_VCPU: Final = {"c": 2, "m": 4, "r": 8}
_GENERATIONS: Final = (6, 7, 8)
_MAKERS: Final[dict[str, tuple[Manufacturer, Arch]]] = {
    "i": ("intel", "amd64"),
    "a": ("amd", "amd64"),
    "g": ("aws", "arm64"),
}

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
            name=f"{category}{generation}{letter}.{size}",
            category=category,
            generation=generation,
            manufacturer=manufacturer,
            arch=arch,
            size=size,
            vcpus=vcpus,
            memory_mib=vcpus * gib * 1024,
        )
        for category, gib in _GIB_PER_VCPU.items()
        for generation in _GENERATIONS
        for letter, (manufacturer, arch) in _MAKERS.items()
        for size, vcpus in _VCPUS.items()
    ]
    return tuple(sorted(types, key=lambda instance: (instance.vcpus, instance.memory_mib, instance.name)))


INSTANCE_TYPES: Final = _catalogue()
"""The whole catalogue, smallest first."""

BY_NAME: Final = {instance.name: instance for instance in INSTANCE_TYPES}
