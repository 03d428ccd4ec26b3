"""The catalogue of EC2 instance types: what EC2 says of a type, where it is offered, and what a typing error meant."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest

from config import machine_types
from config.machine_types import MachineType
from tests.config import machine_type_data


@pytest.mark.thorough
@pytest.mark.skipif(find_spec(machine_type_data.PACKAGE) is None, reason="moto is not installed")
def test_the_file_of_machine_types_is_what_ec2_answered() -> None:
    committed, document = json.loads(machine_types.FILE.read_text()), machine_type_data.generated()
    assert {**committed, "generated": ""} == {**document, "generated": ""}, (
        "run: python -m tests.config.machine_type_data --write"
    )


@pytest.mark.thorough
def test_the_model_of_the_sdk_has_every_type_of_the_catalogue() -> None:
    assert set(machine_types.machine_types()) <= machine_types._names_of_the_sdk()


def test_the_file_is_written_by_the_generator() -> None:
    text = machine_types.FILE.read_text()
    assert text == machine_type_data.text(json.loads(text)), "run: python -m tests.config.machine_type_data --write"


@pytest.mark.parametrize(
    "machine",
    [
        MachineType(name="m7i.large", vcpus=2, memory_mib=8192, arch="amd64"),
        MachineType(name="c7g.xlarge", vcpus=4, memory_mib=8192, arch="arm64"),
        MachineType(name="t3.large", vcpus=2, memory_mib=8192, arch="amd64", burstable=True),
        MachineType(name="t4g.nano", vcpus=2, memory_mib=512, arch="arm64", burstable=True),
        MachineType(name="hpc7g.4xlarge", vcpus=16, memory_mib=131072, arch="arm64", spot=False),
        MachineType(name="m7i-flex.large", vcpus=2, memory_mib=8192, arch="amd64"),
    ],
    ids=lambda machine: machine.name,
)
def test_a_type_is_what_ec2_says(machine: MachineType) -> None:
    assert machine_types.machine_type(machine.name) == machine
    assert machine_types.exists_in_ec2(machine.name)


@pytest.mark.parametrize("name", ["p5.48xlarge", "g5.xlarge", "trn2u.48xlarge", "mac2.metal", "m7i.metal-24xl", "t3"])
def test_a_type_without_use_for_runners_is_not_in_the_catalogue(name: str) -> None:
    assert machine_types.machine_type(name) is None
    assert machine_types.offered_in(name, "eu-central-1") is None


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "exists"), [("mac2.metal", True), ("f1.2xlarge", True), ("m7i.lage", False)])
def test_the_sdk_says_whether_a_type_outside_of_the_catalogue_exists(name: str, *, exists: bool) -> None:
    assert machine_types.exists_in_ec2(name) == exists


@pytest.mark.parametrize(
    ("name", "region", "offered"),
    [
        ("t3.large", "eu-central-1", True),
        ("c7a.large", "sa-east-1", False),
        ("c5d.large", "ap-east-1", True),
        ("c5d.24xlarge", "ap-east-1", False),
        ("m7i.large", "mx-central-1", None),
    ],
)
def test_a_region_offers_what_ec2_says(name: str, region: str, *, offered: bool | None) -> None:
    assert machine_types.offered_in(name, region) is offered


def test_every_type_is_offered_in_a_region_of_the_data() -> None:
    regions = json.loads(machine_types.FILE.read_text())["regions"]
    nowhere = [
        name
        for name in machine_types.machine_types()
        if not any(machine_types.offered_in(name, region) for region in regions)
    ]
    assert nowhere == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("t3.lage", "t3.large"),
        ("m7i-large", "m7i.large"),
        (" M7i.Large ", "m7i.large"),
        ("m7l.large", "m7i.large"),
        ("g5.xlarge", "m5.xlarge"),
    ],
)
def test_the_nearest_types_name_what_was_meant(name: str, meant: str) -> None:
    assert meant in machine_types.nearest(name)


def test_nothing_is_near_to_a_name_that_is_unlike_every_type() -> None:
    assert machine_types.nearest("none") == []
