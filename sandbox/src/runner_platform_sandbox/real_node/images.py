"""Images from folders: one layer, in the OCI image layout, as `registry` serves them.

Specification: https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.real_node.registry import INDEX, NAME_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_MEDIA = "application/vnd.oci.image"
_COMPRESSION = 1
"""The fastest: the layer crosses loopback only."""


def write_image(layout: Path, root: Path, names: Sequence[str], **settings: Any) -> None:
    """Write an image with the files below a folder, owned by root.

    Args:
        layout: New folder of the image.
        root: Folder of its files.
        names: Full names of the image, each with a tag.
        settings: `Entrypoint`, `Cmd`, `Env`, `WorkingDir`, `User` of the specification.
    """
    blobs = layout / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    layer, difference = _layer(blobs, root)
    configuration = {
        "architecture": ARCHITECTURES[platform.machine()],
        "os": "linux",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [difference]},
    }
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _blob(blobs, f"{_MEDIA}.config.v1+json", configuration),
        "layers": [layer],
    }
    descriptor = _blob(blobs, manifest["mediaType"], manifest)
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / INDEX).write_text(json.dumps({"schemaVersion": 2, "manifests": [descriptor]}))
    name_image(layout, names)


def name_image(layout: Path, names: Sequence[str]) -> None:
    """Give the only image of a layout these full names, each with a tag."""
    index = json.loads((layout / INDEX).read_text())
    (descriptor,) = index["manifests"]
    index["manifests"] = [{**descriptor, "annotations": {NAME_ANNOTATION: name}} for name in names]
    (layout / INDEX).write_text(json.dumps(index))


def with_variables(layout: Path, target: Path, variables: Mapping[str, str], **settings: str) -> None:
    """Write a copy of an image that has further variables in its environment, and other settings; layers are linked.

    Args:
        layout: Layout of the image.
        target: New folder of the copy.
        variables: Variables of every container of the copy.
        settings: `User`, `WorkingDir` of the specification.
    """
    source, blobs = layout / "blobs" / "sha256", target / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    for blob in source.iterdir():
        (blobs / blob.name).symlink_to(blob)
    index = json.loads((layout / INDEX).read_text())
    manifest = json.loads((source / _hexadecimal(index["manifests"][0])).read_text())
    configuration = json.loads((source / _hexadecimal(manifest["config"])).read_text())
    configuration["config"] |= settings
    configuration["config"]["Env"] += [f"{name}={value}" for name, value in variables.items()]
    manifest["config"] = _blob(blobs, manifest["config"]["mediaType"], configuration)
    descriptor = _blob(blobs, manifest["mediaType"], manifest)
    index["manifests"] = [{**descriptor, "annotations": entry["annotations"]} for entry in index["manifests"]]
    (target / INDEX).write_text(json.dumps(index))
    shutil.copy(layout / "oci-layout", target)


def _hexadecimal(descriptor: Mapping[str, Any]) -> str:
    return str(descriptor["digest"]).removeprefix("sha256:")


def _layer(blobs: Path, root: Path) -> tuple[dict[str, Any], str]:
    """Write the layer, and return its descriptor and the digest of its content before compression."""
    file, plain = blobs / "layer", hashlib.sha256()
    with gzip.open(file, "wb", _COMPRESSION) as packed:
        stream: Any = _Hashing(packed, plain)
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            archive.add(root, arcname=".", filter=_owned_by_root)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    file.rename(blobs / digest)
    size = (blobs / digest).stat().st_size
    return _descriptor(f"{_MEDIA}.layer.v1.tar+gzip", digest, size), f"sha256:{plain.hexdigest()}"


class _Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, target: Any, digest: Any) -> None:
        self._target, self._digest = target, digest

    def write(self, data: bytes) -> int:
        """Hash and write."""
        self._digest.update(data)
        return int(self._target.write(data))


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _blob(blobs: Path, media_type: str, content: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps(content).encode()
    digest = hashlib.sha256(data).hexdigest()
    (blobs / digest).write_bytes(data)
    return _descriptor(media_type, digest, len(data))


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}
