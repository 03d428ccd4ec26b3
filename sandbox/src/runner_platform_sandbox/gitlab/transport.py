"""HTTP of the GitLab stand-in: requests with parameters or a body on disk, answers as JSON, text or a file.

A body that is neither JSON nor a form (a trace, artifacts, Git's packs) is written to a temporary file first, so that the
rules never wait for a slow client.
"""

from __future__ import annotations

import base64
import binascii
import json
import select
import shutil
import socket
import tempfile
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, TYPE_CHECKING, Any, ClassVar, Final, NamedTuple, Protocol
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_PARAMETERS: Final = 1024 * 1024
"""Bytes of a JSON document or a form."""
_CHUNK: Final = 64 * 1024
_TOKEN_HEADERS: Final = ("private-token", "job-token", "runner-token")


class Answer(NamedTuple):
    """Status, body and headers. The body is a JSON value, bytes, or an open file, which is sent from its position on."""

    status: HTTPStatus
    body: Any = None
    headers: Mapping[str, str] = {}


class Request:
    """One request, parsed.

    Args:
        method: HTTP method.
        target: Path and query.
        token: The token in the headers, if there is one.
        parameters: Parameters of the body.
        headers: Headers with names in lower case.
        content: The body, if it holds no parameters.
        connection: The client's socket, to notice that it is gone.
    """

    def __init__(
        self,
        method: str,
        target: str,
        token: str | None,
        parameters: dict[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        content: IO[bytes] | None = None,
        connection: socket.socket | None = None,
    ) -> None:
        parts = urlsplit(target)
        self.method = method
        self.path = parts.path.rstrip("/")
        self.query = parts.query
        self.token = token
        self.parameters = _parameters(parts.query) | parameters
        self.headers = headers or {}
        self.content = content
        self._connection = connection

    @property
    def base(self) -> str:
        """URL under which the client reached the server."""
        return f"http://{self.headers.get('host', '127.0.0.1')}"

    def connected(self) -> bool:
        """Whether the client still waits for the answer."""
        if self._connection is None:
            return True
        readable, _, _ = select.select([self._connection], [], [], 0)
        return not readable or bool(self._connection.recv(1, socket.MSG_PEEK))


class Answering(Protocol):
    """What the transport asks for answers."""

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""


def ok(body: Any) -> Answer:
    """Return an answer with status 200."""
    return Answer(HTTPStatus.OK, body)


def serve(answering: Answering, port: int) -> ThreadingHTTPServer:
    """Listen on a loopback port (0: any) and return the server; the caller runs and closes it."""

    class Handler(_Handler):
        served = answering

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers."""

    served: ClassVar[Answering]
    protocol_version = "HTTP/1.1"
    server_version = "GitLab"
    timeout = 120

    def _handle(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        with tempfile.SpooledTemporaryFile(max_size=LARGEST_PARAMETERS) as content:
            try:
                self._receive(content)
                parameters = _body_parameters(headers.get("content-type", ""), content)
            except ValueError:
                self.close_connection = True
                self._send(Answer(HTTPStatus.BAD_REQUEST, {"error": "the body cannot be read"}))
                return
            request = Request(
                self.command,
                self.path,
                _token(headers),
                parameters or {},
                headers=headers,
                content=content if parameters is None else None,
                connection=self.connection,
            )
            self._send(self.served.answer(request))

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - names of http.server

    def _receive(self, content: IO[bytes]) -> None:
        """Copy the body into a file and go back to its beginning."""
        if "chunked" in (self.headers.get("Transfer-Encoding") or "").lower():
            while size := int(self.rfile.readline().split(b";")[0], 16):
                self._copy(content, size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
        else:
            self._copy(content, int(self.headers.get("Content-Length") or 0))
        content.seek(0)

    def _copy(self, content: IO[bytes], size: int) -> None:
        while size:
            data = self.rfile.read(min(size, _CHUNK))
            if not data:
                raise ValueError("the body ends early")
            content.write(data)
            size -= len(data)

    def _send(self, answer: Answer) -> None:
        body, kind = answer.body, "application/json"
        if body is None:
            body = b""
        elif isinstance(body, bytes):
            kind = "text/plain"
        elif not hasattr(body, "read"):
            body = json.dumps(body).encode()
        size = len(body) if isinstance(body, bytes) else _remaining(body)
        self.send_response(answer.status)
        if size and "Content-Type" not in answer.headers:
            self.send_header("Content-Type", kind)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(size))
        self.end_headers()
        if isinstance(body, bytes):
            self.wfile.write(body)
        else:
            with body:
                shutil.copyfileobj(body, self.wfile)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log method, path and status; neither headers nor bodies, which hold tokens."""
        super().log_message(format, *args)


def _remaining(file: IO[bytes]) -> int:
    position = file.tell()
    size = file.seek(0, 2) - position
    file.seek(position)
    return size


def _token(headers: Mapping[str, str]) -> str | None:
    for name in _TOKEN_HEADERS:
        if headers.get(name):
            return headers[name]
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind == "Bearer":
        return value
    if kind == "Basic":
        try:
            return base64.b64decode(value).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _parameters(text: str) -> dict[str, Any]:
    """Return the parameters of a query or a form; `name[]` collects a list."""
    parameters: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name.endswith("[]"):
            parameters.setdefault(name[:-2], []).append(value)
        else:
            parameters[name] = value
    return parameters


def _body_parameters(content_type: str, content: IO[bytes]) -> dict[str, Any] | None:
    """Return the parameters of a body, or None if it holds content."""
    kind = content_type.partition(";")[0].strip()
    if kind not in {"application/json", "application/x-www-form-urlencoded", ""}:
        return None
    body = content.read(LARGEST_PARAMETERS + 1)
    if len(body) > LARGEST_PARAMETERS:
        raise ValueError("the body is too large")
    if not body:
        return {}
    if kind != "application/json":
        return _parameters(body.decode())
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the body is no object")  # noqa: TRY004 - the body is wrong, not the call
    return document
