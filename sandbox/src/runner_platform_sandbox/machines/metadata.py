"""The instance metadata service of one machine, on loopback.

A process that gets this address in `AWS_EC2_METADATA_SERVICE_ENDPOINT` is the host; containers and jobs never get it,
which stands for a hop limit of 1. As in AWS: a token by PUT with its seconds, refused behind a proxy
(`X-Forwarded-For`); no answer without a token where the template demands one; a credentials document that says why EC2
cannot assume the role. Paths: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from abc import abstractmethod
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from email.message import Message

_LONGEST_TOKEN: Final = 21600
_TOKEN_SECONDS: Final = "X-aws-ec2-metadata-token-ttl-seconds"  # noqa: S105  # the name of a header
_CREDENTIALS: Final = "/latest/meta-data/iam/security-credentials/"
_NO_BODY: Final = ""


class Source(Protocol):
    """What a metadata service tells."""

    @property
    @abstractmethod
    def token_required(self) -> bool:
        """Whether every request needs a token (`HttpTokens: required`)."""

    @property
    @abstractmethod
    def enabled(self) -> bool:
        """Whether the service answers at all (`HttpEndpoint: enabled`)."""

    @property
    @abstractmethod
    def user_data(self) -> bytes:
        """User data, decoded; empty for none."""

    @abstractmethod
    def texts(self) -> Mapping[str, str]:
        """Return the texts below /latest/, by path, but for credentials."""

    @abstractmethod
    def credentials(self) -> tuple[str, dict[str, Any]]:
        """Return the role's name, empty for none, and the credentials document."""


class MetadataService:
    """Serves one machine's metadata until closed."""

    def __init__(self, source: Source) -> None:
        """Listen on a free loopback port and answer in a thread."""
        self._tokens: dict[str, float] = {}
        self._source = source
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def address(self) -> str:
        """URL for `AWS_EC2_METADATA_SERVICE_ENDPOINT`."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def token(self, headers: Message) -> tuple[HTTPStatus, str]:
        """Answer PUT /latest/api/token."""
        seconds = headers.get(_TOKEN_SECONDS, "")
        if not self._source.enabled or headers.get("X-Forwarded-For"):
            return HTTPStatus.FORBIDDEN, _NO_BODY
        if not seconds.isdigit() or not 1 <= int(seconds) <= _LONGEST_TOKEN:
            return HTTPStatus.BAD_REQUEST, _NO_BODY
        token = secrets.token_urlsafe(40)
        self._tokens[token] = time.monotonic() + int(seconds)
        return HTTPStatus.OK, token

    def get(self, path: str, headers: Message) -> tuple[HTTPStatus, str | bytes]:
        """Answer a GET."""
        if not self._source.enabled:
            return HTTPStatus.FORBIDDEN, _NO_BODY
        token = headers.get("X-aws-ec2-metadata-token")
        if (token is None and self._source.token_required) or (
            token is not None and self._tokens.get(token, 0) <= time.monotonic()
        ):
            return HTTPStatus.UNAUTHORIZED, _NO_BODY
        if path.startswith(_CREDENTIALS.rstrip("/")):
            return self._credentials(path.removeprefix(_CREDENTIALS.rstrip("/")).strip("/"))
        if path == "/latest/user-data" and self._source.user_data:
            return HTTPStatus.OK, self._source.user_data
        text = self._source.texts().get(path.removeprefix("/latest/").rstrip("/"))
        return (HTTPStatus.NOT_FOUND, _NO_BODY) if text is None else (HTTPStatus.OK, text)

    def _credentials(self, requested: str) -> tuple[HTTPStatus, str]:
        role, document = self._source.credentials()
        if not role or requested not in {"", role}:
            return HTTPStatus.NOT_FOUND, _NO_BODY
        return HTTPStatus.OK, json.dumps(document, indent=2) if requested else role

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            """Passes requests to the service."""

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                is_token = path == "/latest/api/token"
                answer = service.token(self.headers) if is_token else (HTTPStatus.NOT_FOUND, _NO_BODY)
                # Go's SDK takes no token without it.
                self._send(*answer, {_TOKEN_SECONDS: self.headers.get(_TOKEN_SECONDS, "")})

            def do_GET(self) -> None:
                self._send(*service.get(self.path.partition("?")[0], self.headers))

            def _send(self, status: HTTPStatus, body: str | bytes, headers: Mapping[str, str] | None = None) -> None:
                content = body.encode() if isinstance(body, str) else body
                self.send_response(status)
                named = {"Content-Type": "text/plain", "Content-Length": str(len(content)), **(headers or {})}
                for name, value in named.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments: Any) -> None:
                """Write nothing: requests hold tokens."""

        return Handler
