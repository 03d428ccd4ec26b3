"""A chart repository on loopback, for clients that ask it themselves: the sandbox's own chart at `https://charts.gitlab.io`.

It is a proxy: a client with its variables asks for the repository by its real name and trusts the certificate of this server.
It answers for no other host. Without the variables, `address` is the same repository over plain HTTP.
"""

from __future__ import annotations

import ssl
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox.tests.support.chart_cases import packaged

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "charts.gitlab.io"
CHART = Path(__file__).parents[2] / "chart" / "gitlab-runner"
_LIFETIME = timedelta(days=1)


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
        self.certificate.write_bytes(_certificate())
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


def _certificate() -> bytes:
    """Return a certificate of the host, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _LIFETIME)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(HOST)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
