#!/usr/bin/env python3
"""Writes the image's bill of materials, read from what is installed: Debian's packages, Python's, and the modules of each Go program.

CycloneDX 1.6, JSON. Runs in the image's last build step with nothing but the standard library; same image, same bytes: no time, no
serial number. Leaves out what has no name of its own (scripts of this project). Source: https://cyclonedx.org/docs/1.6/json/
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
"""Offset of the version and module strings behind the magic (debug/buildinfo in Go's standard library, since 1.18)."""
_GO_SENTINEL = 16
"""Bytes before and after the module text."""
_ELF = b"\x7fELF"


@dataclass(frozen=True, order=True)
class Package:
    """Something installed, as a package URL names it."""

    purl: str
    name: str
    version: str

    def component(self) -> dict[str, str]:
        """The entry in the bill."""
        return {
            "type": "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
        }


def debian_packages() -> Iterator[Package]:
    """What dpkg has installed."""
    fields = "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
    done = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={fields}"], capture_output=True, text=True, check=True
    )
    for line in done.stdout.splitlines():
        name, version, architecture, status = line.split("\t")
        if status == "installed":
            yield Package(f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}", name, version)


def python_packages(environment: Path) -> Iterator[Package]:
    """What an environment's site-packages hold."""
    folders = [str(folder) for folder in environment.glob("lib/python*/site-packages")]
    for each in distributions(path=folders):
        name = each.metadata["Name"].lower().replace("_", "-")
        yield Package(f"pkg:pypi/{quote(name)}@{quote(each.version, safe='')}", name, each.version)


def go_packages(folders: Sequence[Path]) -> Iterator[Package]:
    """Modules that Go programs below the folders were made of, as the compiler wrote them into each."""
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.is_symlink():
                yield from modules(build_information(file))


def build_information(file: Path) -> str:
    """The module text of a Go program; empty for any other file."""
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
    """A string behind its length as a varint, and where the next begins."""
    length = shift = 0
    while True:
        byte = data[position]
        position += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:  # noqa: PLR2004  # the varint's last byte has no continuation bit
            return data[position : position + length], position + length


def modules(text: str) -> Iterator[Package]:
    """Modules of a program's build information; where one was replaced, what it was replaced by."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        kind, _, rest = line.partition("\t")
        path, version, *_ = [*rest.split("\t"), ""]
        if kind == "=>":
            found[-1] = (path, version)
        elif kind in {"mod", "dep"}:
            found.append((path, version))
    for path, version in found:
        if version != "(devel)":
            yield Package(f"pkg:golang/{quote(path)}@{quote(version, safe='')}", path, version)


def bill(version: str, packages: Sequence[Package]) -> dict[str, Any]:
    """The document; each package once, in order."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": "runner", "version": version}},
        "components": [package.component() for package in sorted(set(packages))],
    }


def main() -> None:
    """Write the bill of this system."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", required=True, help="the image's")
    parser.add_argument("--python", type=Path, required=True, help="a Python environment")
    parser.add_argument("--programs", type=Path, nargs="+", required=True, help="folders with Go programs")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    packages = [*debian_packages(), *python_packages(options.python), *go_packages(options.programs)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(bill(options.version, packages), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
