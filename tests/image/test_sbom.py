"""The image's bill of materials: packages of Go programs, Python environments and dpkg, and the document."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from image.build import sbom

INFORMATION = (
    "path\tgithub.com/opentofu/opentofu/cmd/tofu\nmod\trunner-platform.example/tools/opentofu\t(devel)\t\n"
    "dep\tgithub.com/opentofu/opentofu\tv1.12.6\th1:x=\ndep\tgithub.com/hashicorp/hcl/v2\tv2.20.1\n"
    "=>\tgithub.com/opentofu/hcl/v2\tv2.20.2-0.20251021132045-587d123c2828\th1:y=\nbuild\t-trimpath=true\n"
)


def varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def go_program(text: str, *, before: int = 4096) -> bytes:
    """Return a program as the linker writes it: magic, padding, version of the compiler, text between two markers."""
    marked = b"0" * 16 + text.encode() + b"1" * 16
    header = b"\xff Go buildinf:" + bytes([8, 2])
    strings = varint(len(b"go1.26.6")) + b"go1.26.6" + varint(len(marked)) + marked
    return b"\x7fELF" + b"\0" * before + header.ljust(32, b"\0") + strings


@pytest.mark.parametrize("text", [INFORMATION, "path\tx\n", "dep\ta\tv1\n" * 5000])
def test_modules_are_read_from_a_program(tmp_path: Path, text: str) -> None:
    (tmp_path / "program").write_bytes(go_program(text))
    assert sbom.build_information(tmp_path / "program") == text


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", b"\x7fELF and no more"])
def test_a_file_that_is_no_go_program_has_no_modules(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "program").write_bytes(content)
    assert sbom.build_information(tmp_path / "program") == ""


def test_a_replaced_module_is_listed_as_its_replacement() -> None:
    assert [package.purl for package in sbom.modules(INFORMATION)] == [
        "pkg:golang/github.com/opentofu/opentofu@v1.12.6",
        "pkg:golang/github.com/opentofu/hcl/v2@v2.20.2-0.20251021132045-587d123c2828",
    ]


def test_programs_below_a_folder_are_found_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "program").write_bytes(go_program(INFORMATION))
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "program")
    assert len(list(sbom.go_packages([tmp_path]))) == 2


def test_python_packages_are_those_of_the_environment() -> None:
    packages = {package.name: package.purl for package in sbom.python_packages(Path(sys.prefix))}
    assert packages["pydantic-core"].startswith("pkg:pypi/pydantic-core@"), "names are spelt as in package registries"


def test_debian_packages_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    output = "git\t1:2.47.3-0+deb13u1\tamd64\tinstalled\nold\t1.0\tall\tconfig-files\n"

    def dpkg(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, output, "")

    monkeypatch.setattr(subprocess, "run", dpkg)
    (package,) = sbom.debian_packages()
    assert package.purl == "pkg:deb/debian/git@1%3A2.47.3-0%2Bdeb13u1?arch=amd64"


def test_the_document_has_each_package_once_in_order_and_no_time() -> None:
    packages = [sbom.Package("pkg:b@1", "b", "1"), sbom.Package("pkg:a@1", "a", "1"), sbom.Package("pkg:b@1", "b", "1")]
    document = sbom.bill("1.0.0", packages)
    assert [component["bom-ref"] for component in document["components"]] == ["pkg:a@1", "pkg:b@1"]
    assert document == sbom.bill("1.0.0", packages[::-1]), "the same image gives the same bytes"
    assert set(document["metadata"]) == {"component"}
