"""The two listeners in front of MiniStack, and saving before the answer.

The deployer's listener takes every request. The jobs' listener takes only credentials from STS: it refuses root keys
(MiniStack trusts any 12-digit id with any secret), control routes, and unsigned requests except the exchange of a token.
The answer to a change waits until the change is on disk.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ministack import app
from ministack.core import iam_evaluator, router

from sandbox_aws import routes
from sandbox_aws.answers import json_error, query_error, s3_error
from sandbox_aws.dispatch import CHANGE, Change
from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer
    from sandbox_aws.state import Saver

_JOBS: contextvars.ContextVar[bool] = contextvars.ContextVar("sandbox_jobs", default=False)
_ROOT_KEY = re.compile(r"\d{12}|test")
_JSON_SERVICE = re.compile(r"/(ecr|ecs|eks|kms|lambda|logs|organizations|secretsmanager)/aws4_request")


class Application:
    """The ASGI application of both listeners."""

    def __init__(self, *, jobs_port: int, saver: Saver) -> None:
        self._jobs_port = jobs_port
        self._saver = saver
        self._settling: asyncio.Task[None] | None = None
        replace("core.iam_evaluator", "is_root_access_key", _never_root_for_jobs)
        replace("services.sts", "is_root_access_key", lambda _original: iam_evaluator.is_root_access_key)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one connection event."""
        if scope["type"] == "lifespan":
            self._settling = asyncio.create_task(self._saver.settle())
            await app.app(scope, receive, send)
            self._settling.cancel()
            self._saver.save_all()
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _serve(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        path = scope["path"]
        from_jobs = scope["server"][1] == self._jobs_port
        _JOBS.set(from_jobs)
        if from_jobs and (refusal := _job_refusal(scope)) is not None:
            await _send(send, refusal)
        elif path.startswith("/_sandbox/"):
            body = await _read(receive)
            answer = routes.handle(scope["method"], path, scope["query_string"].decode(), body, self._saver)
            await _send(send, answer)
        else:
            await app.app(scope, receive, self._saving(scope["method"], send))

    def _saving(self, method: str, send: Any) -> Any:
        """Return a `send` that saves the request's change before the answer begins."""
        change = Change(reads_only=method in {"GET", "HEAD", "OPTIONS"})
        CHANGE.set(change)

        async def saving(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start" and not change.reads_only and message["status"] < 400:  # noqa: PLR2004 - HTTP
                self._saver.save(change.service)
            await send(message)

        return saving


def _never_root_for_jobs(original: Any) -> Any:
    """Second line of defence: no key is root on the jobs' listener, even a key in a form field.

    MiniStack reads an empty key for the few calls that AWS serves unsigned, but also for a header that it does not
    understand. Only the first case may pass.
    """

    def is_root(access_key_id: str) -> bool:
        if not _JOBS.get():
            return bool(original(access_key_id))
        return not access_key_id and iam_evaluator._anonymous.get()

    return is_root


def _job_refusal(scope: dict[str, Any]) -> Answer | None:
    """Refuse a request on the jobs' listener; None accepts it."""
    if scope["path"].lstrip("/").startswith("_"):
        return json_error(403, "AccessDeniedException", "Control routes are not served on the listener of jobs.")
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    keys = {router.extract_access_key_id(headers, query), router.extract_access_key_id({}, query)} - {""}
    if any(_ROOT_KEY.fullmatch(key) for key in keys):
        return _refusal(
            headers, query, "InvalidClientTokenId", "The security token included in the request is invalid."
        )
    if not keys and not _served_unsigned(scope["method"], scope["path"]):
        return _refusal(headers, query, "MissingAuthenticationToken", "Request is missing Authentication Token")
    return None


def _served_unsigned(method: str, path: str) -> bool:
    """Whether a request without credentials may go on: STS's operations for tokens, and the registry's own login."""
    return (method, path) == ("POST", "/") or bool(app._is_ecr_registry_path(path))


def _refusal(headers: dict[str, str], query: dict[str, list[str]], code: str, message: str) -> Answer:
    """Return a 403 in the error format of the request's service."""
    content_type, signed = headers.get("content-type", ""), headers.get("authorization", "")
    if "json" in content_type or "x-amz-target" in headers or _JSON_SERVICE.search(signed):
        return json_error(403, f"{code}Exception", message)
    if "x-www-form-urlencoded" in content_type or "Action" in query:
        return query_error(403, code, message)
    return s3_error(403, "AccessDenied", "Access Denied")


async def _read(receive: Any) -> bytes:
    """Return the whole body of a request."""
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def _send(send: Any, answer: Answer) -> None:
    status, headers, body = answer
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
