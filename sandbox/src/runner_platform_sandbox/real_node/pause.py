"""The image of the container that holds a pod's namespaces: a program of four instructions that sleeps for ever.

It is written byte by byte, so that a sandbox needs neither a compiler nor a registry for it.
Format: https://refspecs.linuxfoundation.org/elf/elf.pdf, chapters 1 and 2.
"""

from __future__ import annotations

import platform
import struct
import tempfile
from pathlib import Path
from typing import Final

from runner_platform_sandbox.real_node.images import write_image

_CODE: Final = {
    # pause(2) in a loop: mov $34,%eax; syscall; jmp -9
    "x86_64": (62, bytes.fromhex("b8220000000f05ebf7")),
    # ppoll(NULL, 0, NULL, NULL, 0) in a loop: x0..x4 = 0; x8 = 73; svc 0; b -7
    "aarch64": (
        183,
        b"".join(
            struct.pack("<I", word) for word in (*range(0xD2800000, 0xD2800005), 0xD2800928, 0xD4000001, 0x17FFFFF9)
        ),
    ),
}
"""Number of the machine in an ELF header, and the program."""
_BASE: Final = 0x400000
_HEADERS: Final = 64 + 56


def program() -> bytes:
    """Return an executable for this machine's processor."""
    machine, code = _CODE[platform.machine()]
    size = _HEADERS + len(code)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, _BASE + _HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return identity + header + segment + code


def write_pause_image(layout: Path, name: str) -> None:
    """Write the image.

    Args:
        layout: New folder of the image.
        name: Its full name.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pause")
        file.write_bytes(program())
        file.chmod(0o755)
        write_image(layout, Path(folder), [name], Entrypoint=["/pause"])
