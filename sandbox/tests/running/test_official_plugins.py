"""Official plugins from a server on loopback, installed by the real engine."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tarfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox import engine, official
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.sandbox


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


def archive(folder: Path, plugin: official.Plugin) -> str:
    """Write the archive of a plugin that prints its name; returns its checksum."""
    text = f"#!/bin/sh\necho official {plugin.name}\n".encode()
    member = tarfile.TarInfo(f"pulumi-resource-{plugin.name}")
    member.size, member.mode = len(text), 0o755
    with tarfile.open(folder / plugin.archive, "w:gz") as file:
        file.addfile(member, io.BytesIO(text))
    return hashlib.sha256((folder / plugin.archive).read_bytes()).hexdigest()


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Pins of all plugins, which a server on loopback has; they are asked for."""
    folder = tmp_path / "server"
    folder.mkdir()
    plugins = [official.Plugin(name=name, version=engine._sdk_version(name)) for name in engine.STAND_INS]
    sha256 = {plugin.archive: archive(folder, plugin) for plugin in plugins}
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    file = tmp_path / "pins.json"
    file.write_text(json.dumps({"server": f"http://127.0.0.1:{server.server_address[1]}", "sha256": sha256}))
    monkeypatch.setenv(official.VARIABLE, "official")
    monkeypatch.setattr(official.read_pins, "__defaults__", (file,))
    yield file
    server.shutdown()
    server.server_close()


def prepared(tmp_path: Path) -> dict[str, str]:
    """Prepare an engine's home; returns the text of each plugin by name."""
    paths = Paths(cache=Paths.from_environment().cache, root=tmp_path / "root")
    engine.prepare(paths, Tools.find(paths), Path("/venv"))
    files = (paths.pulumi_home / "plugins").glob("resource-*/pulumi-resource-*")
    return {file.name.removeprefix("pulumi-resource-"): file.read_text() for file in files}


def changed(file: Path, **more: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def test_official_plugins_take_the_place_of_the_stand_ins_and_give_it_back(
    pins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pins.exists()
    monkeypatch.delenv(official.VARIABLE)
    assert all("runner_platform_sandbox.providers" in text for text in prepared(tmp_path).values())
    monkeypatch.setenv(official.VARIABLE, "official")
    assert all(f"official {name}" in text for name, text in prepared(tmp_path).items())
    monkeypatch.delenv(official.VARIABLE)
    assert all("runner_platform_sandbox.providers" in text for text in prepared(tmp_path).values())


def test_an_archive_with_another_checksum_is_refused(pins: Path, tmp_path: Path) -> None:
    sha256 = json.loads(pins.read_text())["sha256"]
    changed(pins, sha256=dict.fromkeys(sha256, "0" * 64))
    with pytest.raises(SandboxError, match=r"is refused: its SHA-256 is \w{64}, pinned is 0{64}"):
        prepared(tmp_path)


def test_a_server_that_cannot_be_reached_is_named(pins: Path, tmp_path: Path) -> None:
    changed(pins, server="http://127.0.0.1:9")
    with pytest.raises(SandboxError, match=r"http://127\.0\.0\.1:9/\S+ cannot be downloaded") as refused:
        prepared(tmp_path)
    assert "PLUGINS=official" in refused.value.remedy


def test_a_plugin_without_a_pinned_checksum_is_named_and_the_stand_ins_stay(pins: Path, tmp_path: Path) -> None:
    changed(pins, sha256={})
    with pytest.raises(SandboxError, match=r"no checksum is pinned for pulumi-resource-aws-v\S+, ") as refused:
        prepared(tmp_path)
    assert "pins.json" in refused.value.remedy


def test_a_misspelt_choice_of_plugins_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(official.VARIABLE, "offical")
    with pytest.raises(SandboxError, match="PLUGINS is 'offical'"):
        prepared(tmp_path)
