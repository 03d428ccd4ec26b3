#!/usr/bin/env python3
"""Write the image's bill of materials: Debian packages, Python packages, and the modules of each Go program.

The format is CycloneDX 1.6 in JSON, without time and serial number, so that the same image gives the same bytes. The program runs in the
last build step with the standard library alone. It leaves out the scripts of this project. Source: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import argparse
import json
import mmap
import subprocess
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_GO_MAGIC = b"\xff Go buildinf:"
_GO_STRINGS = 32
"""Offset of the version and module strings after the magic (debug/buildinfo in Go's standard library, since 1.18)."""
_GO_SENTINEL = 16
"""Bytes before and after the module text."""
_ELF = b"\x7fELF"


@dataclass(frozen=True, order=True)
class Package:
    """An installed package with its package URL."""

    purl: str
    name: str
    version: str

    def component(self) -> dict[str, str]:
        """Return the entry in the bill."""
        return {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
        }


def debian_packages() -> Iterator[Package]:
    """Yield the packages that dpkg has installed."""
    fields = "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
    process = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={fields}"], capture_output=True, text=True, check=True
    )
    for line in process.stdout.splitlines():
        name, version, architecture, status = line.split("\t")
        if status == "installed":
            yield Package(f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}", name, version)


def python_packages(environment: Path) -> Iterator[Package]:
    """Yield the packages in an environment's site-packages."""
    folders = [str(folder) for folder in environment.glob("lib/python*/site-packages")]
    for distribution in distributions(path=folders):
        name, version = distribution.metadata["Name"].lower().replace("_", "-"), distribution.version
        yield Package(f"pkg:pypi/{quote(name)}@{quote(version, safe='')}", name, version)


def go_packages(folders: Sequence[Path]) -> Iterator[Package]:
    """Yield the modules of all Go programs below the folders, as the compiler recorded them."""
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield from modules(build_information(file))


def build_information(file: Path) -> str:
    """Return the module text of a Go program; empty for any other file."""
    with file.open("rb") as stream:
        if stream.read(len(_ELF)) != _ELF:
            return ""
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            start = data.find(_GO_MAGIC)
            if start < 0:
                return ""
            _, position = _string(data, start + _GO_STRINGS)
            text, _ = _string(data, position)
            return text[_GO_SENTINEL:-_GO_SENTINEL].decode(errors="replace")


def _string(data: mmap.mmap, position: int) -> tuple[bytes, int]:
    """Read a string after its length as a varint; return it and the position after it."""
    length = shift = 0
    while True:
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the varint's last byte has no continuation bit
            return data[position : position + length], position + length


def modules(text: str) -> Iterator[Package]:
    """Yield the modules in a program's build information, with replacements instead of replaced modules."""
    paths: list[tuple[str, str]] = []
    for line in text.splitlines():
        kind, _, fields = line.partition("\t")
        path, version, *_ = [*fields.split("\t"), ""]
        if kind == "=>":
            paths[-1] = (path, version)
        elif kind in {"mod", "dep"}:
            paths.append((path, version))
    for path, version in paths:
        if version != "(devel)":
            yield Package(f"pkg:golang/{quote(path)}@{quote(version, safe='')}", path, version)


def bill(version: str, packages: Sequence[Package]) -> dict[str, Any]:
    """Return the document, with each package once and in order."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "runner", "version": version}},
        "components": [package.component() for package in sorted(set(packages))],
    }


def main() -> None:
    """Write the bill of the system that this program runs on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True, help="version of the image")
    parser.add_argument("--python", type=Path, required=True, help="a Python environment")
    parser.add_argument("--programs", type=Path, nargs="+", required=True, help="folders with Go programs")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    packages = [*debian_packages(), *python_packages(options.python), *go_packages(options.programs)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(bill(options.version, packages), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
