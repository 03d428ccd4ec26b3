"""A chart repository on loopback, for clients that ask it themselves: the sandbox's own chart at `https://charts.gitlab.io`.

It is a proxy: a client with its variables asks for the repository by its real name and trusts the certificate of this server.
It answers for no other host. Without the variables, `address` is the same repository over plain HTTP.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from sandbox.tests.support.chart_cases import packaged
from tests.support.certificate import write_certificate

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "charts.gitlab.io"
CHART = Path(__file__).parents[2] / "chart" / "gitlab-runner"


class _Handler(BaseHTTPRequestHandler):
    """Answers in plain HTTP, and in TLS after a CONNECT."""

    protocol_version = "HTTP/1.1"
    server: ChartServer

    def do_CONNECT(self) -> None:
        """Become the chart repository, or refuse another host."""
        name = self.path.partition(":")[0]
        if name != HOST:
            self.send_error(HTTPStatus.FORBIDDEN, f"this proxy serves {HOST} and not {name}")
            return
        self.send_response(HTTPStatus.OK)
        self.end_headers()
        self.connection = self.server.tls.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
        self.close_connection = False

    def do_GET(self) -> None:
        """Send a file of the repository."""
        file = self.server.folder / Path(self.path).name
        if not file.is_file():
            self.send_error(HTTPStatus.NOT_FOUND, f"there is no {file.name}")
            return
        content = file.read_bytes()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def finish(self) -> None:
        """Close the connection, which a CONNECT made another one."""
        super().finish()
        self.connection.close()

    def log_message(self, *_: object) -> None:
        """Keep the tests' output clean."""


class ChartServer(ThreadingHTTPServer):
    """The server.

    Args:
        folder: Takes the repository's files and the certificate.
        versions: The chart's versions.
    """

    daemon_threads = True

    def __init__(self, folder: Path, *versions: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        entries = []
        for version in versions:
            (folder / version).mkdir()
            archive = packaged(CHART, folder / version, version)
            archive.rename(folder / archive.name)
            entries.append({"name": "gitlab-runner", "version": version, "urls": [archive.name]})
        index = {"apiVersion": "v1", "entries": {"gitlab-runner": entries}}
        (folder / "index.yaml").write_text(yaml.safe_dump(index))
        self.certificate = folder / "certificate.pem"
        write_certificate(self.certificate, HOST)
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(self.certificate)

    @property
    def address(self) -> str:
        """The server's URL, as a repository and as a proxy."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def variables(self) -> dict[str, str]:
        """Variables with which a Go program reaches the repository by its real name."""
        return {
            "HTTPS_PROXY": self.address,
            "NO_PROXY": "127.0.0.1,localhost",
            "SSL_CERT_FILE": str(self.certificate),
        }


@contextmanager
def serving(folder: Path, *versions: str) -> Iterator[ChartServer]:
    """Serve the sandbox's chart in some versions."""
    with ChartServer(folder, *versions) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
