"""The registry of a node serves image layouts under the images' real names, and nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import tarfile
from http.client import HTTPConnection
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.real_node.images import write_image
from runner_platform_sandbox.real_node.registry import Registry, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOST, REPOSITORY, TAG = "registry.example", "apps/web", "1.0"


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[HTTPConnection]:
    root = tmp_path / "root"
    root.mkdir()
    (root / "hello").write_text("hello")
    write_image(tmp_path / "layouts" / "web", root, [f"{HOST}/{REPOSITORY}:{TAG}"], Cmd=["/hello"])
    listener = socket.create_server(("127.0.0.1", 0))
    serve(Registry(tmp_path / "layouts"), listener)
    client = HTTPConnection("127.0.0.1", listener.getsockname()[1])
    yield client
    client.close()


def get(connection: HTTPConnection, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection.request(method, f"/v2/{path}")
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_an_image_is_served_by_its_real_name_down_to_its_files(connection: HTTPConnection) -> None:
    status, body = get(connection, f"{REPOSITORY}/manifests/{TAG}?ns={HOST}")
    assert status == 200
    manifest = json.loads(body)
    assert get(connection, f"{REPOSITORY}/manifests/sha256:{hashlib.sha256(body).hexdigest()}?ns={HOST}")[1] == body
    blobs = [
        get(connection, f"{REPOSITORY}/blobs/{part['digest']}")[1] for part in (*manifest["layers"], manifest["config"])
    ]
    with tarfile.open(fileobj=io.BytesIO(blobs[0])) as archive:
        assert {member.name: member.uid for member in archive} == {".": 0, "./hello": 0}
    configuration = json.loads(blobs[1])
    assert configuration["config"] == {"Cmd": ["/hello"]}


def test_docker_names_the_registry_as_the_host_of_its_request(connection: HTTPConnection) -> None:
    for host, expected in ((HOST, 200), (f"{HOST}:80", 200), ("other.example", 404)):
        connection.request("HEAD", f"/v2/{REPOSITORY}/manifests/{TAG}", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == expected, host


@pytest.mark.parametrize(
    "path",
    [
        f"{REPOSITORY}/manifests/2.0?ns={HOST}",
        f"{REPOSITORY}/manifests/{TAG}?ns=other.example",
        f"other/manifests/{TAG}?ns={HOST}",
        f"{REPOSITORY}/blobs/sha256:../../oci-layout",
        f"{REPOSITORY}/tags/list",
    ],
)
def test_what_no_layout_has_is_not_found(connection: HTTPConnection, path: str) -> None:
    status, body = get(connection, path)
    assert status == 404
    assert json.loads(body)["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_the_head_of_a_manifest_has_no_body(connection: HTTPConnection) -> None:
    assert get(connection, f"{REPOSITORY}/manifests/{TAG}?ns={HOST}", "HEAD") == (200, b"")
