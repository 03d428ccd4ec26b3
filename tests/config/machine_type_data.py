"""Generate `config/machine_types.json` from EC2's answers, as the package moto distributes them.

`python -m tests.config.machine_type_data --write` renews the file. moto is not a dependency: install it beside the environment and put it on
the path, as in `pip install --no-deps --target DIR moto` and `PYTHONPATH=DIR`. moto records DescribeInstanceTypes and DescribeInstanceTypeOfferings with
`scripts/ec2_get_instance_types.py` and `scripts/ec2_get_instance_type_offerings.py` of https://github.com/getmoto/moto.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
from collections import defaultdict
from datetime import UTC, datetime
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from config.machine_types import FILE

PACKAGE = "moto"
ACCELERATORS = ("GpuInfo", "FpgaInfo", "InferenceAcceleratorInfo", "NeuronInfo", "MediaAcceleratorInfo")
LEFT_OUT = re.compile(r"(mac|p|g|gr|inf|trn|vt|dl|f)[0-9-].*")
"""Macs, and families with accelerators: EC2's answer does not describe the accelerator of each."""
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}


def generated() -> dict[str, Any]:
    """Return the whole file, with today's date."""
    types = {name: answer for name, answer in recorded("instance_types").items() if is_usable(name, answer)}
    families: dict[str, Any] = {}
    for name in sorted(types, key=lambda name: (name.partition(".")[0], *size_of(types[name]))):
        add(families, name, types[name])
    regions = {region: offers(region, families) for region in recorded_regions()}
    return {
        "generated": datetime.now(UTC).date().isoformat(),
        "from": f"{PACKAGE} {metadata.version(PACKAGE)}",
        "families": grouped(families),
        "regions": regions,
    }


def folder() -> Path:
    """Return the folder of moto's recordings, without importing moto: its dependencies need not be there."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{PACKAGE} is not installed; see the first lines of {__file__}")
    return Path(spec.submodule_search_locations[0]) / "ec2" / "resources"


def recorded(name: str) -> Any:
    return json.loads(gzip.decompress((folder() / f"{name}.json.gz").read_bytes()))


def recorded_regions() -> list[str]:
    files = (folder() / "instance_type_offerings" / "region").iterdir()
    return sorted(file.name.removesuffix(".json.gz") for file in files)


def is_usable(name: str, answer: dict[str, Any]) -> bool:
    """Whether a runner's machine can be of this type: with an image of today, an encrypted disk and no accelerator."""
    return not (
        LEFT_OUT.fullmatch(name)
        or answer["BareMetal"]
        or any(key in answer for key in ACCELERATORS)
        or "hvm" not in answer["SupportedVirtualizationTypes"]
        or answer["EbsInfo"]["EncryptionSupport"] != "supported"
        or "on-demand" not in answer["SupportedUsageClasses"]
    )


def size_of(answer: dict[str, Any]) -> list[int]:
    """Return vCPUs and memory in MiB."""
    return [answer["VCpuInfo"]["DefaultVCpus"], answer["MemoryInfo"]["SizeInMiB"]]


def add(families: dict[str, Any], name: str, answer: dict[str, Any]) -> None:
    """Add a type to its family; a family has one architecture, and all or no sizes of it are burstable."""
    family, _, size = name.partition(".")
    (arch,) = {ARCHITECTURES[arch] for arch in answer["ProcessorInfo"]["SupportedArchitectures"] if arch != "i386"}
    entry = families.setdefault(family, {"arch": arch})
    burstable = answer["BurstablePerformanceSupported"]
    if burstable:
        entry.setdefault("burstable", True)
    if entry["arch"] != arch or entry.get("burstable", False) != burstable:
        raise ValueError(f"{name} differs from its family: write architecture and burstable for each size")
    if "spot" not in answer["SupportedUsageClasses"]:
        entry.setdefault("on_demand_only", []).append(size)
    entry.setdefault("sizes", {})[size] = size_of(answer)


def grouped(families: dict[str, Any]) -> dict[str, Any]:
    """Return the entries by the names of all families that have exactly this entry."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for family, entry in families.items():
        names[json.dumps(entry)].append(family)
    return {" ".join(members): json.loads(entry) for entry, members in names.items()}


def offers(region: str, families: dict[str, Any]) -> dict[str, str]:
    """Return the families that a region offers in all sizes, and the types that it offers of further families."""
    offered = {entry["InstanceType"] for entry in recorded(f"instance_type_offerings/region/{region}")}
    whole, single = [], []
    for family, entry in families.items():
        names = {f"{family}.{size}" for size in entry["sizes"]}
        if names <= offered:
            whole.append(family)
        else:
            single += sorted(names & offered)
    return {"families": " ".join(whole)} | ({"types": " ".join(single)} if single else {})


def text(document: dict[str, Any]) -> str:
    """Return the file's text: a line for each group of families and each region."""
    lines = []
    for key, value in document.items():
        if isinstance(value, dict):
            members = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in value.items())
            lines.append(f" {json.dumps(key)}: {{\n{members}\n }}")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def main() -> int:
    """Write the file, or return 1 if the committed file differs in more than its date."""
    parser = argparse.ArgumentParser(prog="python -m tests.config.machine_type_data", description=__doc__)
    parser.add_argument("--write", action="store_true", help="renew config/machine_types.json")
    write = parser.parse_args().write
    document, committed = generated(), json.loads(FILE.read_text()) if FILE.exists() else {}
    if {**committed, "generated": document["generated"]} == document:
        return 0
    if write:
        FILE.write_text(text(document))
    return 0 if write else 1


if __name__ == "__main__":
    raise SystemExit(main())
