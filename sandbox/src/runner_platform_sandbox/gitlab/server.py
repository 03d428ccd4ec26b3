"""The GitLab stand-in over HTTP: routes, authentication, parameters (query, form or JSON) and answers.

The rules are in `runners`, the issuer in `identity`, the state in `store`. The server answers one request at a time, so
these modules need no lock.
"""

from __future__ import annotations

import json
import os
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from runner_platform_sandbox.gitlab import errors, runners
from runner_platform_sandbox.gitlab.identity import Issuer
from runner_platform_sandbox.gitlab.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Answer = tuple[HTTPStatus, Any]

VERSION: Final = {"version": "19.4.0-ee", "revision": "sandbox"}
_LARGEST_BODY: Final = 1024 * 1024


class Request:
    """One request, parsed.

    Args:
        method: HTTP method.
        target: Path and query.
        token: The access token, if the request has one.
        parameters: Parameters of the body.
    """

    def __init__(self, method: str, target: str, token: str | None, parameters: dict[str, Any]) -> None:
        parts = urlsplit(target)
        self.method = method
        self.path = parts.path.rstrip("/")
        self.token = token
        self.parameters = dict(parse_qsl(parts.query)) | parameters


class GitLab:
    """Answers requests.

    Args:
        folder: State; made if absent.
        issuer: URL of the OpenID Connect issuer in ID tokens.
    """

    def __init__(self, folder: Path, issuer: str) -> None:
        self.store = Store(folder)
        self.issuer = Issuer(folder, issuer.rstrip("/"))
        self._lock = threading.Lock()
        self._routes = [(method, re.compile(f"^{pattern}$"), handler) for method, pattern, handler in self._table()]

    def _table(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        api = "/api/v4"
        return [
            ("GET", "/.well-known/openid-configuration", lambda _: _ok(self.issuer.configuration())),
            ("GET", "/oauth/discovery/keys", lambda _: _ok(self.issuer.jwks())),
            ("GET", "/_sandbox/health", lambda _: _ok({"ready": True, "pid": os.getpid()})),
            ("POST", "/_sandbox/id-token", self._id_token),
            ("PUT", "/_sandbox/seed", self._seed),
            ("GET", f"{api}/version", lambda request: self._as_caller(request, lambda _: VERSION)),
            ("GET", f"{api}/user", lambda request: self._as_caller(request, _user)),
            ("POST", f"{api}/user/runners", self._create),
            ("POST", f"{api}/runners/verify", self._verify),
            ("DELETE", f"{api}/runners/managers", self._unregister),
            ("GET", f"{api}/runners/([^/]+)", self._call(runners.show)),
            ("PUT", f"{api}/runners/([^/]+)", self._update),
            ("DELETE", f"{api}/runners/([^/]+)", self._delete),
            ("GET", f"{api}/runners/([^/]+)/managers", self._call(runners.managers)),
            ("GET", f"{api}/runners/([^/]+)/jobs", self._jobs),
            ("POST", f"{api}/runners/([^/]+)/reset_authentication_token", self._reset),
            ("GET", f"{api}/groups/([^/]+)/runners", self._call(runners.of_group)),
            ("GET", f"{api}/projects/([^/]+)/runners", self._call(runners.of_project)),
            ("POST", f"{api}/projects/([^/]+)/runners", self._assign),
        ]

    def answer(self, request: Request) -> Answer:
        """Return status and body for a request."""
        with self._lock:
            try:
                for method, pattern, handler in self._routes:
                    match = pattern.match(request.path)
                    if match and method == request.method:
                        return handler(request, *[unquote(part) for part in match.groups()])
            except errors.RefusedError as error:
                return error.status, error.body
        return HTTPStatus.NOT_FOUND, {"error": "404 Not Found"}

    def _caller(self, request: Request) -> dict[str, Any]:
        caller = self.store.caller(request.token)
        if caller is None:
            raise errors.unauthorized()
        return caller

    def _as_caller(self, request: Request, answer: Callable[[dict[str, Any]], Any]) -> Answer:
        return _ok(answer(self._caller(request)))

    def _call(self, rule: Callable[[Store, dict[str, Any], str], Any]) -> Callable[..., Answer]:
        return lambda request, identifier: _ok(rule(self.store, self._caller(request), identifier))

    def _create(self, request: Request) -> Answer:
        return HTTPStatus.CREATED, runners.create(self.store, self._caller(request), request.parameters)

    def _update(self, request: Request, identifier: str) -> Answer:
        return _ok(runners.update(self.store, self._caller(request), identifier, request.parameters))

    def _delete(self, request: Request, identifier: str) -> Answer:
        runners.delete(self.store, self._caller(request), identifier)
        return HTTPStatus.NO_CONTENT, None

    def _reset(self, request: Request, identifier: str) -> Answer:
        return HTTPStatus.CREATED, runners.reset_token(self.store, self._caller(request), identifier)

    def _assign(self, request: Request, identifier: str) -> Answer:
        return HTTPStatus.CREATED, runners.assign(self.store, self._caller(request), identifier, request.parameters)

    def _jobs(self, request: Request, identifier: str) -> Answer:
        runner = runners.show(self.store, self._caller(request), identifier)
        status = request.parameters.get("status")
        # No job runs here: the jobs come from the seed.
        return _ok([job for job in self.store.jobs_of(str(runner["id"])) if status in {None, job["status"]}])

    def _verify(self, request: Request) -> Answer:
        return _ok(runners.verify(self.store, request.parameters))

    def _unregister(self, request: Request) -> Answer:
        runners.unregister_manager(self.store, request.parameters)
        return HTTPStatus.NO_CONTENT, None

    def _id_token(self, request: Request) -> Answer:
        self._caller(request)  # a job must not make itself the token of another project
        return HTTPStatus.CREATED, {"token": self.issuer.token(request.parameters)}

    def _seed(self, request: Request) -> Answer:
        self._caller(request)
        self.store.merge_seed(request.parameters)
        return _ok({"merged": True})


def _ok(body: Any) -> Answer:
    return HTTPStatus.OK, body


def _user(caller: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "username": caller["user"], "state": "active"}


def serve(gitlab: GitLab, port: int) -> ThreadingHTTPServer:
    """Listen on a loopback port (0: any) and return the server; the caller runs and closes it."""

    class Handler(_Handler):
        served = gitlab

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


class _Handler(BaseHTTPRequestHandler):
    """Reads requests and writes answers."""

    served: ClassVar[GitLab]
    protocol_version = "HTTP/1.1"
    server_version = "GitLab"

    def _handle(self) -> None:
        try:
            parameters = self._parameters()
        except (ValueError, errors.RefusedError):
            self._send(HTTPStatus.BAD_REQUEST, {"error": "the body cannot be read"})
            return
        bearer = (self.headers.get("Authorization") or "").partition("Bearer ")[2]
        token = self.headers.get("PRIVATE-TOKEN") or bearer or None
        self._send(*self.served.answer(Request(self.command, self.path, token, parameters)))

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - names of http.server

    def _parameters(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        if length > _LARGEST_BODY:
            raise ValueError("the body is too large")
        body = self.rfile.read(length)
        if not body:
            return {}
        if "json" in (self.headers.get("Content-Type") or ""):
            document = json.loads(body)
            if not isinstance(document, dict):
                raise ValueError("the body is no object")
            return document
        return dict(parse_qsl(body.decode(), keep_blank_values=True))

    def _send(self, status: HTTPStatus, body: Any) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        if data:
            self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is http.server's
        """Log method, path and status; neither headers nor bodies, which hold tokens."""
        super().log_message(format, *args)
