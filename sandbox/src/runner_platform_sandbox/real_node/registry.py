"""A read-only image registry: serves folders in the OCI image layout under the images' real names.

The container runtime asks it in the place of every registry and names the real one in `?ns=`, or as the host of the request. Tags and digests that no layout
has are answered with 404, so that a job with such an image fails as it would in AWS.
API: https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import json
import shutil
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    import socket
    from pathlib import Path

NAME_ANNOTATION = "org.opencontainers.image.ref.name"
"""Key of an image's full name in `index.json`."""
INDEX = "index.json"


class Registry:
    """The images below a folder.

    Args:
        layouts: Folder with one OCI image layout per folder; read anew for each request.
    """

    def __init__(self, layouts: Path) -> None:
        self._layouts = layouts

    def manifest(self, name: str, reference: str) -> dict[str, Any] | None:
        """Return the descriptor of an image.

        Args:
            name: Registry and repository, such as `registry.example/apps/web`.
            reference: Tag or digest.
        """
        for layout in sorted(self._layouts.glob(f"*/{INDEX}")):
            for entry in json.loads(layout.read_text())["manifests"]:
                full_name = (entry.get("annotations") or {}).get(NAME_ANNOTATION, "")
                if full_name == f"{name}:{reference}" or entry["digest"] == reference:
                    descriptor: dict[str, Any] = entry
                    return descriptor
        return None

    def blob(self, digest: str) -> Path | None:
        """Return the file with this digest, such as `sha256:...`."""
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or not value.isalnum():
            return None
        return next(self._layouts.glob(f"*/blobs/sha256/{value}"), None)


def serve(registry: Registry, listener: socket.socket) -> None:
    """Answer requests in a thread, as long as the process lives.

    Args:
        registry: The images.
        listener: A listening socket.
    """
    handler = type("Handler", (_Handler,), {"registry": registry})
    server = ThreadingHTTPServer(listener.getsockname(), handler, bind_and_activate=False)
    server.socket.close()
    listener.setblocking(True)
    server.socket = listener
    threading.Thread(target=server.serve_forever, name="registry", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: ClassVar[Registry]

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""

    def _answer(self, *, with_body: bool) -> None:
        url = urlsplit(self.path)
        host = parse_qs(url.query).get("ns", [self.headers.get("Host", "").partition(":")[0]])[0]
        file, media_type, digest = self._find(url.path.removeprefix("/v2/"), host)
        if url.path == "/v2/":
            self._head(HTTPStatus.OK, 0)
        elif file is None:
            self._refuse(with_body=with_body)
        else:
            self._head(
                HTTPStatus.OK, file.stat().st_size, {"Content-Type": media_type, "Docker-Content-Digest": digest}
            )
            if with_body:
                with file.open("rb") as content:
                    shutil.copyfileobj(content, self.wfile)

    def _find(self, path: str, host: str) -> tuple[Path | None, str, str]:
        """Return file, media type and digest for the path of a request."""
        name, _, digest = path.rpartition("/blobs/")
        if name:
            return self.registry.blob(digest), "application/octet-stream", digest
        name, _, reference = path.rpartition("/manifests/")
        descriptor = self.registry.manifest(f"{host}/{name}", reference) if name else None
        if descriptor is None:
            return None, "", ""
        return self.registry.blob(descriptor["digest"]), descriptor["mediaType"], descriptor["digest"]

    def _refuse(self, *, with_body: bool) -> None:
        """Say that there is no such image, in the form that Docker reads."""
        errors = [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]
        body = json.dumps({"errors": errors}).encode()
        self._head(HTTPStatus.NOT_FOUND, len(body), {"Content-Type": "application/json"})
        if with_body:
            self.wfile.write(body)

    def _head(self, status: HTTPStatus, length: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()
