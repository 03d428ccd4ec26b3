"""A metadata service of an EC2 instance, version 2, on loopback; it answers what a test tells it."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKEN = "token-of-this-session"  # fabricated
PREFIX = "/latest/meta-data/"


@contextmanager
def metadata_service(entries: Mapping[str, str], refusals: list[int] | None = None) -> Iterator[str]:
    """Serve entries by path below `meta-data/`, and give the address.

    Args:
        entries: texts by path; other paths are answered with 404, and requests without a token with 401.
        refusals: status codes of the first answers, in order; each is used once.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(entries, refusals or []))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(entries: Mapping[str, str], refusals: list[int]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            seconds = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
            right = self.path == "/latest/api/token" and seconds.isdigit()
            self._send(200 if right else 400, TOKEN if right else "")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
                self._send(401, "")
            elif refusals:
                self._send(refusals.pop(0), "")
            else:
                text = entries.get(self.path.removeprefix(PREFIX))
                self._send(404 if text is None else 200, text or "")

        def _send(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Write nothing."""

    return Handler
