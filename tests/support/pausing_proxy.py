"""A proxy that a test can close, or let answer instead of the server: for an unreachable backend and expired credentials."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPIRED: Final = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>ExpiredToken</Code>'
    b"<Message>The provided token has expired.</Message></Error>"
)
"""S3's answer. Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""


class PausingProxy:
    """Forwards connections to a server on this machine, unless a test closes it or sets an answer."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._answer: bytes | None = None
        self._closed = False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Refuse connections within the block, and cut the open ones."""
        self._closed = True
        self._cut()
        try:
            yield
        finally:
            self._closed = False

    @contextlib.contextmanager
    def answering(self, status: str, body: bytes) -> Iterator[None]:
        """Give every request within the block this answer."""
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        self._answer = head.encode() + body
        self._cut()
        try:
            yield
        finally:
            self._answer = None

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()
        self._cut()

    def _cut(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            if self._closed:
                return
            if self._answer is not None:
                _read_request(connection)
                connection.sendall(self._answer)
                return
            with socket.create_connection(self._target) as server:
                self._open |= {connection, server}
                _forward(connection, server)
                self._open -= {connection, server}


def _forward(client: socket.socket, server: socket.socket) -> None:
    with selectors.DefaultSelector() as waiting:
        waiting.register(client, selectors.EVENT_READ, server)
        waiting.register(server, selectors.EVENT_READ, client)
        while True:
            for key, _ in waiting.select():
                data = key.fileobj.recv(65536)  # type: ignore[union-attr]  # a socket, as registered
                if not data:
                    return
                key.data.sendall(data)


def _read_request(connection: socket.socket) -> None:
    """Read one whole request; an answer before its end could be lost with the connection."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = connection.recv(65536)
        if not data:
            return
        head += data
    headers, _, body = head.partition(b"\r\n\r\n")
    if b"100-continue" in headers.lower():
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = next(
        (
            int(line.partition(b":")[2])
            for line in headers.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ),
        0,
    )
    while len(body) < length:
        data = connection.recv(65536)
        if not data:
            return
        body += data
